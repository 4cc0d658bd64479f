package signature

import (
	"crypto/ed25519"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// The headers of a webhook.
const (
	HeaderID        = "Webhook-Id"
	HeaderTimestamp = "Webhook-Timestamp"
	HeaderSignature = "Webhook-Signature"
)

var (
	// ErrForged is a webhook that no key of ours has signed as it came: without a signature, with another's, or changed on its way.
	ErrForged = errors.New("no valid signature")
	// ErrStale is a webhook that was signed, but too long ago or for a time to come: somebody may be sending it once more.
	ErrStale = errors.New("the timestamp is too far from now")
)

// What a header may bring. An id is remembered, and each signature costs work.
const (
	mostID         = 256
	mostSignatures = 16
)

// Verifier verifies webhooks. It is safe for concurrent use.
type Verifier struct {
	Keys      Keys
	Tolerance time.Duration // between the timestamp and now, either way
}

// Verify returns the id of a webhook whose signature is valid; otherwise an error that wraps [ErrForged] or [ErrStale]. body has to be
// what came, byte by byte. How long it takes does not tell how much of a signature was right.
func (v *Verifier) Verify(header http.Header, body []byte, now time.Time) (id string, err error) {
	id, stamp := header.Get(HeaderID), header.Get(HeaderTimestamp)
	switch {
	case id == "":
		return "", fmt.Errorf("%w: no header webhook-id", ErrForged)
	case len(id) > mostID:
		return "", fmt.Errorf("%w: webhook-id is longer than %d bytes", ErrForged, mostID)
	}
	seconds, err := strconv.ParseInt(stamp, 10, 64)
	if err != nil {
		return "", fmt.Errorf("%w: webhook-timestamp is no number of seconds", ErrForged)
	}
	signed := make([]byte, 0, len(id)+len(stamp)+len(body)+2)
	signed = append(append(append(append(append(signed, id...), '.'), stamp...), '.'), body...)
	if !v.signed(strings.Join(header.Values(HeaderSignature), " "), signed) {
		return "", ErrForged
	}
	// Last, so that only what was signed can be called stale. The difference is taken of seconds: that of times would overflow.
	tolerance := int64(v.Tolerance / time.Second)
	if away := now.Unix() - seconds; seconds < 0 || away > tolerance || away < -tolerance {
		return "", fmt.Errorf("%w: webhook-timestamp is %s", ErrStale, stamp)
	}
	return id, nil
}

// signed says whether one of the signatures, separated by spaces, is one of our keys'.
func (v *Verifier) signed(signatures string, content []byte) bool {
	valid := false
	for i, one := range strings.Fields(signatures) {
		if i == mostSignatures {
			break
		}
		version, encoded, _ := strings.Cut(one, ",")
		given, err := base64.StdEncoding.DecodeString(encoded)
		if err != nil {
			continue
		}
		switch version {
		case "v1":
			for _, secret := range v.Keys.secrets {
				mac := hmac.New(sha256.New, secret)
				mac.Write(content)
				valid = hmac.Equal(mac.Sum(nil), given) || valid
			}
		case "v1a":
			for _, public := range v.Keys.publics {
				valid = len(given) == ed25519.SignatureSize && ed25519.Verify(public, content, given) || valid
			}
		}
	}
	return valid
}

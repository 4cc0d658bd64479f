package webhook

import (
	"bytes"
	"crypto/ed25519"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"orderflow.example/kit/secret"
)

// Prefixes by which Standard Webhooks tells keys apart.
const (
	prefixSecret  = "whsec_" // of HMAC-SHA256
	prefixPrivate = "whsk_"  // of Ed25519
	prefixPublic  = "whpk_"  // likewise; the receiver's
)

// How long a secret may be, in bytes: the specification has 192 to 512 bits.
const (
	shortestSecret = 24
	longestSecret  = 64
)

// mostKeys bounds the signature's header, which servers bound too: an Ed25519 signature is 92 bytes of it.
const mostKeys = 10

// Keys sign deliveries, all of them each. More than one is for rotation: the receiver knows the old one, the new one, or both.
type Keys []key

type key struct {
	secret  []byte             // of HMAC-SHA256, or nil
	private ed25519.PrivateKey // or nil
}

// ParseKeys reads a list of whsec_ and whsk_ keys, separated by commas or white space. Nothing is no key. The error never contains one.
func ParseKeys(list string) (Keys, error) {
	var keys Keys
	seen := make(map[string]int)
	for i, text := range secret.List(list) {
		k, err := parseKey(text)
		if err != nil {
			return nil, fmt.Errorf("the %s %w", ordinal(i+1), err)
		}
		if first, again := seen[k.id()]; again {
			return nil, fmt.Errorf("the %s is the %s once more", ordinal(i+1), ordinal(first))
		}
		seen[k.id()] = i + 1
		keys = append(keys, k)
	}
	switch {
	case len(keys) == 0 && list != "":
		return nil, errors.New("there is none")
	case len(keys) > mostKeys:
		return nil, fmt.Errorf("there are %d, and no more than %d can be needed", len(keys), mostKeys)
	}
	return keys, nil
}

func parseKey(text string) (key, error) {
	switch {
	case strings.HasPrefix(text, prefixSecret):
		secret, err := decode(text[len(prefixSecret):])
		if err != nil {
			return key{}, err
		}
		if len(secret) < shortestSecret || len(secret) > longestSecret {
			return key{}, fmt.Errorf("has %d bytes behind %s, and must have %d to %d", len(secret), prefixSecret, shortestSecret, longestSecret)
		}
		return key{secret: secret}, nil
	case strings.HasPrefix(text, prefixPrivate):
		private, err := decode(text[len(prefixPrivate):])
		if err != nil {
			return key{}, err
		}
		return parsePrivate(private)
	case strings.HasPrefix(text, prefixPublic):
		return key{}, fmt.Errorf("is a public key (%s), which is the receiver's; signing needs the private one (%s)", prefixPublic, prefixPrivate)
	}
	return key{}, fmt.Errorf("begins with neither %s nor %s", prefixSecret, prefixPrivate)
}

// parsePrivate takes both forms that are in use: the seed (RFC 8032's private key), and the seed followed by the public key.
func parsePrivate(raw []byte) (key, error) {
	switch len(raw) {
	case ed25519.SeedSize:
		return key{private: ed25519.NewKeyFromSeed(raw)}, nil
	case ed25519.PrivateKeySize:
		private := ed25519.NewKeyFromSeed(raw[:ed25519.SeedSize])
		if !bytes.Equal(private, raw) {
			return key{}, errors.New("is an Ed25519 key whose second half is not the public key of the first")
		}
		return key{private: private}, nil
	}
	return key{}, fmt.Errorf("has %d bytes behind %s, and must have %d or %d", len(raw), prefixPrivate, ed25519.SeedSize, ed25519.PrivateKeySize)
}

// decode wants the standard alphabet; padding may be missing, as it often is.
func decode(text string) ([]byte, error) {
	raw, err := base64.RawStdEncoding.Strict().DecodeString(strings.TrimRight(text, "="))
	if err != nil {
		return nil, errors.New("is not base64 behind its prefix")
	}
	return raw, nil
}

// Sign returns the header's value: a signature by each key over the id, the time of the attempt and the body, each with its scheme.
func (k Keys) Sign(id string, at time.Time, body []byte) string {
	signed := make([]byte, 0, len(id)+len(body)+32)
	signed = append(signed, id...)
	signed = append(signed, '.')
	signed = strconv.AppendInt(signed, at.Unix(), 10)
	signed = append(signed, '.')
	signed = append(signed, body...)
	var header []byte
	for i, key := range k {
		if i > 0 {
			header = append(header, ' ')
		}
		scheme, signature := key.sign(signed)
		header = append(header, scheme...)
		header = append(header, ',')
		header = base64.StdEncoding.AppendEncode(header, signature)
	}
	return string(header)
}

func (k key) sign(content []byte) (scheme string, signature []byte) {
	if k.private != nil {
		return "v1a", ed25519.Sign(k.private, content)
	}
	mac := hmac.New(sha256.New, k.secret)
	mac.Write(content)
	return "v1", mac.Sum(nil)
}

// id tells keys apart.
func (k key) id() string { return string(k.secret) + string(k.private) }

// String names each key's scheme, and of an Ed25519 key what the receiver needs to know. It does not show a secret.
func (k Keys) String() string {
	described := make([]string, 0, len(k))
	for _, key := range k {
		if key.private == nil {
			described = append(described, "v1")
			continue
		}
		described = append(described, "v1a "+prefixPublic+base64.StdEncoding.EncodeToString(key.private[ed25519.SeedSize:]))
	}
	return strings.Join(described, ", ")
}

func ordinal(n int) string {
	switch {
	case n%10 == 1 && n%100 != 11:
		return strconv.Itoa(n) + "st"
	case n%10 == 2 && n%100 != 12:
		return strconv.Itoa(n) + "nd"
	case n%10 == 3 && n%100 != 13:
		return strconv.Itoa(n) + "rd"
	}
	return strconv.Itoa(n) + "th"
}

package dashboard

import (
	"crypto/hkdf"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"encoding/binary"
	"time"
)

// A session is who has typed a token lately. It is in the cookie alone, sealed with a key that is derived from that token: every replica
// that has the token accepts it, no table of sessions is needed, and a session ends when its token is replaced. What a cookie says can
// be read by who has it; it has no token in it, and nothing that it could be made from but by trying tokens, which must be long.
const (
	sessionCookie = "orderflow_session"
	sessionLife   = 12 * time.Hour
)

// level is what a session is good for.
type level byte

const (
	nobody level = iota
	reader       // sees what there is to see
	admin        // changes things, too
)

// session is one, opened.
type session struct {
	level level
	csrf  string // what its forms must bear
}

// credential is a token, as its sum, and the key of the sessions that were begun with it.
type credential struct {
	sum [sha256.Size]byte
	key []byte
}

// credentials are the tokens that there are.
type credentials struct {
	readers, admins []credential
}

func newCredentials(readers, admins []string) *credentials {
	derive := func(tokens []string) (list []credential) {
		for _, token := range tokens {
			// It fails for keys longer than 255 sums alone.
			key, err := hkdf.Key(sha256.New, []byte(token), nil, "orderflow dashboard session", sha256.Size)
			if err != nil {
				panic(err)
			}
			list = append(list, credential{sha256.Sum256([]byte(token)), key})
		}
		return list
	}
	return &credentials{derive(readers), derive(admins)}
}

// of are the credentials that give a level.
func (c *credentials) of(l level) []credential {
	if l == admin {
		return c.admins
	}
	return c.readers
}

// know returns what a token is good for, and its credential. It takes the same time whichever it is, and when it is none.
func (c *credentials) know(token string) (found level, by credential) {
	given := sha256.Sum256([]byte(token))
	for _, l := range []level{reader, admin} {
		for _, known := range c.of(l) {
			if subtle.ConstantTimeCompare(given[:], known.sum[:]) == 1 {
				found, by = l, known
			}
		}
	}
	return found, by
}

// A cookie's value is, in base64, the level, the end in seconds since 1970, a nonce, and the seal of these.
const (
	nonceSize   = 16
	contentSize = 1 + 8 + nonceSize
)

// begin makes the cookie of a new session.
func (c credential) begin(l level, now time.Time) (cookie string, end time.Time) {
	content := make([]byte, contentSize, contentSize+sha256.Size)
	content[0] = byte(l)
	end = now.Add(sessionLife)
	binary.BigEndian.PutUint64(content[1:], uint64(end.Unix())) //nolint:gosec // it is after 1970
	_, _ = rand.Read(content[9:])                               // it never fails
	return base64.RawURLEncoding.EncodeToString(append(content, c.seal("session", content)...)), end
}

// seal is a sum that only who has the token can make.
func (c credential) seal(purpose string, content []byte) []byte {
	mac := hmac.New(sha256.New, c.key)
	mac.Write([]byte(purpose))
	mac.Write(content)
	return mac.Sum(nil)
}

// open returns the session of a cookie; its level is nobody when it is none, is over, or its token is no token any more.
func (c *credentials) open(cookie string, now time.Time) session {
	raw, err := base64.RawURLEncoding.DecodeString(cookie)
	if err != nil || len(raw) != contentSize+sha256.Size {
		return session{}
	}
	content, seal := raw[:contentSize], raw[contentSize:]
	l := level(content[0])
	end := binary.BigEndian.Uint64(content[1:])
	if l != reader && l != admin || end <= uint64(now.Unix()) { //nolint:gosec // it is after 1970
		return session{}
	}
	for _, known := range c.of(l) {
		if hmac.Equal(seal, known.seal("session", content)) {
			return session{l, base64.RawURLEncoding.EncodeToString(known.seal("csrf", content))}
		}
	}
	return session{}
}

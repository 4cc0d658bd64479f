// Package signature verifies webhooks as Standard Webhooks signs them (https://www.standardwebhooks.com, "Signature scheme"). It knows
// nothing of what a webhook is about, and must never show a key.
package signature

import (
	"crypto/ed25519"
	"encoding/base64"
	"errors"
	"fmt"
	"strings"

	"orderflow.example/kit/secret"
)

// The spec's prefixes: of a secret that both sides share, and of the public half of the sender's key pair.
const (
	secretPrefix = "whsec_"
	publicPrefix = "whpk_"
)

// A shared secret has 24 to 64 bytes, says the spec.
const (
	leastSecret = 24
	mostSecret  = 64
)

// Keys are what a signature may have been made with. Several of a kind are good at once, so that one can replace another without a gap.
// It is a setting that reads itself.
type Keys struct {
	secrets [][]byte            // of v1, HMAC-SHA256
	publics []ed25519.PublicKey // of v1a, Ed25519
}

// Decode reads a list, separated by commas or white space, of whsec_… and whpk_…. Its errors name a key's place and never the key.
func (k *Keys) Decode(list string) error {
	*k = Keys{}
	place := 0
	for _, text := range secret.List(list) {
		place++
		if err := k.add(text); err != nil {
			return fmt.Errorf("key %d %w", place, err)
		}
	}
	return nil
}

func (k *Keys) add(text string) error {
	if encoded, ok := strings.CutPrefix(text, secretPrefix); ok {
		secret, err := base64.StdEncoding.DecodeString(encoded)
		if err != nil {
			return errors.New("is not base64 after whsec_")
		}
		if len(secret) < leastSecret || len(secret) > mostSecret {
			return fmt.Errorf("has %d bytes after whsec_, and may have %d to %d", len(secret), leastSecret, mostSecret)
		}
		k.secrets = append(k.secrets, secret)
		return nil
	}
	if encoded, ok := strings.CutPrefix(text, publicPrefix); ok {
		public, err := base64.StdEncoding.DecodeString(encoded)
		if err != nil || len(public) != ed25519.PublicKeySize {
			return fmt.Errorf("is not the base64 of %d bytes after whpk_", ed25519.PublicKeySize)
		}
		k.publics = append(k.publics, public)
		return nil
	}
	if strings.HasPrefix(text, "whsk_") {
		return errors.New("is whsk_, which is the sender's: give its public half, whpk_; a consumer's log says it at the start")
	}
	return errors.New("begins neither with whsec_ nor with whpk_")
}

// Len is how many there are.
func (k *Keys) Len() int { return len(k.secrets) + len(k.publics) }

// Empty says that there is none.
func (k *Keys) Empty() bool { return k.Len() == 0 }

// String shows that there are keys, and how many.
func (k Keys) String() string {
	if k.Empty() {
		return ""
	}
	return fmt.Sprintf("%d secrets, %d public keys", len(k.secrets), len(k.publics))
}

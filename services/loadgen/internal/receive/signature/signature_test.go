package signature_test

import (
	"crypto/ed25519"
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"

	"orderflow.example/services/loadgen/internal/receive/signature"
)

const (
	secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw" // the spec's own example
	other  = "whsec_" + "b3JkZXJmbG93IG9yZGVyZmxvdyBvcmRlcmZsb3c="
)

var now = time.Unix(1_614_265_330, 0)

func verifier(t *testing.T, keys string) *signature.Verifier {
	t.Helper()
	v := &signature.Verifier{Tolerance: 5 * time.Minute}
	if err := v.Keys.Decode(keys); err != nil {
		t.Fatal(err)
	}
	return v
}

func headers(id, stamp string, signatures ...string) http.Header {
	h := http.Header{}
	h.Set("webhook-id", id)
	h.Set("webhook-timestamp", stamp)
	h.Set("webhook-signature", strings.Join(signatures, " "))
	return h
}

// The vector is in the tests of the reference implementations.
func TestTheReferenceVectorIsValid(t *testing.T) {
	t.Parallel()
	h := headers("msg_p5jXN8AQM9LWM0D4loKWxJek", "1614265330", "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=")
	body := []byte(`{"test": 2432232314}`)
	if id, err := verifier(t, secret).Verify(h, body, now); err != nil || id != "msg_p5jXN8AQM9LWM0D4loKWxJek" {
		t.Fatal(id, err)
	}
	body[2] ^= 1
	if _, err := verifier(t, secret).Verify(h, body, now); !errors.Is(err, signature.ErrForged) {
		t.Fatal("a changed body:", err)
	}
}

// What the independent library signs is valid here, with whichever of several secrets.
func TestWhatTheReferenceLibrarySignsIsValid(t *testing.T) {
	t.Parallel()
	for _, with := range []string{secret, other} {
		hook, err := standardwebhooks.NewWebhook(with)
		if err != nil {
			t.Fatal(err)
		}
		body := []byte("{\"type\":\"order.created\",\"data\":{\"customer_name\":\"Zoë \u2028\"}}")
		signed, err := hook.Sign("msg_1", now, body)
		if err != nil {
			t.Fatal(err)
		}
		for _, keys := range []string{with, secret + "," + other, other + "\n" + secret} {
			if _, err := verifier(t, keys).Verify(headers("msg_1", fmt.Sprint(now.Unix()), "v1,AAAA", signed), body, now); err != nil {
				t.Errorf("%v", err)
			}
		}
	}
}

func TestEd25519SignaturesAreValid(t *testing.T) {
	t.Parallel()
	public, private, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	_, stranger, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	sign := func(key ed25519.PrivateKey) string {
		return "v1a," + base64.StdEncoding.EncodeToString(ed25519.Sign(key, []byte("msg_1."+fmt.Sprint(now.Unix())+".{}")))
	}
	v := verifier(t, secret+" whpk_"+base64.StdEncoding.EncodeToString(public))
	if _, err := v.Verify(headers("msg_1", fmt.Sprint(now.Unix()), sign(private)), []byte("{}"), now); err != nil {
		t.Error(err)
	}
	for name, forged := range map[string]string{
		"another's":          sign(stranger),
		"under another name": strings.Replace(sign(private), "v1a,", "v1,", 1),
		"cut short":          sign(private)[:40],
	} {
		if _, err := v.Verify(headers("msg_1", fmt.Sprint(now.Unix()), forged), []byte("{}"), now); !errors.Is(err, signature.ErrForged) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestEveryPartIsSigned(t *testing.T) {
	t.Parallel()
	hook, err := standardwebhooks.NewWebhook(secret)
	if err != nil {
		t.Fatal(err)
	}
	body := []byte(`{}`)
	signed, err := hook.Sign("msg_1", now, body)
	if err != nil {
		t.Fatal(err)
	}
	stamp := fmt.Sprint(now.Unix())
	for _, c := range []struct {
		name   string
		header http.Header
		body   string
		now    time.Time
		want   error
	}{
		{"as it was signed", headers("msg_1", stamp, signed), "{}", now, nil},
		{"another id", headers("msg_2", stamp, signed), "{}", now, signature.ErrForged},
		{"another time", headers("msg_1", "1614265331", signed), "{}", now, signature.ErrForged},
		{"another body", headers("msg_1", stamp, signed), "{} ", now, signature.ErrForged},
		{"no id", headers("", stamp, signed), "{}", now, signature.ErrForged},
		{"no time", headers("msg_1", "", signed), "{}", now, signature.ErrForged},
		{"no signature", headers("msg_1", stamp), "{}", now, signature.ErrForged},
		{"an unknown version", headers("msg_1", stamp, strings.Replace(signed, "v1,", "v2,", 1)), "{}", now, signature.ErrForged},
		{"an endless id", headers(strings.Repeat("x", 300), stamp, signed), "{}", now, signature.ErrForged},
		{"just in time", headers("msg_1", stamp, signed), "{}", now.Add(5 * time.Minute), nil},
		{"too old", headers("msg_1", stamp, signed), "{}", now.Add(5*time.Minute + time.Second), signature.ErrStale},
		{"of the future", headers("msg_1", stamp, signed), "{}", now.Add(-5*time.Minute - time.Second), signature.ErrStale},
	} {
		if _, err := verifier(t, secret).Verify(c.header, []byte(c.body), c.now); !errors.Is(err, c.want) {
			t.Errorf("%s: %v, want %v", c.name, err, c.want)
		}
	}
	// Only what was signed can be called stale: who has no key learns nothing about the clock.
	if _, err := verifier(t, other).Verify(headers("msg_1", stamp, signed), body, now.Add(time.Hour)); !errors.Is(err, signature.ErrForged) {
		t.Error(err)
	}
	// The signature that counts may stand behind others, and a header may come more than once.
	twice := headers("msg_1", stamp, "v1,AAAA")
	twice.Add("webhook-signature", signed)
	if _, err := verifier(t, secret).Verify(twice, body, now); err != nil {
		t.Error(err)
	}
}

func TestATimestampOutOfAllBoundsIsStale(t *testing.T) {
	t.Parallel()
	hook, err := standardwebhooks.NewWebhook(secret)
	if err != nil {
		t.Fatal(err)
	}
	for _, seconds := range []int64{-1, -1 << 63, 1<<63 - 1} {
		signed, err := hook.Sign("msg_1", time.Unix(seconds, 0), []byte("{}"))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := verifier(t, secret).Verify(headers("msg_1", fmt.Sprint(seconds), signed), []byte("{}"), now); !errors.Is(err, signature.ErrStale) {
			t.Errorf("%d: %v", seconds, err)
		}
	}
}

func TestWrongKeysAreNamedByTheirPlace(t *testing.T) {
	t.Parallel()
	for list, want := range map[string]string{
		"secret":                             "key 1 begins neither with whsec_ nor with whpk_",
		secret + ",whsec_not base64":         "key 2 is not base64 after whsec_",
		"whsec_c2hvcnQ=":                     "key 1 has 5 bytes after whsec_, and may have 24 to 64",
		secret + " whpk_c2hvcnQ=":            "key 2 is not the base64 of 32 bytes after whpk_",
		secret + "\nwhsk_" + secret[6:] + "": "key 2 is whsk_, which is the sender's",
	} {
		var keys signature.Keys
		if err := keys.Decode(list); err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), secret[6:]) {
			t.Errorf("%q: %v, want %s", list, err, want)
		}
	}
	var keys signature.Keys
	if err := keys.Decode(" ,\n"); err != nil || !keys.Empty() {
		t.Error(err)
	}
}

func FuzzVerifyTakesWhatTheLibraryTakes(f *testing.F) {
	f.Add("msg_1", "1614265330", "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=", []byte("{}"))
	f.Add("msg_p5jXN8AQM9LWM0D4loKWxJek", "1614265330", "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=", []byte(`{"test": 2432232314}`))
	hook, err := standardwebhooks.NewWebhook(secret)
	if err != nil {
		f.Fatal(err)
	}
	v := &signature.Verifier{Tolerance: 5 * time.Minute}
	if err := v.Keys.Decode(secret); err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, id, stamp, signatures string, body []byte) {
		h := headers(id, stamp, signatures)
		if _, err := v.Verify(h, body, now); err == nil && hook.VerifyIgnoringTimestamp(body, h) != nil {
			t.Errorf("valid only here: %q %q %q", id, stamp, signatures)
		}
	})
}

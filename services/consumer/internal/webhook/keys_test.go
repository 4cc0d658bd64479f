package webhook_test

import (
	"bytes"
	"crypto/ed25519"
	"encoding/base64"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	standard "github.com/standard-webhooks/standard-webhooks/libraries/go"

	"orderflow.example/services/consumer/internal/webhook"
)

// What the project's own libraries are tested with (libraries/go/webhook_symmetric_test.go and webhook_asymmetric_test.go).
const (
	publishedID      = "msg_p5jXN8AQM9LWM0D4loKWxJek"
	publishedTime    = 1614265330
	publishedBody    = `{"test": 2432232314}`
	publishedSecret  = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
	publishedV1      = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="
	publishedPrivate = "whsk_VEVTVFNJR05JTkdLRVlET05PVFVTRVRISVNGT1JBTlk="
	publishedV1a     = "v1a,tQ9V2XOqn7jL/DQenEFpqIugdBVtiMmER5mhSkXBNwM0mkATuDe6KYYUuxqtaiHeYGb7KaaBRdM5WqyeFiL8Ag=="
)

func parse(t *testing.T, list string) webhook.Keys {
	t.Helper()
	keys, err := webhook.ParseKeys(list)
	if err != nil {
		t.Fatal(err)
	}
	return keys
}

func TestSignaturesAreThePublishedOnes(t *testing.T) {
	t.Parallel()
	seed, _ := base64.StdEncoding.DecodeString(strings.TrimPrefix(publishedPrivate, "whsk_"))
	whole := "whsk_" + base64.StdEncoding.EncodeToString(ed25519.NewKeyFromSeed(seed))
	for list, want := range map[string]string{
		publishedSecret:                                    publishedV1,
		publishedPrivate:                                   publishedV1a,
		strings.TrimRight(publishedPrivate, "="):           publishedV1a,
		whole:                                              publishedV1a,
		publishedSecret + "," + publishedPrivate:           publishedV1 + " " + publishedV1a,
		publishedPrivate + "\n" + publishedSecret:          publishedV1a + " " + publishedV1,
		"  " + whole + ",\r\n\t" + publishedSecret + " , ": publishedV1a + " " + publishedV1,
	} {
		if got := parse(t, list).Sign(publishedID, time.Unix(publishedTime, 0), []byte(publishedBody)); got != want {
			t.Errorf("%d bytes of keys sign\n%s\ninstead of\n%s", len(list), got, want)
		}
	}
}

// Every key's signature is one that an independent library takes, and no other key's.
func TestALibraryVerifiesEachKeysSignature(t *testing.T) {
	t.Parallel()
	var secrets []string
	for i, length := range []int{24, 32, 64} {
		secrets = append(secrets, "whsec_"+base64.StdEncoding.EncodeToString(bytes.Repeat([]byte{byte(i + 1)}, length)))
	}
	now := time.Now()
	head := http.Header{}
	head.Set(standard.HeaderWebhookID, "order-1-abc")
	head.Set(standard.HeaderWebhookTimestamp, strconv.FormatInt(now.Unix(), 10))
	for n := 1; n <= len(secrets); n++ {
		head.Set(standard.HeaderWebhookSignature, parse(t, strings.Join(secrets[:n], ",")).Sign("order-1-abc", now, []byte(publishedBody)))
		for i, secret := range secrets {
			library, err := standard.NewWebhook(secret)
			if err != nil {
				t.Fatal(err)
			}
			if err := library.Verify([]byte(publishedBody), head); (err == nil) != (i < n) {
				t.Errorf("signed by %d secrets, verified with the %dth: %v", n, i+1, err)
			}
			if err := library.Verify([]byte(publishedBody+" "), head); err == nil {
				t.Error("another body was verified")
			}
		}
	}
}

func TestWhatIsNoKeyIsRefusedWithoutBeingShown(t *testing.T) {
	t.Parallel()
	secret := func(n int) string { return base64.StdEncoding.EncodeToString(bytes.Repeat([]byte("geheim"), 20)[:n]) }
	halves := append(bytes.Repeat([]byte("geheim!!"), 4), bytes.Repeat([]byte("geheim??"), 4)...)
	for list, want := range map[string]string{
		",":                                "there is none",
		secret(32):                         "the 1st begins with neither whsec_ nor whsk_",
		"whsec_" + secret(23):              "the 1st has 23 bytes behind whsec_, and must have 24 to 64",
		"whsec_" + secret(65):              "the 1st has 65 bytes",
		"whsec_":                           "the 1st has 0 bytes",
		publishedSecret + " whsec_geheim!": "the 2nd is not base64",
		"whsec_" + secret(24) + "=x":       "the 1st is not base64",
		"whsec_-_" + secret(24):            "the 1st is not base64",
		"whsk_" + secret(31):               "the 1st has 31 bytes behind whsk_, and must have 32 or 64",
		"whsk_" + base64.StdEncoding.EncodeToString(halves): "second half is not the public key",
		"whpk_" + secret(32): "the receiver's; signing needs the private one",
		publishedSecret + "," + publishedPrivate + "," + publishedSecret: "the 3rd is the 1st once more",
	} {
		keys, err := webhook.ParseKeys(list)
		if err == nil || !strings.Contains(err.Error(), want) || len(keys) != 0 {
			t.Errorf("%s: %v", want, err)
		}
		if text := fmt.Sprint(err); strings.Contains(text, secret(24)[:8]) || strings.Contains(text, "geheim") {
			t.Errorf("shown: %s", text)
		}
	}
	var many []string
	for i := range 11 {
		many = append(many, "whsec_"+base64.StdEncoding.EncodeToString(bytes.Repeat([]byte{byte(i)}, 32)))
	}
	if _, err := webhook.ParseKeys(strings.Join(many, "\n")); err == nil || !strings.Contains(err.Error(), "there are 11") {
		t.Errorf("%v", err)
	}
	if keys, err := webhook.ParseKeys(strings.Join(many[:10], "\n")); err != nil || len(keys) != 10 {
		t.Errorf("%v", err)
	}
	if keys, err := webhook.ParseKeys(""); err != nil || len(keys) != 0 {
		t.Errorf("nothing is no key: %v", err)
	}
}

func TestKeysAreShownByTheirPublicPartsAlone(t *testing.T) {
	t.Parallel()
	seed, _ := base64.StdEncoding.DecodeString(strings.TrimPrefix(publishedPrivate, "whsk_"))
	public := "whpk_" + base64.StdEncoding.EncodeToString(ed25519.NewKeyFromSeed(seed).Public().(ed25519.PublicKey))
	keys := parse(t, publishedSecret+","+publishedPrivate)
	for _, shown := range []string{fmt.Sprint(keys), fmt.Sprintf("%v %+v", keys, keys)} {
		if strings.Contains(shown, "MfKQ9r8G") || strings.Contains(shown, "VEVTVFNJ") || !strings.Contains(shown, public) {
			t.Error(shown)
		}
	}
}

// Whatever the setting holds: no panic, no key in the error, and what is taken can sign so that its own key verifies it.
func FuzzKeys(f *testing.F) {
	f.Add("whsec_", "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
	f.Add("whsk_", "VEVTVFNJR05JTkdLRVlET05PVFVTRVRISVNGT1JBTlk=")
	f.Add(publishedSecret+",", "whsk_ ,,")
	f.Add("whpk_", "=")
	f.Fuzz(func(t *testing.T, before, after string) {
		const marked = "R2VoZWltR2VoZWlt"
		list := before + marked + after
		keys, err := webhook.ParseKeys(list)
		if err != nil {
			if strings.Contains(err.Error(), marked) {
				t.Errorf("%q: %v", list, err)
			}
			return
		}
		header := keys.Sign("id", time.Unix(1, 0), []byte("body"))
		signatures := strings.Split(header, " ")
		if len(signatures) != len(keys) || slices.Contains(signatures, "") {
			t.Errorf("%d keys sign %s", len(keys), header)
		}
		for _, text := range strings.Fields(strings.ReplaceAll(list, ",", " ")) {
			if !strings.HasPrefix(text, "whsec_") {
				continue
			}
			library, err := standard.NewWebhook(pad(text))
			if err != nil {
				continue
			}
			own, err := library.Sign("id", time.Unix(1, 0), []byte("body"))
			if err != nil || !slices.Contains(signatures, own) {
				t.Errorf("%s is not in %s, %v", own, header, err)
			}
		}
	})
}

// pad completes what may be missing at the end of base64: the library insists on it.
func pad(text string) string {
	text = strings.TrimRight(text, "=")
	return text + strings.Repeat("=", (4-(len(text)-len("whsec_"))%4)%4)
}

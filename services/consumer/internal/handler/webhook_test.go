package handler_test

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"orderflow.example/services/consumer/internal/handler"
	"orderflow.example/services/consumer/internal/message"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func receiver(t *testing.T, answer http.HandlerFunc) string {
	t.Helper()
	s := httptest.NewServer(answer)
	t.Cleanup(s.Close)
	return s.URL
}

func webhook(t *testing.T, address string, timeout time.Duration) *handler.Webhook {
	t.Helper()
	w := handler.NewWebhook(address, "secret", 2, timeout)
	t.Cleanup(w.Close)
	return w
}

var order = message.Message{
	ID: 7, OrderID: 42, Attempt: 3, Body: json.RawMessage(`{"order_id": 42}`),
	Traceparent: "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
}

func TestAWebhookIsSignedAndCanBeToldApartFromItsRepetition(t *testing.T) {
	t.Parallel()
	var got *http.Request
	var body []byte
	w := webhook(t, receiver(t, func(_ http.ResponseWriter, r *http.Request) {
		got = r
		body, _ = io.ReadAll(r.Body)
	}), time.Minute)
	if err := w.Handle(t.Context(), order); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{
		"Content-Type": "application/json", "Idempotency-Key": order.OrderKey(), "Orderflow-Attempt": "3", "Traceparent": order.Traceparent,
	} {
		if got.Header.Get(name) != want {
			t.Errorf("%s: %q", name, got.Header.Get(name))
		}
	}
	if got.Method != http.MethodPost || string(body) != string(order.Body) {
		t.Errorf("%s %s", got.Method, body)
	}
	stamp, signature, _ := strings.Cut(strings.TrimPrefix(got.Header.Get("Orderflow-Signature"), "t="), ",v1=")
	mac := hmac.New(sha256.New, []byte("secret"))
	mac.Write([]byte(stamp + "." + string(body)))
	if signature != hex.EncodeToString(mac.Sum(nil)) {
		t.Errorf("signature %q", got.Header.Get("Orderflow-Signature"))
	}
}

func TestAnAnswerDecidesAboutTheRetry(t *testing.T) {
	t.Parallel()
	date := time.Now().Add(30 * time.Second).UTC().Format(http.TimeFormat)
	for name, test := range map[string]struct {
		status     int
		retryAfter string
		ok         bool
		permanent  bool
		least      time.Duration // of the delay asked for; 0: none is asked for
	}{
		"200":                        {status: 200, ok: true},
		"204":                        {status: 204, ok: true},
		"299":                        {status: 299, ok: true},
		"300":                        {status: 300},
		"302":                        {status: 302},
		"400":                        {status: 400},
		"401, a rotated secret":      {status: 401},
		"403":                        {status: 403},
		"404, during a deploy":       {status: 404},
		"408":                        {status: 408},
		"409, still at work on it":   {status: 409},
		"410, wants no more":         {status: 410, permanent: true},
		"422":                        {status: 422},
		"425":                        {status: 425},
		"429":                        {status: 429},
		"429, seconds":               {status: 429, retryAfter: "7", least: 7 * time.Second},
		"429, hours":                 {status: 429, retryAfter: "7200", least: 2 * time.Hour},
		"500":                        {status: 500},
		"503, seconds":               {status: 503, retryAfter: " 120 ", least: 2 * time.Minute},
		"503, date":                  {status: 503, retryAfter: date, least: 25 * time.Second},
		"503, longer than it may be": {status: 503, retryAfter: "999999", least: 24 * time.Hour},
		"503, nonsense":              {status: 503, retryAfter: "soon"},
		"503, negative":              {status: 503, retryAfter: "-5"},
	} {
		w := webhook(t, receiver(t, func(w http.ResponseWriter, _ *http.Request) {
			if test.retryAfter != "" {
				w.Header().Set("Retry-After", test.retryAfter)
			}
			w.Header().Set("Location", "/elsewhere")
			w.WriteHeader(test.status)
			if test.status != 204 {
				_, _ = io.WriteString(w, "the reason\nin words")
			}
		}), time.Minute)
		err := w.Handle(t.Context(), order)
		if (err == nil) != test.ok || handler.IsPermanent(err) != test.permanent {
			t.Errorf("%s: %v, permanent %t", name, err, handler.IsPermanent(err))
		}
		if err != nil && !strings.Contains(err.Error(), "the reason in words") {
			t.Errorf("%s: %v does not quote the answer", name, err)
		}
		if after := handler.Delay(err, time.Second) - time.Second; after < test.least || after > test.least+10*time.Second {
			t.Errorf("%s: retry %s after the backoff", name, after)
		}
	}
}

func TestAReceiverThatHangsOrIsGoneIsTriedAgain(t *testing.T) {
	t.Parallel()
	free := make(chan struct{})
	address := receiver(t, func(http.ResponseWriter, *http.Request) { <-free })
	defer close(free)
	if err := webhook(t, address, 20*time.Millisecond).Handle(t.Context(), order); err == nil || handler.IsPermanent(err) {
		t.Fatalf("%v", err)
	}
	ctx, cancel := context.WithTimeoutCause(t.Context(), 20*time.Millisecond, handler.ErrTimeout)
	defer cancel()
	if err := webhook(t, address, time.Minute).Handle(ctx, order); !errors.Is(err, handler.ErrTimeout) {
		t.Fatalf("%v", err)
	}
	gone := httptest.NewServer(nil)
	gone.Close()
	err := webhook(t, strings.Replace(gone.URL, "http://", "http://user:geheim@", 1)+"/?key=geheim", time.Minute).Handle(t.Context(), order)
	if err == nil || handler.IsPermanent(err) || strings.Contains(err.Error(), "geheim") {
		t.Fatalf("%v", err)
	}
}

func TestTheStatusDecidesHoweverSlowlyTheBodyComes(t *testing.T) {
	t.Parallel()
	w := webhook(t, receiver(t, func(w http.ResponseWriter, r *http.Request) {
		w.WriteHeader(http.StatusOK)
		_ = http.NewResponseController(w).Flush()
		<-r.Context().Done()
	}), time.Hour)
	handled := make(chan error, 1)
	go func() { handled <- w.Handle(t.Context(), order) }()
	select {
	case err := <-handled:
		if err != nil {
			t.Fatal(err)
		}
	case <-time.After(15 * time.Second):
		t.Fatal("still waiting for the body")
	}
}

func TestAnEndlessAnswerIsNotReadToItsEnd(t *testing.T) {
	t.Parallel()
	w := webhook(t, receiver(t, func(w http.ResponseWriter, r *http.Request) {
		chunk := []byte(strings.Repeat("x", 4096))
		for r.Context().Err() == nil {
			if _, err := w.Write(chunk); err != nil {
				return
			}
		}
	}), time.Minute)
	if err := w.Handle(t.Context(), order); err != nil {
		t.Fatal(err)
	}
}

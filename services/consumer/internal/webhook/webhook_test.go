package webhook_test

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"testing"
	"time"

	standard "github.com/standard-webhooks/standard-webhooks/libraries/go"
	"go.uber.org/goleak"

	"orderflow.example/services/consumer/internal/handler"
	"orderflow.example/services/consumer/internal/message"
	"orderflow.example/services/consumer/internal/webhook"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// long is a timeout that only a fault reaches.
const long = time.Minute

// receiver is a server of the test's own.
func receiver(t *testing.T, answer http.HandlerFunc) string {
	t.Helper()
	s := httptest.NewServer(answer)
	t.Cleanup(s.Close)
	return s.URL
}

// open makes a handler of settings that are complete but for what the test is about.
func open(t *testing.T, s webhook.Settings) *webhook.Webhook {
	t.Helper()
	if s.Timeout == 0 {
		s.Timeout = long
	}
	if s.Log == nil {
		s.Log = slog.New(slog.DiscardHandler)
	}
	s.Concurrency, s.UserAgent = 10, "orderflow-consumer/test"
	w, err := webhook.New(s)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(w.Close)
	w.WaitForBodies(long)
	return w
}

func order() message.Message {
	return message.Message{
		ID: 7, OrderID: 42, Attempt: 3, Body: json.RawMessage(`{"price": 1.10, "order_id": 42}`),
		Created:     message.InstantOf(time.Date(2026, 1, 7, 19, 48, 3, 123456000, time.UTC)),
		Traceparent: "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
	}
}

// delivery is what a receiver got.
type delivery struct {
	head http.Header
	body []byte
}

// deliver makes one call and returns what arrived.
func deliver(t *testing.T, s webhook.Settings, m message.Message) delivery {
	t.Helper()
	var got delivery
	s.URL = receiver(t, func(_ http.ResponseWriter, r *http.Request) {
		got.head = r.Header.Clone()
		got.body, _ = io.ReadAll(r.Body)
	})
	if err := open(t, s).Handle(t.Context(), m); err != nil {
		t.Fatal(err)
	}
	return got
}

func TestADeliveryIsAStandardWebhook(t *testing.T) {
	t.Parallel()
	headers, err := webhook.ParseHeaders("Authorization: Bearer geheim\nX-Tenant: a")
	if err != nil {
		t.Fatal(err)
	}
	before := time.Now().Truncate(time.Second)
	m := order()
	got := deliver(t, webhook.Settings{Keys: parse(t, publishedSecret+","+publishedPrivate), Headers: headers}, m)
	library, err := standard.NewWebhook(publishedSecret)
	if err != nil {
		t.Fatal(err)
	}
	if err := library.Verify(got.body, got.head); err != nil {
		t.Errorf("a library does not verify it: %v", err)
	}
	stamp := json.Number(got.head.Get("Webhook-Timestamp"))
	seconds, err := stamp.Int64()
	if at := time.Unix(seconds, 0); err != nil || at.Before(before) || at.After(time.Now()) {
		t.Errorf("made at %s", stamp)
	}
	if want := parse(t, publishedSecret+","+publishedPrivate).Sign(m.OrderKey(), time.Unix(seconds, 0), got.body); got.head.Get("Webhook-Signature") != want {
		t.Errorf("signed %s", got.head.Get("Webhook-Signature"))
	}
	for name, want := range map[string]string{
		"Webhook-Id": m.OrderKey(), "Content-Type": "application/json", "Orderflow-Attempt": "3", "Traceparent": m.Traceparent,
		"Authorization": "Bearer geheim", "X-Tenant": "a", "User-Agent": "orderflow-consumer/test", "Idempotency-Key": "",
	} {
		if got.head.Get(name) != want {
			t.Errorf("%s: %q", name, got.head.Get(name))
		}
	}
	const want = `{"type":"order.created","timestamp":"2026-01-07T19:48:03.123456Z","data":{"price": 1.10, "order_id": 42}}`
	if string(got.body) != want {
		t.Errorf("the body is %s", got.body)
	}
}

// The id must not contain a full stop: it delimits what is signed (specification, "Signature scheme").
func TestTheIdIsTheOrdersAndNoAttempts(t *testing.T) {
	t.Parallel()
	first := order()
	id := deliver(t, webhook.Settings{}, first).head.Get("Webhook-Id")
	if !regexp.MustCompile(`^[A-Za-z0-9_-]{1,100}$`).MatchString(id) {
		t.Errorf("the id is %s", id)
	}
	for name, test := range map[string]struct {
		change func(*message.Message)
		same   bool
	}{
		"another attempt": {func(m *message.Message) { m.Attempt++; m.ReadCount++ }, true},
		"a redrive":       {func(m *message.Message) { m.ID, m.Attempt, m.EnqueuedAt = 99, 1, message.InstantOf(time.Now()) }, true},
		"another order":   {func(m *message.Message) { m.OrderID++ }, false},
		"the same id, given out again after a restore": {func(m *message.Message) { m.Created = message.InstantOf(time.Now()) }, false},
		"another installation's order":                 {func(m *message.Message) { m.Installation[0]++ }, false},
	} {
		m := order()
		test.change(&m)
		if other := deliver(t, webhook.Settings{}, m).head.Get("Webhook-Id"); (other == id) != test.same {
			t.Errorf("%s: %s after %s", name, other, id)
		}
	}
}

func TestTheTimeOfAnOrderThatHasNoneIsNull(t *testing.T) {
	t.Parallel()
	m := order()
	m.Created = message.Instant{}
	got := deliver(t, webhook.Settings{}, m)
	if !strings.HasPrefix(string(got.body), `{"type":"order.created","timestamp":null,`) || !json.Valid(got.body) {
		t.Errorf("%s", got.body)
	}
	if got.head.Values("Webhook-Signature") != nil {
		t.Error("signed without a key")
	}
}

func TestAReceiverThatHangsOrIsGoneIsTriedAgain(t *testing.T) {
	t.Parallel()
	free := make(chan struct{})
	address := receiver(t, func(http.ResponseWriter, *http.Request) { <-free })
	defer close(free)
	err := open(t, webhook.Settings{URL: address, Timeout: 20 * time.Millisecond}).Handle(t.Context(), order())
	if !errors.Is(err, handler.ErrTimeout) || !handler.IsUnavailable(err) {
		t.Fatalf("%v", err)
	}
	ctx, cancel := context.WithTimeoutCause(t.Context(), 20*time.Millisecond, handler.ErrTimeout)
	defer cancel()
	if err := open(t, webhook.Settings{URL: address}).Handle(ctx, order()); !errors.Is(err, handler.ErrTimeout) {
		t.Fatalf("%v", err)
	}
	drained, drain := context.WithCancelCause(t.Context())
	drain(handler.ErrDraining)
	if err := open(t, webhook.Settings{URL: address}).Handle(drained, order()); !errors.Is(err, handler.ErrDraining) || handler.IsUnavailable(err) {
		t.Fatalf("%v", err)
	}
	gone := httptest.NewServer(nil)
	gone.Close()
	for name, address := range map[string]string{
		"refused":     strings.Replace(gone.URL, "http://", "http://user:geheim@", 1) + "/?key=geheim",
		"no name":     "http://user:geheim@no-such-host.invalid/?key=geheim",
		"no address":  "http://user:geheim@h:port/",
		"not TLS":     strings.Replace(address, "http://", "https://user:geheim@", 1),
		"not of HTTP": strings.Replace(receiver(t, func(w http.ResponseWriter, _ *http.Request) { hijack(t, w, "SSH-2.0-geheim\r\n") }), "http://", "http://user:geheim@", 1),
		"cut off":     receiver(t, func(w http.ResponseWriter, _ *http.Request) { hijack(t, w, "HTTP/1.1 200") }),
	} {
		err := open(t, webhook.Settings{URL: address}).Handle(t.Context(), order())
		if !handler.IsUnavailable(err) || handler.IsPermanent(err) || strings.Contains(err.Error(), "geheim") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// hijack answers with what is no answer, and hangs up.
func hijack(t *testing.T, w http.ResponseWriter, text string) {
	conn, _, err := http.NewResponseController(w).Hijack()
	if err != nil {
		t.Error(err)
		return
	}
	_, _ = io.WriteString(conn, text)
	_ = conn.Close()
}

func TestTheStatusDecidesHoweverSlowlyTheBodyComes(t *testing.T) {
	t.Parallel()
	w := open(t, webhook.Settings{Timeout: time.Hour, URL: receiver(t, func(w http.ResponseWriter, r *http.Request) {
		w.WriteHeader(http.StatusOK)
		_ = http.NewResponseController(w).Flush()
		<-r.Context().Done()
	})})
	w.WaitForBodies(webhook.BodyLimit)
	handled := make(chan error, 1)
	go func() { handled <- w.Handle(t.Context(), order()) }()
	select {
	case err := <-handled:
		if err != nil {
			t.Fatal(err)
		}
	case <-time.After(long):
		t.Fatal("still waiting for the body")
	}
}

func TestAnEndlessAnswerIsNotReadToItsEnd(t *testing.T) {
	t.Parallel()
	w := open(t, webhook.Settings{URL: receiver(t, func(w http.ResponseWriter, r *http.Request) {
		chunk := []byte(strings.Repeat("x", 4096))
		for r.Context().Err() == nil {
			if _, err := w.Write(chunk); err != nil {
				return
			}
		}
	})})
	if err := w.Handle(t.Context(), order()); err != nil {
		t.Fatal(err)
	}
}

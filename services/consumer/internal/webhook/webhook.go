// Package webhook owns the delivery of orders by HTTP, as Standard Webhooks has it (https://www.standardwebhooks.com, specification
// 1.0.0): what is sent, how it is signed, and what an answer means. It must never show a secret, follow a redirect, or let an answer
// decide by more than its status and Retry-After.
package webhook

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"orderflow.example/services/consumer/internal/handler"
	"orderflow.example/services/consumer/internal/message"
)

// Webhook is a handler that POSTs each order to a URL and takes the answer for the result (see judge). The receiver tells repetitions by
// webhook-id, which is the same for every attempt at an order and for its redrives, and which no other order ever has
// ([message.OrderKey]).
type Webhook struct {
	settings  Settings
	senders   *senders
	now       func() time.Time
	bodyLimit time.Duration // bodyLimit, but for tests
}

// New returns a handler. The caller closes it. The error is about the certificates.
func New(s Settings) (*Webhook, error) {
	senders, err := newSenders(s)
	if err != nil {
		return nil, err
	}
	return &Webhook{settings: s, senders: senders, now: time.Now, bodyLimit: bodyLimit}, nil
}

// Close ends idle connections.
func (w *Webhook) Close() { w.senders.close() }

// SigningKeys is how many keys sign deliveries now: several while one replaces another.
func (w *Webhook) SigningKeys() int { return len(w.senders.current().keys) }

// Handle makes one call.
func (w *Webhook) Handle(ctx context.Context, m message.Message) error {
	limited, stop := context.WithTimeoutCause(ctx, w.settings.Timeout, handler.ErrTimeout)
	defer stop()
	s := w.senders.current()
	call, err := w.request(limited, s, &m)
	if err != nil {
		return handler.Unavailable(s.failure("webhook: " + unaddressed(err))) // a wrong address is no order's fault
	}
	span := begin(ctx, call)
	answer, err := s.http.Do(call)
	s.end(span, answer, err)
	if err != nil {
		cause := context.Cause(limited)
		if cause == nil || errors.Is(cause, handler.ErrTimeout) {
			// Other connections of the pool may have died with this one: a firewall that forgets, forgets them all.
			s.http.CloseIdleConnections()
		}
		switch {
		case errors.Is(cause, handler.ErrTimeout):
			return fmt.Errorf("webhook: no answer: %w", cause)
		case cause != nil:
			return cause
		}
		return handler.Unavailable(s.failure("webhook: " + unaddressed(err)))
	}
	defer answer.Body.Close()
	excerpt, cut := read(answer.Body, w.bodyLimit)
	return s.judge(answer, excerpt, cut, w.now())
}

// request is one attempt at an order, signed.
func (w *Webhook) request(ctx context.Context, s *sender, m *message.Message) (*http.Request, error) {
	body := payload(m)
	call, err := http.NewRequestWithContext(ctx, http.MethodPost, s.url, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	for _, h := range s.headers {
		call.Header.Set(h.Name, h.Value)
	}
	id, now := m.OrderKey(), w.now()
	call.Header.Set("Content-Type", "application/json")
	call.Header.Set("Webhook-Id", id)
	call.Header.Set("Webhook-Timestamp", strconv.FormatInt(now.Unix(), 10))
	if len(s.keys) > 0 {
		call.Header.Set("Webhook-Signature", s.keys.Sign(id, now, body))
	}
	call.Header.Set("Orderflow-Attempt", strconv.Itoa(m.Attempt))
	if m.Traceparent != "" {
		call.Header.Set("Traceparent", m.Traceparent)
	}
	if call.Header.Get("User-Agent") == "" {
		call.Header.Set("User-Agent", w.settings.UserAgent)
	}
	// An empty list is not sent, and lets the transport repeat a call on a new connection when the receiver has just closed the old one:
	// webhook-id makes the repetition harmless (see net/http.Transport).
	call.Header["Idempotency-Key"] = nil
	return call, nil
}

// payload is the recommended form: what has happened, when, and to what. The order is passed on as it was published.
func payload(m *message.Message) []byte {
	const frame = 96 // bytes, and some to spare
	b := make([]byte, 0, len(m.Body)+frame)
	b = append(b, `{"type":"order.created","timestamp":`...)
	b = m.Created.AppendJSON(b)
	b = append(b, `,"data":`...)
	b = append(b, m.Body...)
	return append(b, '}')
}

// bodyLimit is how long the body of an answer may take once its status is there.
const bodyLimit = 250 * time.Millisecond

// excerptBytes is how much of an answer's body is looked at.
const excerptBytes = 512

// read returns the beginning of an answer's body, and whether there may be more of it. A body that drips must not hold up what its status has
// decided: closing it after limit ends the read.
func read(body io.ReadCloser, limit time.Duration) (excerpt []byte, cut bool) {
	slow := time.AfterFunc(limit, func() { _ = body.Close() })
	defer slow.Stop()
	// What is read to the end can be used again; who answers with more than this pays with a new connection.
	excerpt, err := io.ReadAll(io.LimitReader(body, excerptBytes)) // an error text, best effort
	_, _ = io.CopyN(io.Discard, body, 64<<10)                      // likewise
	return excerpt, err != nil || len(excerpt) == excerptBytes
}

// failure is an error whose text may be shown to anybody: it goes to the order and to the log.
func (s *sender) failure(text string) error { return errors.New(s.hide.clean(text, false)) }

// unaddressed is the text of a client's error without the URL, which may hold credentials.
func unaddressed(err error) string {
	var failed *url.Error
	if errors.As(err, &failed) {
		err = failed.Err
	}
	return err.Error()
}

var _ handler.Handler = (*Webhook)(nil)

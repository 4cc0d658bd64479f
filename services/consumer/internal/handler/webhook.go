package handler

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"orderflow.example/services/consumer/internal/message"
)

// Webhook POSTs each order to a URL and takes the answer for the result:
//
//	2xx               done
//	410               permanent: the receiver wants no more of it
//	all else          another attempt after a backoff, on top of Retry-After when the answer has one; also when there is no answer
//
// A 4xx says more about the moment than about the order, as a rule: a secret that is being rotated (401), a deploy (404), an attempt
// that the receiver is still at work on (409), a receiver that does not know of a new field yet (422). This is how Standard Webhooks
// (https://www.standardwebhooks.com) has it, too.
//
// The receiver tells repetitions by Idempotency-Key, which is the same for every attempt at an order and for its redrives, and which no
// other order ever has (see message.OrderKey). With a secret, the
// header Orderflow-Signature is "t=<unix seconds>,v1=<hex>" where hex is HMAC-SHA256(secret, t + "." + body): the
// receiver computes it over the raw body and refuses old timestamps, so that nobody can forge or replay a call.
type Webhook struct {
	url    string
	secret []byte
	client *http.Client
	now    func() time.Time
}

// longestRetryAfter bounds what a receiver can ask for: more would be a dead letter by another name.
const longestRetryAfter = 24 * time.Hour

// bodyLimit is how long the body of an answer may take once its status is there.
const bodyLimit = 250 * time.Millisecond

// NewWebhook returns a handler that posts to address. concurrency is how many calls there are at once at most; timeout
// is the longest that one may take, whatever ctx allows.
func NewWebhook(address, secret string, concurrency int, timeout time.Duration) *Webhook {
	transport := &http.Transport{
		Proxy:                 http.ProxyFromEnvironment,
		DialContext:           (&net.Dialer{Timeout: min(timeout, 5*time.Second), KeepAlive: 15 * time.Second}).DialContext,
		TLSHandshakeTimeout:   min(timeout, 5*time.Second),
		ResponseHeaderTimeout: timeout,
		IdleConnTimeout:       90 * time.Second,
		MaxIdleConns:          concurrency,
		MaxIdleConnsPerHost:   concurrency,
		ForceAttemptHTTP2:     true,
	}
	return &Webhook{
		url:    address,
		secret: []byte(secret),
		client: &http.Client{
			Transport: transport,
			Timeout:   timeout,
			// A redirect would turn the POST into a GET, or show the order to somebody else.
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		},
		now: time.Now,
	}
}

// Close ends idle connections.
func (w *Webhook) Close() { w.client.CloseIdleConnections() }

// Handle makes one call.
func (w *Webhook) Handle(ctx context.Context, m message.Message) error {
	call, err := http.NewRequestWithContext(ctx, http.MethodPost, w.url, bytes.NewReader(m.Body))
	if err != nil {
		return fmt.Errorf("webhook: %w", unaddressed(err)) // a wrong WEBHOOK_URL is no order's fault
	}
	call.Header.Set("Content-Type", "application/json")
	call.Header.Set("User-Agent", "orderflow-consumer")
	call.Header.Set("Idempotency-Key", m.OrderKey())
	call.Header.Set("Orderflow-Attempt", strconv.Itoa(m.Attempt))
	if m.Traceparent != "" {
		call.Header.Set("Traceparent", m.Traceparent)
	}
	if len(w.secret) > 0 {
		call.Header.Set("Orderflow-Signature", w.sign(m.Body))
	}
	answer, err := w.client.Do(call)
	if err != nil {
		if cause := context.Cause(ctx); cause != nil {
			return cause
		}
		return fmt.Errorf("webhook: %w", unaddressed(err))
	}
	// A body that drips must not hold up what its status has decided. Closing it ends the read.
	slow := time.AfterFunc(bodyLimit, func() { _ = answer.Body.Close() })
	defer func() {
		slow.Stop()
		_ = answer.Body.Close()
	}()
	// What is read to the end can be used again; who answers with more than this pays with a new connection.
	excerpt, _ := io.ReadAll(io.LimitReader(answer.Body, 512)) // an error text, best effort
	_, _ = io.CopyN(io.Discard, answer.Body, 64<<10)           // likewise
	return w.judge(answer, excerpt)
}

func (w *Webhook) judge(answer *http.Response, excerpt []byte) error {
	if answer.StatusCode >= 200 && answer.StatusCode < 300 {
		return nil
	}
	failure := fmt.Errorf("webhook answered %s", answer.Status)
	if text := strings.Join(strings.Fields(string(excerpt)), " "); text != "" {
		failure = fmt.Errorf("%w: %.200s", failure, text)
	}
	if answer.StatusCode == http.StatusGone {
		return Permanent(failure)
	}
	if after, ok := w.retryAfter(answer.Header.Get("Retry-After")); ok {
		return NotBefore(after, failure) // RFC 9110, 10.2.3, asks for a least time
	}
	return failure
}

// retryAfter reads RFC 9110's two forms, seconds and date.
func (w *Webhook) retryAfter(value string) (time.Duration, bool) {
	value = strings.TrimSpace(value)
	if seconds, err := strconv.ParseUint(value, 10, 31); err == nil {
		return min(time.Duration(seconds)*time.Second, longestRetryAfter), true
	}
	if date, err := http.ParseTime(value); err == nil {
		return min(max(date.Sub(w.now()), 0), longestRetryAfter), true
	}
	return 0, false
}

func (w *Webhook) sign(body []byte) string {
	timestamp := strconv.FormatInt(w.now().Unix(), 10)
	mac := hmac.New(sha256.New, w.secret)
	mac.Write([]byte(timestamp + "."))
	mac.Write(body)
	return "t=" + timestamp + ",v1=" + hex.EncodeToString(mac.Sum(nil))
}

// unaddressed takes the URL out of an error of the client: it may hold credentials, and the text goes to the order.
func unaddressed(err error) error {
	var failed *url.Error
	if errors.As(err, &failed) {
		return failed.Err
	}
	return err
}

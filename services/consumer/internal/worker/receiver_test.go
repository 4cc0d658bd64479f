package worker_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strconv"
	"sync"
	"testing"
	"time"

	"orderflow.example/services/consumer/internal/handler"
	"orderflow.example/services/consumer/internal/message"
)

// receiver is what the handlers of these tests call: a real server, which behaves as it is told to.
type receiver struct {
	*httptest.Server
	mu      sync.Mutex
	answers func(call *http.Request, order int64) int // the status; 0: none, until the caller gives up
	calls   []call
	current int // calls that are being answered
}

// call is one that the receiver got.
type call struct {
	at      time.Time
	order   int64
	current int // how many there were at the time, this one included
	status  int
}

func newReceiver(t *testing.T) *receiver {
	r := &receiver{}
	r.answer(http.StatusOK)
	r.Server = httptest.NewServer(r)
	t.Cleanup(r.Close)
	return r
}

func (r *receiver) ServeHTTP(w http.ResponseWriter, q *http.Request) {
	_, _ = io.Copy(io.Discard, q.Body)
	order, _ := strconv.ParseInt(q.Header.Get("Order"), 10, 64)
	r.mu.Lock()
	r.current++
	c := call{at: time.Now(), order: order, current: r.current, status: r.answers(q, order)}
	r.calls = append(r.calls, c)
	r.mu.Unlock()
	if c.status == 0 {
		<-q.Context().Done()
	}
	r.mu.Lock()
	r.current--
	r.mu.Unlock()
	if c.status == http.StatusTooManyRequests {
		w.Header().Set("Retry-After", "0")
	}
	w.WriteHeader(max(c.status, http.StatusOK))
}

// answer makes it answer every call alike. What it is busy with is told first.
func (r *receiver) answer(status int) {
	r.answerWith(func(*http.Request, int64) int { return status })
}

func (r *receiver) answerWith(answers func(*http.Request, int64) int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.answers = answers
}

// since returns the calls after the first n.
func (r *receiver) since(n int) []call {
	r.mu.Lock()
	defer r.mu.Unlock()
	return append([]call(nil), r.calls[min(n, len(r.calls)):]...)
}

func (r *receiver) count() int { return len(r.since(0)) }

// busy is how many calls it is at.
func (r *receiver) busy() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.current
}

// handler calls the receiver and says what its answers mean.
func (r *receiver) handler() handler.Handler {
	// A connection for each call: one that is kept may be closed by the other side in the moment of the next call.
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	return handle(func(ctx context.Context, m message.Message) error {
		q, err := http.NewRequestWithContext(ctx, http.MethodPost, r.URL, bytes.NewReader(m.Body))
		if err != nil {
			return err
		}
		q.Header.Set("Order", strconv.FormatInt(m.OrderID, 10))
		answer, err := client.Do(q)
		if err != nil {
			return handler.Unavailable(err)
		}
		_ = answer.Body.Close()
		err = fmt.Errorf("answered %s", answer.Status)
		switch {
		case answer.StatusCode < 300:
			return nil
		case answer.StatusCode == http.StatusUnprocessableEntity:
			return err
		case answer.StatusCode == http.StatusTooManyRequests:
			return handler.Throttled(0, err)
		}
		return handler.Unavailable(err)
	})
}

package client

import (
	"context"
	"encoding/json"
	"errors"
	"net/url"
	"strconv"
	"time"

	"github.com/valyala/fasthttp"
)

// Error is a read that brought no usable answer.
type Error struct {
	Path       string
	Status     int // 0 when there was no answer at all
	RetryAfter time.Duration
	Err        error // what is wrong with the answer, or why there was none; nil when the status says it
}

func (e *Error) Error() string {
	if e.Err == nil {
		return "GET " + e.Path + ": status " + strconv.Itoa(e.Status)
	}
	return "GET " + e.Path + ": " + e.Err.Error()
}

func (e *Error) Unwrap() error { return e.Err }

// Passing says whether another try may well succeed: no answer, overload, or the database away.
func (e *Error) Passing() bool {
	return e.Status == 0 || e.Status >= 500 || e.Status == 429 || e.Status == 408
}

// Get reads a path and returns the body of a success; anything else is an *Error. It does not wait longer than the client's timeout, and not
// when the context has ended: what is still under way then is read to its end by a goroutine that the timeout bounds.
func (c *Client) Get(ctx context.Context, path string) ([]byte, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	type answer struct {
		body []byte
		err  error
	}
	answered := make(chan answer, 1)
	go func() {
		body, err := c.get(path)
		answered <- answer{body, err}
	}()
	select {
	case a := <-answered:
		return a.body, a.err
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

func (c *Client) get(path string) ([]byte, error) {
	req, resp := fasthttp.AcquireRequest(), fasthttp.AcquireResponse()
	defer fasthttp.ReleaseRequest(req)
	defer fasthttp.ReleaseResponse(resp)
	req.SetRequestURI(c.base + path)
	req.Header.Set("Accept", "application/json")
	if c.agent != "" {
		req.Header.SetUserAgent(c.agent)
	}
	if c.auth != "" {
		req.Header.Set("Authorization", c.auth)
	}
	req.SetTimeout(c.timeout)
	if err := c.pool.Do(req, resp); err != nil {
		return nil, &Error{Path: path, Err: err}
	}
	if status := resp.StatusCode(); status < 200 || status > 299 {
		return nil, &Error{Path: path, Status: status, RetryAfter: retryAfter(string(resp.Header.Peek("Retry-After")), time.Now())}
	}
	return append([]byte(nil), resp.Body()...), nil
}

// Ready says whether the api answers and is ready: /readyz, or /health where there is no /readyz, or the listing where there is neither.
func (c *Client) Ready(ctx context.Context) error {
	var err error
	for _, path := range [...]string{"/readyz", "/health", "/orders?limit=1"} {
		_, err = c.Get(ctx, path)
		var e *Error
		if !errors.As(err, &e) || (e.Status != fasthttp.StatusNotFound && e.Status != fasthttp.StatusMethodNotAllowed) {
			return err
		}
	}
	return err
}

// Queue is the queue's state as GET /queue tells it; Depth is -1 when it does not say.
type Queue struct {
	AsOf        moment  `json:"as_of"` // when it was like this, by the database's clock; zero when the answer does not say
	Depth       int     `json:"depth"`
	InFlight    int     `json:"in_flight"`
	Delayed     int     `json:"delayed"`
	DeadLetters int     `json:"dead_letters"`
	OldestAge   float64 `json:"oldest_age_seconds"`
}

// Queue asks for the queue's state.
func (c *Client) Queue(ctx context.Context) (Queue, error) {
	q := Queue{Depth: -1}
	body, err := c.Get(ctx, "/queue")
	if err != nil {
		return q, err
	}
	if err := json.Unmarshal(body, &q); err != nil && q.Depth < 0 {
		return q, &Error{Path: "/queue", Status: fasthttp.StatusOK, Err: err}
	}
	return q, nil
}

// Order asks for one order; false when the api knows none with this id.
func (c *Client) Order(ctx context.Context, id int64) (Order, bool, error) {
	path := "/orders/" + strconv.FormatInt(id, 10)
	body, err := c.Get(ctx, path)
	var e *Error
	if errors.As(err, &e) && (e.Status == fasthttp.StatusNotFound || e.Status == fasthttp.StatusGone) {
		return Order{}, false, nil
	}
	if err != nil {
		return Order{}, false, err
	}
	var o Order
	if err := unmarshal(body, &o); err != nil || o.ID == 0 {
		return Order{}, false, &Error{Path: path, Status: fasthttp.StatusOK, Err: errors.New("the answer is not an order")}
	}
	return o, true, nil
}

// List asks for one page of orders: those whose key begins with prefix, or all when it is empty, from a cursor on.
func (c *Client) List(ctx context.Context, prefix, cursor string, limit int) (Page, error) {
	q := url.Values{"limit": {strconv.Itoa(limit)}}
	if prefix != "" {
		q.Set("idempotency_key_prefix", prefix)
	}
	if cursor != "" {
		q.Set("cursor", cursor)
	}
	path := "/orders?" + q.Encode()
	body, err := c.Get(ctx, path)
	if err != nil {
		return Page{}, err
	}
	return ParsePage(path, body)
}

package client

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/valyala/fasthttp"

	"orderflow.example/kit/wait"
	"orderflow.example/services/loadgen/internal/orders"
)

// Order is an order as the api shows it.
type Order struct {
	ID int64 `json:"id"`
	orders.Data
	Status      string    `json:"status"` // pending, completed or dead
	Attempts    int       `json:"attempts"`
	Effects     int       `json:"effects"`         // how often it was processed
	Key         string    `json:"idempotency_key"` // "" = none
	LastError   string    `json:"last_error"`
	CreatedAt   time.Time `json:"created_at"`
	CompletedAt time.Time `json:"completed_at"` // zero = not yet
}

// Page is one page of a listing; Next is the cursor of the one after it, empty at the end.
type Page struct {
	Orders []Order `json:"orders"`
	Next   string  `json:"next_cursor"`
}

// Queue is the queue's state.
type Queue struct {
	AsOf        time.Time `json:"as_of"` // when it was like this, by the database's clock
	Depth       int       `json:"depth"`
	DeadLetters int       `json:"dead_letters"`
	Sent        int64     `json:"enqueued_total"` // messages ever sent to it, those of transactions that came to nothing included; 0 when the api does not say
}

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

// Ready says whether the api can take orders.
func (c *Client) Ready(ctx context.Context) error {
	_, err := c.fetch(ctx, "/readyz")
	return err
}

// Queue asks for the queue's state.
func (c *Client) Queue(ctx context.Context) (Queue, error) { return get[Queue](ctx, c, "/queue") }

// Order asks for one order; false when the api knows none with this id.
func (c *Client) Order(ctx context.Context, id int64) (Order, bool, error) {
	o, err := get[Order](ctx, c, "/orders/"+strconv.FormatInt(id, 10))
	var e *Error
	if errors.As(err, &e) && e.Status == fasthttp.StatusNotFound {
		return Order{}, false, nil
	}
	if err == nil && o.ID != id {
		err = &Error{Path: fmt.Sprintf("/orders/%d", id), Status: fasthttp.StatusOK, Err: fmt.Errorf("the answer is about order %d", o.ID)}
	}
	return o, err == nil, err
}

// List asks for one page of the orders whose key begins with prefix, in the order of their keys, or of all orders when it is empty, from
// a cursor on.
func (c *Client) List(ctx context.Context, prefix, cursor string, limit int) (Page, error) {
	q := url.Values{"limit": {strconv.Itoa(limit)}}
	if prefix != "" {
		q.Set("idempotency_key_prefix", prefix)
	}
	if cursor != "" {
		q.Set("cursor", cursor)
	}
	path := "/orders?" + q.Encode()
	page, err := get[Page](ctx, c, path)
	if err == nil && page.Orders == nil {
		err = &Error{Path: path, Status: fasthttp.StatusOK, Err: errors.New("the answer has no list of orders")}
	}
	return page, err
}

// get reads what stands at a path; the error is an *Error, or the context's.
func get[T any](ctx context.Context, c *Client, path string) (v T, err error) {
	body, err := c.fetch(ctx, path)
	if err != nil {
		return v, err
	}
	if err := json.Unmarshal(body, &v); err != nil {
		return v, &Error{Path: path, Status: fasthttp.StatusOK, Err: err}
	}
	return v, nil
}

// fetch returns the body of a success. It does not wait longer than the client's timeout, and not when the context has ended: what is
// still under way then is read to its end by a goroutine that the timeout bounds.
func (c *Client) fetch(ctx context.Context, path string) ([]byte, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	type answer struct {
		body []byte
		err  error
	}
	answered := make(chan answer, 1)
	go func() {
		body, err := c.do(path)
		answered <- answer{body, err}
	}()
	select {
	case a := <-answered:
		return a.body, a.err
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

func (c *Client) do(path string) ([]byte, error) {
	req, resp := fasthttp.AcquireRequest(), fasthttp.AcquireResponse()
	defer fasthttp.ReleaseRequest(req)
	defer fasthttp.ReleaseResponse(resp)
	c.prepare(req, path)
	req.SetTimeout(c.timeout)
	if err := c.pool.Do(req, resp); err != nil {
		return nil, &Error{Path: path, Err: err}
	}
	if status := resp.StatusCode(); status < 200 || status > 299 {
		return nil, &Error{Path: path, Status: status, RetryAfter: retryAfter(string(resp.Header.Peek("Retry-After")), time.Now())}
	}
	return append([]byte(nil), resp.Body()...), nil
}

// ErrUnreachable is wrapped when the api did not answer for as long as a reader's patience.
var ErrUnreachable = errors.New("the api did not answer")

// ErrListing is wrapped when the api's listing by key is not what the contract says, so that nothing can be concluded from it.
var ErrListing = errors.New("GET /orders?idempotency_key_prefix= breaks its contract")

// PageLimit is how many orders a page has that a reader asks for, at most.
const PageLimit = 1_000

// API is what a reader asks; a [Client] is one.
type API interface {
	Order(ctx context.Context, id int64) (Order, bool, error)
	List(ctx context.Context, prefix, cursor string, limit int) (Page, error)
	Queue(ctx context.Context) (Queue, error)
}

// Reader asks the api until it gives a definite answer. It is safe for concurrent use.
type Reader struct {
	api      API
	patience time.Duration
	requests atomic.Int64
	contact  atomic.Int64 // when the api last answered, in Unix nanoseconds
}

// NewReader makes a reader that bears with an api that does not answer for as long as the patience lasts.
func NewReader(api API, patience time.Duration) *Reader {
	r := &Reader{api: api, patience: max(patience, time.Second)}
	r.contact.Store(time.Now().UnixNano())
	return r
}

// Requests is how many requests were sent.
func (r *Reader) Requests() int64 { return r.requests.Load() }

// Queue asks for the queue's state, once.
func (r *Reader) Queue(ctx context.Context) (Queue, error) {
	r.requests.Add(1)
	return r.api.Queue(ctx)
}

// Order asks for one order by its id. Only a 404 says that it is not there; an api that refuses to say so (401, say) cannot be audited.
func (r *Reader) Order(ctx context.Context, id int64) (o Order, found bool, err error) {
	err = r.ask(ctx, func() (err error) { o, found, err = r.api.Order(ctx, id); return err })
	return o, found, err
}

// Each visits all orders whose keys begin with a prefix, page by page; without a prefix, all orders that there are.
func (r *Reader) Each(ctx context.Context, prefix string, visit func(o *Order)) error {
	firsts := map[int64]bool{} // the first ids of the pages so far
	for cursor := ""; ; {
		var page Page
		if err := r.ask(ctx, func() (err error) { page, err = r.api.List(ctx, prefix, cursor, PageLimit); return err }); err != nil {
			return err
		}
		for i := range page.Orders {
			o := &page.Orders[i]
			if !strings.HasPrefix(o.Key, prefix) {
				return fmt.Errorf("%w: asked for %q, it shows order %d with the key %q", ErrListing, prefix, o.ID, o.Key)
			}
			visit(o)
		}
		if page.Next == "" {
			return nil
		}
		if len(page.Orders) == 0 || firsts[page.Orders[0].ID] {
			return fmt.Errorf("%w: the cursor returned to an earlier page, or led to an empty one", ErrListing)
		}
		firsts[page.Orders[0].ID] = true
		cursor = page.Next
	}
}

// ask waits faults that pass out, for as long as the patience lasts since the last answer of any kind; a Retry-After is honoured as
// far as that reaches.
func (r *Reader) ask(ctx context.Context, call func() error) error {
	for try := 0; ; try++ {
		r.requests.Add(1)
		err := call()
		var e *Error
		if err == nil || !errors.As(err, &e) || !e.Passing() {
			r.contact.Store(time.Now().UnixNano())
			return err
		}
		silence := time.Since(time.Unix(0, r.contact.Load()))
		if silence >= r.patience {
			return fmt.Errorf("%w for %s: %w", ErrUnreachable, silence.Round(time.Second), err)
		}
		pause := max(e.RetryAfter, min(time.Second, 50*time.Millisecond<<min(try, 10)))
		if !wait.For(ctx, min(pause, r.patience-silence)) {
			return ctx.Err()
		}
	}
}

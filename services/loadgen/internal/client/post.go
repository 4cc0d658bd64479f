package client

import (
	"encoding/json"
	"errors"
	"io"
	"net"
	"os"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/valyala/fasthttp"

	"orderflow.example/services/loadgen/internal/orders"
)

// Answer is what one try brought.
type Answer struct {
	Failure    Failure // None when there is a Status
	Status     int
	Replayed   bool          // the answer of an earlier try with the same key
	RetryAfter time.Duration // 0 when the api did not say
	Orders     []Receipt     // of a success, as they were sent; none when the answer cannot be read; valid until the Poster's next Post
	Err        error         // behind Failure
	Body       []byte        // of an answer that is not a success; valid until the Poster's next Post
}

// Receipt is what a success says of an order.
type Receipt struct {
	ID int64 `json:"id"` // 0 when it does not say
	orders.Data
}

// Accepted says whether the orders were taken.
func (a *Answer) Accepted() bool { return a.Failure == None && a.Status >= 200 && a.Status < 300 }

// Poster sends orders. One goroutine uses it; its buffers are used again for each request.
type Poster struct {
	c    *Client
	req  *fasthttp.Request
	resp *fasthttp.Response
	bulk bool
}

// NewPoster is a sender of single orders, or of batches.
func (c *Client) NewPoster(bulk bool) *Poster {
	p := &Poster{c: c, req: fasthttp.AcquireRequest(), resp: fasthttp.AcquireResponse(), bulk: bulk}
	path := "/orders"
	if bulk {
		path = "/orders/batch"
	}
	c.prepare(p.req, path)
	p.req.Header.SetMethod(fasthttp.MethodPost)
	p.req.Header.SetContentType("application/json")
	return p
}

// Release gives the buffers back; the Poster is not to be used afterwards.
func (p *Poster) Release() {
	fasthttp.ReleaseRequest(p.req)
	fasthttp.ReleaseResponse(p.resp)
}

// Post sends one body under an idempotency key and waits for the answer.
func (p *Poster) Post(key, body []byte) Answer {
	p.req.Header.SetBytesV("Idempotency-Key", key)
	p.req.SetBodyRaw(body)
	p.req.SetTimeout(p.c.timeout)
	if err := p.c.pool.Do(p.req, p.resp); err != nil {
		return Answer{Failure: classify(err), Err: err}
	}
	a := Answer{Status: p.resp.StatusCode(), Body: p.resp.Body()}
	if a.Accepted() {
		a.Replayed = string(p.resp.Header.Peek("Idempotency-Replayed")) == "true"
		a.Orders, a.Body = p.receipts(a.Body), nil
		return a
	}
	a.RetryAfter = retryAfter(string(p.resp.Header.Peek("Retry-After")), time.Now())
	return a
}

// receipts reads a success. One that cannot be read names no orders, and is judged as such.
func (p *Poster) receipts(body []byte) []Receipt {
	if p.bulk {
		var batch struct{ Orders []Receipt }
		if json.Unmarshal(body, &batch) != nil {
			return nil
		}
		return batch.Orders
	}
	var one Receipt
	if json.Unmarshal(body, &one) != nil {
		return nil
	}
	return []Receipt{one}
}

// Failure says why a try brought no answer.
type Failure uint8

// The failures.
const (
	None     Failure = iota // there was an answer, if only one that cannot be read
	Connect                 // no connection: refused, unreachable, unknown host
	Timeout                 // no answer in time
	Reset                   // the connection ended before the answer was complete
	Broken                  // anything else: what came is no HTTP, or too large
	Failures                // how many there are
)

var failureNames = [Failures]string{"", "connect", "timeout", "reset", "broken_answer"}

func (f Failure) String() string { return failureNames[f] }

func classify(err error) Failure {
	var op *net.OpError
	if errors.As(err, &op) && op.Op == "dial" {
		return Connect
	}
	if errors.Is(err, fasthttp.ErrDialTimeout) || errors.Is(err, fasthttp.ErrNoFreeConns) || errors.Is(err, syscall.ECONNREFUSED) {
		return Connect
	}
	var timeout interface{ Timeout() bool }
	if errors.Is(err, fasthttp.ErrTimeout) || errors.Is(err, os.ErrDeadlineExceeded) || (errors.As(err, &timeout) && timeout.Timeout()) {
		return Timeout
	}
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, fasthttp.ErrConnectionClosed) ||
		errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE) || errors.Is(err, syscall.ECONNABORTED) ||
		errors.Is(err, net.ErrClosed) {
		return Reset
	}
	return Broken
}

// retryAfter reads a Retry-After header: seconds or an HTTP date. 0 when there is none.
func retryAfter(value string, now time.Time) time.Duration {
	value = strings.TrimSpace(value)
	if value == "" {
		return 0
	}
	if s, err := strconv.ParseFloat(value, 64); err == nil {
		if s > 0 && s < 1e6 {
			return time.Duration(s * float64(time.Second))
		}
		return 0
	}
	if at, err := fasthttp.ParseHTTPDate([]byte(value)); err == nil {
		return max(0, at.Sub(now))
	}
	return 0
}

package client

import (
	"bytes"
	"io"
	"net/http"
	"time"

	"github.com/valyala/fasthttp"
)

// Answer is what one try brought.
type Answer struct {
	Failure    Failure // None when there is a Status
	Status     int
	Replayed   bool          // the answer of an earlier try with the same key
	RetryAfter time.Duration // 0 when the api did not say
	IDs        []int64       // of the orders, in order; valid until the Poster's next Post
	Altered    int           // orders that the answer shows with other data than were sent
	Deviation  string        // of the first of them
	Err        error         // behind Failure
	Body       []byte        // of an answer that is not a success; valid until the Poster's next Post
}

// Accepted says whether the orders were taken.
func (a *Answer) Accepted() bool { return a.Failure == None && a.Status >= 200 && a.Status < 300 }

// Poster sends orders. One goroutine uses it; its buffers are used again for each request.
type Poster struct {
	c    *Client
	req  *fasthttp.Request
	resp *fasthttp.Response
	ids  []int64
	sent []receipt
	got  []receipt
	bulk bool
}

// NewPoster is a sender of single orders, or of batches.
func (c *Client) NewPoster(bulk bool) *Poster {
	p := &Poster{c: c, req: fasthttp.AcquireRequest(), resp: fasthttp.AcquireResponse(), bulk: bulk}
	p.req.Header.SetMethod(fasthttp.MethodPost)
	p.req.SetRequestURI(c.postURL(bulk))
	p.req.Header.SetContentType("application/json")
	if c.agent != "" {
		p.req.Header.SetUserAgent(c.agent)
	}
	if c.auth != "" {
		p.req.Header.Set("Authorization", c.auth)
	}
	return p
}

func (c *Client) postURL(bulk bool) string {
	if bulk {
		return c.base + "/orders/batch"
	}
	return c.base + "/orders"
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
		p.compare(&a, body)
		return a
	}
	a.RetryAfter = retryAfter(string(p.resp.Header.Peek("Retry-After")), time.Now())
	return a
}

// compare reads the ids of a success, and holds its data against what was sent.
func (p *Poster) compare(a *Answer, body []byte) {
	p.got, p.sent, p.ids = appendReceipts(p.got[:0], a.Body), appendReceipts(p.sent[:0], body), p.ids[:0]
	for i := range p.got {
		if p.got[i].id != 0 {
			p.ids = append(p.ids, p.got[i].id)
		}
		if len(p.got) != len(p.sent) {
			continue
		}
		if d := p.got[i].deviation(&p.sent[i]); d != "" {
			if a.Altered++; a.Altered == 1 {
				a.Deviation = d
			}
		}
	}
	a.IDs, a.Body = p.ids, nil
}

// PostLarge sends a body that is expected to be refused before it was read. A connection that the api closes on it counts as
// a refusal too: HTTP lets a server do that, and then the answer may be lost.
func (p *Poster) PostLarge(key, body []byte) Answer {
	req, err := http.NewRequest(http.MethodPost, p.c.postURL(p.bulk), bytes.NewReader(body)) //nolint:noctx // the client's timeout bounds it
	if err != nil {
		return Answer{Failure: Broken, Err: err}
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Idempotency-Key", string(key))
	if p.c.auth != "" {
		req.Header.Set("Authorization", p.c.auth)
	}
	resp, err := p.c.large.Do(req)
	if err != nil {
		return Answer{Failure: classify(err), Err: err}
	}
	defer resp.Body.Close()
	text, _ := io.ReadAll(io.LimitReader(resp.Body, 64<<10)) // the status is the answer; what can be read of the body is for messages
	return Answer{Status: resp.StatusCode, RetryAfter: retryAfter(resp.Header.Get("Retry-After"), time.Now()), Body: text}
}

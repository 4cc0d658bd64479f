package audit

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"time"

	"orderflow.example/services/loadgen/internal/client"
)

// ErrUnreachable is wrapped when the api did not answer for as long as the audit's patience.
var ErrUnreachable = errors.New("the api did not answer")

// ErrListing is wrapped when the api's listing by key is not what the contract says, so that nothing can be concluded from it.
var ErrListing = errors.New("GET /orders?idempotency_key_prefix= breaks its contract")

// pageLimit is how many orders a page has, at most.
const pageLimit = 1_000

// reader asks the api until it gives a definite answer. It is safe for concurrent use.
type reader struct {
	api      API
	patience time.Duration
	requests atomic.Int64
	contact  atomic.Int64 // when the api last answered, in Unix nanoseconds
}

func newReader(api API, patience time.Duration) *reader {
	r := &reader{api: api, patience: max(patience, time.Second)}
	r.contact.Store(time.Now().UnixNano())
	return r
}

// ask waits faults that pass out, for as long as the patience lasts since the last answer of any kind; a Retry-After is honoured as
// far as that reaches.
func (r *reader) ask(ctx context.Context, call func() error) error {
	for try := 0; ; try++ {
		r.requests.Add(1)
		err := call()
		var e *client.Error
		if err == nil || !errors.As(err, &e) || !e.Passing() {
			r.contact.Store(time.Now().UnixNano())
			return err
		}
		silence := time.Since(time.Unix(0, r.contact.Load()))
		if silence >= r.patience {
			return fmt.Errorf("%w for %s: %w", ErrUnreachable, silence.Round(time.Second), err)
		}
		pause := max(e.RetryAfter, min(time.Second, 50*time.Millisecond<<min(try, 10)))
		if !wait(ctx, min(pause, r.patience-silence)) {
			return ctx.Err()
		}
	}
}

// order asks for one order by its id. Only a 404 says that it is not there; an api that refuses to say so (401, say) cannot be audited.
func (r *reader) order(ctx context.Context, id int64) (o client.Order, found bool, err error) {
	err = r.ask(ctx, func() (err error) { o, found, err = r.api.Order(ctx, id); return err })
	return o, found, err
}

// list visits all orders whose keys begin with a prefix, page by page.
func (r *reader) list(ctx context.Context, prefix string, visit func(o *client.Order)) error {
	firsts := map[int64]bool{} // the first ids of the pages so far
	for cursor := ""; ; {
		var page client.Page
		if err := r.ask(ctx, func() (err error) { page, err = r.api.List(ctx, prefix, cursor, pageLimit); return err }); err != nil {
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

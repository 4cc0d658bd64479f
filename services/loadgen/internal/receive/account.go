package receive

import (
	"context"
	"fmt"
	"io"
	"time"

	"orderflow.example/services/loadgen/internal/client"
	"orderflow.example/services/loadgen/internal/receive/memory"
)

// Account is what arrived, and, where there is an api, against what it accepted.
type Account struct {
	Received memory.Counts    `json:"received"`
	Requests map[string]int64 `json:"requests"`       // by what became of them, since this process began
	Ordered  map[string]int64 `json:"ordered"`        // faults that happened on order, likewise
	Busiest  int64            `json:"busiest_second"` // requests in the busiest second, likewise
	Orders   *Orders          `json:"orders,omitempty"`
	Examples []string         `json:"examples,omitempty"`
	Faults   []string         `json:"faults"` // what must not be; empty = all is well
}

// Orders are the api's, against what arrived.
type Orders struct {
	Run       string `json:"run,omitempty"`
	Accepted  int    `json:"accepted"`
	Completed int    `json:"completed"`
	Pending   int    `json:"pending"`
	Dead      int    `json:"dead"`
	Once      int    `json:"once"`         // arrived once
	Repeated  int    `json:"repeated"`     // arrived more than once
	Never     int    `json:"never"`        // completed, and never arrived
	Altered   int    `json:"altered"`      // arrived with other data than the api shows
	DeadCame  int    `json:"dead_arrived"` // given up by the sender, though they had arrived
	Others    int    `json:"others"`       // arrived, and are none of these orders
}

// Forged is the number of requests without a valid signature.
func (a *Account) Forged() int64 { return a.Requests[resultForged] }

// patience is how long the api is asked again while it does not answer.
const patience = 15 * time.Second

// mostExamples are named in an account.
const mostExamples = 20

// account accounts for everything so far. api is nil when there is none; an empty run means all orders of the api.
func (r *receiver) account(ctx context.Context, api *client.Client, run string) (*Account, error) {
	a := &Account{Faults: []string{}}
	var err error
	if api != nil {
		a.Orders, err = r.compare(ctx, client.NewReader(api, patience), run, a)
	}
	// After the orders: whatever was asked of the api has arrived before it was completed.
	a.Received = r.memory.Counts()
	a.Requests, a.Ordered = r.tallies()
	a.Busiest = r.mostInASecond()
	if a.Orders != nil {
		a.Orders.Others = a.Received.IDs - a.Orders.Once - a.Orders.Repeated
	}
	for _, k := range r.memory.Faulty(mostExamples) {
		a.example("order %d: %s", k.Order.ID, wrong(k.Flags))
	}
	a.judge()
	return a, err
}

// compare goes through the api's orders.
func (r *receiver) compare(ctx context.Context, api *client.Reader, run string, a *Account) (*Orders, error) {
	sum := &Orders{Run: run}
	prefix := ""
	if run != "" {
		prefix = run + "-"
	}
	if err := api.Each(ctx, prefix, func(o *client.Order) { r.compareOne(sum, o, a) }); err != nil {
		return sum, fmt.Errorf("ask the api for its orders: %w", err)
	}
	return sum, nil
}

func (r *receiver) compareOne(sum *Orders, o *client.Order, a *Account) {
	sum.Accepted++
	order, data := shown(o)
	kept, came := r.memory.Of(order)
	switch o.Status {
	case "completed":
		sum.Completed++
		if !came {
			sum.Never++
			a.example("order %d was completed and never arrived", o.ID)
		}
	case "dead":
		sum.Dead++
		if came {
			sum.DeadCame++
		}
	default:
		sum.Pending++
	}
	if !came {
		return
	}
	if kept.Times > 1 {
		sum.Repeated++
	} else {
		sum.Once++
	}
	if field := kept.Data.Other(data); field != "" {
		sum.Altered++
		a.example("order %d arrived with another %s than the api shows", o.ID, field)
	}
}

func (a *Account) example(format string, args ...any) {
	if len(a.Examples) < mostExamples {
		a.Examples = append(a.Examples, fmt.Sprintf(format, args...))
	}
}

func wrong(f memory.Flags) string {
	switch {
	case f&memory.Mistaken != 0:
		return "its id came again for another order"
	case f&memory.Renamed != 0:
		return "it came under a second id"
	default:
		return "it came again with other data"
	}
}

// judge says what must not be. A repetition is allowed: over HTTP nobody can promise that there is none.
func (a *Account) judge() {
	fault := func(n int64, text string) {
		if n > 0 {
			a.Faults = append(a.Faults, fmt.Sprintf("%d %s", n, text))
		}
	}
	if o := a.Orders; o != nil {
		fault(int64(o.Never), "completed and never arrived")
		fault(int64(o.Altered), "arrived with other data than the api shows")
	}
	fault(int64(a.Received.Altered), "came again with other data")
	fault(int64(a.Received.Mistaken), "of which the id came again for another order, which was dropped as a repetition")
	fault(int64(a.Received.Renamed), "came under a second id, so that they were taken twice")
	fault(a.Forged(), "forged: no valid signature")
}

// Text prints the account for people; the last line is for scripts, too.
func (a *Account) Text(out io.Writer) {
	for _, x := range a.Examples {
		fmt.Fprintln(out, "  "+x)
	}
	for _, x := range a.Faults {
		fmt.Fprintln(out, "FAULT        "+x)
	}
	fmt.Fprintln(out, "receive:", a.Line())
}

// Line is the account in one line.
func (a *Account) Line() string {
	c := a.Received
	if o := a.Orders; o != nil {
		return fmt.Sprintf("accepted=%d completed=%d dead=%d once=%d repeated=%d never=%d altered=%d forged=%d",
			o.Accepted, o.Completed, o.Dead, o.Once, o.Repeated, o.Never, o.Altered+c.Altered+c.Mistaken, a.Forged())
	}
	return fmt.Sprintf("ids=%d once=%d repeated=%d altered=%d forged=%d", c.IDs, c.Once, c.Repeated, c.Altered+c.Mistaken, a.Forged())
}

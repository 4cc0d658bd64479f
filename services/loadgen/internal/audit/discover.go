package audit

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"time"

	"orderflow.example/services/loadgen/internal/client"
	"orderflow.example/services/loadgen/internal/ledger"
	"orderflow.example/services/loadgen/internal/orders"
)

// ErrNoKeys is returned when the listing does not show idempotency keys: then only the run itself can audit its orders.
var ErrNoKeys = errors.New("the api's listing shows no idempotency keys, so the orders of an earlier run cannot be told from others")

// ErrNoRun is returned when no order bears the run's id.
var ErrNoRun = errors.New("no order bears this run's id")

// highest bounds how far beyond what it has found discovery believes an order's number, and so its memory.
const highest = 2_000_000

// Discover finds a run's orders by their keys alone, for an audit without the generator's memory. Numbers were given out one after the other,
// so one that is missing below the highest found (or below `expected`, when it is above 0, for each generator) is an order that was sent and is
// not there: it is taken as accepted, and will be found to be lost.
func Discover(ctx context.Context, api API, run string, expected int, patience time.Duration, log *slog.Logger) ([]Run, error) {
	a := New(api, Options{Patience: patience, Log: log})
	a.contact.Store(time.Now().UnixNano())
	a.run = run
	type part struct {
		ids  []int64 // by number; 0 = not found
		bulk int
	}
	parts := map[int]*part{}
	rows, keyed := 0, 0
	prefix, cursor, way := run+"-", "", 0
	visited := map[string]bool{}
	for {
		var page client.Page
		if !attempts[way].filtered {
			prefix = ""
		}
		err := a.ask(ctx, func() (err error) { page, err = api.List(ctx, prefix, cursor, attempts[way].limit); return err })
		if refusal(err) && rows == 0 && attempts[way+1].limit != 0 {
			way++
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("find run %s: %w", run, err)
		}
		for i := range page.Orders {
			o := &page.Orders[i]
			rows++
			if o.Key == nil {
				continue
			}
			keyed++
			index, n, ok := orders.Parse(run, *o.Key)
			if !ok || n >= highest+2*rows {
				continue // no generator has counted that far: it is somebody else's key
			}
			p := parts[index]
			if p == nil {
				p = &part{bulk: 1}
				parts[index] = p
			}
			if n >= len(p.ids) {
				p.ids = slices.Grow(p.ids, n+1-len(p.ids))[:n+1]
			}
			if p.ids[n] == 0 {
				p.ids[n] = int64(o.ID)
			}
			if strings.Contains(*o.Key, orders.ElementSeparator) {
				p.bulk = max(p.bulk, orders.Element(*o.Key)+1)
			}
		}
		if page.Next == "" || len(page.Orders) == 0 || visited[page.Next] {
			break
		}
		visited[page.Next] = true
		cursor = page.Next
	}
	switch {
	case rows > 0 && keyed == 0:
		return nil, ErrNoKeys
	case len(parts) == 0:
		return nil, fmt.Errorf("%w: %s", ErrNoRun, run)
	}
	var runs []Run
	for index, p := range parts {
		l := ledger.New(time.Time{}, p.bulk)
		l.Restore(max(len(p.ids), expected))
		for n := range l.Len() {
			id := int64(0)
			if n < len(p.ids) {
				id = p.ids[n]
			}
			l.Accept(n, id)
		}
		runs = append(runs, Run{Keys: orders.Keys{Run: run, Index: index}, Ledger: l})
	}
	return runs, nil
}

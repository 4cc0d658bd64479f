package audit

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
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

// A generator's orders are numbered one after the other. A number beyond twice as many as were found, and this many, is a stray key's: nothing
// is known of what would be missing before it.
const strayAfter = 10_000

// part is what was found of one generator's orders.
type part struct {
	ids  map[int]int64 // by number
	bulk int
}

// Discover finds a run's orders by their keys alone, for an audit without the generator's memory. Numbers were given out one after the other,
// so one that is missing below the highest found (or below `expected`, when it is above 0, for each generator) is an order that is not there. Whether
// it was ever accepted nobody can tell: it was lost, or never answered.
func Discover(ctx context.Context, api API, run string, expected int, patience time.Duration, log *slog.Logger) ([]Run, error) {
	a := New(api, Options{Patience: patience, Log: log})
	a.contact.Store(time.Now().UnixNano())
	a.run = run
	parts, err := a.discover(ctx)
	if err != nil {
		return nil, err
	}
	var runs []Run
	for _, index := range slices.Sorted(maps.Keys(parts)) {
		p := parts[index]
		size, strays := p.size()
		l := ledger.New(time.Time{}, p.bulk)
		l.Restore(max(size, expected))
		for n := range l.Len() {
			if id := p.ids[n]; id != 0 {
				l.Accept(n, id)
			} else {
				l.MarkSent(n, l.Start)
			}
		}
		runs = append(runs, Run{Keys: orders.Keys{Run: run, Index: index}, Ledger: l, Notes: a.notes, Strays: strays})
	}
	return runs, nil
}

// size is how many orders the generator made, going by the highest number that is no stray.
func (p *part) size() (size, strays int) {
	for n := range p.ids {
		if n > 2*len(p.ids)+strayAfter {
			strays++
		} else {
			size = max(size, n+1)
		}
	}
	return size, strays
}

// discover goes through the listing, in the best way that it allows.
func (a *Auditor) discover(ctx context.Context) (map[int]*part, error) {
	parts := map[int]*part{}
	rows, keyed := 0, 0
	prefix, cursor, way := a.run+"-", "", 0
	pages := newWalker(a.opt.Patience)
	for {
		var page client.Page
		if !attempts[way].filtered {
			prefix = ""
		}
		err := a.ask(ctx, func() (err error) { page, err = a.api.List(ctx, prefix, cursor, attempts[way].limit); return err })
		if refusal(err) && rows == 0 && attempts[way+1].limit != 0 {
			way++
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("find run %s: %w", a.run, err)
		}
		found := false
		for i := range page.Orders {
			o := &page.Orders[i]
			rows++
			if o.Key == nil {
				continue
			}
			keyed++
			index, n, ok := orders.Parse(a.run, *o.Key)
			if !ok {
				continue
			}
			p := parts[index]
			if p == nil {
				p = &part{ids: map[int]int64{}, bulk: 1}
				parts[index] = p
			}
			if p.ids[n] == 0 {
				p.ids[n], found = int64(o.ID), true
			}
			if strings.Contains(*o.Key, orders.ElementSeparator) {
				p.bulk = max(p.bulk, orders.Element(*o.Key)+1)
			}
		}
		next, why := pages.next(&page, found)
		if why != "" {
			a.note(why)
		}
		if next == "" {
			break
		}
		cursor = next
	}
	switch {
	case rows > 0 && keyed == 0:
		return nil, ErrNoKeys
	case len(parts) == 0:
		return nil, fmt.Errorf("%w: %s", ErrNoRun, a.run)
	}
	return parts, nil
}

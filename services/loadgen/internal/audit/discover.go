package audit

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"orderflow.example/services/loadgen/internal/client"
	"orderflow.example/services/loadgen/internal/ledger"
	"orderflow.example/services/loadgen/internal/orders"
)

// ErrNoRun is returned when no order bears the run's id.
var ErrNoRun = errors.New("no order bears this run's id")

// A generator's orders are numbered one after the other. A number beyond twice as many as were found, and this many, is a stray key's: nothing
// is known of what would be missing before it.
const strayAfter = 10_000

// Discover finds a run's orders by their keys alone, for an audit without the generator's memory. An order that is listed was accepted.
// Numbers were given out one after the other, so one that is missing below the highest found (or below `expected`, when it is above 0, for
// each generator) is an order that is not there. Whether it was ever accepted nobody can tell: it was lost, or never answered.
func Discover(ctx context.Context, api client.API, run string, expected int, patience time.Duration) ([]Part, error) {
	ids := map[int]map[int]int64{} // by generator and number
	bulk := map[int]int{}
	err := client.NewReader(api, patience).Each(ctx, run+"-", func(o *client.Order) {
		index, n, ok := orders.Parse(run, o.Key)
		if !ok {
			return
		}
		if ids[index] == nil {
			ids[index], bulk[index] = map[int]int64{}, 1
		}
		ids[index][n] = o.ID
		if strings.Contains(o.Key, orders.ElementSeparator) {
			bulk[index] = max(bulk[index], orders.Element(o.Key)+1)
		}
	})
	if err != nil {
		return nil, fmt.Errorf("find run %s: %w", run, err)
	}
	if len(ids) == 0 {
		return nil, fmt.Errorf("%w: %s", ErrNoRun, run)
	}
	var parts []Part
	for _, index := range slices.Sorted(maps.Keys(ids)) {
		size, strays := expected, 0
		for n := range ids[index] {
			if n > 2*len(ids[index])+strayAfter {
				strays++
			} else {
				size = max(size, n+1)
			}
		}
		l := ledger.New(time.Time{}, bulk[index])
		l.Restore(size)
		for n := range size {
			if id := ids[index][n]; id != 0 {
				l.Accept(n, id)
			} else {
				l.MarkSent(n, l.Start)
			}
		}
		parts = append(parts, Part{Keys: orders.Keys{Run: run, Index: index}, Ledger: l, Strays: strays})
	}
	return parts, nil
}

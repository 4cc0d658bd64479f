package audit_test

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"orderflow.example/services/loadgen/internal/audit"
	"orderflow.example/services/loadgen/internal/client"
	"orderflow.example/services/loadgen/internal/ledger"
	"orderflow.example/services/loadgen/internal/orders"
)

// table is an api whose orders stand in memory, completed, the first with the id 1: thousands of them cost nothing.
type table struct {
	keys   orders.Keys
	ledger *ledger.Ledger
	rows   []client.Order
	made   time.Time
}

func newTable() *table {
	return &table{keys: orders.Keys{Run: "test"}, ledger: ledger.New(time.Now(), 1), made: time.Now()}
}

func (t *table) insert(key string, data orders.Data) int64 {
	id := int64(len(t.rows) + 1)
	t.rows = append(t.rows, client.Order{ID: id, Key: key, Data: data, Status: "completed", Effects: 1, CreatedAt: t.made, CompletedAt: t.made})
	return id
}

// own adds the run's next order.
func (t *table) own() {
	n := t.ledger.Len()
	t.ledger.Restore(n + 1)
	t.ledger.Accept(n, t.insert(t.keys.String(n, 1), orders.Of(n)))
}

// again adds the run's last order once more, without its key.
func (t *table) again() { t.insert("", orders.Of(t.ledger.Len()-1)) }

// others adds orders of another client's, every second one with a key.
func (t *table) others(count int) {
	for i := range count {
		key := ""
		if i%2 == 1 {
			key = fmt.Sprintf("another-%d", len(t.rows))
		}
		t.insert(key, orders.Data{Customer: "Ann", Product: "Lamp", Quantity: 1, Price: 9.5})
	}
}

func (t *table) Order(_ context.Context, id int64) (client.Order, bool, error) {
	if id < 1 || id > int64(len(t.rows)) {
		return client.Order{}, false, nil
	}
	return t.rows[id-1], true, nil
}

func (t *table) List(_ context.Context, prefix, cursor string, limit int) (page client.Page, err error) {
	i, _ := strconv.Atoi(cursor)
	for ; i < len(t.rows); i++ {
		if len(page.Orders) == limit {
			page.Next = strconv.Itoa(i)
			break
		}
		if o := t.rows[i]; strings.HasPrefix(o.Key, prefix) {
			page.Orders = append(page.Orders, o)
		}
	}
	return page, nil
}

func (t *table) Queue(context.Context) (client.Queue, error) {
	return client.Queue{AsOf: time.Now()}, nil
}

// Where the ids between the run's own are too many to look at each, some are looked at, and they are spread over all: who makes every order
// again is not passed because he does it too often, nor because another client's orders stand among them.
func TestDuplicatesWithoutAKeyAreSeenAmongTooManyIds(t *testing.T) {
	t.Parallel()
	const most = 1000 // that are looked at
	times := func(n int, do ...func(t *table)) func(t *table) {
		return func(t *table) {
			for range n {
				for _, f := range do {
					f(t)
				}
			}
		}
	}
	others := func(n int) func(t *table) { return func(t *table) { t.others(n) } }
	for name, c := range map[string]struct {
		fill       func(t *table)
		duplicated bool
	}{
		"each made again":                     {times(1500, (*table).own, (*table).again), true},
		"behind another client's":             {times(1, (*table).own, others(9*most), times(most, (*table).own, (*table).again)), true},
		"in front of another client's":        {times(1, times(most, (*table).own, (*table).again), others(9*most), (*table).own), true},
		"each behind one of another client's": {times(1500, (*table).own, others(1), (*table).again), true},
		"each before one of another client's": {times(1500, (*table).own, (*table).again, others(1)), true},
		"none, and all are another client's":  {times(1500, (*table).own, others(2)), false},
	} {
		api := newTable()
		c.fill(api)
		r, err := audit.New(api, quick(), audit.Part{Keys: api.keys, Ledger: api.ledger}).Run(t.Context())
		if err != nil || r.Completed != api.ledger.Len() || (r.Duplicated > 0) != c.duplicated || r.Lost > 0 {
			t.Errorf("%s: %v, %s", name, err, r.String())
		}
		if !slices.ContainsFunc(r.Notes, func(n string) bool { return strings.Contains(n, "too many to look at each") }) {
			t.Errorf("%s: %q", name, r.Notes)
		}
		if r.Requests > 3*most {
			t.Errorf("%s: it took %d requests", name, r.Requests)
		}
	}
}

// The last look is at all orders, and not only at those that were left: one that had been completed may have had a second effect meanwhile.
func TestTheLastLookIsAtAllOrders(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		api := &lateEffect{newTable()}
		for range 1500 { // more than one page: so the one that is left is asked for by its id
			api.own()
		}
		api.rows[0].Status, api.rows[0].CompletedAt = "pending", time.Time{}
		r, err := audit.New(api, audit.DefaultOptions(time.Minute), audit.Part{Keys: api.keys, Ledger: api.ledger}).Run(t.Context())
		if err != nil || r.Completed != 1500 || r.Duplicated != 1 {
			t.Errorf("%v: %s", err, r.String())
		}
	})
}

// lateEffect is an api that completes its first order when it is asked for it, and has its second order processed again by then.
type lateEffect struct{ *table }

func (l *lateEffect) Order(ctx context.Context, id int64) (client.Order, bool, error) {
	if id == 1 {
		l.rows[0].Status, l.rows[0].CompletedAt = "completed", time.Now()
		l.rows[1].Effects = 2
	}
	return l.table.Order(ctx, id)
}

// The drain is from when the last order was made to when the last one was completed, whichever these are.
func TestTheDrainIsFromTheLastOrderToTheLastCompletion(t *testing.T) {
	t.Parallel()
	api := newTable()
	for _, x := range []struct{ made, completed time.Duration }{{0, 13 * time.Second}, {10 * time.Second, 11 * time.Second}, {2 * time.Second, 3 * time.Second}} {
		api.own()
		o, begun := &api.rows[len(api.rows)-1], api.made.Add(-time.Minute)
		o.CreatedAt, o.CompletedAt = begun.Add(x.made), begun.Add(x.completed)
	}
	r, err := audit.New(api, quick(), audit.Part{Keys: api.keys, Ledger: api.ledger}).Run(t.Context())
	if err != nil || !r.HasDrain || r.Drain != 3*time.Second || r.E2E.Max() < 12*time.Second {
		t.Errorf("%v: drain %s (%v), latency up to %s", err, r.Drain, r.HasDrain, r.E2E.Max())
	}
}

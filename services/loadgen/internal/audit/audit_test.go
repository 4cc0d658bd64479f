package audit_test

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"
	"pgregory.net/rapid"

	"orderflow.example/services/loadgen/internal/audit"
	"orderflow.example/services/loadgen/internal/client"
	"orderflow.example/services/loadgen/internal/faultyapi"
	"orderflow.example/services/loadgen/internal/ledger"
	"orderflow.example/services/loadgen/internal/load"
	"orderflow.example/services/loadgen/internal/measure"
	"orderflow.example/services/loadgen/internal/orders"
)

func TestMain(m *testing.M) {
	// Each check is a server, a run and an audit with its waiting; -rapid.checks asks for more.
	if err := flag.Set("rapid.checks", "50"); err != nil {
		panic(err)
	}
	// fasthttp's cleaner of idle connections sleeps for as long as they may live before it sees that there are none left.
	goleak.VerifyTestMain(m, goleak.IgnoreAnyFunction("github.com/valyala/fasthttp.(*HostClient).connsCleaner"))
}

// reporter is what *testing.T and *rapid.T have in common.
type reporter interface {
	Helper()
	Fatalf(format string, args ...any)
}

// bench is a run against a faulty api.
type bench struct {
	server *faultyapi.Server
	client *client.Client
	keys   orders.Keys
	ledger *ledger.Ledger
	totals measure.Totals
}

// send starts the server and sends count orders to it.
func send(t reporter, faults faultyapi.Faults, habits faultyapi.Habits, count, bulk int, mix orders.Mix) *bench {
	t.Helper()
	b := &bench{server: &faultyapi.Server{Faults: faults, Habits: habits}, keys: orders.Keys{Run: "test", Index: 3}}
	if err := b.server.Start(""); err != nil {
		t.Fatalf("start: %v", err)
	}
	c, err := client.New(client.Options{URL: b.server.URL, Timeout: 5 * time.Second, MaxConns: 64})
	if err != nil {
		t.Fatalf("client: %v", err)
	}
	b.client = c
	b.sendMore(t, count, bulk, mix)
	return b
}

func (b *bench) sendMore(t reporter, count, bulk int, mix orders.Mix) {
	t.Helper()
	start := time.Now()
	recorder := measure.NewRecorder(start)
	b.ledger = ledger.New(start, bulk)
	g := &load.Generator{
		Plan: load.Plan{
			Keys: b.keys, Mix: mix, Oversized: 3 << 20, Limit: count, Bulk: bulk, Workers: 8,
			Retry: load.Retry{For: 30 * time.Second, Base: time.Millisecond, Max: 4 * time.Millisecond},
		},
		NewPoster: func() load.Poster { return b.client.NewPoster(bulk > 1) },
		Ledger:    b.ledger, Recorder: recorder, Log: slog.New(slog.DiscardHandler),
	}
	g.Run(context.Background(), start)
	b.totals = recorder.Snapshot(time.Now()).Totals
}

func (b *bench) close() {
	b.client.Close()
	_ = b.server.Close() // the test is over
}

func (b *bench) audit(t reporter) audit.Result {
	t.Helper()
	return b.auditAs(t, 0, 0)
}

// auditAs audits with other notions of what is large.
func (b *bench) auditAs(t reporter, small, few int) audit.Result {
	t.Helper()
	a := audit.New(b.client, quick(), audit.Run{Keys: b.keys, Ledger: b.ledger})
	if few > 0 {
		a.Shrink(small, few)
	}
	r, err := a.Run(context.Background())
	if err != nil {
		t.Fatalf("audit: %v", err)
	}
	return r
}

// quick is an audit that does not wait long for what will not come.
func quick() audit.Options {
	o := audit.DefaultOptions(60 * time.Millisecond)
	o.Poll, o.Confirm, o.Linger = 2*time.Millisecond, 2*time.Millisecond, 10*time.Millisecond
	return o
}

func TestAuditOfASoundRunFindsNothing(t *testing.T) {
	t.Parallel()
	b := send(t, faultyapi.Faults{}, faultyapi.Habits{}, 500, 1, orders.Mix{})
	defer b.close()
	r := b.audit(t)
	if r.Line() != "audit: accepted=500 completed=500 dead=0 lost=0 duplicated=0" || len(r.Examples) != 0 || len(r.Notes) != 0 {
		t.Fatalf("%+v", r)
	}
	if r.E2E.Count() != 500 || !r.HasDrain {
		t.Fatalf("latencies of %d orders, drain %v", r.E2E.Count(), r.HasDrain)
	}
}

// Whatever a server does wrong, and however it answers within the contract, the audit comes to the server's own numbers.
func TestAuditComesToTheServersOwnNumbers(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		share := func(name string) float64 {
			return rapid.SampledFrom([]float64{0, 0, 0, 0.01, 0.05}).Draw(t, name)
		}
		f := faultyapi.Faults{
			Seed: rapid.Uint64().Draw(t, "seed"),
			Drop: share("drop"), DropLater: share("drop later"), DuplicateRow: share("duplicate row"), DuplicateNoKey: share("duplicate without key"),
			ResetCommitted: share("reset"), ResetBefore: share("reset before"), Refuse: share("refuse"),
			Stuck: share("stuck"), Dead: share("dead"), Hopeless: share("hopeless"),
			Reuse: share("reuse"), Unlisted: share("unlisted"), Backward: share("backward"), Alter: share("alter"),
			Process: time.Duration(rapid.IntRange(0, 20).Draw(t, "process")) * time.Millisecond,
		}
		h := faultyapi.Habits{
			NoKeys: rapid.Bool().Draw(t, "no keys"), NoEffects: rapid.Bool().Draw(t, "no effects"), IgnoresPrefix: rapid.Bool().Draw(t, "ignores prefix"),
			RefusesPrefix: rapid.Bool().Draw(t, "refuses prefix"), NoListing: rapid.Bool().Draw(t, "no listing"), OddListing: rapid.IntRange(0, 9).Draw(t, "odd listing") == 0, OldestFirst: rapid.Bool().Draw(t, "oldest first"),
			OtherNames: rapid.Bool().Draw(t, "other names"), NoNext: rapid.Bool().Draw(t, "no next"), NoQueue: rapid.Bool().Draw(t, "no queue"),
			QuotedIDs: rapid.Bool().Draw(t, "quoted ids"), NaiveTimes: rapid.Bool().Draw(t, "naive times"), Clamp: rapid.Bool().Draw(t, "clamp"),
			MaxLimit: rapid.SampledFrom([]int{0, 100, 137}).Draw(t, "max limit"), FirstID: rapid.Int64Range(1, 1_000_000).Draw(t, "first id"),
		}
		if !h.NoEffects {
			f.DuplicateEffect = share("duplicate effect")
		}
		if !h.NoKeys {
			// Without its key, an order that is not known by its id either cannot be told from another run's.
			f.HopelessMade, f.ResetForgetful = share("hopeless made"), share("reset forgetful")
		}
		if h.NoListing || h.OddListing || h.NoNext {
			f.HopelessMade = 0 // found only by its key
		}
		count, bulk := rapid.IntRange(1, 400).Draw(t, "orders"), rapid.SampledFrom([]int{1, 1, 7}).Draw(t, "bulk")
		b := send(t, f, h, count, bulk, orders.Mix{})
		defer b.close()
		small, few := 0, 0
		if rapid.Bool().Draw(t, "as if large") {
			small, few = 1, rapid.IntRange(1, 50).Draw(t, "few")
		}
		r, want := b.auditAs(t, small, few), b.server.Counts()
		if r.Accepted != want.Accepted || r.Lost != want.Dropped || r.Duplicated != want.Duplicated || r.Stuck != want.Stuck || r.Dead != want.Dead ||
			r.Completed != want.Accepted-want.Dropped-want.Stuck-want.Dead || r.Refused != want.Refused ||
			r.Unknown.Orders != want.Hopeless+want.HopelessMade || r.Unknown.Missing != want.Hopeless || r.Unknown.Completed != want.HopelessMade {
			t.Fatalf("audit: %s\nstuck=%d refused=%d unknown=%+v\nserver: %+v\nnotes: %q", r.Line(), r.Stuck, r.Refused, r.Unknown, want, r.Notes)
		}
		if r.Altered != want.Altered || r.Backward != want.Backward || r.Undetermined != 0 || r.EffectsUnseen != (h.NoEffects && r.Completed > 0) {
			t.Fatalf("%+v\nserver: %+v", r, want)
		}
		if r.Accepted != r.Completed+r.Dead+r.Lost+r.Stuck {
			t.Fatalf("the account does not add up: %+v", r)
		}
		if faults := want.Dropped + want.Duplicated + want.Stuck + want.Hopeless + want.HopelessMade + want.Altered; (len(r.Examples) == 0) != (faults == 0) {
			t.Fatalf("%d examples of %d faults", len(r.Examples), faults)
		}
	})
}

func TestAuditTellsRunsApart(t *testing.T) {
	t.Parallel()
	for name, h := range map[string]faultyapi.Habits{
		"by key":       {},
		"by all keys":  {IgnoresPrefix: true},
		"by data":      {NoKeys: true, NoEffects: true},
		"one by one":   {NoListing: true},
		"oldest first": {OldestFirst: true, IgnoresPrefix: true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := send(t, faultyapi.Faults{Seed: 5, Drop: 0.05, DuplicateRow: 0.05}, h, 300, 1, orders.Mix{})
			defer b.close()
			before := b.server.Counts()
			// Runs with the same data, and with ids that begin alike.
			b.keys.Run = "test-3"
			b.sendMore(t, 200, 1, orders.Mix{})
			middle := b.server.Counts()
			ours := b.audit(t)
			if ours.Lost != middle.Dropped-before.Dropped || ours.Duplicated != middle.Duplicated-before.Duplicated || ours.Accepted != 200 {
				t.Fatalf("%s, server: %+v then %+v", ours.Line(), before, middle)
			}
		})
	}
}

func TestAuditSeesARunInBatches(t *testing.T) {
	t.Parallel()
	b := send(t, faultyapi.Faults{Seed: 7, Drop: 0.3, DuplicateRow: 0.1}, faultyapi.Habits{}, 250, 16, orders.Mix{})
	defer b.close()
	r, want := b.audit(t), b.server.Counts()
	if want.Dropped == 0 || r.Lost != want.Dropped || r.Duplicated != want.Duplicated || r.Accepted != 250 {
		t.Fatalf("%s, server: %+v", r.Line(), want)
	}
	if e := r.Examples[0]; e.Fault != "lost" || e.Key != b.keys.String(e.N, 16) || e.ID == 0 || e.SentAt.IsZero() {
		t.Fatalf("%+v", e)
	}
}

// A replay that names another order than the first answer is a duplicate, found by asking for the second id.
func TestAuditFindsAReplayWithAnotherID(t *testing.T) {
	t.Parallel()
	for name, h := range map[string]faultyapi.Habits{"listed": {}, "not listed": {NoListing: true}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := send(t, faultyapi.Faults{ReplayNewID: true}, h, 200, 1, orders.Mix{Seed: 1, Duplicate: 0.1})
			defer b.close()
			r, want := b.audit(t), b.server.Counts()
			if want.Duplicated == 0 || r.Duplicated != want.Duplicated || r.Accepted != 200 {
				t.Fatalf("%s, server: %+v", r.Line(), want)
			}
			if b.totals.WronglyAnswered() == 0 {
				t.Fatalf("no wrong answer noticed: %+v", b.totals)
			}
		})
	}
}

func TestAuditByRunIDAlone(t *testing.T) {
	t.Parallel()
	b := send(t, faultyapi.Faults{Seed: 11, Drop: 0.03, DuplicateRow: 0.02, DuplicateEffect: 0.02, Dead: 0.02}, faultyapi.Habits{}, 600, 1, orders.Mix{})
	defer b.close()
	b.keys.Run = "test-3" // and another one whose id begins alike
	b.sendMore(t, 50, 1, orders.Mix{})
	middle := b.server.Counts()
	runs, err := audit.Discover(context.Background(), b.client, "test-3", 50, time.Second, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	r, err := audit.New(b.client, quick(), runs...).Run(context.Background())
	if err != nil || r.Accepted+r.Unknown.Missing != 50 {
		t.Fatalf("%v: %s", err, r.Line())
	}
	if runs, err = audit.Discover(context.Background(), b.client, "test", 600, time.Second, slog.New(slog.DiscardHandler)); err != nil {
		t.Fatal(err)
	}
	first, err := audit.New(b.client, quick(), runs...).Run(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	// Whether what is not there was ever accepted, its keys do not say.
	if got, want := first.Unknown.Missing+r.Unknown.Missing, middle.Dropped; got != want || first.Accepted+first.Unknown.Missing != 600 || first.Lost != 0 {
		t.Fatalf("%d missing of %d, %s", got, want, first.Line())
	}
	if got, want := first.Duplicated+r.Duplicated, middle.Duplicated; got != want || first.Dead+r.Dead != middle.Dead {
		t.Fatalf("%d duplicated of %d, %s", got, want, first.Line())
	}
}

func TestAuditByRunIDAloneNeedsKeys(t *testing.T) {
	t.Parallel()
	b := send(t, faultyapi.Faults{}, faultyapi.Habits{NoKeys: true}, 10, 1, orders.Mix{})
	defer b.close()
	if _, err := audit.Discover(context.Background(), b.client, "test", 0, time.Second, slog.New(slog.DiscardHandler)); !errors.Is(err, audit.ErrNoKeys) {
		t.Fatalf("got %v", err)
	}
}

func TestAuditSaysSoWhenTheAPIIsGone(t *testing.T) {
	t.Parallel()
	b := send(t, faultyapi.Faults{}, faultyapi.Habits{}, 10, 1, orders.Mix{})
	b.close()
	o := quick()
	o.Patience = 0 // it still tries for a second
	_, err := audit.New(b.client, o, audit.Run{Keys: b.keys, Ledger: b.ledger}).Run(context.Background())
	if !errors.Is(err, audit.ErrUnreachable) {
		t.Fatalf("got %v", err)
	}
}

func TestAuditEndsWithItsContext(t *testing.T) {
	t.Parallel()
	b := send(t, faultyapi.Faults{Stuck: 1}, faultyapi.Habits{}, 10, 1, orders.Mix{})
	defer b.close()
	ctx, cancel := context.WithCancel(context.Background())
	o := quick()
	o.Patience = time.Hour
	o.Progress = func(audit.Progress) { cancel() }
	r, err := audit.New(b.client, o, audit.Run{Keys: b.keys, Ledger: b.ledger}).Run(ctx)
	if !errors.Is(err, context.Canceled) || r.Accepted != 10 || r.Stuck != 10 {
		t.Fatalf("%v: %+v", err, r)
	}
}

// An api that refuses to show an order has not lost it.
func TestARefusalIsNoLoss(t *testing.T) {
	t.Parallel()
	b := send(t, faultyapi.Faults{}, faultyapi.Habits{NoListing: true}, 10, 1, orders.Mix{})
	defer b.close()
	_, err := audit.New(refusing{b.client}, quick(), audit.Run{Keys: b.keys, Ledger: b.ledger}).Run(context.Background())
	var e *client.Error
	if !errors.As(err, &e) || e.Status != 401 {
		t.Fatalf("got %v", err)
	}
}

// One look in which an order is not there is none: a replica that lags, a page that moved.
func TestAnOrderThatIsMissingOnceIsNotLost(t *testing.T) {
	t.Parallel()
	b := send(t, faultyapi.Faults{}, faultyapi.Habits{NoListing: true}, 20, 1, orders.Mix{})
	defer b.close()
	late := &appearing{Client: b.client, asked: map[int64]int{}}
	r, err := audit.New(late, quick(), audit.Run{Keys: b.keys, Ledger: b.ledger}).Run(context.Background())
	if err != nil || r.Line() != "audit: accepted=20 completed=20 dead=0 lost=0 duplicated=0" {
		t.Fatalf("%v: %s", err, r.Line())
	}
}

// appearing knows no order the first time that it is asked for it.
type appearing struct {
	*client.Client
	mu    sync.Mutex
	asked map[int64]int
}

func (a *appearing) Order(ctx context.Context, id int64) (client.Order, bool, error) {
	a.mu.Lock()
	a.asked[id]++
	first := a.asked[id] == 1
	a.mu.Unlock()
	if first {
		return client.Order{}, false, nil
	}
	return a.Client.Order(ctx, id)
}

type refusing struct{ *client.Client }

func (refusing) Order(context.Context, int64) (client.Order, bool, error) {
	return client.Order{}, false, &client.Error{Path: "/orders/1", Status: 401}
}

// An id that was answered for two orders is one's only: the other is lost, though GET /orders/{id} knows the id.
func TestAnIdThatIsAnothersIsNoOrder(t *testing.T) {
	t.Parallel()
	for name, h := range map[string]faultyapi.Habits{
		"by key": {}, "by data": {NoKeys: true}, "one by one": {NoListing: true}, "one by one, by data": {NoListing: true, NoKeys: true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := send(t, faultyapi.Faults{Seed: 3, Reuse: 0.05}, h, 300, 1, orders.Mix{})
			defer b.close()
			r, want := b.audit(t), b.server.Counts()
			if want.Dropped == 0 || r.Lost != want.Dropped || r.Misnamed != want.Dropped || r.Duplicated != 0 || r.Completed != 300-want.Dropped {
				t.Fatalf("%s, misnamed %d, server: %+v", r.Line(), r.Misnamed, want)
			}
			if note := r.Examples[0].Note; !strings.Contains(note, "is another order") {
				t.Fatalf("%q", note)
			}
		})
	}
}

// A replay that names another order is a wrong answer, and no order is made twice by it.
func TestAReplayThatNamesAnotherOrderIsNoDuplicate(t *testing.T) {
	t.Parallel()
	for name, h := range map[string]faultyapi.Habits{"listed": {}, "not listed": {NoListing: true}, "by data": {NoKeys: true}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := send(t, faultyapi.Faults{Seed: 1, ReplayOther: true}, h, 300, 1, orders.Mix{Seed: 1, Duplicate: 0.2})
			defer b.close()
			if r := b.audit(t); r.Line() != "audit: accepted=300 completed=300 dead=0 lost=0 duplicated=0" || r.Misnamed != 0 {
				t.Fatalf("%s: %+v", r.Line(), r.Examples)
			}
			if b.totals.WronglyAnswered() == 0 {
				t.Fatalf("%+v", b.totals)
			}
		})
	}
}

func TestAListingWithoutAnEndIsLeft(t *testing.T) {
	t.Parallel()
	for name, h := range map[string]faultyapi.Habits{"filtered": {EndlessPages: true}, "unfiltered": {EndlessPages: true, IgnoresPrefix: true}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := send(t, faultyapi.Faults{Seed: 1, Drop: 0.01}, h, 1200, 1, orders.Mix{})
			defer b.close()
			r, want := b.audit(t), b.server.Counts()
			if r.Lost != want.Dropped || r.Accepted != 1200 || len(r.Notes) == 0 || !strings.Contains(r.Notes[0], "turns in a circle") {
				t.Fatalf("%s, server: %+v, %q", r.Line(), want, r.Notes)
			}
			runs, err := audit.Discover(context.Background(), b.client, "test", 0, time.Second, slog.New(slog.DiscardHandler))
			if err != nil || runs[0].Ledger.Len() == 0 {
				t.Fatal(err)
			}
		})
	}
}

// A listing that goes on and on with what is not the run's is left after the patience.
func TestAListingOfStrangersIsLeft(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		l := ledger.New(time.Now(), 1)
		r, err := audit.New(&strangers{}, quick(), audit.Run{Keys: orders.Keys{Run: "test"}, Ledger: l}).Run(t.Context())
		if err != nil || len(r.Notes) == 0 || !strings.Contains(r.Notes[0], "without an order of this run") {
			t.Fatalf("%v: %q", err, r.Notes)
		}
	})
}

// strangers shows orders with ever higher ids, one every 10 ms, and none by its id.
type strangers struct{ id int64 }

func (s *strangers) List(context.Context, string, string, int) (client.Page, error) {
	<-time.After(10 * time.Millisecond) // of the test's own clock
	s.id++
	body := fmt.Sprintf(`{"orders":[{"id":%d,"idempotency_key":"x"}],"next_cursor":"%d"}`, s.id, s.id)
	return client.ParsePage("/orders", []byte(body))
}

func (*strangers) Order(context.Context, int64) (client.Order, bool, error) {
	return client.Order{}, false, nil
}
func (*strangers) Queue(context.Context) (client.Queue, error) { return client.Queue{}, nil }

// A Retry-After is honoured no longer than the audit is patient.
func TestARetryAfterDoesNotOutlastThePatience(t *testing.T) {
	t.Parallel()
	b := send(t, faultyapi.Faults{ReadsDown: true}, faultyapi.Habits{}, 10, 1, orders.Mix{})
	defer b.close()
	begun := time.Now()
	_, err := audit.New(b.client, quick(), audit.Run{Keys: b.keys, Ledger: b.ledger}).Run(context.Background())
	if !errors.Is(err, audit.ErrUnreachable) || time.Since(begun) > time.Minute {
		t.Fatalf("%v after %s", err, time.Since(begun))
	}
}

// What nobody looked at is not stuck.
func TestAnAuditThatWasCutShortSaysSo(t *testing.T) {
	t.Parallel()
	b := send(t, faultyapi.Faults{}, faultyapi.Habits{}, 10, 1, orders.Mix{})
	defer b.close()
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	r, err := audit.New(b.client, quick(), audit.Run{Keys: b.keys, Ledger: b.ledger}).Run(ctx)
	if !errors.Is(err, context.Canceled) || r.Stuck != 0 || r.Undetermined != 10 || len(r.Examples) != 0 || r.Asked != 0 {
		t.Fatalf("%v: %+v", err, r)
	}
}

// What was missed for the first time when the patience ended is looked for once more, and is not stuck.
func TestStuckIsOnlyWhatWasSeenPending(t *testing.T) {
	t.Parallel()
	b := send(t, faultyapi.Faults{Seed: 8, Stuck: 0.05, Flicker: 0.1}, faultyapi.Habits{}, 1000, 1, orders.Mix{})
	defer b.close()
	r, want := b.audit(t), b.server.Counts()
	// An order that is not there in two looks, one after the other, is lost as far as anyone can tell.
	if want.Stuck == 0 || r.Stuck > want.Stuck || r.Stuck+r.Lost < want.Stuck || r.Lost > 10 || r.Undetermined != 0 {
		t.Fatalf("stuck=%d lost=%d undetermined=%d, server: %+v", r.Stuck, r.Lost, r.Undetermined, want)
	}
}

// An api that lists an order knows it by its id, too.
func TestAListedOrderIsKnownByItsID(t *testing.T) {
	t.Parallel()
	b := send(t, faultyapi.Faults{Seed: 4, Hide: 0.05}, faultyapi.Habits{}, 400, 1, orders.Mix{})
	defer b.close()
	r, want := b.audit(t), b.server.Counts()
	if want.Hidden == 0 || r.Hidden != want.Hidden || r.Asked != 400 || r.Completed != 400 || r.Examples[0].Fault != "hidden" {
		t.Fatalf("%+v, server: %+v", r, want)
	}
	// Of a large run, some are asked for.
	if r := b.auditAs(t, 1, 50); r.Asked < 40 || r.Asked > 50 || r.Hidden > want.Hidden {
		t.Fatalf("%+v", r)
	}
}

// One stray key far beyond the others does not make two million orders.
func TestAStrayKeyIsNotBelieved(t *testing.T) {
	t.Parallel()
	b := send(t, faultyapi.Faults{}, faultyapi.Habits{}, 20, 1, orders.Mix{})
	defer b.close()
	p := b.client.NewPoster(false)
	defer p.Release()
	if a := p.Post([]byte("test-3-001999999"), orders.AppendJSON(nil, 7)); !a.Accepted() {
		t.Fatalf("%+v", a)
	}
	runs, err := audit.Discover(context.Background(), b.client, "test", 0, time.Second, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	r, err := audit.New(b.client, quick(), runs...).Run(context.Background())
	if err != nil || r.Accepted != 20 || r.Unknown.Orders != 0 || r.Strays != 1 {
		t.Fatalf("%v: %+v", err, r)
	}
}

// Orders made a second time without a key stand between those of all generators.
func TestDuplicatesWithoutAKeyAreSeenInParallelRuns(t *testing.T) {
	t.Parallel()
	b := send(t, faultyapi.Faults{Seed: 2, DuplicateNoKey: 0.05}, faultyapi.Habits{}, 1500, 1, orders.Mix{})
	defer b.close()
	first, last := *b, *b
	first.keys.Index, last.keys.Index = 7, 8
	first.sendMore(t, 1, 1, orders.Mix{})
	var generators sync.WaitGroup
	for index := range 3 {
		generators.Go(func() {
			one := *b
			one.keys.Index = index
			one.sendMore(t, 1500, 1, orders.Mix{})
		})
	}
	generators.Wait()
	last.sendMore(t, 1, 1, orders.Mix{})
	patient := quick()
	patient.Patience = time.Minute // there is much to look at, and nothing to wait for
	runs, err := audit.Discover(context.Background(), b.client, "test", 0, patient.Patience, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	r, err := audit.New(b.client, patient, runs...).Run(context.Background())
	if want := b.server.Counts(); err != nil || want.Duplicated == 0 || r.Duplicated != want.Duplicated || r.Accepted != 6002 {
		t.Fatalf("%v: %s, server: %+v", err, r.Line(), want)
	}
	// Who audits a part alone sees too many ids between its own, and says so.
	alone, err := audit.New(b.client, patient, audit.Run{Keys: first.keys, Ledger: first.ledger}, audit.Run{Keys: last.keys, Ledger: last.ledger}).Run(context.Background())
	if err != nil || !slices.ContainsFunc(alone.Notes, func(n string) bool { return strings.Contains(n, "were not looked at") }) {
		t.Fatalf("%v: %q", err, alone.Notes)
	}
}

// outdated is an api that answers as of the past for a while: before the run its queue was empty, too.
type outdated struct {
	audit.API
	before time.Time
	first  int // so many answers are of the past
	asked  int
}

func (o *outdated) Queue(ctx context.Context) (client.Queue, error) {
	q, err := o.API.Queue(ctx)
	if o.asked++; o.asked <= o.first {
		q.Depth, q.AsOf.Time = 0, o.before
	} else {
		q.AsOf.Time = time.Now()
	}
	return q, err
}

// A message that is left in the queue may bring a second effect. That the queue was empty before the run says nothing about it.
func TestAnEmptyQueueOfThePastIsNoReasonToStopLooking(t *testing.T) {
	t.Parallel()
	before := time.Now()
	b := send(t, faultyapi.Faults{}, faultyapi.Habits{}, 50, 1, orders.Mix{})
	defer b.close()
	api := &outdated{API: b.client, before: before, first: 3}
	o := quick()
	o.Patience, o.Linger = time.Minute, time.Minute
	r, err := audit.New(api, o, audit.Run{Keys: b.keys, Ledger: b.ledger}).Run(t.Context())
	if err != nil || r.Completed != 50 || api.asked <= api.first {
		t.Errorf("asked %d times, of which %d answers were of the past: %+v, %v", api.asked, api.first, r, err)
	}
}

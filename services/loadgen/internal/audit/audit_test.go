package audit_test

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"math"
	"math/rand/v2"
	"slices"
	"strconv"
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
func send(t reporter, behaviour faultyapi.Behaviour, count, bulk int, mix orders.Mix) *bench {
	t.Helper()
	b := &bench{server: &faultyapi.Server{Behaviour: behaviour}, keys: orders.Keys{Run: "test", Index: 3}}
	if err := b.server.Start(); err != nil {
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

// with is a server that has a fault in some of its orders.
func with(seed uint64, fault faultyapi.Fault, share float64) faultyapi.Behaviour {
	return faultyapi.Behaviour{Seed: seed, Shares: map[faultyapi.Fault]float64{fault: share}}
}

func (b *bench) sendMore(t reporter, count, bulk int, mix orders.Mix) {
	t.Helper()
	start := time.Now()
	recorder := measure.NewRecorder(start)
	b.ledger = ledger.New(start, bulk)
	g := &load.Generator{
		Plan: load.Plan{
			Keys: b.keys, Mix: mix, Limit: count, Bulk: bulk, Workers: 8,
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
	r, err := audit.New(b.client, quick(), b.part()).Run(context.Background())
	if err != nil {
		t.Fatalf("audit: %v", err)
	}
	return r
}

func (b *bench) part() audit.Part { return audit.Part{Keys: b.keys, Ledger: b.ledger} }

// quick is an audit that does not wait long for what will not come.
func quick() audit.Options {
	o := audit.DefaultOptions(60 * time.Millisecond)
	o.Poll, o.Confirm, o.Linger = 2*time.Millisecond, 2*time.Millisecond, 10*time.Millisecond
	return o
}

func TestAuditOfASoundRunFindsNothing(t *testing.T) {
	t.Parallel()
	b := send(t, faultyapi.Behaviour{}, 500, 1, orders.Mix{})
	defer b.close()
	r := b.audit(t)
	if r.String() != "accepted=500 completed=500 dead=0 lost=0 duplicated=0" || len(r.Examples) != 0 || len(r.Notes) != 0 {
		t.Fatalf("%+v", r)
	}
	if r.E2E.Count() != 500 || !r.HasDrain {
		t.Fatalf("latencies of %d orders, drain %v", r.E2E.Count(), r.HasDrain)
	}
}

// Whatever a server does wrong, the audit comes to the server's own numbers.
func TestAuditComesToTheServersOwnNumbers(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		behaviour := faultyapi.Behaviour{
			Seed: rapid.Uint64().Draw(t, "seed"), Shares: map[faultyapi.Fault]float64{},
			Process: time.Duration(rapid.IntRange(0, 20).Draw(t, "process")) * time.Millisecond,
		}
		for fault := faultyapi.Lose; fault <= faultyapi.Refuse; fault++ {
			if fault != faultyapi.Busy { // its Retry-After takes a second at least
				behaviour.Shares[fault] = rapid.SampledFrom([]float64{0, 0, 0, 0.01, 0.05}).Draw(t, "share")
			}
		}
		count, bulk := rapid.IntRange(1, 400).Draw(t, "orders"), rapid.SampledFrom([]int{1, 1, 7}).Draw(t, "bulk")
		b := send(t, behaviour, count, bulk, orders.Mix{})
		defer b.close()
		r, did := b.audit(t), b.server.Counts()
		want := audit.Figures{
			Accepted: did.Accepted, Dead: did.Orders[faultyapi.Bury] + did.Orders[faultyapi.BuryProcessed], DeadEffect: did.Orders[faultyapi.BuryProcessed], Lost: did.Lost(), Duplicated: did.Duplicated(), Stuck: did.Orders[faultyapi.Stick],
			NoEffect: did.Orders[faultyapi.NoEffect], Altered: did.Orders[faultyapi.Alter], Refused: did.Orders[faultyapi.Refuse],
			Unknown: audit.Unknown{
				Orders: did.Orders[faultyapi.Away] + did.Orders[faultyapi.AwayMade], Missing: did.Orders[faultyapi.Away], Completed: did.Orders[faultyapi.AwayMade],
			},
		}
		want.Completed = want.Accepted - want.Dead - want.Lost - want.Stuck
		want.Misnamed = min(r.Misnamed, did.Orders[faultyapi.WrongID]) // or fewer: the wrong id may be that of an order that was lost
		if r.Figures != want {
			t.Fatalf("audit:  %#v\nserver: %#v\nnotes: %q", r.Figures, want, r.Notes)
		}
		faults := want.Lost + want.Duplicated + want.Stuck + want.NoEffect + want.DeadEffect + want.Altered + want.Unknown.Orders
		if (len(r.Examples) == 0) != (faults == 0) {
			t.Fatalf("%d examples of %d faults", len(r.Examples), faults)
		}
		if (len(r.Notes) == 0) != (did.Orders[faultyapi.Unlist] == 0) {
			t.Fatalf("%d orders are not listed: %q", did.Orders[faultyapi.Unlist], r.Notes)
		}
	})
}

func TestAuditTellsRunsApart(t *testing.T) {
	t.Parallel()
	b := send(t, faultyapi.Behaviour{Seed: 5, Shares: map[faultyapi.Fault]float64{faultyapi.Lose: 0.05, faultyapi.Repeat: 0.05}}, 300, 1, orders.Mix{})
	defer b.close()
	before := b.server.Counts()
	// Runs with the same data, and with ids that begin alike: generator 3 of "test" and all of "test-3".
	first := *b
	b.keys.Run = "test-3"
	b.sendMore(t, 200, 1, orders.Mix{})
	both := b.server.Counts()
	for _, run := range []struct {
		b                          *bench
		accepted, lost, duplicated int
	}{{&first, 300, before.Lost(), before.Duplicated()}, {b, 200, both.Lost() - before.Lost(), both.Duplicated() - before.Duplicated()}} {
		if r := run.b.audit(t); r.Accepted != run.accepted || r.Lost != run.lost || r.Duplicated != run.duplicated {
			t.Errorf("%s: %s, server: %+v then %+v", run.b.keys.Run, r.String(), before, both)
		}
	}
}

func TestAuditSeesARunInBatches(t *testing.T) {
	t.Parallel()
	b := send(t, faultyapi.Behaviour{Seed: 7, Shares: map[faultyapi.Fault]float64{faultyapi.Lose: 0.3, faultyapi.Repeat: 0.1}}, 250, 16, orders.Mix{})
	defer b.close()
	r, want := b.audit(t), b.server.Counts()
	if want.Lost() == 0 || r.Lost != want.Lost() || r.Duplicated != want.Duplicated() || r.Accepted != 250 {
		t.Fatalf("%s, server: %+v", r.String(), want)
	}
	if e := r.Examples[0]; e.Fault != "lost" || e.Key != b.keys.String(e.N, 16) || e.ID == 0 || e.SentAt.IsZero() {
		t.Fatalf("%+v", e)
	}
}

// A replay that names another order than the first answer is a duplicate where that order was made for it, and otherwise a wrong answer.
func TestAReplayWithAnotherID(t *testing.T) {
	t.Parallel()
	for name, behaviour := range map[string]faultyapi.Behaviour{"a second order's": {ReplayNewID: true}, "another order's": {Seed: 1, ReplayOther: true}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := send(t, behaviour, 300, 1, orders.Mix{Seed: 1, Duplicate: 0.2})
			defer b.close()
			r, want := b.audit(t), b.server.Counts()
			if (want.Repeats > 0) != behaviour.ReplayNewID || r.Duplicated != want.Repeats || r.Accepted != 300 || r.Completed != 300 || r.Misnamed != 0 {
				t.Fatalf("%+v, server: %+v", r, want)
			}
			if b.totals.WronglyAnswered() == 0 {
				t.Fatalf("no wrong answer noticed: %+v", b.totals)
			}
		})
	}
}

func TestAuditByRunIDAlone(t *testing.T) {
	t.Parallel()
	b := send(t, faultyapi.Behaviour{Seed: 11, Shares: map[faultyapi.Fault]float64{
		faultyapi.Lose: 0.03, faultyapi.Repeat: 0.02, faultyapi.ProcessTwice: 0.02, faultyapi.Bury: 0.02,
	}}, 600, 1, orders.Mix{})
	defer b.close()
	b.keys.Run = "test-3" // and another one whose id begins alike
	b.sendMore(t, 50, 1, orders.Mix{})
	middle := b.server.Counts()
	runs, err := audit.Discover(context.Background(), b.client, "test-3", 50, time.Second)
	if err != nil {
		t.Fatal(err)
	}
	r, err := audit.New(b.client, quick(), runs...).Run(context.Background())
	if err != nil || r.Accepted+r.Unknown.Missing != 50 {
		t.Fatalf("%v: %s", err, r.String())
	}
	if runs, err = audit.Discover(context.Background(), b.client, "test", 600, time.Second); err != nil {
		t.Fatal(err)
	}
	first, err := audit.New(b.client, quick(), runs...).Run(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	// Whether what is not there was ever accepted, its keys do not say.
	if got, want := first.Unknown.Missing+r.Unknown.Missing, middle.Lost(); got != want || first.Accepted+first.Unknown.Missing != 600 || first.Lost != 0 {
		t.Fatalf("%d missing of %d, %s", got, want, first.String())
	}
	if got, want := first.Duplicated+r.Duplicated, middle.Duplicated(); got != want || first.Dead+r.Dead != middle.Orders[faultyapi.Bury] {
		t.Fatalf("%d duplicated of %d, %s", got, want, first.String())
	}
}

func TestAuditSaysSoWhenTheAPIIsGone(t *testing.T) {
	t.Parallel()
	b := send(t, faultyapi.Behaviour{}, 10, 1, orders.Mix{})
	b.close()
	o := quick()
	o.Patience = 0 // it still tries for a second
	_, err := audit.New(b.client, o, b.part()).Run(context.Background())
	if !errors.Is(err, client.ErrUnreachable) {
		t.Fatalf("got %v", err)
	}
}

func TestAuditEndsWithItsContext(t *testing.T) {
	t.Parallel()
	b := send(t, with(0, faultyapi.Stick, 1), 10, 1, orders.Mix{})
	defer b.close()
	ctx, cancel := context.WithCancel(context.Background())
	o := quick()
	o.Patience = time.Hour
	o.Progress = func(p audit.Progress) {
		if !p.Estimated { // the orders themselves were looked at
			cancel()
		}
	}
	r, err := audit.New(b.client, o, b.part()).Run(ctx)
	if !errors.Is(err, context.Canceled) || r.Accepted != 10 || r.Stuck != 10 {
		t.Fatalf("%v: %+v", err, r)
	}
}

// An api that refuses to show an order has not lost it.
func TestARefusalIsNoLoss(t *testing.T) {
	t.Parallel()
	b := send(t, faultyapi.Behaviour{}, 10, 1, orders.Mix{})
	defer b.close()
	_, err := audit.New(refusing{b.client}, quick(), b.part()).Run(context.Background())
	var e *client.Error
	if !errors.As(err, &e) || e.Status != 401 {
		t.Fatalf("got %v", err)
	}
}

// What was refused as invalid must not be there, neither as a whole nor the good orders of a batch.
func TestOrdersMadeOfInvalidRequestsAreFound(t *testing.T) {
	t.Parallel()
	for _, bulk := range []int{1, 7} {
		b := send(t, faultyapi.Behaviour{MakesInvalid: true}, 200, bulk, orders.Mix{Seed: 5, Poison: 0.3})
		defer b.close()
		r, did := b.audit(t), b.server.Counts()
		if made := did.Created - did.Accepted; made == 0 || r.PoisonFound != made || r.Completed != 200 || r.Duplicated != 0 {
			t.Errorf("in batches of %d: %d of %d are found: %s", bulk, r.PoisonFound, made, r.String())
		}
		if e := r.Examples; len(e) != 10 || e[0].Fault != "poison_found" || !strings.Contains(e[0].Key, "-x") || e[0].ID == 0 {
			t.Errorf("%+v", e)
		}
	}
}

// An order that was completed and is not any more has not been processed once: a late word of another consumer's has undone that.
func TestACompletedOrderHasToStayCompleted(t *testing.T) {
	t.Parallel()
	for status, figure := range map[string]func(r *audit.Result) int{
		"pending": func(r *audit.Result) int { return r.Stuck }, "dead": func(r *audit.Result) int { return r.Dead },
	} {
		b := send(t, with(8, faultyapi.Stick, 0.05), 200, 1, orders.Mix{}) // so there is more than one look
		defer b.close()
		stuck := b.server.Counts().Orders[faultyapi.Stick]
		api := &relapsing{Client: b.client, status: status}
		r, err := audit.New(api, quick(), b.part()).Run(t.Context())
		if err != nil || stuck == 0 || r.Completed != 200-stuck-1 || figure(&r) < 1 || r.Stuck+r.Dead != stuck+1 {
			t.Errorf("completed, then %s: %v, %s, stuck=%d of %d", status, err, r.String(), r.Stuck, stuck)
		}
	}
}

// relapsing shows the first order that it lists as completed in that way once.
type relapsing struct {
	*client.Client
	status string // afterwards
	id     int64
}

func (r *relapsing) List(ctx context.Context, prefix, cursor string, limit int) (client.Page, error) {
	page, err := r.Client.List(ctx, prefix, cursor, limit)
	for i := range page.Orders {
		switch o := &page.Orders[i]; {
		case r.id == o.ID:
			o.Status, o.CompletedAt = r.status, time.Time{}
		case r.id == 0 && o.Status == "completed":
			r.id = o.ID
		}
	}
	return page, err
}

// One look in which an order is not there is none: a replica that lags, a page that moved.
func TestAnOrderThatIsMissingOnceIsNotLost(t *testing.T) {
	t.Parallel()
	b := send(t, faultyapi.Behaviour{}, 20, 1, orders.Mix{})
	defer b.close()
	late := &appearing{Client: b.client, asked: map[int64]int{}}
	r, err := audit.New(late, quick(), b.part()).Run(context.Background())
	if err != nil || r.String() != "accepted=20 completed=20 dead=0 lost=0 duplicated=0" {
		t.Fatalf("%v: %s", err, r.String())
	}
}

// appearing knows no order the first time that it is asked for it, and lists none.
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

func (a *appearing) List(context.Context, string, string, int) (client.Page, error) {
	return client.Page{}, nil
}

// refusing lists no order, and does not say what it knows of one.
type refusing struct{ *client.Client }

func (refusing) List(context.Context, string, string, int) (client.Page, error) {
	return client.Page{}, nil
}

func (refusing) Order(context.Context, int64) (client.Order, bool, error) {
	return client.Order{}, false, &client.Error{Path: "/orders/1", Status: 401}
}

// An id that was answered for two orders is one's only: the other is lost, though GET /orders/{id} knows the id.
func TestAnIdThatIsAnothersIsNoOrder(t *testing.T) {
	t.Parallel()
	b := send(t, with(3, faultyapi.WrongID, 0.05), 300, 1, orders.Mix{})
	defer b.close()
	r, want := b.audit(t), b.server.Counts().Lost()
	if want == 0 || r.Lost != want || r.Misnamed != want || r.Duplicated != 0 || r.Completed != 300-want {
		t.Fatalf("%s, misnamed %d, of %d", r.String(), r.Misnamed, want)
	}
	if note := r.Examples[0].Note; !strings.Contains(note, "is another order") {
		t.Fatalf("%q", note)
	}
}

// From a listing that is not what the contract says nothing can be concluded: the audit ends and says so.
func TestAListingThatBreaksItsContractEndsTheAudit(t *testing.T) {
	t.Parallel()
	b := send(t, faultyapi.Behaviour{}, 1200, 1, orders.Mix{})
	defer b.close()
	for name, api := range map[string]client.API{"has no end": endless{b.client}, "shows other orders": unfiltered{b.client}} {
		if _, err := audit.New(api, quick(), b.part()).Run(t.Context()); !errors.Is(err, client.ErrListing) {
			t.Errorf("a listing that %s: %v", name, err)
		}
		if _, err := audit.Discover(t.Context(), api, "test", 0, time.Second); !errors.Is(err, client.ErrListing) {
			t.Errorf("a listing that %s, without a ledger: %v", name, err)
		}
	}
}

// endless shows the first page under ever new cursors.
type endless struct{ *client.Client }

func (e endless) List(ctx context.Context, prefix, cursor string, limit int) (client.Page, error) {
	page, err := e.Client.List(ctx, prefix, "", limit)
	page.Next = cursor + "x"
	return page, err
}

// unfiltered shows all orders, whatever it is asked for.
type unfiltered struct{ *client.Client }

func (u unfiltered) List(ctx context.Context, _, cursor string, limit int) (client.Page, error) {
	page, err := u.Client.List(ctx, "", cursor, limit)
	if len(page.Orders) > 0 {
		page.Orders[0].Key = "another-0-000000000"
	}
	return page, err
}

// A Retry-After is honoured no longer than the audit is patient.
func TestARetryAfterDoesNotOutlastThePatience(t *testing.T) {
	t.Parallel()
	b := send(t, faultyapi.Behaviour{ReadsDown: true}, 10, 1, orders.Mix{})
	defer b.close()
	begun := time.Now()
	_, err := audit.New(b.client, quick(), b.part()).Run(context.Background())
	if !errors.Is(err, client.ErrUnreachable) || time.Since(begun) > time.Minute {
		t.Fatalf("%v after %s", err, time.Since(begun))
	}
}

// What nobody looked at is not stuck.
func TestAnAuditThatWasCutShortSaysSo(t *testing.T) {
	t.Parallel()
	b := send(t, faultyapi.Behaviour{}, 10, 1, orders.Mix{})
	defer b.close()
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	r, err := audit.New(b.client, quick(), b.part()).Run(ctx)
	if !errors.Is(err, context.Canceled) || r.Stuck != 0 || r.Undetermined != 10 || len(r.Examples) != 0 {
		t.Fatalf("%v: %+v", err, r)
	}
}

// What was missed for the first time when the patience ended is looked for once more, and is not stuck.
func TestStuckIsOnlyWhatWasSeenPending(t *testing.T) {
	t.Parallel()
	b := send(t, with(8, faultyapi.Stick, 0.05), 1000, 1, orders.Mix{})
	defer b.close()
	r, err := audit.New(flickering{b.client}, quick(), b.part()).Run(t.Context())
	// An order that is not there in two looks, one after the other, is lost as far as anyone can tell.
	want := b.server.Counts().Orders[faultyapi.Stick]
	if err != nil || want == 0 || r.Stuck > want || r.Stuck+r.Lost < want || r.Lost > 10 || r.Undetermined != 0 {
		t.Fatalf("stuck=%d of %d, lost=%d undetermined=%d, %v", r.Stuck, want, r.Lost, r.Undetermined, err)
	}
}

// flickering does not show an order in one look of ten.
type flickering struct{ *client.Client }

func (f flickering) Order(ctx context.Context, id int64) (client.Order, bool, error) {
	o, found, err := f.Client.Order(ctx, id)
	return o, found && rand.IntN(10) > 0, err
}

func (f flickering) List(ctx context.Context, prefix, cursor string, limit int) (client.Page, error) {
	page, err := f.Client.List(ctx, prefix, cursor, limit)
	page.Orders = slices.DeleteFunc(page.Orders, func(client.Order) bool { return rand.IntN(10) == 0 })
	return page, err
}

// One stray key far beyond the others does not make two million orders.
func TestAStrayKeyIsNotBelieved(t *testing.T) {
	t.Parallel()
	b := send(t, faultyapi.Behaviour{}, 20, 1, orders.Mix{})
	defer b.close()
	p := b.client.NewPoster(false)
	defer p.Release()
	if a := p.Post([]byte("test-3-001999999"), orders.AppendJSON(nil, 7)); !a.Accepted() {
		t.Fatalf("%+v", a)
	}
	runs, err := audit.Discover(context.Background(), b.client, "test", 0, time.Second)
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
	b := send(t, with(2, faultyapi.RepeatUnkeyed, 0.05), 1500, 1, orders.Mix{})
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
	runs, err := audit.Discover(context.Background(), b.client, "test", 0, patient.Patience)
	if err != nil {
		t.Fatal(err)
	}
	r, err := audit.New(b.client, patient, runs...).Run(context.Background())
	if want := b.server.Counts(); err != nil || want.Duplicated() == 0 || r.Duplicated != want.Duplicated() || r.Accepted != 6002 {
		t.Fatalf("%v: %s, server: %+v", err, r.String(), want)
	}
	// Who audits a part alone sees too many ids between its own, and says so. What the others made again is none of its faults.
	alone, err := audit.New(b.client, patient, first.part(), last.part()).Run(context.Background())
	if err != nil || alone.Duplicated > 2 || !slices.ContainsFunc(alone.Notes, func(n string) bool { return strings.Contains(n, "too many to look at each") }) {
		t.Fatalf("%v: %s, %q", err, alone.String(), alone.Notes)
	}
}

// A large run is not listed again and again while it is being processed: that would load what is being measured.
func TestALargeRunIsListedWhenItIsDone(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		const size = 20_000
		l := ledger.New(time.Now(), 1)
		l.Restore(size)
		for n := range size {
			l.Accept(n, int64(n+1))
		}
		keys := orders.Keys{Run: "test"}
		api := &draining{keys: keys, left: 100, size: size}
		o := audit.DefaultOptions(time.Minute)
		estimates := 0
		o.Progress = func(p audit.Progress) {
			if p.Estimated && p.Completed == size-p.Pending {
				estimates++
			}
		}
		r, err := audit.New(api, o, audit.Part{Keys: keys, Ledger: l}).Run(t.Context())
		if err != nil || r.Completed != size || api.early > 0 || api.pages != size/1000 || estimates < 100 {
			t.Fatalf("%v: %s; %d pages, %d of them while it was being processed; %d estimates", err, r.String(), api.pages, api.early, estimates)
		}
	})
}

// draining is an api whose queue has one message fewer each time that it is asked, and that lists its orders as completed.
type draining struct {
	keys         orders.Keys
	left, size   int
	pages, early int
}

func (d *draining) Queue(context.Context) (client.Queue, error) {
	d.left = max(0, d.left-1)
	return client.Queue{Depth: d.left, AsOf: time.Now()}, nil
}

func (d *draining) List(_ context.Context, _, cursor string, limit int) (page client.Page, err error) {
	if d.pages++; d.left > 0 {
		d.early++
	}
	from, _ := strconv.Atoi(cursor)
	for n := from; n < min(from+limit, d.size); n++ {
		page.Orders = append(page.Orders, client.Order{ID: int64(n + 1), Data: orders.Of(n), Key: d.keys.String(n, 1), Status: "completed", Effects: 1, CreatedAt: time.Now(), CompletedAt: time.Now()})
	}
	if from+limit < d.size {
		page.Next = strconv.Itoa(from + limit)
	}
	return page, nil
}

func (*draining) Order(context.Context, int64) (client.Order, bool, error) {
	return client.Order{}, false, nil
}

// What another client ordered without a key, in between, is not taken for the run's because the customer's name is like one of its.
func TestAnotherClientsOrderIsNoDuplicate(t *testing.T) {
	t.Parallel()
	b := send(t, faultyapi.Behaviour{}, 10, 1, orders.Mix{})
	defer b.close()
	p := b.client.NewPoster(false)
	defer p.Release()
	body := fmt.Sprintf(`{"customer_name":"Customer %d","product_name":"Lamp","quantity":1,"price":9.5}`, orders.Number(b.keys.Index, 4))
	if a := p.Post(nil, []byte(body)); !a.Accepted() {
		t.Fatalf("%+v", a)
	}
	if r := b.audit(t); r.Completed != 10 || r.Duplicated != 0 {
		t.Errorf("%s: %+v", r.String(), r.Examples)
	}
}

// The Python example's client orders the same as the run, and without keys. What it ordered before is not the run's.
func TestAnotherClientsSameOrderIsNoDuplicate(t *testing.T) {
	t.Parallel()
	b := send(t, faultyapi.Behaviour{}, 1, 1, orders.Mix{}) // an earlier run
	defer b.close()
	p := b.client.NewPoster(false)
	defer p.Release()
	if a := p.Post(nil, orders.AppendJSON(nil, orders.Number(b.keys.Index, 4))); !a.Accepted() {
		t.Fatalf("%+v", a)
	}
	b.keys.Run = "later"
	b.sendMore(t, 10, 1, orders.Mix{})
	byKeys, err := audit.Discover(t.Context(), b.client, b.keys.Run, 10, time.Second)
	if err != nil {
		t.Fatal(err)
	}
	for name, parts := range map[string][]audit.Part{"with a ledger": {b.part()}, "by keys": byKeys} {
		r, err := audit.New(displaced{Client: b.client, unkeyed: time.Minute}, quick(), parts...).Run(t.Context())
		if err != nil || r.Completed != 10 || r.Duplicated != 0 {
			t.Errorf("%s: %v: %s: %+v", name, err, r.String(), r.Examples)
		}
		if len(r.Notes) != 1 || !strings.Contains(r.Notes[0], "without a key that are like the run's") || !strings.Contains(r.Notes[0], ": 1,") {
			t.Errorf("%s: %q", name, r.Notes)
		}
	}
}

// An order that was made again without its key was made while its request was under way, or a moment after. What is like one of the run's orders
// and was made at another time is another client's.
func TestADuplicateWithoutAKeyWasMadeWithItsOrder(t *testing.T) {
	t.Parallel()
	b := send(t, with(1, faultyapi.RepeatUnkeyed, 1), 20, 1, orders.Mix{})
	defer b.close()
	byKeys, err := audit.Discover(t.Context(), b.client, b.keys.Run, 20, time.Second)
	if err != nil {
		t.Fatal(err)
	}
	withLedger := []audit.Part{b.part()}
	for _, c := range []struct {
		name                 string
		parts                []audit.Part
		first, rest, unkeyed time.Duration // by how much the run's first order, its others, and those without a key were made earlier than they were
		duplicated           int
	}{
		{"at once", withLedger, 0, 0, 0, 20},
		{"at once, by keys", byKeys, 0, 0, 0, 20},
		{"a minute after the answer", withLedger, time.Minute, time.Minute, 0, 0},
		{"a minute later, by keys: that long it may have been tried", byKeys, time.Minute, time.Minute, 0, 20},
		{"two minutes later, by keys", byKeys, 2 * time.Minute, 2 * time.Minute, 0, 0},
		{"before the run", withLedger, 0, 0, time.Minute, 0},
		{"before the run, by keys", byKeys, 0, 0, time.Minute, 0},
		{"during the run, a minute before the request", withLedger, time.Hour, 0, time.Minute, 0},
		{"during the run, a minute before, by keys: at an earlier try", byKeys, time.Hour, 0, time.Minute, 19},
		{"during the run, two minutes before, by keys", byKeys, time.Hour, 0, 2 * time.Minute, 0},
		{"while its request was under way, and before any order of the run", withLedger, 0, 0, 50 * time.Millisecond, 20},
	} {
		api := displaced{b.client, b.keys.String(0, 1), c.first, c.rest, c.unkeyed}
		r, err := audit.New(api, quick(), c.parts...).Run(t.Context())
		if err != nil || r.Completed != 20 || r.Duplicated != c.duplicated || (len(r.Notes) == 0) != (c.duplicated == 20) {
			t.Errorf("made again %s: %v: %s, %q", c.name, err, r.String(), r.Notes)
		}
	}
}

// What was refused, or never answered, and was made all the same without its key, is not called another client's: there is no order of the run's
// that it could be told apart from.
func TestAnOrderWithoutItsKeyMayBeTheRuns(t *testing.T) {
	t.Parallel()
	for _, status := range []int{422, 503} {
		b := send(t, faultyapi.Behaviour{Seed: 1, Shares: map[faultyapi.Fault]float64{faultyapi.Unkey: .5}, UnkeyStatus: status}, 40, 1, orders.Mix{})
		defer b.close()
		r, made := b.audit(t), b.server.Counts().Orders[faultyapi.Unkey]
		want := fmt.Sprintf("orders without a key that are like orders of the run's that are not there, and may be these: %d", made)
		if made == 0 || r.Accepted != 40-made || r.Duplicated != 0 || !slices.Equal(r.Notes, []string{want}) {
			t.Errorf("%d of %d orders were answered with %d and made without a key: %s, %q", made, 40, status, r.String(), r.Notes)
		}
	}
}

// displaced shows orders as made earlier than they were.
type displaced struct {
	*client.Client
	key                  string // of the run's first order
	first, rest, unkeyed time.Duration
}

func (d displaced) displace(o *client.Order) {
	by := d.rest
	switch o.Key {
	case "":
		by = d.unkeyed
	case d.key:
		by = d.first
	}
	o.CreatedAt = o.CreatedAt.Add(-by)
}

func (d displaced) Order(ctx context.Context, id int64) (client.Order, bool, error) {
	o, found, err := d.Client.Order(ctx, id)
	d.displace(&o)
	return o, found, err
}

func (d displaced) List(ctx context.Context, prefix, cursor string, limit int) (client.Page, error) {
	page, err := d.Client.List(ctx, prefix, cursor, limit)
	for i := range page.Orders {
		d.displace(&page.Orders[i])
	}
	return page, err
}

// outdated is an api that answers as of the past for a while: before the run its queue was empty, too.
type outdated struct {
	client.API
	before time.Time
	first  int // so many answers are of the past
	asked  int
}

func (o *outdated) Queue(ctx context.Context) (client.Queue, error) {
	q, err := o.API.Queue(ctx)
	if o.asked++; o.asked <= o.first {
		q.Depth, q.AsOf = 0, o.before
	} else {
		q.AsOf = time.Now()
	}
	return q, err
}

// A message that is left in the queue may bring a second effect. That the queue was empty before the run says nothing about it.
func TestAnEmptyQueueOfThePastIsNoReasonToStopLooking(t *testing.T) {
	t.Parallel()
	before := time.Now()
	b := send(t, faultyapi.Behaviour{}, 50, 1, orders.Mix{})
	defer b.close()
	api := &outdated{API: b.client, before: before, first: 3}
	o := quick()
	o.Patience, o.Linger = time.Minute, time.Minute
	r, err := audit.New(api, o, b.part()).Run(t.Context())
	if err != nil || r.Completed != 50 || api.asked <= api.first {
		t.Errorf("asked %d times, of which %d answers were of the past: %+v, %v", api.asked, api.first, r, err)
	}
}

// silent is an api that never says what the queue holds.
type silent struct{ *client.Client }

func (silent) Queue(context.Context) (client.Queue, error) {
	return client.Queue{}, &client.Error{Path: "/queue", Status: 503}
}

// That nothing more can come of the queue is not known from an api that does not say what it holds, and the account says so.
func TestAnAuditWithoutTheQueueSaysSo(t *testing.T) {
	t.Parallel()
	before := time.Now()
	b := send(t, faultyapi.Behaviour{}, 10, 1, orders.Mix{})
	defer b.close()
	for name, api := range map[string]client.API{
		"never answers": silent{b.client}, "only knows the past": &outdated{API: b.client, before: before, first: math.MaxInt},
	} {
		r, err := audit.New(api, quick(), b.part()).Run(t.Context())
		if err != nil || r.Completed != 10 || len(r.Notes) != 1 || !strings.Contains(r.Notes[0], "(GET /queue): if any messages are this run's") {
			t.Errorf("a queue that %s: %v, %s, %q", name, err, r.String(), r.Notes)
		}
	}
}

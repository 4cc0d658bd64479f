package main

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"orderflow.example/kit/await"
	"orderflow.example/kit/testdb"
)

// stream is a viewer of GET /events.
type stream struct {
	t     *testing.T
	lines *bufio.Reader
	resp  *http.Response
}

// watch opens the stream. It ends with the test.
func (s *service) watch(t *testing.T, headers ...string) *stream {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, s.url+"/events", nil)
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i+1 < len(headers); i += 2 {
		req.Header.Set(headers[i], headers[i+1])
	}
	resp, err := streaming.Do(req)
	if err != nil {
		cancel()
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cancel()
		_ = resp.Body.Close()
	})
	return &stream{t, bufio.NewReader(resp.Body), resp}
}

// streaming has no time limit for what has no end.
var streaming = &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}

// next is the next event with a name, whose data go to into. Other events are passed over.
func (s *stream) next(name string, into any) {
	s.t.Helper()
	for s.event() != name {
	}
	data, err := s.lines.ReadString('\n')
	if err != nil {
		s.t.Fatal(err)
	}
	if err := json.Unmarshal([]byte(strings.TrimPrefix(data, "data: ")), into); err != nil {
		s.t.Fatalf("%v: %s", err, data)
	}
}

func (s *stream) event() string {
	s.t.Helper()
	for {
		line, err := s.lines.ReadString('\n')
		if err != nil {
			s.t.Fatalf("the stream ends: %v", err)
		}
		if name, ok := strings.CutPrefix(strings.TrimSuffix(line, "\n"), "event: "); ok {
			return name
		}
	}
}

func TestTheDashboardShowsAndStreamsWhatHappens(t *testing.T) {
	t.Parallel()
	s := started(t, map[string]string{"DATABASE_URL": testdb.New(t)})
	events := s.watch(t)
	if got := events.resp.Header.Get("Content-Type"); got != "text/event-stream" {
		t.Errorf("the stream is %s", got)
	}
	var seen struct {
		Waiting int
		Latest  []struct {
			Status       string
			CustomerName string `json:"customer_name"`
		}
	}
	events.next("snapshot", &seen)
	if seen.Waiting != 0 || len(seen.Latest) != 0 {
		t.Errorf("before the first order: %+v", seen)
	}
	s.place(t, "/orders", orderJSON(1))
	for seen.Waiting != 1 || len(seen.Latest) != 1 {
		events.next("snapshot", &seen)
	}
	if seen.Latest[0].CustomerName != "Customer 1" || seen.Latest[0].Status != "pending" {
		t.Errorf("the latest order is %+v", seen.Latest[0])
	}
	if page := s.get(t, "/"); page.status != http.StatusOK || !strings.Contains(page.body, `<dt>Waiting</dt><dd><div class="value">1</div>`) {
		t.Errorf("the page is %d\n%s", page.status, page.body)
	}
}

// overview is what the tests look at of a snapshot.
type overview struct {
	Waiting   int
	Accepted  *float64 `json:"accepted_per_second"`
	Completed *float64 `json:"completed_per_second"`
	Balance   struct {
		State, Words                    string
		Accepted, Completed, Dead, Lost int64
		Under                           int64 `json:"under_way"`
		Example                         *int64
	}
	Consuming struct{ State string }
	Consumers []struct {
		Name, State    string
		Busy, Capacity int
		PerSecond      *float64 `json:"per_second"`
		Failures       int64
	}
	Doctor struct {
		By       string
		Stale    bool
		Findings []struct{ Check, Finding, Advice string }
	}
}

// until passes snapshots over until one is as wanted.
func (s *stream) until(what string, holds func(*overview) bool) (last overview) {
	s.t.Helper()
	deadline := time.Now().Add(patience)
	for {
		last = overview{}
		s.next("snapshot", &last)
		if holds(&last) {
			return last
		}
		if time.Now().After(deadline) {
			s.t.Fatalf("waited in vain for: %s; the last snapshot is %+v", what, last)
		}
	}
}

// complete does what a consumer does to so many orders, the oldest first.
const complete = `
	with m as (delete from pgmq.q_order_queue where msg_id in (select msg_id from pgmq.q_order_queue order by msg_id limit %d) returning msg_id)
	update orders set status = 'completed', effects = effects + 1, completed_at = clock_timestamp() where message_id in (select msg_id from m)`

// reports is a consumer that says of itself that it has completed so many orders, each of them in a second.
const reports = `
	select orderflow.report('%[1]s/1', 'order_queue', 'consumer', '%[1]s', 60, 2, '%[2]s', 3, 8, 0, %[3]d, 2, 1, 1, array_fill(0::bigint, array[30]) || %[3]d::bigint)`

func TestTheBalanceIsTrue(t *testing.T) {
	t.Parallel()
	db := testdb.New(t)
	s := started(t, map[string]string{"DATABASE_URL": db})
	admin := testdb.Connect(t, db)
	events := s.watch(t)
	events.until("the first count", func(n *overview) bool {
		return n.Balance.State == "balanced" && n.Balance.Words == "There are no orders yet."
	})
	for i := range 5 {
		s.place(t, "/orders", orderJSON(i))
	}
	execute(t, admin, fmt.Sprintf(complete, 2))
	execute(t, admin, `
		with m as (delete from pgmq.q_order_queue where msg_id = 3 returning message)
		select pgmq.send('order_queue_dlq', message) from m`)
	execute(t, admin, `update orders set status = 'dead', dead_at = clock_timestamp() where id = 3`)
	events.until("all five orders are accounted for", func(n *overview) bool {
		b := n.Balance
		if b.State == "lost" {
			t.Errorf("nothing is lost: %+v", b)
		}
		return b.Accepted == 5 && b.Completed == 2 && b.Dead == 1 && b.Under == 2
	})
	// There are more settled ranges than can be looked at again in the time: what is under way does not wait behind them.
	execute(t, admin, `
		insert into orderflow.order_counts (queue, first_id, completed, dead, under_way, lost, begun_at, checked_at)
		select 'order_queue', -10000 * n, 0, 0, 0, 0, clock_timestamp() - interval '1 hour', clock_timestamp() - interval '1 hour'
		from generate_series(1, 2000) n`)
	// Somebody takes a message out of the queue, and for a while nobody notices.
	execute(t, admin, `select pgmq.archive('order_queue', 4)`)
	lost := events.until("an order is missed", func(n *overview) bool { return n.Balance.State == "lost" }).Balance
	if lost.Lost != 1 || lost.Example == nil || *lost.Example != 4 || lost.Under != 1 || lost.Accepted != 5 || !strings.HasPrefix(lost.Words, "1 accepted order is pending without a message") {
		t.Errorf("the balance is %+v", lost)
	}
	execute(t, admin, `update orders set message_id = (select pgmq.send('order_queue', '{"order_id": 4}')) where id = 4`)
	events.until("the order has a message again", func(n *overview) bool { return n.Balance.State == "balanced" })
	// Orders that are removed are not lost.
	execute(t, admin, `delete from orders where status = 'completed'`)
	events.until("removed orders are not counted any more", func(n *overview) bool { return n.Balance.Accepted == 3 })
}

// Where two queues share the orders, what the one works on is not lost for the other; what is in neither is lost for both.
func TestTwoQueuesOfOneDatabaseAreInBalance(t *testing.T) {
	t.Parallel()
	db := testdb.New(t)
	admin := testdb.Connect(t, db)
	one := started(t, map[string]string{"DATABASE_URL": db})
	two := started(t, map[string]string{"DATABASE_URL": db, "QUEUE_NAME": "second", "MIGRATE_ON_START": "true"})
	for i := range 3 {
		one.place(t, "/orders", orderJSON(i))
	}
	for i := range 5 { // more than the first queue has given ids out
		two.place(t, "/orders", orderJSON(i))
	}
	screens := []*stream{one.watch(t), two.watch(t)}
	for _, events := range screens {
		events.until("all orders are under way", func(n *overview) bool {
			if n.Balance.Lost > 0 {
				t.Fatalf("the other queue's are lost: %+v", n.Balance)
			}
			return n.Balance.Accepted == 8 && n.Balance.Under == 8 && n.Balance.State == "balanced"
		})
	}
	state := func(s *service, id int) any {
		message, _ := s.get(t, fmt.Sprintf("/orders/%d/history", id)).json(t)["message"].(map[string]any)
		return message["state"]
	}
	for id, want := range map[int][2]string{1: {"waiting", "elsewhere"}, 8: {"elsewhere", "waiting"}} {
		if got := [2]any{state(one, id), state(two, id)}; got != [2]any{want[0], want[1]} {
			t.Errorf("the message of order %d is %v, want %v", id, got, want)
		}
	}
	execute(t, admin, `delete from pgmq.q_second where msg_id = 5`)
	for _, events := range screens {
		lost := events.until("one is missed", func(n *overview) bool { return n.Balance.State == "lost" }).Balance
		if lost.Lost != 1 || lost.Example == nil || *lost.Example != 8 || lost.Under != 7 {
			t.Errorf("the balance is %+v", lost)
		}
	}
	if got := state(two, 8); got != "missing" {
		t.Errorf("its message is %v", got)
	}
}

// What the search for stranded orders has found, the balance knows: orders that name no message among them, as the FastAPI example writes them.
func TestTheBalanceIsRedForWhatTheSearchHasFound(t *testing.T) {
	t.Parallel()
	db := testdb.New(t)
	s := started(t, map[string]string{"DATABASE_URL": db})
	execute(t, testdb.Connect(t, db), `insert into orders (customer_name, product_name, quantity, price, created_at)
		values ('c', 'p', 1, 1, clock_timestamp() - interval '1 hour'), ('c', 'p', 1, 1, clock_timestamp())`)
	lost := s.watch(t).until("it is missed", func(n *overview) bool { return n.Balance.State == "lost" }).Balance
	if lost.Lost != 1 || lost.Example == nil || *lost.Example != 1 || lost.Under != 1 || lost.Accepted != 2 {
		t.Errorf("the balance is %+v", lost)
	}
}

func TestConsumersAppearAndVanish(t *testing.T) {
	t.Parallel()
	db := testdb.New(t)
	s := started(t, map[string]string{"DATABASE_URL": db})
	admin := testdb.Connect(t, db)
	events := s.watch(t)
	completed := 0
	say := func(name, state string) {
		completed += 10
		execute(t, admin, fmt.Sprintf(reports, name, state, completed))
	}
	n := events.until("a consumer appears", func(n *overview) bool {
		say("first", "working")
		return len(n.Consumers) == 1 && n.Consumers[0].PerSecond != nil && *n.Consumers[0].PerSecond > 0
	})
	if c := n.Consumers[0]; c.Name != "first" || c.State != "working" || c.Busy != 3 || c.Capacity != 8 || c.Failures != 2 {
		t.Errorf("it is %+v", c)
	}
	var past struct {
		Minutes struct {
			Completed []*float64 `json:"completed_per_second"`
			Consumers []*float64
			P99       []*float64 `json:"p99_seconds"`
		}
	}
	for sampled := false; !sampled; {
		say("first", "working")
		events.next("series", &past)
		for i, c := range past.Minutes.Completed {
			sampled = sampled || c != nil && *c > 0 && past.Minutes.P99[i] != nil && *past.Minutes.P99[i] > 0.8 && *past.Minutes.P99[i] < 1.1 && *past.Minutes.Consumers[i] == 1
		}
	}
	events.until("a second one", func(n *overview) bool {
		say("first", "working")
		say("second", "idle")
		return len(n.Consumers) == 2 && n.Consumers[1].Name == "second"
	})
	say("second", "gone")
	events.until("one that has drained is not overview", func(n *overview) bool {
		say("first", "working")
		return len(n.Consumers) == 1
	})
	events.until("one that is silent is marked", func(n *overview) bool {
		say("first", "working") // it may have vanished already
		execute(t, admin, `update orderflow.processes set seen_at = clock_timestamp() - interval '10 seconds' where name = 'first'`)
		return len(n.Consumers) == 1 && n.Consumers[0].State == "silent"
	})
	execute(t, admin, `update orderflow.processes set seen_at = seen_at - interval '30 seconds' where name = 'first'`)
	events.until("and vanishes", func(n *overview) bool { return len(n.Consumers) == 0 })
	await.True(t, "no row of it is left", func() bool {
		return count(t, db, `select count(*) from orderflow.processes where kind = 'consumer'`) == 0
	})
}

// What was is in the database: a replica that has just started shows it, and only one of them writes it.
func TestAReplicaThatHasJustStartedShowsTheSamePast(t *testing.T) {
	t.Parallel()
	db := testdb.New(t)
	one := started(t, map[string]string{"DATABASE_URL": db})
	await.True(t, "the first sample, from which is counted", func() bool {
		return count(t, db, `select count(*) from orderflow.sampling where sampled_at is not null`) == 1
	})
	for i := range 20 {
		one.place(t, "/orders", orderJSON(i))
	}
	accepted := func(s *service) (sum float64) {
		var past struct {
			Minutes struct {
				Accepted []*float64 `json:"accepted_per_second"`
			}
		}
		s.watch(t).next("series", &past)
		for _, n := range past.Minutes.Accepted {
			if n != nil {
				sum += *n
			}
		}
		return sum
	}
	await.True(t, "the orders are in a sample", func() bool {
		return count(t, db, `select coalesce(sum(accepted), 0)::int from orderflow.samples`) == 20
	})
	two := started(t, map[string]string{"DATABASE_URL": db})
	if a, b := accepted(one), accepted(two); a == 0 || a != b {
		t.Errorf("the past is %g and %g", a, b)
	}
	// Who is first seen with orders that it may have accepted before the sample before is counted from then on.
	await.True(t, "both are known", func() bool {
		return count(t, db, `select count(*) from orderflow.sampling, jsonb_object_keys(seen)`) == 2
	})
	one.place(t, "/orders", orderJSON(1))
	two.place(t, "/orders", orderJSON(2))
	await.True(t, "what both accepted is counted once", func() bool {
		return count(t, db, `select coalesce(sum(accepted), 0)::int from orderflow.samples`) == 22
	})
}

// What keeps the overview from being shown, and is no outage, is in the log, as the page says.
func TestWhyTheOverviewIsNotShownIsInTheLog(t *testing.T) {
	t.Parallel()
	db := testdb.New(t)
	s := started(t, map[string]string{"DATABASE_URL": db})
	execute(t, testdb.Connect(t, db), `alter table orderflow.findings rename column findings to others`)
	if a := s.get(t, "/"); !strings.Contains(a.body, "schema is not complete") {
		t.Errorf("got %d %s", a.status, a.body)
	}
	if line := s.log.await(t, "the dashboard cannot be shown (further failures within a minute are not logged)"); line["level"] != "WARN" || !strings.Contains(fmt.Sprint(line["error"]), "findings") {
		t.Errorf("the log says %v", line)
	}
}

// execute runs a statement that has to work.
func execute(t *testing.T, conn *pgx.Conn, sql string) {
	t.Helper()
	if _, err := conn.Exec(context.Background(), sql); err != nil {
		t.Fatalf("%s: %v", sql, err)
	}
}

package e2e

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"math"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/jackc/pgx/v5"

	"orderflow.example/dev/internal/stack"
	"orderflow.example/kit/testdb"
)

// What a scrape tells, before and after work that is known, is what the callers have seen and what the database says: orders, their histories
// and the dead letters.
func TestMetricsAreWhatTheDatabaseSays(t *testing.T) {
	t.Parallel()
	w := newWork(t)
	before := w.counts()
	w.posts()
	w.failures()
	w.operators()
	w.handsBack()
	w.requeues()
	after := w.counted(before)

	grown := map[string]float64{}
	for series, value := range after {
		if n := value - before[series]; n != 0 {
			grown[series] = n
		}
	}
	w.api(grown)
	w.consumer(grown)
	for _, series := range slices.Sorted(maps.Keys(grown)) { // what is left has counted what did not happen, or nobody has thought of it
		if !slices.ContainsFunc(byTheClock, func(name string) bool { return strings.HasPrefix(series, name) }) {
			t.Errorf("%s has grown by %v, and nothing says why", series, grown[series])
		}
	}
}

// byTheClock are those that count what happens by itself, as often as it takes, and times.
var byTheClock = []string{
	"go_", "process_", "orderflow_api_notifications_total",
	"orderflow_consumer_heartbeats_total", "orderflow_consumer_leases_extended_total", "orderflow_consumer_wakeups_total",
	"orderflow_consumer_statement_seconds_count{operation=\"fetch\"}", "orderflow_consumer_fetch_batch_size_count",
	"orderflow_api_request_duration_seconds_sum", "orderflow_api_commit_duration_seconds_sum", "orderflow_consumer_statement_seconds_sum",
	"orderflow_consumer_pickup_delay_seconds_sum",
}

// work is what is done, and who has seen it.
type work struct {
	*testing.T
	bundle
	ctx       context.Context //nolint:containedctx // of the test
	server    *stack.Node
	worker    *stack.Node
	conn      *pgx.Conn
	shop      *shop
	answers   map[string]float64 // by the labels of a request
	submitted int                // requests that came to a transaction
}

func newWork(t *testing.T) *work {
	t.Helper()
	w := &work{T: t, bundle: setup(t, testdb.New(t)), ctx: bounded(t), answers: map[string]float64{}}
	w.shop = &shop{refuse: map[string]int{}, open: make(chan struct{})}
	receiver := httptest.NewServer(w.shop)
	t.Cleanup(func() { receiver.CloseClientConnections(); receiver.Close() })
	w.conn = testdb.Connect(t, w.stack.DatabaseURL())
	_, err := w.conn.Exec(w.ctx, `
		create table public.published (order_id bigint, at timestamptz);
		create function public.publish() returns trigger language plpgsql as $$
		begin insert into public.published values ((new.message ->> 'order_id')::bigint, new.enqueued_at); return null; end $$;
		create trigger publish after insert on pgmq.q_order_queue for each row execute function public.publish()`)
	w.must(err)
	w.server, err = w.stack.StartAPI(w.ctx, "api", "ADMIN_TOKEN="+adminToken)
	w.must(err)
	w.worker, err = w.stack.StartConsumer(w.ctx, "consumer-1", "HANDLER=webhook", "WEBHOOK_URL="+receiver.URL, "MAX_ATTEMPTS=2", "BACKOFF_BASE=10ms",
		"BACKOFF_MAX=10ms", "CONCURRENCY=1", "BATCH_SIZE=10", "PREFETCH=10")
	w.must(err)
	return w
}

const adminToken = "admin-token-0123456789"

// shop is what the handlers call: it refuses a customer's order as often as it was told to, and keeps that of the customer "slow" waiting.
type shop struct {
	mu     sync.Mutex
	refuse map[string]int
	calls  float64
	open   chan struct{} // closed: nobody waits any more
}

func (s *shop) ServeHTTP(w http.ResponseWriter, call *http.Request) {
	var order struct {
		Data struct {
			Customer string `json:"customer_name"`
		}
	}
	body, err := io.ReadAll(call.Body)
	if err != nil || json.Unmarshal(body, &order) != nil {
		w.WriteHeader(http.StatusBadRequest)
		return
	}
	s.mu.Lock()
	s.calls++
	refused := s.refuse[order.Data.Customer] > 0
	s.refuse[order.Data.Customer]--
	s.mu.Unlock()
	if order.Data.Customer == "slow" {
		select {
		case <-s.open:
		case <-call.Context().Done():
		}
	}
	if refused {
		w.WriteHeader(http.StatusUnprocessableEntity)
	}
}

func (w *work) must(err error) {
	w.Helper()
	if err != nil {
		w.Fatal(err)
	}
}

// counts are those of both programs.
func (w *work) counts() map[string]float64 {
	w.Helper()
	all := map[string]float64{}
	for _, n := range []*stack.Node{w.server, w.worker} {
		some, err := n.Counts(w.ctx)
		w.must(err)
		maps.Copy(all, some)
	}
	return all
}

// counted are the counts when all that was done is in them: a program counts when it has answered, or has been answered.
func (w *work) counted(before map[string]float64) (after map[string]float64) {
	w.Helper()
	eventually(w.T, "what was done is counted", func() error {
		after = w.counts()
		for labels, n := range w.answers {
			if counted := after[requests+labels] - before[requests+labels]; counted < n {
				return fmt.Errorf("%s: %v of %v", labels, counted, n)
			}
		}
		received, ended := after["orderflow_consumer_messages_received_total"], 0.0
		for series, n := range after {
			if slices.ContainsFunc(ends, func(name string) bool { return strings.HasPrefix(series, name) }) {
				ended += n
			}
		}
		if ended < received {
			return fmt.Errorf("%v of %v deliveries have ended", ended, received)
		}
		return nil
	})
	return after
}

const requests = "orderflow_api_requests_total"

// ends count the deliveries that have ended.
var ends = []string{
	"orderflow_consumer_messages_processed_total", "orderflow_consumer_messages_retried_total", "orderflow_consumer_messages_dead_total",
	"orderflow_consumer_messages_released_total",
}

// ask makes a call to a route, notes it, and wants its status.
func (w *work) ask(status int, method, route, path, body string, headers ...string) map[string]any {
	w.Helper()
	request, err := http.NewRequestWithContext(w.ctx, method, w.server.URL()+path, strings.NewReader(body))
	w.must(err)
	request.Header.Set("Content-Type", "application/json")
	request.Header.Set("Authorization", "Bearer "+adminToken)
	for i := 0; i+1 < len(headers); i += 2 {
		request.Header.Set(headers[i], headers[i+1])
	}
	answer, err := (&http.Client{Transport: &http.Transport{DisableKeepAlives: true}}).Do(request)
	w.must(err)
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	w.must(err)
	var read map[string]any
	if len(text) > 0 {
		w.must(json.Unmarshal(text, &read))
	}
	if answer.StatusCode != status {
		w.Fatalf("%s %s: %d %s", method, path, answer.StatusCode, text)
	}
	w.answers[fmt.Sprintf("{method=%q,route=%q,status=\"%d\"}", method, route, status)]++
	return read
}

func draft(customer string) string {
	return fmt.Sprintf(`{"customer_name":%q,"product_name":"p","quantity":1,"price":1}`, customer)
}

// post creates an order.
func (w *work) post(customer string, headers ...string) (id int64) {
	w.Helper()
	w.submitted++
	return int64(w.ask(http.StatusCreated, http.MethodPost, "/orders", "/orders", draft(customer), headers...)["id"].(float64))
}

// number reads one from the database.
func (w *work) number(sql string, args ...any) (n float64) {
	w.Helper()
	if err := w.conn.QueryRow(w.ctx, `select (`+sql+`)::float8`, args...).Scan(&n); err != nil {
		w.Fatalf("%s: %v", sql, err)
	}
	return n
}

// settled waits until no message is left and no attempt.
func (w *work) settled() {
	w.Helper()
	eventually(w.T, "all is settled", func() error {
		if n := w.number(`select count(*) from pgmq.q_order_queue`); n > 0 {
			return fmt.Errorf("%v messages are left", n)
		}
		return nil
	})
}

// posts are orders that are accepted, one by one and as a batch, those that are repeated, and those that are refused.
func (w *work) posts() {
	w.Helper()
	for range 12 {
		w.post("fine")
	}
	w.submitted++
	w.ask(http.StatusCreated, http.MethodPost, "/orders/batch", "/orders/batch", `{"orders":[`+strings.Join(slices.Repeat([]string{draft("fine")}, 7), ",")+`]}`)
	first := w.post("fine", "Idempotency-Key", "k-1")
	for range 4 {
		if again := w.post("fine", "Idempotency-Key", "k-1"); again != first {
			w.Errorf("a repetition is order %d, and was %d", again, first)
		}
	}
	w.submitted++
	w.ask(http.StatusUnprocessableEntity, http.MethodPost, "/orders", "/orders", draft("another"), "Idempotency-Key", "k-1")
	for range 3 {
		w.ask(http.StatusUnprocessableEntity, http.MethodPost, "/orders", "/orders", strings.Replace(draft("fine"), `"quantity":1`, `"quantity":0`, 1))
	}
	w.ask(http.StatusBadRequest, http.MethodPost, "/orders", "/orders", `{"customer_name":`)
	w.ask(http.StatusNotFound, http.MethodGet, "/orders/:id", "/orders/999999", "")
	w.settled()
}

// failures are orders that succeed at their second attempt, those that do not, and a message that is no order.
func (w *work) failures() {
	w.Helper()
	for customer, times := range map[string]int{"once-1": 1, "once-2": 1, "once-3": 1, "dead-1": 2, "dead-2": 2} {
		w.shop.mu.Lock()
		w.shop.refuse[customer] = times
		w.shop.mu.Unlock()
		w.post(customer)
	}
	_, err := w.conn.Exec(w.ctx, `select pgmq.send('order_queue', '"no order"')`)
	w.must(err)
	w.settled()
}

// operators redrive one dead letter and delete another.
func (w *work) operators() {
	w.Helper()
	letter := func(customer string) string {
		return fmt.Sprint(w.number(`select msg_id from pgmq.q_order_queue_dlq where message ->> 'customer_name' = $1`, customer))
	}
	w.ask(http.StatusOK, http.MethodPost, "/dead-letters/:id/redrive", "/dead-letters/"+letter("dead-1")+"/redrive", "")
	w.ask(http.StatusNoContent, http.MethodDelete, "/dead-letters/:id", "/dead-letters/"+letter("dead-2"), "")
	w.settled()
}

// handsBack pauses the queue while messages wait behind one that is worked on.
func (w *work) handsBack() {
	w.Helper()
	calls := w.shop.seen()
	w.post("slow")
	eventually(w.T, "one is worked on", func() error { return is(w.shop.seen(), calls+1) })
	for range 4 {
		w.post("fine")
	}
	eventually(w.T, "the others wait", func() error {
		m, err := w.worker.Metrics(w.ctx)
		if err == nil && m["orderflow_consumer_messages_buffered"] == 0 {
			err = errors.New("none does")
		}
		return err
	})
	w.ask(http.StatusOK, http.MethodPost, "/queue/pause", "/queue/pause", "")
	eventually(w.T, "they are handed back", func() error {
		m, err := w.worker.Metrics(w.ctx)
		if err != nil {
			return err
		}
		return is(m["orderflow_consumer_messages_buffered"], 0)
	})
	close(w.shop.open)
	eventually(w.T, "the one is completed", func() error { return is(w.number(`select count(*) from pgmq.q_order_queue`), 4) })
}

// requeues gives a new message to an order whose message somebody has taken, and ends the pause.
func (w *work) requeues() {
	w.Helper()
	id := w.post("lost")
	_, err := w.conn.Exec(w.ctx, `delete from pgmq.q_order_queue where (message ->> 'order_id')::bigint = $1`, id)
	w.must(err)
	out, err := printed(w.ctx, w.binaries[stack.API], []string{"DATABASE_URL=" + w.stack.DatabaseURL()}, "requeue", "-older-than", "0s", "-apply")
	if err != nil || !strings.Contains(out, "1 have a new one") {
		w.Fatalf("requeue: %v\n%s", err, out)
	}
	w.ask(http.StatusOK, http.MethodPost, "/queue/resume", "/queue/resume", "")
	w.settled()
}

// is wants a number.
func is(got, want float64) error {
	if got != want {
		return fmt.Errorf("it is %v, want %v", got, want)
	}
	return nil
}

func (s *shop) seen() float64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.calls
}

// take wants that a series has grown by that, and takes it out of what has grown.
func (w *work) take(grown map[string]float64, series string, want float64, why string) {
	w.Helper()
	if got := grown[series]; math.Abs(got-want) > 1e-9 {
		w.Errorf("%s has grown by %v; %s: %v", series, got, why, want)
	}
	delete(grown, series)
}

// api compares what the api has counted.
func (w *work) api(grown map[string]float64) {
	w.Helper()
	routes := map[string]float64{}
	for labels, n := range w.answers {
		w.take(grown, requests+labels, n, "the callers have seen")
		routes[labels[:strings.LastIndex(labels, ",")]+"}"] += n
	}
	for labels, n := range routes {
		w.take(grown, "orderflow_api_request_duration_seconds_count"+labels, n, "the callers have seen")
	}
	w.take(grown, "orderflow_api_orders_total", w.number(`select count(*) from orders`), "orders")
	w.take(grown, "orderflow_api_idempotent_replays_total", 4, "repetitions")
	// One after the other: each request has a transaction of its own.
	w.take(grown, "orderflow_api_commits_total", float64(w.submitted), "requests that came to a transaction")
	w.take(grown, "orderflow_api_commit_duration_seconds_count", float64(w.submitted), "requests that came to a transaction")
	w.take(grown, "orderflow_api_commit_requests_count", float64(w.submitted), "requests that came to a transaction")
	w.take(grown, "orderflow_api_commit_requests_sum", float64(w.submitted), "requests that came to a transaction")
}

// consumer compares what the consumer has counted.
func (w *work) consumer(grown map[string]float64) {
	w.Helper()
	told := func(outcome string) float64 {
		return w.number(`select coalesce(sum(times), 0) from orderflow.history where outcome = $1`, outcome)
	}
	completed, effects := w.number(`select count(*) from orders where status = 'completed'`), w.number(`select sum(effects) from orders`)
	failed, released, poison := told("failed"), told("released"), w.number(`select count(*) from pgmq.q_order_queue_dlq where message ->> 'order_id' is null`)
	exhausted := w.number(`select count(*) from orderflow.history where reason = 'max_attempts'`)
	if completed != effects || failed != 7 || released == 0 || exhausted != 2 || poison != 1 || told("redriven") != 1 || told("deleted") != 1 || told("requeued") != 1 {
		w.Fatalf("the work was another one: %v completed, %v effects, %v failed, %v handed back, %v exhausted, %v no orders", completed, effects, failed, released, exhausted, poison)
	}
	const c = "orderflow_consumer_"
	w.take(grown, c+"messages_received_total", completed+failed+released+poison, "deliveries")
	w.take(grown, c+"pickup_delay_seconds_count", completed+failed+released+poison, "deliveries")
	w.take(grown, c+"fetch_batch_size_sum", completed+failed+released+poison, "deliveries")
	w.take(grown, c+"messages_processed_total", completed, "completed orders")
	w.take(grown, c+"order_latency_seconds_count", completed, "completed orders")
	w.take(grown, c+`messages_failed_total{kind="error"}`, failed, "failed attempts in the histories")
	w.take(grown, c+"messages_retried_total", failed-exhausted, "failed attempts that were not the last")
	w.take(grown, c+`messages_dead_total{reason="max_attempts"}`, exhausted, "orders that were given up")
	w.take(grown, c+`messages_dead_total{reason="not_an_object"}`, poison, "dead letters that are no orders")
	w.take(grown, c+"messages_released_total", released, "deliveries that were handed back")
	w.take(grown, c+"handler_seconds_count", completed+failed, "attempts")
	if calls := w.shop.seen(); calls != completed+failed {
		w.Errorf("%v calls, %v attempts", calls, completed+failed)
	}
	for operation, n := range map[string]float64{"ack": completed, "nack": failed - exhausted, "bury": exhausted + poison, "release": released} {
		w.take(grown, c+`settle_batch_size_sum{operation="`+operation+`"}`, n, "messages whose leases ended so")
		statements := grown[c+`settle_batch_size_count{operation="`+operation+`"}`]
		if statements < 1 || statements > n {
			w.Errorf("%v statements %s %v messages", statements, operation, n)
		}
		w.take(grown, c+`settle_batch_size_count{operation="`+operation+`"}`, grown[c+`statement_seconds_count{operation="`+operation+`"}`], "statements that were timed")
		delete(grown, c+`statement_seconds_count{operation="`+operation+`"}`)
	}
	// Times, by the database's clock: from when an order's message was published to when the order was completed, and at most an ack longer.
	latency := w.number(`select sum(extract(epoch from completed_at - (select max(p.at) from public.published p where p.order_id = orders.id))) from orders where status = 'completed'`)
	acks := grown[c+`statement_seconds_sum{operation="ack"}`]
	if more := grown[c+"order_latency_seconds_sum"] - latency; more < -0.001 || more > completed*acks {
		w.Errorf("latencies have a sum of %v s, those of the orders one of %v s, and all acks took %v s", latency+more, latency, acks)
	}
	delete(grown, c+"order_latency_seconds_sum")
	delete(grown, c+"handler_seconds_sum")
}

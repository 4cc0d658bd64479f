package alerts

import (
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"orderflow.example/dev/internal/stack"
	"orderflow.example/kit/testdb"
)

// What the search needs is not there. Now and then a step fails, which is enough for the alert.
func TestHousekeepingFails(t *testing.T) {
	w := setup(t, options{})
	w.consumer()
	w.quiet(func() { w.order(1) })
	w.sql(`alter function orderflow.look_for_stranded rename to look_for_nothing`)
	failures, scrapes := 0.0, 0
	w.raises("OrderflowHousekeepingFails", func() {
		if scrapes++; scrapes%30 == 1 {
			w.tells(w.api, "orderflow_api_housekeeping_failures_total", above(failures))
			m, err := w.api.Metrics(w.ctx)
			w.must(err)
			failures = m["orderflow_api_housekeeping_failures_total"]
		}
	})
	w.sql(`alter function orderflow.look_for_nothing rename to look_for_stranded`)
	w.resolves("OrderflowHousekeepingFails", nothing)
}

// Orders are taken and processed, some of them at the second attempt, by consumers that come and go: nothing of that needs a person.
func TestAHealthyRunRaisesNothing(t *testing.T) {
	w := setup(t, options{})
	w.consumer("SIMULATE_FAILURES=example", "BACKOFF_BASE=10ms", "BACKOFF_MAX=100ms")
	w.consumer()
	load, err := w.stack.Loadgen(w.api, nil, "RATE=100", "DURATION=6s", "ORDERS=0", "PROGRESS=off", "LOG_LEVEL=warn", "AUDIT_PATIENCE=90s")
	w.must(err)
	w.quiet(nothing)
	w.must(w.consumers[1].Stop(w.ctx))
	delete(w.pods, w.consumers[1])
	w.quiet(nothing)
	w.consumer()
	for load.Running() {
		if firing := w.scrape(); len(firing) > 0 {
			t.Fatalf("%v fire without a reason", firing)
		}
	}
	if code, err := load.Wait(w.ctx); err != nil || code != 0 {
		t.Fatalf("loadgen: %d, %v", code, err)
	}
	w.quiet(nothing)
}

func TestPostgresAway(t *testing.T) {
	w := setup(t, options{own: true})
	w.consumer()
	order := func() { w.order(2) }
	w.quiet(order)
	w.must(w.server.Halt(w.ctx))
	w.tells(w.api, "orderflow_api_database_up", is(0))
	w.tells(w.consumers[0], "orderflow_consumer_database_up", is(0))
	w.raises("OrderflowDatabaseAway", order)
	w.must(w.server.Start(w.ctx))
	w.ready()
	w.resolves("OrderflowDatabaseAway", order)
}

// A primary that has become a standby, or a managed server whose disk is full.
func TestPostgresTakesNoWrites(t *testing.T) {
	w := setup(t, options{own: true})
	w.consumer()
	order := func() { w.order(2) }
	w.quiet(order)
	w.sql(`alter system set default_transaction_read_only = on`, `select pg_reload_conf()`)
	w.tells(w.api, "orderflow_api_database_up", is(0))
	w.raises("OrderflowDatabaseAway", order)
	w.sql(`set default_transaction_read_only = off`, `alter system reset default_transaction_read_only`, `select pg_reload_conf()`)
	w.ready()
	w.resolves("OrderflowDatabaseAway", order)
}

// The database is there, but a consumer that is new cannot connect.
func TestNoConnectionsLeft(t *testing.T) {
	w := setup(t, options{})
	w.consumer()
	order := func() { w.order(2) }
	w.quiet(order)
	role := testdb.Role(t, "limited")
	w.sql(`create role ` + role + ` login connection limit 0 password 'limited'`)
	limited, err := url.Parse(w.stack.DatabaseURL())
	w.must(err)
	limited.User = url.UserPassword(role, "limited")
	n, err := w.stack.LaunchNode(w.ctx, stack.Consumer, "limited", "DATABASE_URL="+limited.String())
	w.must(err)
	w.watch(n)
	w.until("it is up", func() error { _, err := n.Metrics(w.ctx); return err })
	w.raises("OrderflowDatabaseAway", order)
	w.sql(`alter role ` + role + ` superuser`)
	w.ready()
	w.resolves("OrderflowDatabaseAway", order)
}

func TestApiGone(t *testing.T) {
	w := setup(t, options{})
	w.consumer()
	w.quiet(func() { w.order(2) })
	w.api.Kill()
	w.raises("OrderflowApiGone", nothing)
	w.must(w.api.Start())
	w.ready()
	w.resolves("OrderflowApiGone", nothing)
}

// Orders wait for consumers that are not there. That is one fault, not two.
func TestConsumersGone(t *testing.T) {
	w := setup(t, options{values: []string{"metrics.rules.oldestMessageSeconds=1"}})
	w.consumer()
	w.quiet(nothing)
	w.consumers[0].Kill()
	w.order(5)
	w.tells(w.api, "orderflow_api_queue_oldest_due_seconds", above(1))
	w.raises("OrderflowConsumersGone", nothing)
	w.must(w.consumers[0].Start())
	w.ready()
	w.drained()
	w.tells(w.api, "orderflow_api_queue_oldest_due_seconds", is(0))
	w.resolves("OrderflowConsumersGone", nothing)
}

// Where there may be none, as with KEDA, orders that wait are the only sign.
func TestNobodyScalesUpFromZero(t *testing.T) {
	w := setup(t, options{values: []string{"metrics.rules.oldestMessageSeconds=1", "consumer.autoscaling.mode=keda", "consumer.autoscaling.minReplicas=0", "consumer.autoscaling.keda.namespace=keda-system"}})
	w.quiet(nothing)
	w.order(5)
	w.tells(w.api, "orderflow_api_queue_oldest_due_seconds", above(1))
	w.raises("OrderflowOrdersWait", nothing)
	w.consumer()
	w.drained()
	w.tells(w.api, "orderflow_api_queue_oldest_due_seconds", is(0))
	w.resolves("OrderflowOrdersWait", nothing)
}

func TestTooFewConsumers(t *testing.T) {
	w := setup(t, options{values: []string{"metrics.rules.oldestMessageSeconds=1"}})
	w.consumer("CONCURRENCY=1", "SIMULATE_WORK=5s", "PREFETCH=1", "VT=30")
	w.order(10)
	w.tells(w.api, "orderflow_api_queue_oldest_due_seconds", above(1))
	w.raises("OrderflowOrdersWait", nothing)
	w.consumer()
	w.consumers[0].Kill()
	delete(w.pods, w.consumers[0])
	w.sql(`update pgmq.q_order_queue set vt = clock_timestamp() where vt > clock_timestamp()`) // the dead one's leases
	w.drained()
	w.tells(w.api, "orderflow_api_queue_oldest_due_seconds", is(0))
	w.resolves("OrderflowOrdersWait", nothing)
}

// The database is up and answers, and takes no orders: a trigger fails, as a full disk and a missing right do. Those that consumers work
// on they can complete.
func TestOrdersCannotBeWritten(t *testing.T) {
	w := setup(t, options{})
	w.consumer()
	order := func() { w.order(2) }
	w.quiet(order)
	w.drained()
	w.sql(`create function refuse() returns trigger language plpgsql as $$ begin raise exception 'could not extend file' using errcode = 'disk_full'; end $$`,
		`create trigger refuse before insert on public.orders for each row execute function refuse()`)
	w.until("an order is refused", func() error {
		if w.order(1) > 0 {
			return errNotYet
		}
		return nil
	})
	w.raises("OrderflowApiRefuses", order)
	w.sql(`drop trigger refuse on public.orders`)
	w.ready()
	w.resolves("OrderflowApiRefuses", order)
}

// Commits wait for a standby that is not there.
func TestNoStandbyConfirms(t *testing.T) {
	w := setup(t, options{own: true, api: []string{"REQUEST_TIMEOUT=1s"}})
	w.consumer()
	order := func() { w.order(2) }
	w.quiet(nothing) // an order may be refused within a second, and is one of few
	w.drained()
	// A consumer that takes an order whose commit was not confirmed waits for the standby as well, and has no connection for a second. Here
	// that may be minutes.
	w.pause()
	w.sql(`set synchronous_commit = local`, `alter system set synchronous_standby_names = 'nobody'`, `select pg_reload_conf()`)
	w.until("an order is refused", func() error {
		if w.order(1) > 0 {
			return errNotYet
		}
		return nil
	})
	w.raises("OrderflowApiRefuses", order)
	w.sql(`set synchronous_commit = local`, `alter system reset synchronous_standby_names`, `select pg_reload_conf()`)
	w.ready()
	w.resume()
	w.until("an order is accepted", func() error {
		if w.order(1) == 0 {
			return errNotYet
		}
		return nil
	})
	w.resolves("OrderflowApiRefuses", nothing)
}

// What the handlers call is away. Orders wait for it, which is no second fault.
func TestReceiverAway(t *testing.T) {
	w := setup(t, options{values: []string{"metrics.rules.oldestMessageSeconds=1"}})
	receiver, err := w.stack.StartReceiver(w.ctx, w.api, "receiver")
	w.must(err)
	w.consumer(append(receiver.Deliveries(), "BREAKER_PROBE_INTERVAL=100ms", "BREAKER_PROBE_MAX=200ms")...)
	w.quiet(nothing)
	receiver.Kill()
	w.order(40)
	w.tells(w.consumers[0], "orderflow_consumer_breaker_open", is(1))
	w.tells(w.api, "orderflow_api_queue_oldest_due_seconds", above(1))
	w.raises("OrderflowBreakerOpen", nothing)
	w.must(receiver.Start())
	w.must(receiver.WaitReady(w.ctx))
	w.drained()
	w.tells(w.consumers[0], "orderflow_consumer_breaker_open", is(0))
	w.tells(w.api, "orderflow_api_queue_oldest_due_seconds", is(0))
	w.resolves("OrderflowBreakerOpen", nothing)
}

// One consumer has no way to what the handlers call, and another has.
func TestAConsumerFailsAlone(t *testing.T) {
	w := setup(t, options{})
	receiver, err := w.stack.StartReceiver(w.ctx, w.api, "receiver")
	w.must(err)
	settings := append(receiver.Deliveries(), "BREAKER_PROBE_INTERVAL=100ms", "BREAKER_PROBE_MAX=200ms", "MAX_ATTEMPTS=100", "BACKOFF_BASE=100ms", "BACKOFF_MAX=200ms")
	w.consumer(settings...)
	order := func() { w.order(2) }
	w.quiet(order)
	nobody := httptest.NewServer(http.NotFoundHandler())
	nobody.Close()
	alone := w.consumer(append(slices.Clone(settings), "WEBHOOK_URL="+nobody.URL)...)
	w.until("it has stopped itself", func() error {
		w.order(20)
		m, err := alone.Metrics(w.ctx)
		if err == nil && m["orderflow_consumer_own_breaker_open"] != 1 {
			err = errNotYet
		}
		return err
	})
	w.tells(w.consumers[0], "orderflow_consumer_breaker_open", is(0))
	w.raises("OrderflowConsumerFailsAlone", order)
	alone.Kill()
	w.drained()
	w.resolves("OrderflowConsumerFailsAlone", order)
}

// Somebody has stopped the queue, and orders wait as they are to. After half an hour it may have been forgotten.
func TestPaused(t *testing.T) {
	w := setup(t, options{values: []string{"metrics.rules.oldestMessageSeconds=1"}})
	w.consumer()
	w.quiet(nothing)
	w.pause()
	w.order(5)
	w.tells(w.api, "orderflow_api_queue_oldest_due_seconds", above(1))
	w.raises("OrderflowPaused", nothing)
	w.resume()
	w.drained()
	w.tells(w.api, "orderflow_api_queue_oldest_due_seconds", is(0))
	w.resolves("OrderflowPaused", nothing)
}

// One order that cannot be processed is news for a quarter of an hour.
func TestPoison(t *testing.T) {
	w := setup(t, options{})
	w.consumer()
	order := func() { w.order(2) }
	w.quiet(order)
	w.sql(`select pgmq.send('order_queue', '"no order"')`)
	w.deadLetters(order)
}

// An order kills whoever works on it. The consumer that buries it has just been started: all that it ever tells of it is a total of 1.
func TestAnOrderKillsConsumers(t *testing.T) {
	w := setup(t, options{})
	settings := []string{"SIMULATE_WORK=0", "SIMULATE_FAILURES=none", "SIMULATE_CRASH=exit:Killer", "MAX_CRASHES=1", "VT=1"}
	n := w.consumer(settings...)
	w.quiet(func() { w.order(2) })
	w.drained()
	if w.orderBy("Killer", 1) != 1 {
		t.Fatal("the killer was not accepted")
	}
	w.until("the killer is dead", func() error {
		select {
		case <-n.Process().Done():
			delete(w.pods, n) // its node is gone with it, say: the next one is another pod
			var err error
			n, err = w.stack.LaunchNode(w.ctx, stack.Consumer, n.Name+"+", settings...)
			w.must(err)
			w.watch(n)
			return errNotYet
		default:
		}
		q, err := w.api.Queue(w.ctx)
		if err == nil && q.DeadLetters != 1 {
			err = errNotYet
		}
		return err
	})
	w.ready()
	w.deadLetters(nothing)
}

// deadLetters wants the alert for a quarter of an hour, and nothing else.
func (w *world) deadLetters(each func()) {
	w.Helper()
	w.tells(w.api, "orderflow_api_queue_dead_letters", is(1))
	const alert = "OrderflowDeadLetters"
	for n := range 58 {
		each()
		if firing := w.scrape(); len(firing) != 1 || firing[0] != alert {
			w.Fatalf("at scrape %d: %v fire, want %s", n, firing, alert)
		}
		w.speaks(alert)
	}
	w.resolves(alert, each)
}

// Every attempt fails, and with the defaults no order is a dead letter before tomorrow.
func TestEveryAttemptFails(t *testing.T) {
	w := setup(t, options{})
	receiver, err := w.stack.StartReceiver(w.ctx, w.api, "receiver")
	w.must(err)
	w.consumer(append(receiver.Deliveries(), "BACKOFF_BASE=10ms", "BACKOFF_MAX=20ms", "MAX_ATTEMPTS=1000")...)
	order := func() { w.order(2) }
	w.quiet(order)
	w.drained()
	w.must(receiver.Order(w.ctx, "400:100%", 0))
	w.order(20)
	failed := func() float64 {
		m, err := w.consumers[0].Metrics(w.ctx)
		w.must(err)
		return m["orderflow_consumer_messages_failed_total"]
	}
	w.raises("OrderflowAttemptsFail", func() {
		before := failed()
		w.until("attempts fail", func() error {
			if failed() < before+5 {
				return errNotYet
			}
			return nil
		})
	})
	w.must(receiver.Order(w.ctx, "", 0))
	w.drained()
	w.resolves("OrderflowAttemptsFail", order)
}

// Leases run out under running handlers: others take the orders over.
func TestLeasesLost(t *testing.T) {
	w := setup(t, options{})
	for range 2 {
		w.consumer("SIMULATE_WORK=50ms", "CONCURRENCY=20")
	}
	w.quiet(func() { w.order(2) })
	lost := func() (n float64) {
		for _, c := range w.consumers {
			m, err := c.Metrics(w.ctx)
			w.must(err)
			n += m["orderflow_consumer_lease_lost_total"]
		}
		return n
	}
	w.raises("OrderflowLeasesLost", func() {
		before := lost()
		w.until("leases are lost", func() error {
			w.order(5)
			w.sql(`update pgmq.q_order_queue set vt = clock_timestamp() where vt > clock_timestamp() and read_ct = 1`)
			if lost() < before+4 {
				return errNotYet
			}
			return nil
		})
	})
	w.drained()
	w.resolves("OrderflowLeasesLost", func() { w.order(2) })
}

// A transaction that somebody has left open.
func TestVacuumHeldBack(t *testing.T) {
	w := setup(t, options{values: []string{"metrics.rules.vacuumHeldBackSeconds=1"}})
	stranger, err := testdb.Connect(t, w.stack.DatabaseURL()).BeginTx(w.ctx, pgx.TxOptions{IsoLevel: pgx.RepeatableRead})
	w.must(err)
	w.until("it has been open for a while", func() error {
		var long bool
		if err := stranger.QueryRow(w.ctx, `select clock_timestamp() > now() + interval '2 s'`).Scan(&long); err != nil || long {
			return err
		}
		return errNotYet
	})
	// What the doctor finds is good for fifteen seconds. A consumer that is new looks for itself.
	w.consumer()
	w.raises("OrderflowVacuumHeldBack", nothing)
	w.must(stranger.Rollback(w.ctx))
	w.replace()
	w.resolves("OrderflowVacuumHeldBack", nothing)
}

// Somebody has switched autovacuum off, as for a large import, and left it so.
func TestDoctorAdvises(t *testing.T) {
	w := setup(t, options{})
	w.sql(`alter table pgmq.q_order_queue set (autovacuum_enabled = off)`)
	w.consumer()
	w.raises("OrderflowDoctorAdvises", nothing)
	w.sql(`alter table pgmq.q_order_queue reset (autovacuum_enabled)`)
	w.replace()
	w.resolves("OrderflowDoctorAdvises", nothing)
}

// More clients than there is room for, which say nothing.
func TestTooManyClients(t *testing.T) {
	const room = 16
	w := setup(t, options{api: []string{fmt.Sprintf("MAX_CONNECTIONS=%d", room)}})
	w.consumer()
	w.quiet(func() { w.order(1) })
	var crowd []net.Conn
	t.Cleanup(func() {
		for _, c := range crowd {
			_ = c.Close() // whether it could be
		}
	})
	full := func() {
		w.until("it is full", func() error {
			m, err := w.api.Metrics(w.ctx)
			if err != nil || m["orderflow_api_connections"] == room {
				return err
			}
			c, err := net.Dial("tcp", strings.TrimPrefix(w.api.URL(), "http://"))
			if err == nil {
				crowd = append(crowd, c)
				err = errNotYet
			}
			return err
		})
	}
	w.raises("OrderflowConnectionsShort", full)
	for _, c := range crowd {
		_ = c.Close() // some are closed by the other side
	}
	w.tells(w.api, "orderflow_api_connections", is(0))
	w.resolves("OrderflowConnectionsShort", nothing)
}

// A handler in Go that does not look at its context.
func TestHandlersStuck(t *testing.T) {
	w := setup(t, options{})
	stuck := w.program("testdata/stuck.go.txt")
	// It is not tried again meanwhile: attempts that fail one after the other are another alert's.
	n := w.launch(stuck, "VT=2", "HANDLER_TIMEOUT=100ms", "BACKOFF_BASE=1h", "BACKOFF_MAX=1h")
	w.order(1)
	w.tells(n, "orderflow_consumer_worker_slots_stuck", is(1))
	w.raises("OrderflowHandlersStuck", nothing)
	n.Kill()
	delete(w.pods, n)
	w.sql(`update pgmq.q_order_queue set vt = clock_timestamp()`)
	w.consumer()
	w.drained()
	w.resolves("OrderflowHandlersStuck", nothing)
}

// A transaction that has written an order stays open, so the search cannot know what is below its id: an hour is gone before somebody looks.
func TestTheSearchForStrandedOrdersStandsStill(t *testing.T) {
	w := setup(t, options{})
	w.consumer()
	w.quiet(func() { w.order(1) })
	stranger, err := testdb.Connect(t, w.stack.DatabaseURL()).Begin(w.ctx)
	w.must(err)
	_, err = stranger.Exec(w.ctx, `insert into public.orders (customer_name, product_name, quantity, price) values ('c', 'p', 1, 1)`)
	w.must(err)
	w.order(1)
	w.until("the search stands still", func() error {
		m, err := w.api.Metrics(w.ctx)
		if err == nil && m["orderflow_api_stranded_search_age_seconds"] < 3600 {
			w.sql(`update orderflow.order_scan set looked_at = clock_timestamp() - interval '70 minutes' where cardinality(writers) > 0 and position < bound`)
			err = errNotYet
		}
		return err
	})
	w.raises("OrderflowBalanceUnknown", nothing)
	w.must(stranger.Rollback(w.ctx))
	w.tells(w.api, "orderflow_api_stranded_search_age_seconds", below(600))
	w.resolves("OrderflowBalanceUnknown", nothing)
}

// Somebody has made the queue unlogged, as for a large import, and left it so. A doctor who says the same is no second alert.
func TestAQueueThatACrashWouldEmpty(t *testing.T) {
	w := setup(t, options{})
	w.consumer()
	order := func() { w.order(1) }
	w.quiet(order)
	w.sql(`alter table pgmq.q_order_queue set unlogged`)
	w.must(w.api.Stop(w.ctx)) // the settings are looked at once a minute, and by a new api
	w.must(w.api.Start())
	w.replace()
	w.tells(w.api, "orderflow_api_durability_risk", is(1))
	w.tells(w.consumers[len(w.consumers)-1], "orderflow_consumer_doctor_look", above(0))
	w.raises("OrderflowNotDurable", order)
	w.sql(`alter table pgmq.q_order_queue set logged`)
	w.must(w.api.Stop(w.ctx))
	w.must(w.api.Start())
	w.ready()
	w.replace()
	w.resolves("OrderflowNotDurable", order)
}

// With DURABILITY=strict the api refuses orders for it, which is no second fault.
func TestOrdersAreRefusedForWhatACrashWouldLose(t *testing.T) {
	w := setup(t, options{own: true, api: []string{"DURABILITY=strict"}})
	w.consumer()
	order := func() { w.order(1) }
	w.quiet(order)
	w.drained()
	w.sql(`alter system set full_page_writes = off`, `select pg_reload_conf()`)
	w.must(w.api.Stop(w.ctx))
	w.must(w.api.Start())
	w.tells(w.api, "orderflow_api_durability_risk", is(1))
	w.raises("OrderflowNotDurable", order)
	w.sql(`alter system reset full_page_writes`, `select pg_reload_conf()`)
	w.tells(w.api, "orderflow_api_durability_risk", is(0))
	w.replace() // what the doctor finds is good for a while
	w.ready()
	w.resolves("OrderflowNotDurable", order)
}

// Another program deletes messages that are not its own.
func TestMessagesTaken(t *testing.T) {
	w := setup(t, options{})
	w.order(20)
	w.sql(`delete from pgmq.q_order_queue where msg_id % 2 = 0`, `update public.orders set created_at = created_at - interval '1 hour'`)
	w.consumer()
	w.tells(w.api, "orderflow_api_stranded_orders", above(0))
	w.raises("OrderflowOrdersStranded", nothing)
	w.run("requeue", "-apply")
	w.drained()
	w.tells(w.api, "orderflow_api_stranded_orders", is(0))
	w.resolves("OrderflowOrdersStranded", nothing)
}

package chaos

import (
	"testing"
	"time"

	"orderflow.example/kit/testdb"
)

// The database's own account sees what the load generator's cannot: a status without an effect, an effect without a status.
func TestTheLedgerSeesEveryContradiction(t *testing.T) {
	t.Parallel()
	r := &Rig{databaseURL: testdb.New(t), causeAt: time.Now()}
	if l, err := r.readLedger(t.Context()); err != nil || l != (ledger{}) {
		t.Fatalf("of an empty database: %+v, %v", l, err)
	}
	conn, err := r.connect(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(t.Context())
	insert := func(status string, effects, attempts int, seconds float64) {
		t.Helper()
		if _, err := conn.Exec(t.Context(), `insert into orders (customer_name, product_name, quantity, price, status, effects, attempts, created_at, completed_at)
			values ('c', 'p', 1, 1, $1, $2, $3, now(), case when $1 = 'completed' then now() + make_interval(secs => $4) end)`, status, effects, attempts, seconds); err != nil {
			t.Fatal(err)
		}
	}
	for _, step := range []struct {
		status            string
		effects, attempts int
		want              func(l *ledger)
	}{
		{"completed", 1, 1, func(l *ledger) { l.completed++ }},
		{"completed", 2, 3, func(l *ledger) { l.completed++; l.twice++; l.retried += 2 }},
		{"completed", 3, 1, func(l *ledger) { l.completed++; l.twice++ }},
		{"completed", 0, 1, func(l *ledger) { l.completed++; l.mismatched++ }},
		{"pending", 0, 0, func(l *ledger) { l.pending++ }},
		{"pending", 1, 1, func(l *ledger) { l.pending++; l.mismatched++ }},
		{"dead", 0, 5, func(l *ledger) { l.dead++; l.retried += 4 }},
		{"dead", 1, 1, func(l *ledger) { l.dead++; l.mismatched++ }},
		{"dead", 2, 1, func(l *ledger) { l.dead++; l.twice++ }},
	} {
		before, err := r.readLedger(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		insert(step.status, step.effects, step.attempts, 4)
		got, err := r.readLedger(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		want := before
		step.want(&want)
		want.mostAttempts = max(before.mostAttempts, int64(step.attempts))
		want.slowest, want.lastBefore, want.firstAfter = got.slowest, got.lastBefore, got.firstAfter
		if got != want {
			t.Errorf("%s with %d effects after %d attempts: %+v, want %+v", step.status, step.effects, step.attempts, got, want)
		}
	}
	if l, err := r.readLedger(t.Context()); err != nil || l.slowest.Round(time.Millisecond) != 4*time.Second {
		t.Errorf("slowest %v, %v", l.slowest, err)
	}
}

// What a message does that is settled late, a second delivery's, is seen by whoever sees its queue empty.
func TestTheQueueIsCountedWithTheOrders(t *testing.T) {
	t.Parallel()
	r := &Rig{databaseURL: testdb.New(t), causeAt: time.Now()}
	if err := r.sql(t.Context(), `select pgmq.send('order_queue', '{}');
		insert into orders (customer_name, product_name, quantity, price, status, effects, attempts, completed_at) values ('c', 'p', 1, 1, 'completed', 1, 1, now())`); err != nil {
		t.Fatal(err)
	}
	// Whoever asks for the queue waits for the transaction that has its effect and empties it.
	conn, err := r.connect(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(t.Context())
	if _, err := conn.Exec(t.Context(), `begin; lock table pgmq.q_order_queue in access exclusive mode`); err != nil {
		t.Fatal(err)
	}
	type answer struct {
		ledger    ledger
		unsettled error
	}
	answers := make(chan answer, 1)
	go func() {
		l, unsettled := r.settled(t.Context())
		answers <- answer{l, unsettled}
	}()
	err = r.until(t.Context(), "it is being asked for", func() (bool, error) {
		n, err := r.scalar(t.Context(), `select count(*) from pg_locks where not granted and relation = 'pgmq.q_order_queue'::regclass
			and database = (select oid from pg_database where datname = current_database())`)
		return n > 0, err
	})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := conn.Exec(t.Context(), `update orders set effects = 2; delete from pgmq.q_order_queue; commit`); err != nil {
		t.Fatal(err)
	}
	if a := <-answers; a.unsettled != nil || a.ledger.queued != 0 || a.ledger.twice != 1 {
		t.Errorf("%+v: the second effect is not seen", a)
	}
}

// A settled order waits for its message.
func TestAQueueThatIsNotEmptyIsUnsettled(t *testing.T) {
	t.Parallel()
	r := &Rig{databaseURL: testdb.New(t), causeAt: time.Now()}
	if err := r.sql(t.Context(), `select pgmq.send('order_queue', '{}', 3600)`); err != nil {
		t.Fatal(err)
	}
	if l, err := r.readLedger(t.Context()); err != nil || l.queued != 1 || l.atRest() {
		t.Errorf("%+v, %v", l, err)
	}
}

// What was completed by another consumer than the one that read it last was completed by somebody who had lost it.
func TestALeaseThatWasTakenOverIsSeen(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		by       string
		attempts int
		unread   bool // there is one more, which nobody has read
		broken   string
	}{
		"by the one who had it":          {by: "two", attempts: 1},
		"by the one before":              {by: "one", attempts: 1, broken: "orders completed under a lease that another consumer had taken over"},
		"by nobody":                      {attempts: 1, broken: "orders completed under a lease that another consumer had taken over"},
		"without a lease":                {by: "two", attempts: 1, unread: true, broken: "orders completed under a lease that another consumer had taken over"},
		"with an attempt that was none":  {by: "two", attempts: 2, broken: "attempts counted of orders that did not fail"},
		"and nothing is delivered again": {by: "one", attempts: 1, broken: "deliveries"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := &Rig{databaseURL: testdb.New(t), causeAt: time.Now()}
			if err := r.recordReads(t.Context()); err != nil {
				t.Fatal(err)
			}
			if err := r.sql(t.Context(), `select pgmq.send('order_queue', '{}');
				insert into orders (customer_name, product_name, quantity, price, message_id) select 'c', 'p', 1, 1, msg_id from pgmq.q_order_queue;
				set application_name = 'orderflow-consumer one';
				update pgmq.q_order_queue set read_ct = 1`); err != nil {
				t.Fatal(err)
			}
			if test.broken != "deliveries" {
				if err := r.sql(t.Context(), `set application_name = 'orderflow-consumer two'; update pgmq.q_order_queue set read_ct = 2`); err != nil {
					t.Fatal(err)
				}
			}
			if test.unread {
				if err := r.sql(t.Context(), `insert into orders (customer_name, product_name, quantity, price, message_id) values ('c', 'p', 1, 1, 999)`); err != nil {
					t.Fatal(err)
				}
			}
			if err := r.sql(t.Context(), `delete from pgmq.q_order_queue`); err != nil {
				t.Fatal(err)
			}
			if err := r.sql(t.Context(), `update orders set status = 'completed', effects = 1, processed_by = nullif($1, ''), attempts = $2`, test.by, test.attempts); err != nil {
				t.Fatal(err)
			}
			l, err := r.readLedger(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			r.result.Retried = l.retried
			if err := r.checkDeliveries(t.Context(), "deliveries"); err != nil {
				t.Fatal(err)
			}
			for _, c := range r.result.Checks {
				if c.OK == (c.What == test.broken) {
					t.Errorf("%+v", c)
				}
			}
		})
	}
}

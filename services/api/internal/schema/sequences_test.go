package schema_test

import (
	"strings"
	"sync"
	"testing"

	"github.com/jackc/pgx/v5"

	"orderflow.example/services/api/internal/schema"
)

const sequenceBehind = "a sequence was behind its table"

// A restore of the data alone and a failover by logical replication leave sequences where they were.
func TestSequencesThatAreBehindAreBroughtUp(t *testing.T) {
	t.Parallel()
	forEachFlavour(t, func(t *testing.T, install schema.Install) {
		db := migrated(t, install)
		mustExec(t, db.conn, `insert into orders (customer_name, product_name, quantity, price) select 'c', 'p', 1, 1 from generate_series(1, 40)`)
		mustExec(t, db.conn, `select pgmq.send($1, '{}') from generate_series(1, 50)`, queue)
		mustExec(t, db.conn, `select pgmq.send($1 || '_dlq', '{}') from generate_series(1, 60)`, queue)
		mustExec(t, db.conn, `select pgmq.archive($1, 50)`, queue) // ids in the archive are taken, too
		const sequences = `select setval(pg_get_serial_sequence('orders', 'id'), %), setval(pg_get_serial_sequence('pgmq."q_order-queue"', 'msg_id'), %),
			setval(pg_get_serial_sequence('pgmq."q_order-queue_dlq"', 'msg_id'), %)`
		const next = `select nextval(pg_get_serial_sequence('orders', 'id')), nextval(pg_get_serial_sequence('pgmq."q_order-queue"', 'msg_id')),
			nextval(pg_get_serial_sequence('pgmq."q_order-queue_dlq"', 'msg_id'))`

		for name, state := range map[string]string{
			"a little":        "39",
			"by most":         "1",
			"never been used": "1, false",
		} {
			mustExec(t, db.conn, strings.ReplaceAll(sequences, "%", state))
			said := strings.Count(db.log.String(), sequenceBehind)
			if err := db.migrate(schema.Options{Queue: queue}); err != nil {
				t.Fatal(err)
			}
			wantTable(t, db.conn, next, "41|51|61")
			if n := strings.Count(db.log.String(), sequenceBehind) - said; n != 3 {
				t.Errorf("behind %s: said %d times, want 3:\n%s", name, n, db.log)
			}
		}

		// What is ahead stays ahead, without a word.
		mustExec(t, db.conn, strings.ReplaceAll(sequences, "%", "1000"))
		said := strings.Count(db.log.String(), sequenceBehind)
		if err := db.migrate(schema.Options{Queue: queue}); err != nil {
			t.Fatal(err)
		}
		wantTable(t, db.conn, next, "1001|1001|1001")
		if strings.Count(db.log.String(), sequenceBehind) != said {
			t.Errorf("nothing was behind:\n%s", db.log)
		}
	})
}

// An id at the very end, which only a hand can have made, must not take the rest of the ids with it.
func TestAnAbsurdIDDoesNotUseTheSequenceUp(t *testing.T) {
	t.Parallel()
	db := migrated(t, schema.InstallSQL)
	mustExec(t, db.conn, `
		insert into orders (id, customer_name, product_name, quantity, price)
		select id, 'c', 'p', 1, 1 from unnest(array[7, 4611686018427387904, 9223372036854775807]) id`)

	if err := db.migrate(schema.Options{Queue: queue}); err != nil {
		t.Fatal(err)
	}
	wantTable(t, db.conn, `insert into orders (customer_name, product_name, quantity, price) values ('c', 'p', 1, 1) returning id`, "8")
}

// Who inserts meanwhile draws ids from the sequence that is being brought up: it never goes back.
func TestSequencesAreBroughtUpUnderTraffic(t *testing.T) {
	t.Parallel()
	db := migrated(t, schema.InstallSQL)
	const insert = `insert into orders (customer_name, product_name, quantity, price) values ('c', 'p', 1, 1)`
	mustExec(t, db.conn, `insert into orders (customer_name, product_name, quantity, price) select 'c', 'p', 1, 1 from generate_series(1, 400)`)
	mustExec(t, db.conn, `select setval(pg_get_serial_sequence('orders', 'id'), 1)`)

	stop := make(chan struct{})
	var writers sync.WaitGroup
	var inserted [4]int
	for i := range inserted {
		conn := connect(t, db.cfg)
		writers.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				if _, err := conn.Exec(t.Context(), insert); err == nil {
					inserted[i]++
				}
			}
		})
	}
	err := db.migrate(schema.Options{Queue: queue})
	close(stop)
	writers.Wait()
	if err != nil {
		t.Fatal(err)
	}
	for range 20 {
		mustExec(t, db.conn, insert)
	}
	want := 400 + 20
	for _, n := range inserted {
		want += n
	}
	if got := ask[int](t, db.conn, `select count(*) from orders`); got != want {
		t.Errorf("%d orders, want %d", got, want)
	}
}

// Without the right to, migrating goes on and says what its owner has to do.
func TestASequenceOfSomebodyElsesStaysBehind(t *testing.T) {
	t.Parallel()
	db := migrated(t, schema.InstallSQL)
	mustExec(t, db.conn, `select pgmq.send($1, '{}') from generate_series(1, 3)`, queue)
	owner := db.newRole("owner")
	quoted := pgx.Identifier{owner}.Sanitize()
	mustExec(t, db.conn, `create role `+quoted+` login password `+quote(password))
	mustExec(t, db.conn, `
		alter table orders owner to `+quoted+`;
		alter table orderflow_migrations owner to `+quoted+`;
		grant usage on schema pgmq to `+quoted+`;
		grant select on all tables in schema pgmq to `+quoted+`;
		grant select on all sequences in schema pgmq to `+quoted+`;
		select setval('pgmq."q_order-queue_msg_id_seq"', 1)`)

	if err := schema.Migrate(t.Context(), db.as(owner, password), schema.Options{Queue: queue}, logger(db.log)); err != nil {
		t.Fatal(err)
	}
	const want = `select setval('pgmq.\"q_order-queue_msg_id_seq\"', 3)`
	if log := db.log.String(); !strings.Contains(log, want) {
		t.Errorf("the log does not have %s\n%s", want, log)
	}
}

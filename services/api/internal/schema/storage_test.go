package schema_test

import (
	"strings"
	"testing"

	"orderflow.example/services/api/internal/schema"
)

func TestQueueTablesHaveTheirStorageSettings(t *testing.T) {
	t.Parallel()
	forEachFlavour(t, func(t *testing.T, install schema.Install) {
		db := migrated(t, install)
		for _, name := range []string{`pgmq."q_order-queue"`, `pgmq."q_order-queue_dlq"`} {
			wantTable(t, db.conn, `select unnest(reloptions) from pg_class where oid = '`+name+`'::regclass order by 1`, lines(
				"autovacuum_analyze_scale_factor=0",
				"autovacuum_analyze_threshold=20000",
				"autovacuum_vacuum_cost_delay=0",
				"autovacuum_vacuum_insert_scale_factor=0",
				"autovacuum_vacuum_insert_threshold=50000",
				"autovacuum_vacuum_scale_factor=0",
				"autovacuum_vacuum_threshold=5000",
				"fillfactor=50",
				"vacuum_truncate=off",
			))
		}
	})
}

func TestAQueueThatWasThereGetsItsSettings(t *testing.T) {
	t.Parallel()
	db := newDatabase(t)
	db.installPGMQ(schema.InstallSQL)
	mustExec(t, db.conn, `select pgmq.create('there')`)
	mustExec(t, db.conn, `select pgmq.send('there', '1')`)
	mustExec(t, db.conn, `alter table pgmq.q_there set (autovacuum_vacuum_threshold = 1000, toast_tuple_target = 4096)`)

	if err := schema.EnsureQueue(t.Context(), db.conn, "there", logger(db.log)); err != nil {
		t.Fatal(err)
	}
	wantTable(t, db.conn, `
		select option from pg_class, unnest(reloptions) option
		where relname = 'q_there' and option ~ '^(fillfactor|autovacuum_vacuum_threshold|toast_tuple_target)='
		order by 1`,
		lines("autovacuum_vacuum_threshold=1000", "fillfactor=50", "toast_tuple_target=4096")) // what an operator set stays
	wantTable(t, db.conn, `select queue_name from pgmq.list_queues() order by 1`, "there\nthere_dlq")
	wantTable(t, db.conn, `select msg_id from pgmq.q_there`, "1")
}

// A queue that was made partitioned keeps working; nothing is set on it, and that is said.
func TestAPartitionedQueueIsLeftAsItIs(t *testing.T) {
	t.Parallel()
	db := newDatabase(t)
	db.installPGMQ(schema.InstallSQL)
	mustExec(t, db.conn, `
		create table pgmq.q_parts (msg_id bigint generated always as identity, read_ct int not null default 0,
			enqueued_at timestamptz not null default now(), vt timestamptz not null, message jsonb, headers jsonb)
		partition by range (msg_id);
		create table pgmq.q_parts_p1 partition of pgmq.q_parts for values from (1) to (1000);
		insert into pgmq.meta values ('parts', true, false)`)

	if err := schema.EnsureQueue(t.Context(), db.conn, "parts", logger(db.log)); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(db.log.String(), "set them on its partitions") {
		t.Error(db.log.String())
	}
}

// Completing orders writes no index, whatever else happened on their pages before: a whole batch at once, as a busy
// consumer acknowledges it, with values of realistic length.
func TestCompletingAnOrderIsHot(t *testing.T) {
	t.Parallel()
	db := migrated(t, schema.InstallSQL)
	mustExec(t, db.conn, `
		insert into orders (customer_name, product_name, quantity, price, message_id, idempotency_key)
		select 'Customer ' || n, 'Product ' || n, n % 10 + 1, 10.0 + n % 50, n, 'loadgen-3f9a1c77e2/' || n
		from generate_series(1, 2000) n`)

	mustExec(t, db.conn, `begin`)
	mustExec(t, db.conn, `
		update orders
		set status = 'completed', completed_at = clock_timestamp(), attempts = 1, effects = effects + 1,
			processed_by = 'orderflow-consumer-7c9f6d5b8b-x2x4q', last_error = null, dead_at = null`)
	wantTable(t, db.conn, `
		select pg_stat_get_xact_tuples_updated('orders'::regclass), pg_stat_get_xact_tuples_hot_updated('orders'::regclass)`, "2000|2000")
	mustExec(t, db.conn, `commit`)
}

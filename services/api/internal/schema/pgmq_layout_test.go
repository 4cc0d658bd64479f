package schema_test

import (
	"strings"
	"testing"

	"orderflow.example/services/api/internal/schema"
)

// Clients rely on names, defaults and column orders too. What is not documented for PGMQ 1.5 is marked with the version
// that brought it, or as ours for untyped parameters, and asked of the SQL-only PGMQ only.

func TestPGMQSignatures(t *testing.T) {
	t.Parallel()
	db := newDatabase(t)
	db.installPGMQ(schema.InstallSQL)

	wantTable(t, db.conn, `
		select f collate "C"
		from pg_proc p, concat(p.proname, '(',
			replace(pg_get_function_arguments(p.oid), 'timestamp with time zone', 'timestamptz'), ') ',
			pg_get_function_result(p.oid)) f
		where p.pronamespace = 'pgmq'::regnamespace and p.proname not like '\_%'
		order by 1`,
		lines(
			`acquire_queue_lock(queue_name text) void`,
			`archive(queue_name text, msg_id bigint) boolean`,
			`archive(queue_name text, msg_ids bigint[]) SETOF bigint`,
			`convert_archive_partitioned(table_name text, partition_interval text DEFAULT '10000'::text, retention_interval text DEFAULT '100000'::text, leading_partition integer DEFAULT 10) void`,
			`create(queue_name text) void`,
			`create_non_partitioned(queue_name text) void`,
			`create_partitioned(queue_name text, partition_interval text DEFAULT '10000'::text, retention_interval text DEFAULT '100000'::text) void`,
			`create_unlogged(queue_name text) void`,
			`delete(queue_name text, msg_id bigint) boolean`,
			`delete(queue_name text, msg_ids bigint[]) SETOF bigint`,
			`detach_archive(queue_name text) void`,
			`drop_queue(queue_name text) boolean`,
			`drop_queue(queue_name text, partitioned boolean) boolean`,
			`format_table_name(queue_name text, prefix text) text`,
			`list_queues() SETOF pgmq.queue_record`,
			`metrics(queue_name text) pgmq.metrics_result`,
			`metrics_all() SETOF pgmq.metrics_result`,
			`pop(queue_name text, qty integer DEFAULT 1) SETOF pgmq.message_record`, // qty: 1.7
			`purge_queue(queue_name text) bigint`,
			`read(queue_name text, vt integer, qty integer, conditional jsonb DEFAULT '{}'::jsonb) SETOF pgmq.message_record`,
			`read_with_poll(queue_name text, vt integer, qty integer, max_poll_seconds integer DEFAULT 5, poll_interval_ms integer DEFAULT 100, conditional jsonb DEFAULT '{}'::jsonb) SETOF pgmq.message_record`,
			`send(queue_name text, msg jsonb) SETOF bigint`,
			`send(queue_name text, msg jsonb, delay integer) SETOF bigint`,
			`send(queue_name text, msg jsonb, delay text) SETOF bigint`, // untyped
			`send(queue_name text, msg jsonb, delay timestamptz) SETOF bigint`,
			`send(queue_name text, msg jsonb, headers jsonb) SETOF bigint`,
			`send(queue_name text, msg jsonb, headers jsonb, delay integer) SETOF bigint`,
			`send(queue_name text, msg jsonb, headers jsonb, delay text) SETOF bigint`, // untyped
			`send(queue_name text, msg jsonb, headers jsonb, delay timestamptz) SETOF bigint`,
			`send_batch(queue_name text, msgs jsonb[]) SETOF bigint`,
			`send_batch(queue_name text, msgs jsonb[], delay integer) SETOF bigint`,
			`send_batch(queue_name text, msgs jsonb[], delay text) SETOF bigint`, // untyped
			`send_batch(queue_name text, msgs jsonb[], delay timestamptz) SETOF bigint`,
			`send_batch(queue_name text, msgs jsonb[], headers jsonb[]) SETOF bigint`,
			`send_batch(queue_name text, msgs jsonb[], headers jsonb[], delay integer) SETOF bigint`,
			`send_batch(queue_name text, msgs jsonb[], headers jsonb[], delay text) SETOF bigint`, // untyped
			`send_batch(queue_name text, msgs jsonb[], headers jsonb[], delay timestamptz) SETOF bigint`,
			`set_vt(queue_name text, msg_id bigint, vt integer) SETOF pgmq.message_record`,
			`set_vt(queue_name text, msg_id bigint, vt text) SETOF pgmq.message_record`, // untyped
			`set_vt(queue_name text, msg_id bigint, vt timestamptz) SETOF pgmq.message_record`,
			`set_vt(queue_name text, msg_id text, vt integer) SETOF pgmq.message_record`,     // untyped
			`set_vt(queue_name text, msg_id text, vt text) SETOF pgmq.message_record`,        // untyped
			`set_vt(queue_name text, msg_id text, vt timestamptz) SETOF pgmq.message_record`, // untyped
			`set_vt(queue_name text, msg_ids bigint[], vt integer) SETOF pgmq.message_record`,
			`set_vt(queue_name text, msg_ids bigint[], vt text) SETOF pgmq.message_record`, // untyped
			`set_vt(queue_name text, msg_ids bigint[], vt timestamptz) SETOF pgmq.message_record`,
			`validate_queue_name(queue_name text) void`,
		))
}

func TestPGMQTypesAndTables(t *testing.T) {
	t.Parallel()
	forEachFlavour(t, func(t *testing.T, install schema.Install) {
		db := newDatabase(t)
		db.installPGMQ(install)
		mustExec(t, db.conn, `select pgmq.create('Layout')`)

		for relation, want := range map[string]string{
			"message_record": lines("msg_id bigint", "read_ct integer", "enqueued_at timestamptz", "vt timestamptz", "message jsonb", "headers jsonb"),
			"queue_record":   lines("queue_name varchar", "is_partitioned boolean", "is_unlogged boolean", "created_at timestamptz"),
			"metrics_result": lines("queue_name text", "queue_length bigint", "newest_msg_age_sec integer", "oldest_msg_age_sec integer",
				"total_messages bigint", "scrape_time timestamptz", "queue_visible_length bigint"),
			"meta": lines("queue_name varchar not null", "is_partitioned boolean not null", "is_unlogged boolean not null",
				"created_at timestamptz not null default now()"),
			"q_layout": lines("msg_id bigint not null identity a", "read_ct integer not null default 0", "enqueued_at timestamptz not null default now()",
				"vt timestamptz not null", "message jsonb", "headers jsonb"),
			"a_layout": lines("msg_id bigint not null", "read_ct integer not null default 0", "enqueued_at timestamptz not null default now()",
				"archived_at timestamptz not null default now()", "vt timestamptz not null", "message jsonb", "headers jsonb"),
		} {
			wantTable(t, db.conn, `
				select concat_ws(' ', a.attname,
					replace(replace(format_type(a.atttypid, a.atttypmod), 'timestamp with time zone', 'timestamptz'), 'character varying', 'varchar'),
					case when a.attnotnull then 'not null' end,
					'identity ' || nullif(a.attidentity::text, ''),
					'default ' || pg_get_expr(d.adbin, d.adrelid))
				from pg_attribute a
				left join pg_attrdef d on d.adrelid = a.attrelid and d.adnum = a.attnum
				where a.attrelid = 'pgmq.`+relation+`'::regclass and a.attnum > 0
				  and a.attname not in ('last_read_at', 'default_partition_length') -- since 1.10 and 1.13
				order by a.attnum`, want)
		}
		wantTable(t, db.conn, `select indexdef from pg_indexes where schemaname = 'pgmq' and tablename like '%layout' order by 1`, lines(
			`CREATE INDEX "archived_at_idx_Layout" ON pgmq.a_layout USING btree (archived_at)`,
			`CREATE INDEX q_layout_vt_idx ON pgmq.q_layout USING btree (vt)`,
			`CREATE UNIQUE INDEX a_layout_pkey ON pgmq.a_layout USING btree (msg_id)`,
			`CREATE UNIQUE INDEX q_layout_pkey ON pgmq.q_layout USING btree (msg_id)`,
		))
		wantTable(t, db.conn, `select pg_get_serial_sequence('pgmq.q_layout', 'msg_id')`, "pgmq.q_layout_msg_id_seq")
	})
}

func TestMonitorsMayReadQueues(t *testing.T) {
	t.Parallel()
	forEachFlavour(t, func(t *testing.T, install schema.Install) {
		db := newDatabase(t)
		db.installPGMQ(install)
		mustExec(t, db.conn, `select pgmq.create('later')`)

		for _, relation := range []string{"pgmq.meta", "pgmq.q_later", "pgmq.a_later"} {
			if !ask[bool](t, db.conn, `select has_table_privilege('pg_monitor', $1::text, 'select')`, relation) {
				t.Errorf("pg_monitor may not read %s", relation)
			}
		}
	})
}

// The statements of today's client libraries, which name every column of PGMQ 1.10.
func TestAClientOf110NamesLastReadAt(t *testing.T) {
	t.Parallel()
	db := newDatabase(t)
	db.installPGMQ(schema.InstallSQL)
	mustExec(t, db.conn, `select pgmq.create('new')`)
	mustExec(t, db.conn, `select * from pgmq.send('new', '{"order_id": 7}')`)

	const columns = `select msg_id, read_ct, enqueued_at <= now(), last_read_at <= now(), vt > now(), message, headers from `
	wantTable(t, db.conn, columns+`pgmq.set_vt(queue_name=>'new'::text, msg_id=>1::bigint, vt=>0::integer)`, `1|0|t|∅|t|{"order_id": 7}|∅`)
	for _, statement := range []string{
		`pgmq.read(queue_name=>'new'::text, vt=>0::integer, qty=>1::integer)`,
		`pgmq.read_with_poll(queue_name=>'new'::text, vt=>0::integer, qty=>1::integer, max_poll_seconds=>1::integer, poll_interval_ms=>10::integer)`,
		`pgmq.set_vt(queue_name=>'new'::text, msg_id=>1::bigint, vt=>0::integer)`,
		`pgmq.pop(queue_name=>'new'::text, qty=>1::integer)`,
	} {
		got, err := table(t, db.conn, columns+statement)
		if err != nil || strings.Count(got, "|") != 6 || strings.Split(got, "|")[3] == "∅" {
			t.Errorf("%s: %s, %v", statement, got, err)
		}
	}
	mustExec(t, db.conn, `select pgmq.send('new', '1'); select * from pgmq.read('new', 0, 1); select pgmq.archive('new', 2)`)
	wantTable(t, db.conn, `select msg_id, last_read_at is not null from pgmq.a_new`, "2|t")
}

// The statements of a client library of the 1.5 era, as it sends them: columns by position, everything through select *.
func TestAClientOf15TakesColumnsByPosition(t *testing.T) {
	t.Parallel()
	db := newDatabase(t)
	db.installPGMQ(schema.InstallSQL)
	mustExec(t, db.conn, `select pgmq.create('old')`)
	mustExec(t, db.conn, `select * from pgmq.send('old', '{"order_id": 7}', 0)`)

	for _, statement := range []string{
		`select * from pgmq.read('old', 0, 1)`,
		`select * from pgmq.read_with_poll('old', 0, 1, 1, 10)`,
		`select * from pgmq.set_vt('old', 1, 0)`,
		`select * from pgmq.pop('old')`,
	} {
		got, err := table(t, db.conn, statement)
		if err != nil {
			t.Fatalf("%s: %v", statement, err)
		}
		columns := strings.Split(got, "|")
		if len(columns) < 6 || columns[0] != "1" || columns[4] != `{"order_id": 7}` || columns[5] != "∅" {
			t.Errorf("%s: %s", statement, got)
		}
	}
}

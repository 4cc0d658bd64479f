package schema_test

import (
	"strings"
	"testing"

	"orderflow.example/kit/testdb"
	"orderflow.example/services/api/internal/schema"
)

// PGMQ's API, function by function and overload by overload, as its documentation has it. The same expectations hold for
// the SQL-only PGMQ and for the extension, of any version: that is what "call-compatible" means. Columns are named,
// because 1.10 inserted one.

// step is a statement, in which :q stands for the queue's name as a literal, and what comes of it: rows as table returns
// them, or an error.
type step struct {
	sql  string
	want string
	err  string
}

// call is the test of a function. needs names what the extension has only in later versions than 1.5.
type call struct {
	name  string
	needs string
	steps []step
}

const msg = `select msg_id, read_ct, message, headers from `

var calls = []call{
	{name: "create makes an empty queue, again and again", steps: []step{
		{sql: `select pgmq.create(:q)`, want: ""}, // exists: nothing changes
		{sql: `select pgmq.send(:q, '1')`, want: "1"},
		{sql: `select pgmq.create(queue_name => :q)`, want: ""},
		{sql: `select queue_name, is_partitioned, is_unlogged, created_at <= now() from pgmq.list_queues() where queue_name = :q`, want: ":q|f|f|t"},
		{sql: msg + `pgmq.read(:q, 0, 9)`, want: "1|1|1|∅"},
	}},
	{name: "create_non_partitioned", steps: []step{
		{sql: `select pgmq.drop_queue(:q)`, want: "t"},
		{sql: `select pgmq.create_non_partitioned(queue_name => :q)`, want: ""},
		{sql: `select is_partitioned, is_unlogged from pgmq.meta where queue_name = :q`, want: "f|f"},
		{sql: `select pgmq.send(:q, '1')`, want: "1"},
	}},
	{name: "create_unlogged", steps: []step{
		{sql: `select pgmq.drop_queue(:q)`, want: "t"},
		{sql: `select pgmq.create_unlogged(queue_name => :q)`, want: ""},
		{sql: `select is_partitioned, is_unlogged from pgmq.meta where queue_name = :q`, want: "f|t"},
		{sql: `select relpersistence from pg_class where oid = format('pgmq.%I', 'q_' || :q)::regclass`, want: "u"},
		{sql: `select relpersistence from pg_class where oid = format('pgmq.%I', 'a_' || :q)::regclass`, want: "p"},
		{sql: `select pgmq.send(:q, '1')`, want: "1"},
	}},
	{name: "create_partitioned needs pg_partman", steps: []step{
		{sql: `select pgmq.create_partitioned('part')`, err: "pg_partman is required for partitioned queues"},
		{sql: `select pgmq.create_partitioned(queue_name => 'part', partition_interval => '1 day', retention_interval => '7 days')`, err: "pg_partman is required for partitioned queues"},
		{sql: `select count(*) from pgmq.meta where queue_name = 'part'`, want: "0"},
	}},
	{name: "drop_queue", steps: []step{
		{sql: `select pgmq.drop_queue(queue_name => :q)`, want: "t"},
		{sql: `select count(*) from pgmq.list_queues() where queue_name = :q`, want: "0"},
		{sql: `select count(*) from pg_class c join pg_namespace n on n.oid = relnamespace where nspname = 'pgmq' and relname like '%' || :q || '%'`, want: "0"},
		{sql: `select pgmq.drop_queue(:q)`, want: "f"},
	}},
	{name: "drop_queue with its deprecated argument", steps: []step{
		{sql: `select pgmq.drop_queue(queue_name => :q, partitioned => false)`, want: "t"},
		{sql: `select count(*) from pgmq.list_queues() where queue_name = :q`, want: "0"},
		{sql: `select pgmq.drop_queue(:q, true)`, want: "t"},
	}},
	{name: "send in all its overloads", steps: []step{
		{sql: `select * from pgmq.send(queue_name => :q, msg => '{"n": 1}')`, want: "1"},
		{sql: `select * from pgmq.send(queue_name => :q, msg => '{"n": 2}', headers => '{"h": 2}')`, want: "2"},
		{sql: `select * from pgmq.send(queue_name => :q, msg => '{"n": 3}', delay => 100)`, want: "3"},
		{sql: `select * from pgmq.send(queue_name => :q, msg => '{"n": 4}', delay => '2100-01-01Z'::timestamptz)`, want: "4"},
		{sql: `select * from pgmq.send(queue_name => :q, msg => '{"n": 5}', headers => '{"h": 5}', delay => 100)`, want: "5"},
		{sql: `select * from pgmq.send(queue_name => :q, msg => '{"n": 6}', headers => '{"h": 6}', delay => '2100-01-01Z'::timestamptz)`, want: "6"},
		{sql: `select pgmq.send(:q, '{"n": 7}', 0)`, want: "7"},
		{sql: `select pgmq.send(:q, '{"n": 8}', '{"h": 8}'::jsonb)`, want: "8"},
		{sql: `select pgmq.send(:q, '{"n": 9}', '{"h": 9}', 0)`, want: "9"},
		{sql: `select pgmq.send(:q, null)`, want: "10"},
		{sql: msg + `pgmq.read(:q, 60, 20) order by 1`, want: lines(
			`1|1|{"n": 1}|∅`, `2|1|{"n": 2}|{"h": 2}`, `7|1|{"n": 7}|∅`, `8|1|{"n": 8}|{"h": 8}`, `9|1|{"n": 9}|{"h": 9}`, `10|1|∅|∅`)},
		{sql: `select msg_id, vt = '2100-01-01Z', vt > clock_timestamp() + interval '90 s' from pgmq.q_:table where read_ct = 0 order by 1`, want: lines(
			`3|f|t`, `4|t|t`, `5|f|t`, `6|t|t`)},
	}},
	{name: "send with a delay hides the message until then", steps: []step{
		{sql: `select pgmq.send(:q, '1', 100)`, want: "1"},
		{sql: `select count(*) from pgmq.read(:q, 0, 1)`, want: "0"},
		{sql: `select vt - clock_timestamp() between interval '90 s' and interval '100 s' from pgmq.set_vt(:q, 1, 100)`, want: "t"},
		{sql: `select pgmq.send(:q, '2', now() - interval '1 hour')`, want: "2"},
		{sql: msg + `pgmq.read(:q, 0, 9)`, want: "2|1|2|∅"},
	}},
	{name: "send_batch in all its overloads", steps: []step{
		{sql: `select * from pgmq.send_batch(queue_name => :q, msgs => array['1', '2']::jsonb[])`, want: "1\n2"},
		{sql: `select * from pgmq.send_batch(queue_name => :q, msgs => array['3', '4']::jsonb[], headers => array['{"h": 3}', null]::jsonb[])`, want: "3\n4"},
		{sql: `select * from pgmq.send_batch(queue_name => :q, msgs => array['5']::jsonb[], delay => 100)`, want: "5"},
		{sql: `select * from pgmq.send_batch(queue_name => :q, msgs => array['6']::jsonb[], delay => '2100-01-01Z'::timestamptz)`, want: "6"},
		{sql: `select * from pgmq.send_batch(queue_name => :q, msgs => array['7']::jsonb[], headers => array['{"h": 7}']::jsonb[], delay => 100)`, want: "7"},
		{sql: `select * from pgmq.send_batch(queue_name => :q, msgs => array['8']::jsonb[], headers => array['{"h": 8}']::jsonb[], delay => '2100-01-01Z'::timestamptz)`, want: "8"},
		{sql: `select pgmq.send_batch(:q, array['9']::jsonb[], 0)`, want: "9"},
		{sql: msg + `pgmq.read(:q, 60, 20) order by 1`, want: lines(`1|1|1|∅`, `2|1|2|∅`, `3|1|3|{"h": 3}`, `4|1|4|∅`, `9|1|9|∅`)},
		{sql: `select msg_id, headers, vt = '2100-01-01Z', vt > clock_timestamp() + interval '90 s' from pgmq.q_:table where read_ct = 0 order by 1`, want: lines(
			`5|∅|f|t`, `6|∅|t|t`, `7|{"h": 7}|f|t`, `8|{"h": 8}|t|t`)},
	}},
	{name: "send_batch takes what PGMQ 1.5 takes", needs: "pgmq._orderflow_revision()", steps: []step{
		{sql: `select pgmq.send_batch(:q, array[]::jsonb[])`, want: ""},
		{sql: `select pgmq.send_batch(:q, null::jsonb[])`, want: ""},
		{sql: `select pgmq.send_batch(:q, array[]::jsonb[], array[]::jsonb[])`, want: ""},
		{sql: `select pgmq.send_batch(:q, array['1', '2', '3']::jsonb[], array['{"h": 1}', null]::jsonb[])`, want: "1\n2\n3"},
		{sql: msg + `pgmq.read(:q, 0, 9)`, want: lines(`1|1|1|{"h": 1}`, `2|1|2|∅`, `3|1|3|∅`)},
		{sql: `select pgmq.send_batch(:q, array[]::jsonb[], array['{}']::jsonb[])`, err: "headers array length (1) must match msgs array length (0)"},
	}},
	{name: "send_batch refuses what does not match", needs: "pgmq._orderflow_revision()", steps: []step{
		{sql: `select pgmq.send_batch(:q, array['1', '2']::jsonb[], array['{}', '{}', '{}']::jsonb[])`, err: "headers array length (3) must match msgs array length (2)"},
		{sql: `select queue_length from pgmq.metrics(:q)`, want: "0"},
	}},
	{name: "read hides, counts and takes the oldest first", steps: []step{
		{sql: `select pgmq.send_batch(:q, array['1', '2', '3']::jsonb[])`, want: "1\n2\n3"},
		{sql: `select msg_id, read_ct, vt - clock_timestamp() between interval '50 s' and interval '60 s', enqueued_at <= now() from pgmq.read(queue_name => :q, vt => 60, qty => 2) order by 1`, want: "1|1|t|t\n2|1|t|t"},
		{sql: msg + `pgmq.read(:q, 0, 10)`, want: "3|1|3|∅"},
		{sql: msg + `pgmq.read(:q, 0, 10)`, want: "3|2|3|∅"},
		{sql: msg + `pgmq.read(:q, 0, 0)`, want: ""},
	}},
	{name: "read with a condition", steps: []step{
		{sql: `select pgmq.send_batch(:q, array['{"a": 1, "b": 1}', '{"a": 2}', '{"a": 1}', '[1, 2]', null]::jsonb[])`, want: "1\n2\n3\n4\n5"},
		{sql: `select msg_id from pgmq.read(queue_name => :q, vt => 0, qty => 10, conditional => '{"a": 1}') order by 1`, want: "1\n3"},
		{sql: `select msg_id from pgmq.read(:q, 0, 1, '{"a": 2}')`, want: "2"},
		{sql: `select msg_id from pgmq.read(:q, 0, 10, '[2]')`, want: "4"},
		{sql: `select msg_id from pgmq.read(:q, 0, 10, '{"a": "1"}')`, want: ""},
		{sql: `select msg_id from pgmq.read(:q, 0, 10, $${"a": "'; drop table pgmq.meta; --"}$$)`, want: ""},
		{sql: `select msg_id from pgmq.read(:q, 0, 10, '{}') order by 1`, want: "1\n2\n3\n4\n5"},
	}},
	{name: "read_with_poll returns at once what is there", steps: []step{
		{sql: `select pgmq.send_batch(:q, array['1', '2']::jsonb[])`, want: "1\n2"},
		{sql: msg + `pgmq.read_with_poll(:q, 60, 1)`, want: "1|1|1|∅"},
		{sql: msg + `pgmq.read_with_poll(queue_name => :q, vt => 0, qty => 9, max_poll_seconds => 1, poll_interval_ms => 10, conditional => '2')`, want: "2|1|2|∅"},
	}},
	{name: "read_with_poll waits for a message to become visible", steps: []step{
		{sql: `select pgmq.send(:q, '1', clock_timestamp() + interval '300 ms')`, want: "1"},
		{sql: msg + `pgmq.read_with_poll(:q, 60, 1, 5, 10)`, want: "1|1|1|∅"},
	}},
	{name: "read_with_poll gives up", steps: []step{
		{sql: msg + `pgmq.read_with_poll(:q, 60, 1, 1, 50)`, want: ""},
		{sql: msg + `pgmq.read_with_poll(:q, 60, 1, 0)`, want: ""},
	}},
	{name: "pop reads and deletes", steps: []step{
		{sql: `select pgmq.send_batch(:q, array['1', '2']::jsonb[], array['{"h": 1}', null]::jsonb[])`, want: "1\n2"},
		{sql: `select pgmq.send(:q, '3', 100)`, want: "3"},
		{sql: msg + `pgmq.pop(queue_name => :q)`, want: `1|0|1|{"h": 1}`},
		{sql: msg + `pgmq.pop(:q)`, want: `2|0|2|∅`},
		{sql: msg + `pgmq.pop(:q)`, want: ``},
		{sql: `select queue_length from pgmq.metrics(:q)`, want: "1"},
	}},
	{name: "pop several", needs: "pgmq.pop(text, integer)", steps: []step{
		{sql: `select pgmq.send_batch(:q, array['1', '2', '3']::jsonb[])`, want: "1\n2\n3"},
		{sql: `select msg_id from pgmq.pop(queue_name => :q, qty => 2) order by 1`, want: "1\n2"},
		{sql: `select msg_id from pgmq.pop(:q, 10)`, want: "3"},
	}},
	{name: "delete one", steps: []step{
		{sql: `select pgmq.send_batch(:q, array['1', '2']::jsonb[])`, want: "1\n2"},
		{sql: `select pgmq.delete(queue_name => :q, msg_id => 1)`, want: "t"},
		{sql: `select pgmq.delete(:q, 1)`, want: "f"},
		{sql: `select * from pgmq.delete(:q, 99::bigint)`, want: "f"},
		{sql: msg + `pgmq.read(:q, 0, 9)`, want: "2|1|2|∅"},
	}},
	{name: "delete several", steps: []step{
		{sql: `select pgmq.send_batch(:q, array['1', '2', '3']::jsonb[])`, want: "1\n2\n3"},
		{sql: `select * from pgmq.delete(queue_name => :q, msg_ids => array[1, 3, 99]) order by 1`, want: "1\n3"},
		{sql: `select pgmq.delete(:q, array[]::bigint[])`, want: ""},
		{sql: msg + `pgmq.read(:q, 0, 9)`, want: "2|1|2|∅"},
	}},
	{name: "archive one", steps: []step{
		{sql: `select pgmq.send(:q, '{"n": 1}', '{"h": 1}'::jsonb)`, want: "1"},
		{sql: msg + `pgmq.read(:q, 60, 1)`, want: `1|1|{"n": 1}|{"h": 1}`},
		{sql: `select pgmq.archive(queue_name => :q, msg_id => 1)`, want: "t"},
		{sql: `select pgmq.archive(:q, 1)`, want: "f"},
		{sql: `select queue_length from pgmq.metrics(:q)`, want: "0"},
		{sql: `select msg_id, read_ct, message, headers, enqueued_at <= archived_at, vt > archived_at from pgmq.a_:table`, want: `1|1|{"n": 1}|{"h": 1}|t|t`},
	}},
	{name: "archive several", steps: []step{
		{sql: `select pgmq.send_batch(:q, array['1', '2', '3']::jsonb[])`, want: "1\n2\n3"},
		{sql: `select * from pgmq.archive(queue_name => :q, msg_ids => array[1, 3, 99]) order by 1`, want: "1\n3"},
		{sql: `select msg_id, message from pgmq.a_:table order by 1`, want: "1|1\n3|3"},
		{sql: msg + `pgmq.read(:q, 0, 9)`, want: "2|1|2|∅"},
	}},
	{name: "set_vt of one message in seconds", steps: []step{
		{sql: `select pgmq.send_batch(:q, array['1', '2']::jsonb[])`, want: "1\n2"},
		{sql: `select msg_id, read_ct, message, vt - clock_timestamp() between interval '90 s' and interval '100 s' from pgmq.set_vt(queue_name => :q, msg_id => 1, vt => 100)`, want: "1|0|1|t"},
		{sql: `select msg_id from pgmq.read(:q, 60, 9)`, want: "2"},
		{sql: `select msg_id, read_ct from pgmq.set_vt(:q, 2, 0)`, want: "2|1"},
		{sql: `select msg_id, read_ct from pgmq.read(:q, 0, 9)`, want: "2|2"},
		{sql: `select msg_id from pgmq.set_vt(:q, 99, 0)`, want: ""},
	}},
	{name: "set_vt of one message to a timestamp", needs: "pgmq.set_vt(text, bigint, timestamptz)", steps: []step{
		{sql: `select pgmq.send(:q, '1')`, want: "1"},
		{sql: `select msg_id, vt = '2100-01-01Z' from pgmq.set_vt(queue_name => :q, msg_id => 1, vt => '2100-01-01Z'::timestamptz)`, want: "1|t"},
		{sql: `select count(*) from pgmq.read(:q, 0, 1)`, want: "0"},
	}},
	{name: "set_vt of several messages", needs: "pgmq.set_vt(text, bigint[], timestamptz)", steps: []step{
		{sql: `select pgmq.send_batch(:q, array['1', '2', '3']::jsonb[])`, want: "1\n2\n3"},
		{sql: `select msg_id, vt > clock_timestamp() + interval '90 s' from pgmq.set_vt(queue_name => :q, msg_ids => array[3, 1, 99], vt => 100) order by 1`, want: "1|t\n3|t"},
		{sql: `select msg_id, vt = '2000-01-01Z' from pgmq.set_vt(queue_name => :q, msg_ids => array[1, 2], vt => '2000-01-01Z'::timestamptz) order by 1`, want: "1|t\n2|t"},
		{sql: `select msg_id from pgmq.read(:q, 0, 9) order by 1`, want: "1\n2"},
	}},
	{name: "purge_queue", steps: []step{
		{sql: `select pgmq.send_batch(:q, array['1', '2', '3']::jsonb[])`, want: "1\n2\n3"},
		{sql: `select pgmq.archive(:q, 1)`, want: "t"},
		{sql: `select pgmq.purge_queue(queue_name => :q)`, want: "2"},
		{sql: `select pgmq.purge_queue(:q)`, want: "0"},
		{sql: `select count(*) from pgmq.a_:table`, want: "1"},
		{sql: `select pgmq.send(:q, '4')`, want: "4"},
	}},
	{name: "metrics", steps: []step{
		{sql: `select queue_name, queue_length, newest_msg_age_sec, oldest_msg_age_sec, total_messages, queue_visible_length from pgmq.metrics(queue_name => :q)`, want: ":q|0|∅|∅|0|0"},
		{sql: `select pgmq.send_batch(:q, array['1', '2', '3']::jsonb[])`, want: "1\n2\n3"},
		{sql: `select pgmq.send(:q, '4', 100)`, want: "4"},
		{sql: `select pgmq.delete(:q, 1)`, want: "t"},
		{sql: `update pgmq.q_:table set enqueued_at = enqueued_at - interval '1 hour' where msg_id = 2`, want: ""},
		{sql: `select queue_name, queue_length, newest_msg_age_sec < 60, oldest_msg_age_sec between 3600 and 3660, total_messages, queue_visible_length, clock_timestamp() - scrape_time < '1 minute' from pgmq.metrics(:q)`, want: ":q|3|t|t|4|2|t"},
	}},
	{name: "metrics_all and list_queues name every queue", steps: []step{
		{sql: `select queue_length, total_messages from pgmq.metrics_all() where queue_name = :q`, want: "0|0"},
		{sql: `select (select count(*) from pgmq.list_queues()) = (select count(*) from pgmq.meta)`, want: "t"},
	}},
	{name: "detach_archive", steps: []step{
		{sql: `select pgmq.detach_archive(queue_name => :q)`, want: ""},
		{sql: `select count(*) from pgmq.a_:table`, want: "0"},
	}},
	{name: "convert_archive_partitioned needs pg_partman", needs: "pgmq._orderflow_revision()", steps: []step{
		{sql: `select pgmq.convert_archive_partitioned(:q)`, err: "pg_partman is required for partitioned queues"},
		{sql: `select pgmq.convert_archive_partitioned(table_name => :q, partition_interval => '1', retention_interval => '2', leading_partition => 3)`, err: "pg_partman is required"},
		{sql: `select count(*) from pgmq.a_:table`, want: "0"},
	}},
	{name: "one row of extreme values stops nobody", needs: "pgmq._orderflow_revision()", steps: []step{
		{sql: `select count(*) from pgmq.send_batch(:q, array['1', '2', '3', '4', '5', '6', '7']::jsonb[])`, want: "7"},
		{sql: `update pgmq.q_:table set read_ct = 2147483647 where msg_id = 1`, want: ""},
		{sql: `update pgmq.q_:table set read_ct = -2147483648 where msg_id = 2`, want: ""},
		{sql: `update pgmq.q_:table set enqueued_at = 'infinity' where msg_id = 3`, want: ""},
		{sql: `update pgmq.q_:table set enqueued_at = '-infinity' where msg_id = 4`, want: ""},
		{sql: `update pgmq.q_:table set enqueued_at = '4713-01-01 BC', vt = '-infinity' where msg_id = 5`, want: ""},
		{sql: `update pgmq.q_:table set enqueued_at = '294276-12-31' where msg_id = 6`, want: ""},
		{sql: `update pgmq.q_:table set vt = 'infinity' where msg_id = 7`, want: ""},
		{sql: `select queue_length, queue_visible_length, newest_msg_age_sec < -2e9, oldest_msg_age_sec > 2e9 from pgmq.metrics(:q)`, want: "7|6|t|t"},
		{sql: `select queue_length from pgmq.metrics_all() where queue_name = :q`, want: "7"},
		{sql: `select msg_id, read_ct from pgmq.read(:q, 0, 9)`, want: "1|2147483647\n2|-2147483647\n3|1\n4|1\n5|1\n6|1"},
		{sql: `select msg_id, read_ct from pgmq.set_vt(:q, array[1, 7], 0)`, want: "1|2147483647\n7|0"},
		{sql: `select count(*) from pgmq.pop(:q, 9)`, want: "7"},
		{sql: `select queue_length, newest_msg_age_sec, oldest_msg_age_sec from pgmq.metrics(:q)`, want: "0|∅|∅"},
	}},
	{name: "a queue that does not exist", steps: []step{
		{sql: `select pgmq.send('nowhere', '1')`, err: `relation "pgmq.q_nowhere" does not exist`},
		{sql: `select pgmq.read('nowhere', 1, 1)`, err: `relation "pgmq.q_nowhere" does not exist`},
		{sql: `select pgmq.metrics('nowhere')`, err: `does not exist`},
	}},
	{name: "a transaction that is undone", steps: []step{
		{sql: `begin; select pgmq.create('undone'); rollback`, want: ""},
		{sql: `select to_regclass('pgmq.q_undone')`, want: "∅"},
		{sql: `begin; select pgmq.send(:q, '1'); rollback`, want: "1"},
		{sql: `select queue_length from pgmq.metrics(:q)`, want: "0"},
	}},
}

func TestPGMQFunctions(t *testing.T) {
	t.Parallel()
	forEachFlavour(t, func(t *testing.T, install schema.Install) {
		db := newDatabase(t)
		db.installPGMQ(install)
		for _, c := range calls {
			if c.needs != "" && !ask[bool](t, db.conn, `select to_regprocedure($1) is not null`, c.needs) {
				continue
			}
			t.Run(c.name, func(t *testing.T) {
				t.Parallel()
				conn := connect(t, db.cfg)
				name := testdb.Name("t")
				mustExec(t, conn, `set timezone = 'UTC'`)
				mustExec(t, conn, `select pgmq.create($1)`, name)

				for _, s := range c.steps {
					got, err := table(t, conn, strings.NewReplacer(":q", "'"+name+"'", ":table", name).Replace(s.sql))
					want := strings.ReplaceAll(s.want, ":q", name)
					switch {
					case s.err == "" && err != nil:
						t.Fatalf("%s: %v", s.sql, err)
					case s.err != "" && (err == nil || !strings.Contains(err.Error(), s.err)):
						t.Fatalf("%s: got %v, want the error %q", s.sql, err, s.err)
					case s.err == "" && got != want:
						t.Fatalf("%s\ngot:\n%s\nwant:\n%s", s.sql, got, want)
					}
				}
			})
		}
	})
}

func lines(l ...string) string { return strings.Join(l, "\n") }

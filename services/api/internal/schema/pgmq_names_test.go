package schema_test

import (
	"strings"
	"testing"

	"orderflow.example/services/api/internal/schema"
)

// Each function that takes the name of a queue, with :q in its place.
var named = []string{
	`select pgmq.create(:q)`,
	`select pgmq.create_non_partitioned(:q)`,
	`select pgmq.create_unlogged(:q)`,
	`select pgmq.create_partitioned(:q)`,
	`select pgmq.convert_archive_partitioned(:q)`,
	`select pgmq.drop_queue(:q)`,
	`select pgmq.drop_queue(:q, true)`,
	`select pgmq.purge_queue(:q)`,
	`select pgmq.detach_archive(:q)`,
	`select pgmq.metrics(:q)`,
	`select pgmq.send(:q, '{}')`,
	`select pgmq.send(:q, '{}', '{}'::jsonb)`,
	`select pgmq.send(:q, '{}', 1)`,
	`select pgmq.send(:q, '{}', now())`,
	`select pgmq.send(:q, '{}', '{}', 1)`,
	`select pgmq.send(:q, '{}', '{}', now())`,
	`select pgmq.send_batch(:q, array['{}']::jsonb[])`,
	`select pgmq.send_batch(:q, array['{}']::jsonb[], array['{}']::jsonb[])`,
	`select pgmq.send_batch(:q, array['{}']::jsonb[], 1)`,
	`select pgmq.send_batch(:q, array['{}']::jsonb[], now())`,
	`select pgmq.send_batch(:q, array['{}']::jsonb[], array['{}']::jsonb[], 1)`,
	`select pgmq.send_batch(:q, array['{}']::jsonb[], array['{}']::jsonb[], now())`,
	`select pgmq.read(:q, 1, 1)`,
	`select pgmq.read_with_poll(:q, 1, 1, 1, 1)`,
	`select pgmq.pop(:q)`,
	`select pgmq.pop(:q, 1)`,
	`select pgmq.delete(:q, 1)`,
	`select pgmq.delete(:q, array[1])`,
	`select pgmq.archive(:q, 1)`,
	`select pgmq.archive(:q, array[1])`,
	`select pgmq.set_vt(:q, 1, 1)`,
	`select pgmq.set_vt(:q, 1, now())`,
	`select pgmq.set_vt(:q, array[1], 1)`,
	`select pgmq.set_vt(:q, array[1], now())`,
	`select * from orderflow.redrive(:q, array[1])`,
	`select orderflow.delete_dead_letters(:q, array[1])`,
	`select orderflow.pause(:q, 'me', '')`,
}

// Whatever is in a name, a statement does its one thing to that queue or fails: nothing else in the database changes.
func TestQueueNamesCannotInject(t *testing.T) {
	t.Parallel()
	db := migrated(t, schema.InstallSQL)
	mustExec(t, db.conn, `create table public.victim (id int)`)
	mustExec(t, db.conn, `insert into public.victim values (1)`)

	refused := []string{
		`x; drop table public.victim; --`,
		`x" ; drop table public.victim; select "`,
		`x'; drop table public.victim; select '`,
		`x$$; drop table public.victim; select $$`,
		`x where false; create table public.attack (id int); delete from pgmq.meta`,
	}
	for _, name := range refused {
		for _, statement := range named {
			_, err := table(t, db.conn, strings.ReplaceAll(statement, ":q", quote(name)))
			if err == nil || !strings.Contains(err.Error(), `queue name contains invalid characters: $, ;, --, or \'`) {
				t.Errorf("%s of %q: %v", statement, name, err)
			}
		}
	}

	// These pass the check of characters: quoting must hold.
	quoted := []string{
		`x" cascade`,
		`"`,
		`""`,
		`a b.c(d)`,
		`../%s %I %L %%`,
		"line\nbreak\ttab\\",
		`public.victim`,
		`order-queue" where true or "1"="1`,
	}
	for _, name := range quoted {
		for _, statement := range named {
			// Errors are fine here (a queue that is not there, a partitioned one); changes elsewhere are not.
			_, _ = table(t, db.conn, strings.ReplaceAll(statement, ":q", quote(name)))
		}
		mustExec(t, db.conn, `select pgmq.create($1)`, name)
		mustExec(t, db.conn, `select pgmq.send($1, '{"n": 1}')`, name)
		if got := ask[string](t, db.conn, `select message::text from pgmq.read($1, 0, 1)`, name); got != `{"n": 1}` {
			t.Errorf("queue %q: read %s", name, got)
		}
		if !ask[bool](t, db.conn, `select pgmq.archive($1, 1)`, name) || !ask[bool](t, db.conn, `select pgmq.drop_queue($1)`, name) {
			t.Errorf("queue %q: it does not archive or drop", name)
		}
	}

	wantTable(t, db.conn, `select id from public.victim`, "1")
	wantTable(t, db.conn, `select relname from pg_class where relnamespace = 'public'::regnamespace and relkind = 'r' order by 1`,
		"orderflow_migrations\norders\nvictim")
	wantTable(t, db.conn, `select queue_name from pgmq.meta order by 1`, "Order-Queue\nOrder-Queue_dlq")
	wantTable(t, db.conn, `select relname from pg_class where relnamespace = 'pgmq'::regnamespace and relkind = 'r' order by 1`,
		"a_order-queue\na_order-queue_dlq\nmeta\nq_order-queue\nq_order-queue_dlq")
}

func TestQueueNamesAsPGMQCheckThem(t *testing.T) {
	t.Parallel()
	forEachFlavour(t, func(t *testing.T, install schema.Install) {
		db := newDatabase(t)
		db.installPGMQ(install)

		for _, s := range []step{
			{sql: `select pgmq.format_table_name('cat', 'q')`, want: "q_cat"},
			{sql: `select pgmq.format_table_name(queue_name => 'Cat-Dog', prefix => 'a')`, want: "a_cat-dog"},
			{sql: `select pgmq.format_table_name('dollar$fail', 'q')`, err: `queue name contains invalid characters: $, ;, --, or \'`},
			{sql: `select pgmq.format_table_name('double--hyphen', 'q')`, err: `queue name contains invalid characters`},
			{sql: `select pgmq.format_table_name('semi;colon', 'q')`, err: `queue name contains invalid characters`},
			{sql: `select pgmq.format_table_name('single''quote', 'q')`, err: `queue name contains invalid characters`},
			{sql: `select pgmq.validate_queue_name(queue_name => repeat('a', 47))`, want: ""},
			{sql: `select pgmq.validate_queue_name(repeat('a', 48))`, err: "queue name is too long, maximum length is 47 characters"},
			{sql: `select pgmq.create(repeat('a', 48))`, err: "queue name is too long, maximum length is 47 characters"},
			{sql: `select pgmq.create_partitioned(repeat('a', 48))`, err: "queue name is too long, maximum length is 47 characters"},
			{sql: `select pgmq.create(repeat('a', 47))`, want: ""},
			{sql: `select pgmq.send(repeat('a', 47), '1')`, want: "1"},
			{sql: `select pgmq.archive(repeat('a', 47), 1)`, want: "t"},
			{sql: `select total_messages from pgmq.metrics(repeat('a', 47))`, want: "1"},
			{sql: `select pgmq.drop_queue(repeat('a', 47))`, want: "t"},
			{sql: `select pgmq.create('Cased')`, want: ""},
			{sql: `select pgmq.send('cASED', '1')`, want: "1"},
			{sql: `select msg_id from pgmq.read('Cased', 0, 1)`, want: "1"},
		} {
			got, err := table(t, db.conn, s.sql)
			switch {
			case s.err != "" && (err == nil || !strings.Contains(err.Error(), s.err)):
				t.Errorf("%s: got %v, want %s", s.sql, err, s.err)
			case s.err == "" && (err != nil || got != s.want):
				t.Errorf("%s: got %s %v, want %s", s.sql, got, err, s.want)
			}
		}
	})
}

// Two names that Postgres would cut to one identifier must not meet in one table.
func TestNamesOfManyBytesAreTooLong(t *testing.T) {
	t.Parallel()
	db := newDatabase(t)
	db.installPGMQ(schema.InstallSQL)
	for _, name := range []string{strings.Repeat("ü", 24), strings.Repeat("注", 16)} {
		_, err := table(t, db.conn, `select pgmq.create('`+name+`')`)
		if err == nil || !strings.Contains(err.Error(), "queue name is too long") {
			t.Errorf("%s: %v", name, err)
		}
	}
	mustExec(t, db.conn, `select pgmq.create($1)`, strings.Repeat("ü", 23))
}

func quote(s string) string { return "'" + strings.ReplaceAll(s, "'", "''") + "'" }

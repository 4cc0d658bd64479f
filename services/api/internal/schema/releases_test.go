package schema_test

import (
	"compress/gzip"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"orderflow.example/services/api/internal/schema"
)

// definitions is all that the database has besides rows, in words that do not depend on the order in which it was made.
const definitions = `
	with ours as (select oid from pg_namespace where nspname in ('public', 'orderflow', 'pgmq'))
	select 'function ' || pg_get_functiondef(p.oid) || coalesce(' ' || array_to_string(p.proacl, ' '), '') as line
	from pg_proc p where p.pronamespace in (select oid from ours) and p.prokind = 'f'
	union all
	select 'column ' || concat_ws(' ', a.attrelid::regclass, a.attname, format_type(a.atttypid, a.atttypmod), a.attnotnull, a.attidentity,
	                              pg_get_expr(d.adbin, d.adrelid), col_description(a.attrelid, a.attnum))
	from pg_attribute a
	join pg_class c on c.oid = a.attrelid and c.relkind in ('r', 'v', 'S')
	left join pg_attrdef d on d.adrelid = a.attrelid and d.adnum = a.attnum
	where c.relnamespace in (select oid from ours) and a.attnum > 0 and not a.attisdropped
	union all
	select 'table ' || concat_ws(' ', c.oid::regclass, c.reloptions, c.relpersistence, obj_description(c.oid))
	from pg_class c where c.relkind = 'r' and c.relnamespace in (select oid from ours)
	union all
	select 'index ' || pg_get_indexdef(i.indexrelid)
	from pg_index i join pg_class c on c.oid = i.indrelid where c.relnamespace in (select oid from ours)
	union all
	select 'constraint ' || concat_ws(' ', n.conrelid::regclass, n.conname, pg_get_constraintdef(n.oid))
	from pg_constraint n where n.connamespace in (select oid from ours) and n.conrelid <> 0
	union all
	select 'trigger ' || pg_get_triggerdef(t.oid)
	from pg_trigger t join pg_class c on c.oid = t.tgrelid where c.relnamespace in (select oid from ours) and not t.tgisinternal
	order by 1`

// A database of each release that people may have becomes what a fresh one is, and keeps its orders. The dumps in testdata/releases
// were made by pg_dump after that release's api and consumer had worked on eleven orders: seven are completed, one is dead, three wait.
func TestDatabasesOfEarlierReleasesAreBroughtUp(t *testing.T) {
	t.Parallel()
	const orderQueue = "order_queue"
	fresh := newDatabase(t)
	if err := fresh.migrate(schema.Options{Queue: orderQueue, PGMQ: schema.InstallSQL}); err != nil {
		t.Fatal(err)
	}
	want := definitionsOf(t, fresh)

	dumps, err := filepath.Glob("testdata/releases/*.sql.gz")
	if err != nil || len(dumps) == 0 {
		t.Fatalf("no dumps: %v", err)
	}
	for _, dump := range dumps {
		t.Run(filepath.Base(dump), func(t *testing.T) {
			t.Parallel()
			db := newDatabase(t)
			mustExec(t, connect(t, db.cfg), unzipped(t, dump)) // on a connection of its own: a dump empties the search_path
			orders := `select id, status, attempts, effects, message_id, idempotency_key, created_at, completed_at, dead_at, processed_by from orders order by id`
			before, err := table(t, db.conn, orders)
			if err != nil {
				t.Fatal(err)
			}

			if err := db.migrate(schema.Options{Queue: orderQueue}); err != nil {
				t.Fatal(err)
			}
			if got := current(t, db); got != schema.Version {
				t.Errorf("the version is %d, this build needs %d", got, schema.Version)
			}
			wantTable(t, db.conn, orders, before)
			wantTable(t, db.conn, `select count(*) from orderflow.installation`, "1")

			got := definitionsOf(t, db)
			for line := range want {
				if !got[line] {
					t.Errorf("missing: %s", line)
				}
			}
			for line := range got {
				if !want[line] {
					t.Errorf("left over: %s", line)
				}
			}

			// The dead one goes back, by the functions of today.
			wantTable(t, db.conn, `select dead_msg_id, new_msg_id, order_id from orderflow.redrive('`+orderQueue+`', array[1])`, "1|12|6")
			wantTable(t, db.conn, `select msg_id from pgmq.read('`+orderQueue+`', 0, 9) order by 1`, "9\n10\n11\n12")
		})
	}
}

func definitionsOf(t *testing.T, db *database) map[string]bool {
	t.Helper()
	rows, err := db.conn.Query(t.Context(), definitions)
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	set := map[string]bool{}
	for rows.Next() {
		var line string
		if err := rows.Scan(&line); err != nil {
			t.Fatal(err)
		}
		set[strings.Join(strings.Fields(line), " ")] = true
	}
	if err := rows.Err(); err != nil {
		t.Fatal(err)
	}
	return set
}

func unzipped(t *testing.T, name string) string {
	t.Helper()
	file, err := os.Open(name)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	reader, err := gzip.NewReader(file)
	if err != nil {
		t.Fatal(err)
	}
	text, err := io.ReadAll(reader)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

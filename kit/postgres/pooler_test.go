package postgres_test

import (
	"context"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"orderflow.example/kit/await"
	"orderflow.example/kit/pgbouncer"
	"orderflow.example/kit/postgres"
	"orderflow.example/kit/testdb"
)

// limited is a session as the services have them.
func limited(t *testing.T, address string) *pgx.Conn {
	t.Helper()
	conn, err := connect(t, address)
	if err != nil {
		t.Fatal(err)
	}
	settings := postgres.Timeouts(30*time.Second, time.Second, time.Minute).With(postgres.Settings{"enable_seqscan": "off", "tcp_user_timeout": "6000", "unheard_of": "1"})
	if err := settings.Apply(t.Context(), conn); err != nil {
		t.Fatal(err)
	}
	return conn
}

type querier interface {
	QueryRow(ctx context.Context, sql string, args ...any) pgx.Row
}

func show(t *testing.T, db querier, setting string) (value string) {
	t.Helper()
	if err := db.QueryRow(t.Context(), `select current_setting($1)`, setting).Scan(&value); err != nil {
		t.Fatal(err)
	}
	return value
}

// Through a pooler in transaction mode a session is set in each of its transactions, and nobody else finds its settings.
func TestAPoolerInTransactionModeLeaksNothing(t *testing.T) {
	t.Parallel()
	const connections = 3
	for name, parameter := range map[string]string{"recognised": "", "told": "&pgbouncer=true"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := testdb.Pooler(t, testdb.Empty(t), pgbouncer.Transaction, connections)
			address := p.URL + parameter + "&work_mem=1MB&search_path=%22it's%20\\a%22"
			conns := []*pgx.Conn{limited(t, address), limited(t, address)}
			for round := range 4 {
				conn := conns[round%2]
				if !postgres.Transactional(conn) {
					t.Fatal("the pooler was not recognised")
				}
				want := map[string]string{
					"statement_timeout": "30s", "enable_seqscan": "off", "row_security": "off", "work_mem": "1MB", "search_path": `"it's \a"`,
				}
				for setting, value := range want {
					if got := show(t, conn, setting); got != value {
						t.Errorf("%s = %s, want %s", setting, got, value)
					}
				}
				var got string
				if err := conn.QueryRow(t.Context(), "show statement_timeout", pgx.QueryExecModeSimpleProtocol).Scan(&got); err != nil || got != "30s" {
					t.Errorf("statement_timeout = %s for a text, error %v", got, err)
				}
				tx, err := conn.Begin(t.Context())
				if err != nil {
					t.Fatal(err)
				}
				if got := show(t, tx, "statement_timeout"); got != "30s" {
					t.Errorf("statement_timeout = %s in a transaction", got)
				}
				if _, err := tx.Exec(t.Context(), `set local statement_timeout = '7s'`); err != nil {
					t.Fatal(err)
				}
				if got := show(t, tx, "statement_timeout"); got != "7s" {
					t.Errorf("statement_timeout = %s after it was changed in the transaction", got)
				}
				if err := tx.Commit(t.Context()); err != nil {
					t.Fatal(err)
				}
				if found := testdb.Inherited(t, p.URL, connections); len(found) > 0 {
					t.Errorf("another client finds %s", strings.Join(found, ", "))
				}
			}
		})
	}
}

// What pgx does with a connection works as it does without the pooler, while others take its connections away between transactions.
func TestEverythingWorksThroughAPoolerInTransactionMode(t *testing.T) {
	t.Parallel()
	p := testdb.Pooler(t, testdb.Empty(t), pgbouncer.Transaction, 2)
	ctx := t.Context()
	a, b := limited(t, p.URL), limited(t, p.URL)
	if _, err := a.Exec(ctx, `create table t (n integer primary key, s text)`); err != nil {
		t.Fatal(err)
	}
	for _, conn := range []*pgx.Conn{a, b} { // the same name for each
		if _, err := conn.Prepare(ctx, "insert", `insert into t values ($1, $2) returning n::bigint`); err != nil {
			t.Fatal(err)
		}
	}
	want := func(conn *pgx.Conn, n int) {
		t.Helper()
		var count int
		if err := conn.QueryRow(ctx, `select count(*) from t`).Scan(&count); err != nil || count != n {
			t.Fatalf("%d rows (%v), want %d", count, err, n)
		}
	}
	for i := range 10 {
		conn := []*pgx.Conn{a, b}[i%2]
		var n int64
		if err := conn.QueryRow(ctx, "insert", i, strings.Repeat("x", 100_000)).Scan(&n); err != nil || n != int64(i) {
			t.Fatal(n, err)
		}
		var failed *pgconn.PgError
		if err := conn.QueryRow(ctx, "insert", i, "twice").Scan(&n); !asPg(err, &failed) || failed.Code != "23505" {
			t.Fatal(err)
		}
	}
	want(b, 10)

	// A transaction may say how it is isolated, and has the settings all the same.
	for range 2 {
		tx, err := a.BeginTx(ctx, pgx.TxOptions{IsoLevel: pgx.RepeatableRead, AccessMode: pgx.ReadOnly})
		if err != nil {
			t.Fatal(err)
		}
		var isolation, timeout string
		if err := tx.QueryRow(ctx, `select current_setting('transaction_isolation'), current_setting('statement_timeout')`).Scan(&isolation, &timeout); err != nil {
			t.Fatal(err)
		}
		if isolation != "repeatable read" || timeout == "0" {
			t.Errorf("the isolation is %s, the timeout %s", isolation, timeout)
		}
		if err := tx.Rollback(ctx); err != nil {
			t.Fatal(err)
		}
	}
	want(a, 10)

	// A batch is one transaction, with or without saying so, and ends as a whole.
	var batch pgx.Batch
	batch.Queue("insert", 20, "")
	batch.Queue(`insert into t values (1, '')`)
	if err := a.SendBatch(ctx, &batch).Close(); err == nil || a.IsClosed() {
		t.Fatal("the batch should have failed", err)
	}
	want(a, 10)
	for range 3 { // described, and from memory
		batch = pgx.Batch{}
		batch.Queue("begin")
		batch.Queue("insert", 21, "")
		var timeout string
		batch.Queue(`select current_setting('statement_timeout')`).QueryRow(func(row pgx.Row) error { return row.Scan(&timeout) })
		if err := b.SendBatch(ctx, &batch).Close(); err != nil || timeout != "30s" {
			t.Fatal(timeout, err)
		}
		if _, err := b.Exec(ctx, "rollback"); err != nil {
			t.Fatal(err)
		}
	}
	want(b, 10)
	if _, err := a.Exec(ctx, `create function boom() returns integer language plpgsql as 'begin raise exception $$boom$$; end'; insert into t values (30, ''); select boom()`); err == nil {
		t.Fatal("the function should have failed")
	}
	want(a, 10)
	rows, err := a.Query(ctx, `select n, repeat('y', 10000) from t, generate_series(1, 1000) order by n`)
	if err != nil {
		t.Fatal(err)
	}
	long, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (s string, err error) {
		var n int
		return s, row.Scan(&n, &s)
	})
	if err != nil || len(long) != 10_000 || slices.ContainsFunc(long, func(s string) bool { return len(s) != 10_000 }) {
		t.Fatal(len(long), err)
	}
	if n, err := b.CopyFrom(ctx, pgx.Identifier{"t"}, []string{"n", "s"}, pgx.CopyFromSlice(1000, func(i int) ([]any, error) { return []any{100 + i, fmt.Sprint(i)}, nil })); err != nil || n != 1000 {
		t.Fatal(n, err)
	}
	want(a, 1010)
	if err := a.Ping(ctx); err != nil {
		t.Fatal(err)
	}
	if err := a.Deallocate(ctx, "insert"); err != nil {
		t.Fatal(err)
	}
	want(a, 1010)
}

func asPg(err error, target **pgconn.PgError) bool {
	e, ok := err.(*pgconn.PgError) //nolint:errorlint // pgx returns it as it is
	*target = e
	return ok
}

// In session mode, and without a pooler, a session is a session.
func TestASessionStaysOneWhereItCan(t *testing.T) {
	t.Parallel()
	db := testdb.Empty(t)
	p := testdb.Pooler(t, db, pgbouncer.Session, 20)
	for name, address := range map[string]string{"direct": db, "session mode": p.URL, "told": p.URL + "&pgbouncer=false"} {
		conn := limited(t, address)
		if postgres.Transactional(conn) || show(t, conn, "statement_timeout") != "30s" || show(t, conn, "row_security") != "off" {
			t.Errorf("%s: transactional %t", name, postgres.Transactional(conn))
		}
		if _, err := conn.Exec(t.Context(), "listen something"); err != nil {
			t.Error(err)
		}
	}
}

// A pooler that is set up anew is looked at again: settings of a session would be found by others from then on.
func TestAPoolerThatChangesItsModeIsNoticed(t *testing.T) {
	t.Parallel()
	db := testdb.Empty(t)
	before, after := testdb.Pooler(t, db, pgbouncer.Session, 20), testdb.Pooler(t, db, pgbouncer.Transaction, 3)
	proxy := testdb.Proxy(t, before.URL)
	address := testdb.Address(t, proxy.URL)
	if conn, _ := connectTo(t, address.Config("test", 30*time.Second)); postgres.Transactional(conn) {
		t.Fatal("a session is taken for none")
	}
	to, err := url.Parse(after.URL)
	if err != nil {
		t.Fatal(err)
	}
	proxy.Lead(to.Host)
	if conn, _ := connectTo(t, address.Config("test", 30*time.Second)); !postgres.Transactional(conn) {
		t.Error("what was found out about another pooler is taken for true")
	}
}

// What another client has left on the connection that a transaction happens to have is not what is set for us.
func TestASettingIsNotAnotherClients(t *testing.T) {
	t.Parallel()
	p := testdb.Pooler(t, testdb.Empty(t), pgbouncer.Transaction, 1)
	conn, err := connect(t, p.URL+"&pgbouncer=true&work_mem=1MB") // there is no second one to compare it with
	if err != nil {
		t.Fatal(err)
	}
	if _, err := testdb.Connect(t, p.URL+"&default_query_exec_mode=exec").Exec(t.Context(), "set search_path = elsewhere"); err != nil {
		t.Fatal(err)
	}
	if left := show(t, conn, "search_path"); left != "elsewhere" {
		t.Fatalf("the other client's search_path is not there, but %s", left)
	}
	for name, want := range map[string]string{"search_path": `"$user", public`, "work_mem": "1MB"} {
		if got, err := postgres.Setting(t.Context(), conn, name); err != nil || got != want {
			t.Errorf("%s is %s, want %s, %v", name, got, want, err)
		}
	}
}

// Behind a pooler, too, it is known which server takes writes: only so can it be noticed that it is another one than before.
func TestTheServerBehindAPoolerIsKnown(t *testing.T) {
	t.Parallel()
	db := testdb.Empty(t)
	for name, mode := range map[string]pgbouncer.Mode{"transaction": pgbouncer.Transaction, "session": pgbouncer.Session} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			address := testdb.Address(t, testdb.Pooler(t, db, mode, 3).URL)
			for range 3 { // with others that take connections away from it
				conn, host := connectTo(t, address.Config("test", 30*time.Second))
				if transactional := mode == pgbouncer.Transaction; postgres.Transactional(conn) != transactional {
					t.Fatalf("transactional: %t", !transactional)
				}
				// What ends with the attempt to connect ends a moment later.
				await.True(t, "the attempts to be judged", func() bool { return address.Route().Open() == 0 })
				if at, known := address.Route().Current(); !known || at.Address != host || at.System == "" || !address.Route().Leads(conn.PgConn()) {
					t.Errorf("it leads to %+v, connections to %s", at, host)
				}
				if mode == pgbouncer.Session { // each has one for itself, and the comparison takes another
					_ = conn.Close(t.Context())
				}
			}
		})
	}
}

func TestAPoolerInStatementModeIsRefused(t *testing.T) {
	t.Parallel()
	p := testdb.Pooler(t, testdb.Empty(t), pgbouncer.Statement, 2)
	_, err := connect(t, p.URL)
	if err == nil || !strings.Contains(err.Error(), "set pool_mode to transaction or session") {
		t.Error(err)
	}
	if why := postgres.Refusal(err); !strings.Contains(why, "statement mode") {
		t.Errorf("%q", why)
	}
}

// The isolation of a transaction cannot be set with the other settings.
func TestAnIsolationThatCannotBeSetIsSaid(t *testing.T) {
	t.Parallel()
	db := testdb.Empty(t)
	if _, err := testdb.Connect(t, db).Exec(t.Context(), `do $$ begin execute format('alter database %I set default_transaction_isolation = serializable', current_database()); end $$`); err != nil {
		t.Fatal(err)
	}
	p := testdb.Pooler(t, db, pgbouncer.Transaction, 2)
	conn := limited(t, p.URL)
	err := postgres.Settings{"default_transaction_isolation": "read committed"}.Apply(t.Context(), conn)
	if err == nil || !strings.Contains(err.Error(), "alter role") {
		t.Error(err)
	}
}

// A server that is away behind a pooler is an outage, whatever the pooler calls it; what the pooler does not know is none.
func TestAServerThatIsAwayBehindAPoolerIsAnOutage(t *testing.T) {
	t.Parallel()
	p := testdb.Pooler(t, "postgres://postgres:x@127.0.0.1:1/away?sslmode=disable", pgbouncer.Transaction, 2)
	for what, test := range map[string]struct{ address, refusal string }{
		"away":    {p.URL + "&connect_timeout=2", ""},
		"unknown": {strings.Replace(p.URL, "/away", "/other", 1) + "&connect_timeout=30", "connection pooler refuses the connection"},
	} {
		_, err := connect(t, test.address)
		if err == nil {
			t.Fatal("connected to nothing")
		}
		if why := postgres.Refusal(err); why != test.refusal {
			t.Errorf("%s: %q, want %q, of %v", what, why, test.refusal, err)
		}
	}
}

package pgproxy_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"go.uber.org/goleak"

	"orderflow.example/kit/await"
	"orderflow.example/kit/pgproxy"
	"orderflow.example/kit/testdb"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func start(t *testing.T) *pgproxy.Proxy {
	t.Helper()
	t.Parallel()
	return testdb.Proxy(t, testdb.Empty(t))
}

func connect(t *testing.T, p *pgproxy.Proxy) *pgx.Conn {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), p.URL)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close(context.Background()) })
	return conn
}

// sequence makes a sequence whose value tells whether a statement has run.
func sequence(t *testing.T, p *pgproxy.Proxy) (conn *pgx.Conn, value func() int64) {
	t.Helper()
	looking := connect(t, p)
	if _, err := looking.Exec(t.Context(), "create sequence proxied"); err != nil {
		t.Fatal(err)
	}
	conn = connect(t, p)
	if _, err := conn.Prepare(t.Context(), "next", "select nextval('proxied')"); err != nil {
		t.Fatal(err)
	}
	return conn, func() (n int64) {
		if err := looking.QueryRow(context.Background(), "/* look */ select last_value - (not is_called)::integer from proxied").Scan(&n); err != nil {
			t.Error(err)
		}
		return n
	}
}

func TestEachFaultHappensAtItsMoment(t *testing.T) {
	for name, test := range map[string]struct {
		fault pgproxy.Fault
		ran   int64
		rows  int
	}{
		"Unsent": {pgproxy.Unsent, 0, 0}, "Unanswered": {pgproxy.Unanswered, 1, 0}, "Unfinished": {pgproxy.Unfinished, 1, 1},
		"Panicked": {pgproxy.Panicked, 1, 1},
	} {
		t.Run(name, func(t *testing.T) {
			p := start(t)
			conn, value := sequence(t, p)
			before := false
			sprung := p.Trap("select nextval", test.fault, func() { before = true })
			rows, err := conn.Query(t.Context(), "next")
			if err != nil {
				t.Fatal(err) // it is found out with the rows
			}
			got := 0
			for rows.Next() {
				got++
			}
			if rows.Err() == nil {
				t.Error("nothing has happened")
			}
			<-sprung
			if !before || got != test.rows || value() != test.ran || p.Sprung() != 1 {
				t.Errorf("called before: %v, %d rows, run %d times, sprung %d times", before, got, value(), p.Sprung())
			}
		})
	}
}

// However a client sends its statement, what the trap catches is rolled back or committed, and the next connection works.
func TestTheFaultDecidesWhatIsCommitted(t *testing.T) {
	t.Parallel()
	for fault, want := range map[pgproxy.Fault]int{pgproxy.Unsent: 0, pgproxy.Uncommitted: 0, pgproxy.Unanswered: 1, pgproxy.Panicked: 1} {
		for _, mode := range []pgx.QueryExecMode{pgx.QueryExecModeCacheStatement, pgx.QueryExecModeExec, pgx.QueryExecModeSimpleProtocol} {
			t.Run(fmt.Sprint(fault, " ", mode), func(t *testing.T) {
				p := start(t)
				conn := connect(t, p)
				if _, err := conn.Exec(t.Context(), "create table t (n int)"); err != nil {
					t.Fatal(err)
				}
				sprung := p.TrapFunc(func(sql string) bool { return strings.Contains(sql, "into t") }, fault)
				if _, err := conn.Exec(t.Context(), "select 1"); err != nil {
					t.Fatalf("another statement: %v", err)
				}
				if _, err := conn.Exec(t.Context(), "insert into t values ($1)", mode, 1); err == nil {
					t.Error("the client has not noticed")
				}
				await.Value(t, "the fault has happened", sprung)
				again := connect(t, p)
				var n int
				if err := again.QueryRow(t.Context(), "select count(*) from t").Scan(&n); err != nil || n != want || p.Sprung() != 1 {
					t.Errorf("%d rows after %d traps, want %d after 1 (%v)", n, p.Sprung(), want, err)
				}
				p.Trap("insert", fault)
				p.Disarm()
				if _, err := again.Exec(t.Context(), "insert into t values ($1)", 2); err != nil {
					t.Errorf("a trap that was taken back: %v", err)
				}
			})
		}
	}
}

func TestLongAnswersPass(t *testing.T) {
	var long string
	if err := connect(t, start(t)).QueryRow(t.Context(), "select repeat('x', 1000000)").Scan(&long); err != nil || len(long) != 1_000_000 {
		t.Errorf("%d bytes, %v", len(long), err)
	}
}

func TestAHeldReplyComesWithItsRelease(t *testing.T) {
	p := start(t)
	conn, value := sequence(t, p)
	sprung := p.Trap("select nextval", pgproxy.Held)
	done := make(chan error, 1)
	go func() {
		_, err := conn.Exec(context.Background(), "next")
		done <- err
	}()
	<-sprung
	if value() != 1 {
		t.Error("the statement has not run")
	}
	select {
	case err := <-done:
		t.Errorf("the reply was not held: %v", err)
	default:
	}
	p.Release()
	if err := <-done; err != nil {
		t.Error(err)
	}
}

func TestRefusedFrozenAndSilent(t *testing.T) {
	p := start(t)
	conn := connect(t, p)
	p.Refuse()
	if _, err := conn.Exec(t.Context(), "select 1"); err == nil {
		t.Error("a connection outlived the refusal")
	}
	if _, err := pgx.Connect(t.Context(), p.URL); err == nil {
		t.Error("a new connection was not refused")
	}
	p.Accept()
	conn = connect(t, p)
	p.Freeze()
	frozen, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, err := conn.Exec(frozen, "select 1"); err == nil {
		t.Error("something passed through the frost")
	}
	p.Thaw()
	conn = connect(t, p)
	before := p.Requests()
	p.Silence()
	silent, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, err := conn.Exec(silent, "select 1"); err == nil {
		t.Error("a silent connection answers")
	}
	if _, err := connect(t, p).Exec(t.Context(), "select 1"); err != nil || p.Requests() == before {
		t.Errorf("a new connection does not work: %v", err)
	}
}

func TestADelayIsPartOfEveryRoundTrip(t *testing.T) {
	p := start(t)
	p.Delay(20 * time.Millisecond)
	begin := time.Now()
	conn := connect(t, p)
	if _, err := conn.Exec(t.Context(), "select 1"); err != nil {
		t.Fatal(err)
	}
	if took := time.Since(begin); took < 60*time.Millisecond { // to connect, to be let in, the statement
		t.Errorf("it took %s", took)
	}
}

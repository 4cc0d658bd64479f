package pgproxy_test

import (
	"context"
	"os"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"go.uber.org/goleak"

	"orderflow.example/kit/pgproxy"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func start(t *testing.T) *pgproxy.Proxy {
	t.Helper()
	t.Parallel()
	server := os.Getenv("TEST_DATABASE_URL")
	if server == "" {
		t.Fatal("no Postgres to test on: run `make test`, or set TEST_DATABASE_URL (superuser)")
	}
	p, err := pgproxy.New(server)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Close)
	return p
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
	name := "proxied_" + time.Now().UTC().Format("150405_000000000") + "_" + t.Name()[len(t.Name())-4:]
	quoted := pgx.Identifier{name}.Sanitize()
	if _, err := looking.Exec(t.Context(), "create sequence "+quoted); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if _, err := looking.Exec(context.Background(), "drop sequence "+quoted); err != nil {
			t.Error(err)
		}
	})
	conn = connect(t, p)
	if _, err := conn.Prepare(t.Context(), "next", "select nextval('"+quoted+"')"); err != nil {
		t.Fatal(err)
	}
	return conn, func() (n int64) {
		if err := looking.QueryRow(context.Background(), "/* look */ select last_value - (not is_called)::integer from "+quoted).Scan(&n); err != nil {
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
			if !before || got != test.rows || value() != test.ran {
				t.Errorf("called before: %v, %d rows, run %d times", before, got, value())
			}
		})
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

package tcpproxy_test

import (
	"context"
	"net"
	"net/url"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"go.uber.org/goleak"

	"orderflow.example/dev/internal/tcpproxy"
	"orderflow.example/dev/internal/testdb"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

type bundle struct {
	proxy   *tcpproxy.Proxy
	direct  string
	proxied string
}

func setup(t *testing.T) bundle {
	t.Helper()
	direct := testdb.New(t, false)
	u, err := url.Parse(direct)
	if err != nil {
		t.Fatal(err)
	}
	proxy, err := tcpproxy.New(u.Host)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := proxy.Close(); err != nil {
			t.Error(err)
		}
	})
	u.Host = net.JoinHostPort("127.0.0.1", strconv.Itoa(proxy.Port()))
	conn := connect(t, direct)
	if _, err := conn.Exec(t.Context(), "create table t (n int)"); err != nil {
		t.Fatal(err)
	}
	return bundle{proxy, direct, u.String()}
}

func connect(t *testing.T, databaseURL string) *pgx.Conn {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	conn, err := pgx.Connect(ctx, databaseURL)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close(context.Background()) })
	return conn
}

func count(t *testing.T, b bundle) (n int) {
	t.Helper()
	if err := connect(t, b.direct).QueryRow(t.Context(), "select count(*) from t").Scan(&n); err != nil {
		t.Fatal(err)
	}
	return n
}

func inserts(sql string) bool { return strings.HasPrefix(sql, "insert") }

func TestItPassesEverythingOn(t *testing.T) {
	t.Parallel()
	b := setup(t)
	conn := connect(t, b.proxied)
	for i := range 20 {
		if _, err := conn.Exec(t.Context(), "insert into t values ($1)", i); err != nil {
			t.Fatal(err)
		}
	}
	var long string
	if err := conn.QueryRow(t.Context(), "select repeat('x', 1000000)").Scan(&long); err != nil || len(long) != 1_000_000 {
		t.Errorf("a long answer: %d bytes, %v", len(long), err)
	}
	if n := count(t, b); n != 20 {
		t.Errorf("%d rows, want 20", n)
	}
}

func TestATrapInMidTransactionLeavesNothing(t *testing.T) {
	t.Parallel()
	for _, mode := range []pgx.QueryExecMode{pgx.QueryExecModeCacheStatement, pgx.QueryExecModeExec, pgx.QueryExecModeSimpleProtocol} {
		t.Run(mode.String(), func(t *testing.T) {
			t.Parallel()
			b := setup(t)
			conn := connect(t, b.proxied)
			b.proxy.Arm(&tcpproxy.Trap{Match: inserts, When: tcpproxy.MidTransaction})
			if _, err := conn.Exec(t.Context(), "insert into t values ($1)", mode, 1); err == nil {
				t.Error("the client has not noticed")
			}
			if n := count(t, b); n != 0 || b.proxy.Sprung() != 1 {
				t.Errorf("%d rows after %d traps, want none after 1", n, b.proxy.Sprung())
			}
		})
	}
}

func TestATrapForTheReplyComesAfterTheCommit(t *testing.T) {
	t.Parallel()
	b := setup(t)
	conn := connect(t, b.proxied)
	b.proxy.Arm(&tcpproxy.Trap{Match: inserts, When: tcpproxy.ReplyLost})
	if _, err := conn.Exec(t.Context(), "select 1"); err != nil {
		t.Fatalf("another statement: %v", err)
	}
	if _, err := conn.Exec(t.Context(), "insert into t values ($1)", 1); err == nil {
		t.Error("the client has got the reply")
	}
	if n := count(t, b); n != 1 || b.proxy.Sprung() != 1 {
		t.Errorf("%d rows after %d traps, want 1 after 1", n, b.proxy.Sprung())
	}
	again := connect(t, b.proxied)
	if _, err := again.Exec(t.Context(), "insert into t values ($1)", 2); err != nil {
		t.Errorf("the next connection: %v", err)
	}
}

func TestCutEndsEveryConnectionAndRefuseTheNext(t *testing.T) {
	t.Parallel()
	b := setup(t)
	conn := connect(t, b.proxied)
	if n := b.proxy.Cut(); n != 1 {
		t.Errorf("cut %d connections, want 1", n)
	}
	if _, err := conn.Exec(t.Context(), "select 1"); err == nil {
		t.Error("a cut connection works")
	}
	b.proxy.Refuse(true)
	if conn, err := pgx.Connect(t.Context(), b.proxied); err == nil {
		_ = conn.Close(t.Context())
		t.Error("a refused connection works")
	}
	b.proxy.Refuse(false)
	connect(t, b.proxied)
}

func TestHoldIsSilence(t *testing.T) {
	t.Parallel()
	b := setup(t)
	conn := connect(t, b.proxied)
	b.proxy.Hold(true)
	answered := make(chan error, 1)
	go func() {
		_, err := conn.Exec(t.Context(), "insert into t values (1)")
		answered <- err
	}()
	select {
	case err := <-answered:
		t.Fatalf("an answer through silence: %v", err)
	case <-time.After(100 * time.Millisecond):
	}
	if n := count(t, b); n != 0 {
		t.Errorf("%d rows came through", n)
	}
	b.proxy.Hold(false)
	if err := <-answered; err != nil {
		t.Error(err)
	}
}

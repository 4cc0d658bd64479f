package pg_test

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"net/url"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"go.uber.org/goleak"

	"orderflow.example/kit/await"
	"orderflow.example/kit/testdb"
	"orderflow.example/services/consumer/internal/dbtest"
	"orderflow.example/services/consumer/internal/pg"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

type bundle struct {
	*dbtest.DB
	t         *testing.T
	link      *pg.Link
	connected chan bool
}

func setup(t *testing.T, prepare ...string) *bundle {
	t.Helper()
	t.Parallel()
	b := &bundle{DB: dbtest.New(t), t: t, connected: make(chan bool, 100)}
	for _, statement := range prepare {
		b.Exec(statement)
	}
	server := pg.NewServer(b.Address(), strings.Repeat("long-name-", 20), slog.New(slog.DiscardHandler), pg.Observer{
		Connected: func(_ string, again bool) { b.connected <- again },
	})
	b.link = server.NewLink("test", nil)
	t.Cleanup(b.link.Close)
	return b
}

// ask returns one value as text.
func (b *bundle) ask(question string) (answer string, err error) {
	err = b.link.Do(b.t.Context(), func(ctx context.Context, conn *pgx.Conn) error {
		return conn.QueryRow(ctx, question).Scan(&answer)
	})
	return answer, err
}

func (b *bundle) want(question, want string) {
	b.t.Helper()
	if got, err := b.ask(question); err != nil || got != want {
		b.t.Errorf("%s: %q (%v), want %q", question, got, err, want)
	}
}

func TestASilentAddressHidesNoOther(t *testing.T) {
	t.Parallel()
	db := dbtest.New(t)
	silent, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close() // it accepts in the kernel's backlog, and never says a word
	address, err := url.Parse(db.URL)
	if err != nil {
		t.Fatal(err)
	}
	address.Host = silent.Addr().String() + "," + address.Host
	address.RawQuery = "sslmode=disable&connect_timeout=1"
	// The other one, too, has one second, which a busy machine may exceed: then it is tried anew.
	await.True(t, "the other one is found", func() bool {
		link := pg.NewServer(testdb.Address(t, address.String()), "test", slog.New(slog.DiscardHandler), pg.Observer{}).NewLink("test", nil)
		defer link.Close()
		return link.Do(t.Context(), func(ctx context.Context, conn *pgx.Conn) error { return conn.Ping(ctx) }) == nil
	})
}

func TestSessionsAreSetUpAndARolesStricterLimitsStay(t *testing.T) {
	b := setup(t, `do $$ begin execute format('alter database %I set statement_timeout = ''2s''', current_database());
		execute format('alter database %I set lock_timeout = ''1h''', current_database());
		execute format('alter database %I set default_transaction_isolation = ''serializable''', current_database()); end $$`)
	b.want(`show statement_timeout`, "2s")
	b.want(`show lock_timeout`, "500ms")
	b.want(`show idle_in_transaction_session_timeout`, "3s")
	b.want(`show transaction_isolation`, "read committed")
	b.want(`show enable_seqscan`, "off")
	b.want(`show jit`, "off")
	b.want(`show plan_cache_mode`, "force_generic_plan")
	b.want(`show timezone`, "UTC")
	b.want(`select starts_with(application_name, 'orderflow-consumer long-name-')::text from pg_stat_activity where pid = pg_backend_pid()`, "true")
}

func TestALostConnectionIsMadeAgainWithTheNextCall(t *testing.T) {
	b := setup(t)
	pid, err := b.ask(`select pg_backend_pid()::text`)
	if err != nil || <-b.connected {
		t.Fatal("not the first connection", err)
	}
	b.Exec(`select pg_terminate_backend($1::integer)`, pid)
	if _, err := b.ask(`select pg_backend_pid()::text`); err == nil {
		t.Fatal("a statement was repeated, which is not for the link to decide")
	}
	if again, err := b.ask(`select pg_backend_pid()::text`); err != nil || again == pid || !<-b.connected {
		t.Fatalf("%s after %s: %v", again, pid, err)
	}
}

// A link that is closed after each use has lost nothing.
func TestAConnectionThatWasClosedIsNotMadeAgain(t *testing.T) {
	b := setup(t)
	for range 2 {
		if _, err := b.ask(`select 1`); err != nil || <-b.connected {
			t.Fatalf("a connection was made again after a loss (%v)", err)
		}
		b.link.Close()
	}
}

func TestAServerThatOnlyReadsIsLeft(t *testing.T) {
	b := setup(t)
	pid, err := b.ask(`select pg_backend_pid()::text`)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := b.ask(`select set_config('transaction_read_only', 'on', false)`); err != nil {
		t.Fatal(err)
	}
	if _, err := b.ask(`select set_config('default_transaction_read_only', 'on', false)`); err != nil {
		t.Fatal(err)
	}
	if _, err := b.ask(`insert into public.orders (customer_name, product_name, quantity, price) values ('a', 'b', 1, 1) returning id::text`); err == nil {
		t.Fatal("it wrote")
	}
	if again, err := b.ask(`select pg_backend_pid()::text`); err != nil || again == pid {
		t.Fatalf("still on connection %s (%v): the primary may be elsewhere by now", again, err)
	}
}

// One link has found that another server takes writes. The others, whose connections still work, follow.
func TestALinkFollowsToTheServerThatAnotherHasFound(t *testing.T) {
	t.Parallel()
	db := dbtest.New(t)
	first, second := db.Proxy(), db.Proxy()
	address := testdb.Address(t, strings.Replace(first.URL, first.Host(), first.Host()+","+second.Host(), 1))
	link := pg.NewServer(address, "test", slog.New(slog.DiscardHandler), pg.Observer{}).NewLink("test", nil)
	defer link.Close()
	leads := func() (to string, conn *pgx.Conn) {
		t.Helper()
		if err := link.Do(t.Context(), func(ctx context.Context, c *pgx.Conn) error {
			to, conn = c.PgConn().Conn().RemoteAddr().String(), c
			return c.Ping(ctx)
		}); err != nil {
			t.Fatal(err)
		}
		return to, conn
	}
	before, conn := leads()
	await.True(t, "another connection leads to the other server", func() bool {
		address.Route().Distrust(conn.PgConn()) // for a few seconds, in which a busy machine may not get there
		other, err := pgx.ConnectConfig(t.Context(), address.Config("other", pg.ConnectTimeout))
		if err != nil {
			t.Fatal(err)
		}
		defer other.Close(t.Context())
		return other.PgConn().Conn().RemoteAddr().String() != before
	})
	if to, _ := leads(); to == before {
		t.Errorf("it leads to %s, where others have left", to)
	}
}

func TestAnOrdinaryErrorKeepsTheConnection(t *testing.T) {
	b := setup(t)
	pid, _ := b.ask(`select pg_backend_pid()::text`)
	if _, err := b.ask(`select 1/0`); err == nil {
		t.Fatal("no error")
	}
	b.want(`select pg_backend_pid()::text`, pid)
}

// Something in between, such as a proxy, may answer without a SQLSTATE.
func TestAnErrorWithoutACodeKeepsTheConnection(t *testing.T) {
	b := setup(t)
	pid, _ := b.ask(`select pg_backend_pid()::text`)
	refused := &pgconn.PgError{}
	if err := b.link.Do(t.Context(), func(context.Context, *pgx.Conn) error { return refused }); !errors.Is(err, refused) {
		t.Fatal(err)
	}
	b.want(`select pg_backend_pid()::text`, pid)
}

func TestAStatementHasADeadlineThatGrowsWhenItIsHitAndShrinksAgain(t *testing.T) {
	b := setup(t)
	pid, err := b.ask(`select pg_backend_pid()::text`)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := b.ask(`select pg_sleep(60)::text`); !errors.Is(err, pg.ErrNoAnswer) {
		t.Fatalf("it took as long as it liked: %v", err)
	}
	if again, err := b.ask(`select pg_sleep(3.5)::text || pg_backend_pid()`); err != nil || again == pid {
		t.Fatalf("the next one has more time: %v", err)
	}
	await.True(t, "the server has given up too", func() bool {
		return dbtest.One[int](b.DB, `select count(*) from pg_stat_activity where pid = $1::integer`, pid) == 0
	})
	for range 10 { // a busy machine may be slow with some of them
		b.want(`select 'quick'`, "quick")
	}
	if _, err := b.ask(`select pg_sleep(4)::text`); !errors.Is(err, pg.ErrNoAnswer) {
		t.Fatalf("what was slow is quick again, and has as much time as before: %v", err)
	}
}

// A call that is broken off between two statements of a transaction leaves no connection behind that is in the middle of it, with all its locks.
func TestACallThatIsBrokenOffLeavesNoTransaction(t *testing.T) {
	b := setup(t)
	var pid string
	ctx, breakOff := context.WithCancel(t.Context())
	err := b.link.Do(ctx, func(ctx context.Context, conn *pgx.Conn) error {
		if err := conn.QueryRow(ctx, `select pg_backend_pid()::text`).Scan(&pid); err != nil {
			return err
		}
		if _, err := conn.Exec(ctx, `begin`); err != nil {
			return err
		}
		breakOff()
		_, err := conn.Exec(ctx, `lock table public.orders`)
		return err
	})
	if !errors.Is(err, context.Canceled) || errors.Is(err, pg.ErrNoAnswer) {
		t.Fatal(err)
	}
	if again, err := b.ask(`select pg_backend_pid()::text`); err != nil || again == pid {
		t.Fatalf("it goes on with connection %s: %v", again, err)
	}
}

// A user's function may have its session listen. What comes is not kept where nobody waits for it.
func TestWhatNobodyWaitsForIsNotKept(t *testing.T) {
	b := setup(t)
	if err := b.link.Do(t.Context(), func(ctx context.Context, conn *pgx.Conn) error {
		for _, statement := range []string{`listen anything`, `notify anything`, `select`} {
			if _, err := conn.Exec(ctx, statement); err != nil {
				return err
			}
		}
		over, end := context.WithCancel(ctx)
		end()
		if note, err := conn.WaitForNotification(over); err == nil { // what is kept comes at once
			t.Errorf("%+v is kept", note)
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
}

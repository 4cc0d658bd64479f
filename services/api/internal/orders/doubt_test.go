package orders_test

import (
	"errors"
	"log/slog"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"orderflow.example/kit/await"
	"orderflow.example/kit/pgproxy"
	"orderflow.example/kit/testdb"
	"orderflow.example/services/api/internal/durability"
	"orderflow.example/services/api/internal/orders"
	"orderflow.example/services/api/internal/schema"
)

// An order that may have been written is never said not to have been, whatever keeps the writer from finding out.
func TestAnOrderInDoubtIsNotSaidToBeUnwritten(t *testing.T) {
	t.Parallel()
	t.Run("the database is away afterwards", func(t *testing.T) {
		t.Parallel()
		url := testdb.New(t)
		proxy := testdb.Proxy(t, url)
		b := newWriterOn(t, proxy.URL, url, nil)
		b.mustWrite(t, one(order(0), ""))
		proxy.Trap(publishes, pgproxy.Unanswered, proxy.Refuse)
		if _, err := b.Write(one(order(1), "k")); !errors.Is(err, orders.ErrUnknownOutcome) {
			t.Errorf("got %v", err)
		}
		proxy.Accept()
		b.check(t, 2)
	})
	t.Run("its time is up while the writer connects", func(t *testing.T) {
		t.Parallel()
		url := testdb.New(t)
		proxy := testdb.Proxy(t, url)
		b := newWriterOn(t, proxy.URL, url, func(c *orders.WriterConfig) {
			c.Timeout, c.Database.ConnectTimeout = await.Limit()/6, await.Limit()
		})
		await.True(t, "the writer to be connected", func() bool { _, err := b.Write(one(order(0), "0")); return err == nil })
		proxy.Trap(publishes, pgproxy.Unanswered, proxy.Freeze)
		if _, err := b.Write(one(order(1), "k")); !errors.Is(err, orders.ErrUnknownOutcome) {
			t.Errorf("got %v", err)
		}
		proxy.Thaw()
		b.check(t, 2)
	})
}

// Who has the key of an order in doubt is in doubt with it: whichever of the two is told, an order may stand under that key.
func TestFollowersOfAnOrderInDoubtAreInDoubt(t *testing.T) {
	t.Parallel()
	url := testdb.New(t)
	proxy := testdb.Proxy(t, url)
	b := newWriterOn(t, proxy.URL, url, nil)
	release := b.hold(t)
	var wg sync.WaitGroup
	wg.Go(func() { b.mustWrite(t, one(order(0), "")) })
	await.True(t, "the first transaction", func() bool { return b.waiting(t) == 1 })
	for range 3 {
		wg.Go(func() {
			if _, err := b.Write(one(order(1), "k")); !errors.Is(err, orders.ErrUnknownOutcome) {
				t.Errorf("got %v", err)
			}
		})
	}
	await.True(t, "all to gather", func() bool { return b.Queued() == 3 })
	proxy.Trap(publishes, pgproxy.Unanswered, proxy.Refuse)
	release()
	wg.Wait()
	proxy.Accept()
	b.check(t, 2)
}

// settingIn is the value of a setting in the writer's own session.
func (b *bench) settingIn(t *testing.T, name string) (value string) {
	t.Helper()
	if _, err := b.db.Exec(t.Context(), `
		create table seen (value text);
		create function see() returns trigger language plpgsql as $$
		begin
			insert into seen select setting from pg_settings where name = '`+name+`';
			return null;
		end $$;
		create trigger see after insert on orders for each statement execute function see()`, pgx.QueryExecModeSimpleProtocol); err != nil {
		t.Fatal(err)
	}
	b.mustWrite(t, one(order(0), ""))
	if err := b.db.QueryRow(t.Context(), `select value from seen`).Scan(&value); err != nil {
		t.Fatal(err)
	}
	return value
}

// The server gives up before the client does. So it is certain that a statement that took too long has written nothing.
func TestTheServerGivesUpFirst(t *testing.T) {
	t.Parallel()
	const timeout = 10 * time.Second
	b := newWriter(t, func(c *orders.WriterConfig) { c.Timeout = timeout })
	value := b.settingIn(t, "statement_timeout")
	if ms, err := strconv.Atoi(value); err != nil || ms <= 0 || ms >= int(timeout.Milliseconds()) {
		t.Errorf("the statement timeout is %s ms, the client's %v", value, timeout)
	}
}

// A warning of somebody's is none about the commit.
func TestAWarningPutsNothingInDoubt(t *testing.T) {
	t.Parallel()
	b := newWriter(t, nil)
	b.exec(t, `
		create function warn() returns trigger language plpgsql as $$ begin raise warning 'canceling wait for synchronous replication'; return new; end $$;
		create trigger warn before insert on orders for each row execute function warn()`)
	b.mustWrite(t, one(order(1), ""))
	b.check(t, 1)
}

// strict makes a checker that refuses, and has found nothing so far.
func strict(t *testing.T, url string) *durability.Checker {
	t.Helper()
	c := durability.New(durability.Options{Tables: schema.Tables("order_queue"), Strict: true, Log: slog.New(slog.DiscardHandler)})
	if err := c.Session(t.Context(), testdb.Connect(t, url)); err != nil || c.Refusal() != "" {
		t.Fatalf("%q, %v", c.Refusal(), err)
	}
	return c
}

// With DURABILITY=strict what a new connection finds holds for the orders that wait for it.
func TestWhatACrashWouldLoseIsNotAcceptedFromTheQueue(t *testing.T) {
	t.Parallel()
	const unlogged = `alter table pgmq.q_order_queue set unlogged`
	t.Run("waiting for the first connection", func(t *testing.T) {
		t.Parallel()
		url := testdb.New(t)
		proxy := testdb.Proxy(t, url)
		proxy.Freeze()
		b := newWriterOn(t, proxy.URL, url, func(c *orders.WriterConfig) { c.Durability = strict(t, url) })
		var wg sync.WaitGroup
		for i := range 3 {
			wg.Go(func() {
				if _, err := b.Write(one(order(i), "")); !errors.Is(err, orders.ErrUnavailable) || !strings.Contains(err.Error(), "is unlogged") {
					t.Errorf("got %v", err)
				}
			})
		}
		await.True(t, "all to wait", func() bool { return b.Queued() == 3 })
		b.exec(t, unlogged)
		proxy.Thaw()
		wg.Wait()
		b.check(t, 0)
	})
	t.Run("with a connection that was lost", func(t *testing.T) {
		t.Parallel()
		url := testdb.New(t)
		proxy := testdb.Proxy(t, url)
		b := newWriterOn(t, proxy.URL, url, func(c *orders.WriterConfig) { c.Durability = strict(t, url) })
		b.mustWrite(t, one(order(0), ""))
		proxy.Trap(publishes, pgproxy.Unsent, func() { b.connect(t).exec(t, unlogged) })
		if _, err := b.Write(one(order(1), "k")); !errors.Is(err, orders.ErrUnknownOutcome) {
			t.Errorf("got %v", err)
		}
		b.check(t, 1)
	})
}

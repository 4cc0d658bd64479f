package orders_test

import (
	"errors"
	"log/slog"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"orderflow.example/kit/await"
	"orderflow.example/kit/pgproxy"
	"orderflow.example/kit/testdb"
	"orderflow.example/kit/testlog"
	"orderflow.example/services/api/internal/orders"
	"orderflow.example/services/api/internal/schema"
)

// newRole makes a database, a role in it as the migration makes the api's, with more attributes, and its URL.
func newRole(t *testing.T, attributes string) (database, role, asRole string) {
	t.Helper()
	role = testdb.Role(t, "writer")
	database = testdb.New(t)
	migrate := schema.Options{Queue: "order_queue", Roles: schema.Roles{API: schema.Role{Name: role, Password: "pw"}}}
	if err := schema.Migrate(t.Context(), testdb.Config(t, database, time.Minute), migrate, slog.New(slog.DiscardHandler)); err != nil {
		t.Fatal(err)
	}
	if attributes != "" {
		testdb.Admin(t, "alter role "+role+" "+attributes)
	}
	u, err := url.Parse(database)
	if err != nil {
		t.Fatal(err)
	}
	u.User = url.UserPassword(role, "pw")
	return database, role, u.String()
}

// The database is there, and the writer gets no connection to it. That is known without anybody asking, and so is its end.
func TestWriterWithoutAConnection(t *testing.T) {
	t.Parallel()
	db, role, as := newRole(t, "connection limit 0")
	b := newWriterOn(t, as, db, func(c *orders.WriterConfig) { c.Timeout = time.Hour }) // for those who are not refused at once
	await.True(t, "the writer to know", func() bool { return b.NotReady() != "" })
	if _, err := b.Write(one(order(1), "")); !errors.Is(err, orders.ErrUnavailable) {
		t.Errorf("got %v", err)
	}
	if b.observed.failures.Load() < 3 {
		t.Errorf("%d failures were counted", b.observed.failures.Load())
	}
	if _, err := b.db.Exec(t.Context(), `alter role `+role+` connection limit -1`); err != nil {
		t.Fatal(err)
	}
	await.True(t, "the writer to be ready", func() bool { return b.NotReady() == "" })
	b.mustWrite(t, one(order(2), ""))
	b.check(t, 1)
}

// It connects, but lacks a right that only writing needs.
func TestWriterWithoutTheRightToInsert(t *testing.T) {
	t.Parallel()
	db, role, as := newRole(t, "")
	log := &testlog.Buffer{}
	b := newWriterOn(t, as, db, func(c *orders.WriterConfig) { c.Log = slog.New(slog.NewTextHandler(log, nil)) })
	b.mustWrite(t, one(order(0), ""))
	for _, table := range []string{"orders", "pgmq.q_order_queue"} {
		if _, err := b.db.Exec(t.Context(), `revoke insert on `+table+` from `+role); err != nil {
			t.Fatal(err)
		}
		if _, err := b.Write(one(order(1), "")); !errors.Is(err, orders.ErrUnavailable) {
			t.Errorf("without insert on %s: %v", table, err)
		}
		await.True(t, "the writer to know", func() bool { return b.NotReady() != "" })
		// A rule about orders does not keep it from finding out that it may write again.
		if _, err := b.db.Exec(t.Context(), `
			alter table orders drop constraint if exists customers;
			alter table orders add constraint customers check (customer_name like 'Customer %');
			grant insert on `+table+` to `+role); err != nil {
			t.Fatal(err)
		}
		await.True(t, "the writer to be ready", func() bool { return b.NotReady() == "" })
		b.mustWrite(t, one(order(2), ""))
	}
	b.check(t, 3)

	// And what failed before does not count any more.
	const refused = "orders cannot be written; retrying"
	said := log.Count(refused)
	b.exec(t, `
		create function rule() returns trigger language plpgsql as $$ begin if new.customer_name = 'Customer 7' then raise exception 'no' using errcode = 'disk_full'; end if; return new; end $$;
		create trigger rule before insert on orders for each row execute function rule()`)
	if _, err := b.Write(one(order(7), "")); !errors.Is(err, orders.ErrUnavailable) {
		t.Errorf("got %v", err)
	}
	if n := log.Count(refused); n != said || said < 2 {
		t.Errorf("the log says %d times, and after one failure more %d times: %s", said, n, refused)
	}
}

// What is missing from the start is known before the first order, and takes no ids.
func TestWriterWithoutTheRightToInsertFromTheStart(t *testing.T) {
	t.Parallel()
	db, role, as := newRole(t, "")
	conn := testdb.Connect(t, db)
	change := func(sql string) {
		t.Helper()
		if _, err := conn.Exec(t.Context(), sql+role); err != nil {
			t.Fatal(err)
		}
	}
	change(`revoke insert on orders from `)
	b := newWriterOn(t, as, db, nil)
	await.True(t, "the writer to know", func() bool { return b.NotReady() != "" })
	if n := b.count(t, `select count(*) from orders_id_seq where is_called`); n != 0 {
		t.Error("an id was drawn")
	}
	change(`grant insert on orders to `)
	await.True(t, "the writer to be ready", func() bool { return b.NotReady() == "" })
}

// A session in which nothing can be written any more is not used any longer than it takes to see that.
func TestASessionThatCannotWriteIsGivenUp(t *testing.T) {
	t.Parallel()
	b := newWriter(t, nil)
	b.exec(t, `
		create function spoil() returns trigger language plpgsql as $$
		begin
			if new.customer_name = 'Customer 7' then perform set_config('default_transaction_read_only', 'on', false); end if;
			return new;
		end $$;
		create trigger spoil before insert on orders for each row execute function spoil()`)
	b.mustWrite(t, one(order(7), ""))
	if _, err := b.Write(one(order(1), "")); !errors.Is(err, orders.ErrUnavailable) {
		t.Errorf("got %v", err)
	}
	await.True(t, "an order to be written", func() bool { _, err := b.Write(one(order(2), "k")); return err == nil })
	b.check(t, 2)
}

// A server that does not finish what it is asked to is distrusted: it may be a primary that nobody replicates any more.
func TestAServerThatDoesNotFinishIsDistrusted(t *testing.T) {
	t.Parallel()
	rehearses := func(statement string) bool { return strings.Contains(statement, "'rehearsal'") }
	for name, trap := range map[string]func(*pgproxy.Proxy){
		"an order": func(p *pgproxy.Proxy) { p.Trap(publishes, pgproxy.Held) },
		"a rehearsal": func(p *pgproxy.Proxy) { // after an order whose connection is lost
			p.Trap(publishes, pgproxy.Unanswered, func() { p.TrapFunc(rehearses, pgproxy.Held) })
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			url := testdb.New(t)
			proxy := testdb.Proxy(t, url)
			b := newWriterOn(t, proxy.URL, url, func(c *orders.WriterConfig) { c.Timeout = await.Limit() / 6 })
			await.True(t, "the writer to be connected", func() bool { _, err := b.Write(one(order(0), "0")); return err == nil })
			before := b.monitor.distrusted.Load()
			trap(proxy)
			if _, err := b.Write(one(order(1), "")); !errors.Is(err, orders.ErrUnknownOutcome) {
				t.Errorf("got %v", err)
			}
			await.True(t, "the server is distrusted", func() bool { return b.monitor.distrusted.Load() > before })
		})
	}
}

// Connecting takes several round trips, which together may take longer than a request has.
func TestConnectingMayTakeLongerThanARequest(t *testing.T) {
	t.Parallel()
	db := testdb.New(t)
	proxy := testdb.Proxy(t, db)
	proxy.Delay(80 * time.Millisecond)
	b := newWriterOn(t, proxy.URL, db, func(c *orders.WriterConfig) { c.Timeout = 300 * time.Millisecond })
	await.True(t, "an order to be written", func() bool {
		_, err := b.Write(one(order(1), "k"))
		return err == nil
	})
	b.check(t, 1)
}

// A hundred requests in one batch, all of them refused by a rule and each of them slow: when their time is up, the writer does not go
// on finding out whose fault it was.
func TestIsolationEndsWithTheRequests(t *testing.T) {
	t.Parallel()
	b := newWriter(t, func(c *orders.WriterConfig) { c.Timeout = 30 * time.Second }) // half of it is for a lock, while all gather
	b.mustWrite(t, one(order(0), ""))
	b.exec(t, `
		alter table orders add constraint no_sevens check (customer_name not like '%7');
		create function slow() returns trigger language plpgsql as 'begin perform pg_sleep(3); return null; end';
		create trigger slow before insert on orders for each statement execute function slow()`)
	release := b.hold(t)
	var wg sync.WaitGroup
	wg.Go(func() { _, _ = b.Write(one(order(0), "")) })
	await.True(t, "the first transaction", func() bool { return b.waiting(t) == 1 })
	for i := range 100 {
		wg.Go(func() { _, _ = b.Write(one(order(10*i+7), "")) })
	}
	await.True(t, "all to gather", func() bool { return b.Queued() == 100 })
	release()
	wg.Wait()
	await.True(t, "the next order", func() bool { _, err := b.Write(one(order(1), "")); return err == nil })
	// Halving to the end takes 199 transactions, of which thirty seconds have room for ten.
	if n := b.observed.failures.Load(); n > 20 {
		t.Errorf("%d transactions were tried", n)
	}
}

// A rule that a trigger raises in a constraint's name is a rule. Any other error is not the order's fault, and nobody else's either.
func TestAnyErrorIsItsOrdersOwn(t *testing.T) {
	t.Parallel()
	b := newWriter(t, nil)
	b.mustWrite(t, one(order(0), ""))
	if _, err := b.db.Exec(t.Context(), `
		create function rule() returns trigger language plpgsql as $$
		begin
			case right(new.customer_name, 1)
				when '3' then raise exception 'not on a Sunday' using errcode = 'check_violation', schema = 'public', table = 'orders', constraint = 'sundays';
				when '7' then execute 'this is no statement';
				else
			end case;
			return new;
		end $$;
		create trigger rule before insert on orders for each row execute function rule()`); err != nil {
		t.Fatal(err)
	}
	release := b.hold(t)
	var wg sync.WaitGroup
	wg.Go(func() { _, _ = b.Write(one(order(0), "")) })
	await.True(t, "the first transaction", func() bool { return b.waiting(t) == 1 })
	for i := range 10 {
		wg.Go(func() {
			_, err := b.Write(one(order(i), ""))
			var refused *orders.RefusedError
			switch {
			case i == 3 && (!errors.As(err, &refused) || refused.Reason != "not on a Sunday"):
				t.Errorf("order 3: %v", err)
			case i == 7 && !errors.Is(err, orders.ErrUnavailable), i != 3 && i != 7 && err != nil:
				t.Errorf("order %d: %v", i, err)
			}
		})
	}
	await.True(t, "all to gather", func() bool { return b.Queued() == 10 })
	release()
	wg.Wait()
	b.check(t, 10)
}

// A table that was there before may have an identity of another name, and the usual name may be something else's.
func TestIdsComeFromTheTablesOwnSequence(t *testing.T) {
	t.Parallel()
	url := testdb.New(t)
	conn := testdb.Connect(t, url)
	if _, err := conn.Exec(t.Context(), `alter sequence orders_id_seq rename to orders_id_seq1`, pgx.QueryExecModeSimpleProtocol); err != nil {
		t.Fatal(err)
	}
	b := newWriterOn(t, url, url, nil)
	b.mustWrite(t, one(order(1), ""))
	b.check(t, 1)
}

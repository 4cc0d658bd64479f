package main

import (
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"orderflow.example/kit/await"
	"orderflow.example/kit/pgproxy"
	"orderflow.example/kit/testdb"
)

func TestStartWhileTheDatabaseIsAway(t *testing.T) {
	t.Parallel()
	db := testdb.Empty(t)
	proxy := testdb.Proxy(t, db)
	proxy.Refuse()
	// Who waited for the database would wait longer than the test does.
	s := start(t, map[string]string{"DATABASE_URL": proxy.URL, "MIGRATE_ON_START": "true"})
	const away = "database is away; retrying"
	s.log.await(t, away)
	before := proxy.Refused()
	await.True(t, "the service to try again and again", func() bool { return proxy.Refused() > before+5 })
	if said, _ := s.log.find(away); len(said) != 1 {
		t.Errorf("said %d times that the database is away", len(said))
	}

	for path, want := range map[string]int{"/livez": 200, "/health": 200, "/readyz": 503, "/orders": 503, "/orders/1": 503, "/messages": 503, "/queue": 503, "/dead-letters": 503, "/openapi.json": 200} {
		if a := s.get(t, path); a.status != want {
			t.Errorf("GET %s: got %d %s", path, a.status, a.body)
		}
	}
	if a := s.get(t, "/orders/1"); strings.Contains(a.body, "written") {
		t.Errorf("who only reads is told %s", a.body)
	}
	a := s.post(t, "/orders", orderJSON(1))
	if a.status != http.StatusServiceUnavailable || a.header.Get("Retry-After") == "" || a.json(t)["detail"] == "" {
		t.Errorf("got %d %s", a.status, a.body)
	}
	if a := s.post(t, "/orders", `{"quantity":0}`); a.status != http.StatusUnprocessableEntity {
		t.Errorf("a wrong order is wrong whether the database is there or not: got %d", a.status)
	}

	proxy.Accept()
	s.awaitReady(t)
	if a := s.post(t, "/orders", orderJSON(1)); a.status != http.StatusCreated {
		t.Errorf("got %d %s", a.status, a.body)
	}
}

// load posts orders all the time, each with a key, and again with the same key until it is answered 201.
type load struct {
	accepted, refused atomic.Int64
	slowest           atomic.Int64
	last              atomic.Int64 // when the latest one was accepted
	stopped           atomic.Bool
	done              sync.WaitGroup
}

func startLoad(t *testing.T, s *service, clients int) *load {
	t.Helper()
	l := &load{}
	for c := range clients {
		l.done.Go(func() {
			for i := 0; !l.stopped.Load(); i++ {
				for {
					started := time.Now()
					a, err := s.try(http.MethodPost, "/orders", orderJSON(i), []string{"Idempotency-Key", fmt.Sprintf("%d-%d", c, i)})
					l.slow(time.Since(started))
					if err != nil || a.status != http.StatusCreated && a.status != http.StatusServiceUnavailable {
						t.Errorf("got %d %s, %v", a.status, a.body, err)
						return
					}
					if a.status == http.StatusCreated {
						l.accepted.Add(1)
						l.last.Store(time.Now().UnixNano())
						break
					}
					if a.header.Get("Retry-After") == "" {
						t.Errorf("a 503 without Retry-After: %s", a.body)
					}
					l.refused.Add(1)
				}
			}
		})
	}
	return l
}

func (l *load) slow(took time.Duration) {
	for {
		before := l.slowest.Load()
		if int64(took) <= before || l.slowest.CompareAndSwap(before, int64(took)) {
			return
		}
	}
}

// recovered waits until an order was accepted after a moment.
func (l *load) recovered(t *testing.T, after time.Time) time.Duration {
	t.Helper()
	await.True(t, "orders to be accepted again", func() bool { return l.last.Load() > after.UnixNano() })
	return time.Since(after).Round(time.Millisecond)
}

func TestOutagesUnderLoad(t *testing.T) {
	t.Parallel()
	for name, outage := range map[string]struct{ begin, end func(*pgproxy.Proxy) }{
		"connections cut and refused": {(*pgproxy.Proxy).Refuse, (*pgproxy.Proxy).Accept},
		"server hangs":                {(*pgproxy.Proxy).Freeze, (*pgproxy.Proxy).Thaw},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			const timeout = 300 * time.Millisecond
			db := testdb.New(t)
			proxy := testdb.Proxy(t, db)
			s := started(t, map[string]string{"DATABASE_URL": proxy.URL, "REQUEST_TIMEOUT": timeout.String()})
			l := startLoad(t, s, 8)
			l.recovered(t, time.Now())

			outage.begin(proxy)
			await.True(t, "readiness to say no", func() bool { return s.get(t, "/readyz").status == http.StatusServiceUnavailable })
			if a := s.get(t, "/livez"); a.status != http.StatusOK {
				t.Errorf("livez says %d", a.status)
			}
			// Once the outage is known, nobody waits for anything.
			if a := s.post(t, "/orders", orderJSON(1)); a.status != http.StatusServiceUnavailable {
				t.Errorf("got %d", a.status)
			}
			if a := s.get(t, "/orders/1"); a.status != http.StatusServiceUnavailable {
				t.Errorf("got %d", a.status)
			}

			back := time.Now()
			outage.end(proxy)
			took := l.recovered(t, back)
			s.awaitReady(t)
			l.stopped.Store(true)
			l.done.Wait()
			t.Logf("%d accepted, %d refused, slowest answer %v, accepting again after %v",
				l.accepted.Load(), l.refused.Load(), time.Duration(l.slowest.Load()).Round(time.Millisecond), took)
			if l.refused.Load() == 0 {
				t.Error("nothing was refused: was there an outage?")
			}
			// Eventually: what hung may still be on its way into the database when its client has been told 503.
			accepted := int(l.accepted.Load())
			if rows := count(t, db, `select count(*) from orders`); rows < accepted || rows > accepted+9 {
				t.Errorf("%d orders for %d accepted", rows, accepted)
			}
			if n := count(t, db, `select count(*) from orders o full join pgmq.q_order_queue q on q.msg_id = o.message_id where o.id is null or q.msg_id is null`); n != 0 {
				t.Errorf("%d orders without message or messages without order", n)
			}
		})
	}
}

// The first of several hosts is silent. Everything finds its way to the second.
func TestASilentFirstHost(t *testing.T) {
	t.Parallel()
	silent, err := net.Listen("tcp", "127.0.0.1:0") // it takes connections and never says a word
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close()
	u, err := url.Parse(testdb.New(t))
	if err != nil {
		t.Fatal(err)
	}
	u.Host = silent.Addr().String() + "," + u.Host
	s := started(t, map[string]string{"DATABASE_URL": u.String()})
	await.True(t, "an order to be written", func() bool { return s.post(t, "/orders", orderJSON(1)).status == http.StatusCreated })
	await.True(t, "an order to be read", func() bool { return s.get(t, "/orders/1").status == http.StatusOK })
	await.True(t, "a notification", func() bool {
		s.post(t, "/orders", orderJSON(1)) // a notification may be lost
		return !strings.Contains((&service{url: s.metrics}).get(t, "/metrics").body, "orderflow_api_notifications_total 0")
	})
}

// The database is there, and nothing can be written to it: that is no readiness.
func TestReadinessKnowsThatOrdersCannotBeWritten(t *testing.T) {
	t.Parallel()
	db, role, asRole := leastPrivileged(t)
	s := started(t, map[string]string{"DATABASE_URL": asRole})
	conn := testdb.Connect(t, db)
	if _, err := conn.Exec(t.Context(), `revoke insert on orders from `+role); err != nil {
		t.Fatal(err)
	}
	if a := s.post(t, "/orders", orderJSON(1)); a.status != http.StatusServiceUnavailable {
		t.Errorf("got %d %s", a.status, a.body)
	}
	await.True(t, "readiness to say no", func() bool { return strings.Contains(s.get(t, "/readyz").body, "orders cannot be written") })
	s.log.await(t, "orders cannot be written; retrying")
	if _, err := conn.Exec(t.Context(), `grant insert on orders to `+role); err != nil {
		t.Fatal(err)
	}
	s.awaitReady(t)
	if a := s.post(t, "/orders", orderJSON(1)); a.status != http.StatusCreated {
		t.Errorf("got %d %s", a.status, a.body)
	}
}

// A read survives a connection that went stale in the pool.
func TestReadsTryASecondConnection(t *testing.T) {
	t.Parallel()
	db := testdb.New(t)
	s := started(t, map[string]string{"DATABASE_URL": db})
	s.place(t, "/orders", orderJSON(1))
	conn := testdb.Connect(t, db)
	// The connection that was used last for it, and none of the monitor's or the dashboard's, whatever they are doing.
	end := func(statement string) (ended bool) {
		t.Helper()
		err := conn.QueryRow(t.Context(), `
			select pg_terminate_backend(pid) from pg_stat_activity
			where datname = current_database() and pid <> pg_backend_pid() and strpos(query, $1) > 0
			order by state_change desc limit 1`, statement).Scan(&ended)
		if err != nil && !errors.Is(err, pgx.ErrNoRows) {
			t.Fatal(err)
		}
		return ended
	}
	for range 5 {
		await.True(t, "a connection is ended over which an order was read", func() bool {
			if a := s.get(t, "/orders/1"); a.status != http.StatusOK {
				t.Fatalf("got %d %s", a.status, a.body)
			}
			return end("from public.orders o where o.id = ") // not when somebody else has used it since
		})
	}
	if !end("-- Writes a batch of orders") {
		t.Fatal("no connection is ended over which an order was written")
	}
	if a := s.post(t, "/orders", orderJSON(2), "Idempotency-Key", "k"); a.status != http.StatusCreated {
		t.Errorf("a write over a terminated connection: %d %s", a.status, a.body)
	}
}

// A server falls silent, and another host takes its place. Nobody is made to wait for the former one by a connection that stands idle since: it
// may never answer again, or answer and not know what has happened meanwhile.
func TestNobodyReadsFromTheServerBefore(t *testing.T) {
	t.Parallel()
	db := testdb.New(t)
	former, successor := testdb.Proxy(t, db), testdb.Proxy(t, db)
	// A silent host is left after ten seconds, and who reads from it is refused after a minute.
	hosts := connectWithin(strings.Replace(former.URL, former.Host(), former.Host()+","+successor.Host(), 1), 10*time.Second)
	s := start(t, map[string]string{"DATABASE_URL": hosts, "DASHBOARD": "off"})
	s.awaitReady(t)
	readAll := func() {
		t.Helper()
		var readers sync.WaitGroup
		for range 20 {
			readers.Go(func() {
				if a, err := s.try(http.MethodGet, "/orders", "", nil); err != nil || a.status != http.StatusOK {
					t.Errorf("got %d %s, %v", a.status, a.body, err)
				}
			})
		}
		readers.Wait()
	}
	readAll()
	former.Freeze()
	defer former.Thaw()
	s.log.await(t, "connected to another database server")
	s.awaitReady(t)
	readAll()
}

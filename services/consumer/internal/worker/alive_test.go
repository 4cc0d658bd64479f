package worker_test

import (
	"context"
	"encoding/binary"
	"io"
	"net"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"orderflow.example/kit/await"
	"orderflow.example/kit/pgproxy"
	"orderflow.example/services/consumer/internal/dbtest"
	"orderflow.example/services/consumer/internal/message"
	"orderflow.example/services/consumer/internal/worker"
)

// clock is one that a test sets forward.
type clock struct{ ahead atomic.Int64 }

func (c *clock) now() time.Time              { return time.Now().Add(time.Duration(c.ahead.Load())) }
func (c *clock) forward(d time.Duration)     { c.ahead.Add(int64(d)) }
func (c *clock) measures(w *worker.Consumer) { w.MeasureStepsBy(c.now) }
func alive(w *worker.Consumer) (ok bool)     { ok, _ = w.Alive(); return ok }
func (r *running) hangs(why string) bool {
	ok, said := r.Alive()
	return !ok && strings.Contains(said, why)
}

// cancelRequest is the code of a message that asks for the end of another connection's statement: pgx sends one, unasked, for what
// it has given up.
const cancelRequest = 80877102

// silent is an address that takes connections and never says a word. What comes to it is closed by whoever receives it.
func silent(t *testing.T) (address string, connections <-chan net.Conn) {
	t.Helper()
	listener, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = listener.Close() })
	arrived := make(chan net.Conn, 100)
	go func() { // ends with the listener
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			var begin [8]byte // the length of its first message, and what it wants
			if _, err := io.ReadFull(conn, begin[:]); err != nil || binary.BigEndian.Uint32(begin[4:]) == cancelRequest {
				_ = conn.Close()
				continue
			}
			arrived <- conn
		}
	}()
	return listener.Addr().String(), arrived
}

// Each of three addresses may take half a minute, twice over. That is longer than anything may hang, and no hang.
func TestConnectingForMinutesIsNoReasonToRestart(t *testing.T) {
	t.Parallel()
	var hosts []string
	var connections []<-chan net.Conn
	for range 3 {
		address, arrived := silent(t)
		hosts, connections = append(hosts, address), append(connections, arrived)
	}
	b := &bundle{t: t}
	var c clock
	r := b.startOn("postgres://u:p@"+strings.Join(hosts, ",")+"/d?sslmode=disable&connect_timeout=30", settings(), noop, c.measures)
	for range 2 {
		for i := range hosts {
			conn := await.Value(t, "it tries the next address", connections[i])
			c.forward(30 * time.Second)
			if ok, why := r.Alive(); !ok {
				t.Errorf("not alive while it waits for address %d: %s", i+1, why)
			}
			_ = conn.Close() // as the time limit would
		}
	}
	// An attempt that does not end when its time is up is a hang.
	conn := await.Value(t, "it tries again", connections[0])
	c.forward(30*time.Second + time.Minute + time.Second)
	if alive(r.Consumer) {
		t.Error("alive, though connecting has not come to its end")
	}
	_ = conn.Close()
	await.True(t, "it is alive again", func() bool { return alive(r.Consumer) })
	r.drain() // before the listeners are gone
	_ = r.wait()
}

// However long ago the database went away: as long as the loops go on trying, restarting them would change nothing.
func TestADatabaseAwaySinceYesterdayIsNoReasonToRestart(t *testing.T) {
	b := setup(t)
	proxy, address := b.proxied()
	var c clock
	started, go_on := make(chan struct{}), make(chan struct{})
	b.Publish(1)
	r := b.startOn(address, settings(), handle(func(context.Context, message.Message) error {
		close(started)
		<-go_on
		return nil
	}), c.measures)
	await.Value(t, "work is under way", started)
	proxy.Refuse()
	close(go_on) // there is a result to be written, too
	await.True(t, "the outage is noticed", func() bool { return r.outages.Load() >= 1 })
	for range 3 {
		c.forward(8 * time.Hour)
		// What was just being tried has to come to its end; then the time is known to be over.
		await.True(t, "it is alive", func() bool { return alive(r.Consumer) })
	}
	// What a link had heard before the cut may have been noted after it, until the next try.
	await.True(t, "it is not ready", func() bool { ok, _ := r.Ready(); return !ok })
	proxy.Accept()
	b.settled()
	r.stop()
}

func TestALoopThatHangsIsAReasonToRestart(t *testing.T) {
	for statement, loop := range map[string]string{"commit": "fetcher", named("ack"): "settler", named("peek"): "poller"} {
		t.Run(loop, func(t *testing.T) {
			b := setup(t)
			proxy, address := b.proxied()
			b.Publish(1)
			var c clock
			hangs := proxy.Trap(statement, pgproxy.Held)
			r := b.startOn(address, settings(), noop, c.measures)
			await.Value(t, "the statement is held up", hangs)
			// Its deadline would end it; so the time is set forward until that is in the middle of it.
			await.True(t, "it is not alive", func() bool {
				c.forward(2 * time.Minute)
				return r.hangs("the " + loop + " has not moved for")
			})
			proxy.Release()
			await.True(t, "it is alive again", func() bool { return alive(r.Consumer) })
			b.settled()
			r.stop()
		})
	}
}

func TestAHeartbeatThatHangsIsAReasonToRestart(t *testing.T) {
	b := setup(t)
	proxy, address := b.proxied()
	b.Publish(1)
	var c clock
	s := settings()
	s.Visible, s.HandlerTimeout = 6*time.Second, time.Minute
	free := make(chan struct{})
	hangs := proxy.Trap(named("extend"), pgproxy.Held)
	r := b.startOn(address, s, handle(func(context.Context, message.Message) error { <-free; return nil }), c.measures)
	await.Value(t, "an extension is held up", hangs)
	await.True(t, "it is not alive", func() bool {
		c.forward(2 * time.Minute)
		return r.hangs("the heartbeat has not moved for")
	})
	proxy.Release()
	close(free)
	await.True(t, "it is alive again", func() bool { return alive(r.Consumer) })
	b.settled()
	r.stop()
}

// A start that has been made known is over, whatever comes then: nothing has to be extended for a long time.
func TestAfterAStartThatIsKnownTheHeartbeatRests(t *testing.T) {
	b := setup(t)
	b.Publish(1)
	b.crashes(2)
	var c clock
	r := b.startOn(b.URL, settings(), noop, c.measures)
	b.settled()
	if r.log.count("running this suspect message alone") != 1 {
		t.Fatal("its start was not made known")
	}
	c.forward(2 * time.Minute)
	await.True(t, "it is alive", func() bool { return alive(r.Consumer) })
	r.stop()
}

func TestHandlersThatBlockEveryWorkerAreAReasonToRestart(t *testing.T) {
	b := setup(t)
	var c clock
	s := settings()
	s.Concurrency, s.HandlerTimeout, s.MaxAttempts = 2, 50*time.Millisecond, 100
	free := make(chan struct{})
	b.Publish(2)
	r := b.startOn(b.URL, s, handle(func(context.Context, message.Message) error { <-free; return nil }), c.measures)
	await.True(t, "both are stuck", func() bool { return r.metric("worker_slots_stuck") == 2 })
	if ok, why := r.Alive(); !ok {
		t.Errorf("not alive at once: %s", why)
	}
	await.True(t, "it is not alive", func() bool {
		c.forward(2 * time.Minute)
		return r.hangs("every worker has been occupied")
	})
	close(free)
	await.True(t, "it is alive again", func() bool { return alive(r.Consumer) })
	b.settled()
}

func TestALaneWhoseWorkHangsIsAReasonToRestart(t *testing.T) {
	b := setup(t)
	f := b.shop(ship, `perform pg_advisory_xact_lock(4711);`)
	holder, err := b.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = holder.Rollback(context.Background()) }()
	if _, err := holder.Exec(t.Context(), `select pg_advisory_xact_lock(4711)`); err != nil {
		t.Fatal(err)
	}
	b.Publish(1)
	var c clock
	s := workSettings()
	s.Visible, s.HandlerTimeout = 2*time.Minute, time.Minute
	r := b.startOn(b.URL, s, f, c.measures)
	await.True(t, "the function waits", func() bool {
		return dbtest.One[bool](b.DB, `select exists (select from pg_locks as l join pg_database as d on d.oid = l.database and d.datname = current_database() where l.locktype = 'advisory' and not l.granted)`)
	})
	if ok, why := r.Alive(); !ok {
		t.Errorf("not alive at once: %s", why)
	}
	await.True(t, "it is not alive", func() bool {
		c.forward(2 * time.Minute)
		return r.hangs("a transaction with the work of orders has not moved for")
	})
	if err := holder.Rollback(t.Context()); err != nil {
		t.Fatal(err)
	}
	await.True(t, "it is alive again", func() bool { return alive(r.Consumer) })
	b.settled()
	r.stop()
	b.shipped()
}

func TestADrainTakesAsLongAsItTakes(t *testing.T) {
	b := setup(t)
	var c clock
	started, go_on := make(chan struct{}), make(chan struct{})
	b.Publish(1)
	r := b.startOn(b.URL, settings(), handle(func(context.Context, message.Message) error {
		close(started)
		<-go_on
		return nil
	}), c.measures)
	await.Value(t, "it is at work", started)
	r.drain()
	await.True(t, "it drains", func() bool { _, why := r.Ready(); return why == "draining" })
	c.forward(time.Hour)
	await.True(t, "it is alive", func() bool { return alive(r.Consumer) })
	close(go_on)
	r.stop()
}

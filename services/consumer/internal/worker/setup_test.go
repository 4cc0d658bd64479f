package worker_test

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/goleak"

	"orderflow.example/kit/await"
	"orderflow.example/kit/pgproxy"
	"orderflow.example/kit/testdb"
	"orderflow.example/services/consumer/internal/backoff"
	"orderflow.example/services/consumer/internal/dbtest"
	"orderflow.example/services/consumer/internal/handler"
	"orderflow.example/services/consumer/internal/message"
	"orderflow.example/services/consumer/internal/metrics"
	"orderflow.example/services/consumer/internal/pg"
	"orderflow.example/services/consumer/internal/worker"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// bundle is a database and what it takes to run consumers on it.
type bundle struct {
	*dbtest.DB
	t *testing.T
}

func setup(t *testing.T) *bundle {
	t.Helper()
	t.Parallel()
	return &bundle{DB: dbtest.New(t), t: t}
}

// settings are quick where the defaults are slow, and otherwise slow enough to show that nothing waits for them: whatever
// depends on polling or on a visibility timeout would take longer than any test waits.
func settings() worker.Settings {
	return worker.Settings{
		ID: "under-test", Queue: dbtest.QueueName, Batch: 30, Concurrency: 8, MaxAttempts: 3, MaxCrashes: 2, HeldBytes: 32 << 20, MessageBytes: 1 << 20,
		Visible: 2 * time.Minute, HandlerTimeout: 90 * time.Second, Drain: 10 * time.Second, Poll: 2 * time.Minute,
		Backoff: backoff.Policy{Base: time.Millisecond, Max: 20 * time.Millisecond, Multiplier: 2},
	}
}

// running is one consumer at work.
type running struct {
	*worker.Consumer
	t       *testing.T
	metrics *metrics.Metrics
	log     *logged
	outages atomic.Int64       // times that the database became unreachable
	end     context.CancelFunc // has it drain with as little time as the program has
	ended   chan error
	drained sync.Once
	once    sync.Once
	err     error
}

type handle func(context.Context, message.Message) error

func (h handle) Handle(ctx context.Context, m message.Message) error { return h(ctx, m) }

// start runs a consumer until the test ends, or stop.
func (b *bundle) start(s worker.Settings, h handler.Handler) *running {
	b.t.Helper()
	return b.startOn(b.URL, s, h)
}

func (b *bundle) startOn(address string, s worker.Settings, h handler.Handler, prepare ...func(*worker.Consumer)) *running {
	b.t.Helper()
	r := &running{t: b.t, metrics: metrics.New("test", s.Queue, "test"), log: &logged{}, ended: make(chan error, 1)}
	log := slog.New(slog.NewTextHandler(r.log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	server := pg.NewServer(testdb.Address(b.t, address), s.ID, log, pg.Observer{
		Connected: func(link string, again bool) {
			if again {
				r.metrics.Reconnects.WithLabelValues(link).Inc()
			}
		},
		Reachable: func(ok bool) {
			if !ok {
				r.outages.Add(1)
			}
		},
	})
	r.Consumer = worker.New(s, server, h, log, r.metrics)
	r.SayLastWithin(await.Limit())
	for _, p := range prepare {
		p(r.Consumer)
	}
	ctx, cancel := context.WithCancel(context.Background())
	r.end = cancel
	go func() { r.ended <- r.Run(ctx) }()
	b.t.Cleanup(func() {
		r.end()
		_ = r.wait() // each test says what it expects of it
		if b.t.Failed() {
			b.t.Logf("log of %s:\n%s", s.ID, r.log)
		}
	})
	return r
}

// wait waits for the end of a drain.
func (r *running) wait() error {
	r.once.Do(func() {
		select {
		case r.err = <-r.ended:
		case <-time.After(await.Limit()):
			r.t.Errorf("consumer does not end; log:\n%s", r.log)
		}
	})
	return r.err
}

// drain has it drain, with time to write what is left.
func (r *running) drain() { r.drained.Do(func() { r.WriteWhatIsLeftWithin(await.Limit()); r.end() }) }

// stop drains and wants that to end well.
func (r *running) stop() {
	r.t.Helper()
	r.drain()
	if err := r.wait(); err != nil {
		r.t.Fatal(err)
	}
}

// metric is the sum of a counter or gauge over its labels.
func (r *running) metric(name string) float64 {
	r.t.Helper()
	return sum(r.t, r.metrics.Registry, "orderflow_consumer_"+name)
}

// counter is the value of a counter with one label.
func counter(tb testing.TB, registry *prometheus.Registry, name, label string) float64 {
	tb.Helper()
	families, err := registry.Gather()
	if err != nil {
		tb.Fatal(err)
	}
	for _, family := range families {
		for _, m := range family.GetMetric() {
			if family.GetName() == name && m.GetLabel()[0].GetValue() == label {
				return m.GetCounter().GetValue()
			}
		}
	}
	tb.Fatalf("there is no %s of %s", name, label)
	return 0
}

// statements is how many of a kind there were, with those that came to nothing.
func (r *running) statements(kind string) (n uint64) {
	r.t.Helper()
	families, err := r.metrics.Registry.Gather()
	if err != nil {
		r.t.Fatal(err)
	}
	for _, family := range families {
		for _, m := range family.GetMetric() {
			if family.GetName() == "orderflow_consumer_statement_seconds" && m.GetLabel()[0].GetValue() == kind {
				n += m.GetHistogram().GetSampleCount()
			}
		}
	}
	return n
}

func sum(tb testing.TB, registry *prometheus.Registry, name string) float64 {
	tb.Helper()
	families, err := registry.Gather()
	if err != nil {
		tb.Fatal(err)
	}
	total := 0.0
	for _, family := range families {
		if family.GetName() == name {
			for _, m := range family.GetMetric() {
				total += m.GetCounter().GetValue() + m.GetGauge().GetValue() + float64(m.GetHistogram().GetSampleCount())
			}
		}
	}
	return total
}

// logged collects log lines.
type logged struct {
	mu   sync.Mutex
	text strings.Builder
}

func (l *logged) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

func (l *logged) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

func (l *logged) count(text string) int { return strings.Count(l.String(), text) }

// late counts the outages that are none but a busy machine's: something had no answer in time.
func (l *logged) late() (n int) {
	for line := range strings.Lines(l.String()) {
		if strings.Contains(line, "database unreachable") && (strings.Contains(line, "no answer within") || strings.Contains(line, "timeout: ")) {
			n++
		}
	}
	return n
}

// settled waits until the queue is empty and every order has an end, and returns the tally.
func (b *bundle) settled() dbtest.Audit {
	b.t.Helper()
	var a dbtest.Audit
	await.True(b.t, "every order is completed or dead, and the queue empty", func() bool {
		a = b.Audit()
		return a.Queued == 0 && a.Pending == 0
	})
	if a.Duplicated != 0 || a.Completed+a.Dead != a.Orders {
		b.t.Fatalf("audit: %+v", a)
	}
	return a
}

// proxied returns the database's address through a proxy that can break connections.
func (b *bundle) proxied() (*pgproxy.Proxy, string) {
	b.t.Helper()
	proxy := b.Proxy()
	return proxy, proxy.URL
}

// tries counts how often each message was handled.
type tries struct {
	mu sync.Mutex
	n  map[int64]int
}

func (c *tries) note(m message.Message) int {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.n == nil {
		c.n = map[int64]int{}
	}
	c.n[m.ID]++
	return c.n[m.ID]
}

func (c *tries) of(id int64) int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.n[id]
}

func (c *tries) total() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	total := 0
	for _, n := range c.n {
		total += n
	}
	return total
}

var errFailed = fmt.Errorf("failed on purpose")

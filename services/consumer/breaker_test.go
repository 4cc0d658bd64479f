package main

import (
	"bytes"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"orderflow.example/kit/await"
	"orderflow.example/services/consumer/internal/dbtest"
)

// process is a consumer as a process of its own.
type process struct {
	*exec.Cmd
	log  bytes.Buffer
	done chan struct{}
}

func (p *process) end(how os.Signal) {
	_ = p.Process.Signal(how)
	<-p.done
}

// The consumer that probes hangs in its probe and is killed: another one takes over, alone, and all is done when the receiver is back. Each is a
// process of its own, and the receiver asks for what it does not get: 401.
func TestWhoeverProbesMayBeKilled(t *testing.T) {
	t.Parallel()
	db := dbtest.New(t)
	var away, hangs atomic.Bool
	var current, most, calls atomic.Int64
	release := make(chan struct{})
	free := sync.OnceFunc(func() { close(release) })
	receiver := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body) // until then nothing tells that the other side is gone
		calls.Add(1)
		n := current.Add(1)
		defer current.Add(-1)
		most.Store(max(most.Load(), n))
		if hangs.Load() {
			select {
			case <-release:
			case <-r.Context().Done():
			}
		}
		if away.Load() {
			w.WriteHeader(http.StatusUnauthorized)
		}
	}))
	t.Cleanup(receiver.Close) // after those who call it
	t.Cleanup(free)
	program := filepath.Join(t.TempDir(), "consumer")
	if output, err := exec.CommandContext(t.Context(), "go", "build", "-o", program, ".").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, output)
	}
	processes := map[string]*process{}
	for i := range 3 {
		id := "process " + strconv.Itoa(i)
		p := &process{Cmd: exec.CommandContext(t.Context(), program), done: make(chan struct{})}
		p.Env = append(os.Environ(), "DATABASE_URL="+db.URL, "CONSUMER_ID="+id, "HANDLER=webhook", "WEBHOOK_URL="+receiver.URL, "VT=3600", "HANDLER_TIMEOUT=60s",
			"BREAKER_PROBE_INTERVAL=50ms", "BREAKER_PROBE_MAX=200ms", "METRICS_PORT=-1", "LOG_FORMAT=json", "BACKOFF_MAX=1s")
		p.Stdout, p.Stderr = &p.log, &p.log
		if err := p.Start(); err != nil {
			t.Fatal(err)
		}
		go func() { _ = p.Wait(); close(p.done) }()
		t.Cleanup(func() {
			p.end(os.Kill)
			if t.Failed() {
				t.Logf("%s:\n%s", id, &p.log)
			}
		})
		processes[id] = p
	}
	prober := func() string {
		who := dbtest.One[string](db, `select coalesce((select prober from orderflow.gate where probe_until > clock_timestamp()), '')`)
		who, _, _ = strings.Cut(who, "/")
		return who
	}

	db.Publish(100)
	await.True(t, "they are at work", func() bool { return db.Audit().Completed == 100 })
	away.Store(true)
	db.Publish(300)
	await.True(t, "the breaker is open, and probes fail", func() bool {
		return dbtest.One[int](db, `select coalesce((select failures from orderflow.gate where breaker_open), 0)`) >= 4
	})
	hangs.Store(true)
	var first string
	await.True(t, "a probe hangs", func() bool { first = prober(); return first != "" && current.Load() == 1 })
	most.Store(0)
	processes[first].end(os.Kill)
	var second string
	await.True(t, "another one takes over", func() bool { second = prober(); return second != "" && second != first && current.Load() == 1 })
	if n := most.Load(); n > 1 {
		t.Errorf("%d calls at a time", n)
	}
	away.Store(false)
	hangs.Store(false)
	free()
	await.True(t, "all is done but what the dead one had", func() bool { return db.Audit().Completed >= 399 })
	if a := db.Audit(); a.Dead != 0 || a.Letters != 0 || a.Duplicated != 0 {
		t.Errorf("%+v", a)
	}
	// A window of 60 results for each of them, at most: what was counted before they knew.
	if more := dbtest.One[int](db, `select coalesce(sum(attempts - 1), 0) from public.orders where attempts > 1`); more > 180 {
		t.Errorf("%d attempts were counted beyond the orders' first ones", more)
	}
}

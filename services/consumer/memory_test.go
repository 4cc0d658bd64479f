package main

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"orderflow.example/kit/await"
	"orderflow.example/services/consumer/internal/dbtest"
)

// memoryLimit is the chart's default for a consumer, in KiB; GOMEMLIMIT is what the chart makes of it.
const (
	memoryLimit = 256 << 10
	goMemLimit  = "230MiB"
)

// Large batches of messages of half a megabyte, and among them 40 of ten: what is too large is buried, everything else is completed,
// and the program's memory stays below the chart's limit.
func TestLargeMessagesStayWithinTheChartsMemory(t *testing.T) {
	t.Parallel()
	if runtime.GOOS != "linux" {
		t.Skip("how much memory was in use at most is in /proc")
	}
	db := dbtest.New(t)
	const small, large, huge = 20, 200, 40
	db.Publish(huge)
	db.Exec(`update pgmq.q_order_queue set message = message || jsonb_build_object('more', repeat('0123456789', 1000000))`)
	db.Publish(large)
	db.Exec(`update pgmq.q_order_queue set message = message || jsonb_build_object('more', repeat('0123456789', 50000)) where not message ? 'more'`)
	// Not all of it can be compressed.
	db.Exec(`update pgmq.q_order_queue set message = message || jsonb_build_object('more', (select string_agg(md5(random()::text || i), '') from generate_series(1, 330000) i))
		where msg_id in (1, 2)`)
	db.Publish(small)

	program := filepath.Join(t.TempDir(), "consumer")
	if output, err := exec.CommandContext(t.Context(), "go", "build", "-o", program, ".").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, output)
	}
	consumer := exec.CommandContext(t.Context(), program)
	consumer.Env = append(os.Environ(), "DATABASE_URL="+db.URL, "GOMEMLIMIT="+goMemLimit, "BATCH_SIZE=1000", "CONCURRENCY=1000",
		"SIMULATE_WORK=20ms", "SIMULATE_FAILURES=none", "METRICS_PORT=-1", "LOG_FORMAT=json")
	var log bytes.Buffer
	consumer.Stderr, consumer.Stdout = &log, &log
	if err := consumer.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- consumer.Wait() }()
	stop := func() error {
		_ = consumer.Process.Signal(syscall.SIGTERM)
		return <-ended
	}

	var a dbtest.Audit
	deadline, again := time.After(await.Limit()), time.NewTicker(50*time.Millisecond)
	defer again.Stop()
	for a.Completed != large+small || a.Letters != huge || a.Queued != 0 {
		select {
		case <-again.C:
			a = db.Audit()
		case err := <-ended:
			t.Fatalf("the consumer has ended: %v\n%s", err, &log)
		case <-deadline:
			t.Fatalf("still not done: %+v; %v\n%s", a, stop(), &log)
		}
	}
	used := mostMemory(t, consumer.Process.Pid)
	if err := stop(); err != nil {
		t.Errorf("%v\n%s", err, &log)
	}
	if a.Dead != huge || a.Duplicated != 0 {
		t.Errorf("%+v", a)
	}
	if used > memoryLimit {
		t.Errorf("%d MiB were in use, where %d are allowed", used>>10, memoryLimit>>10)
	}
	t.Logf("%d MiB at most", used>>10)
	if reasons := dbtest.All[string](db, `select distinct headers->'orderflow-dead'->>'reason' from pgmq.q_order_queue_dlq`); len(reasons) != 1 || reasons[0] != "too_large" {
		t.Errorf("dead for %v", reasons)
	}
	if whole := dbtest.One[int](db, `select count(*) from pgmq.q_order_queue_dlq where octet_length(message->>'more') >= 10000000`); whole != huge {
		t.Errorf("%d dead letters of %d have their body", whole, huge)
	}
}

// mostMemory is the most that a process had in memory at one time, in KiB.
func mostMemory(t *testing.T, pid int) int {
	t.Helper()
	status, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/status")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(status)) {
		if text, found := strings.CutPrefix(line, "VmHWM:"); found {
			kib, err := strconv.Atoi(strings.Fields(text)[0])
			if err != nil {
				t.Fatal(err)
			}
			return kib
		}
	}
	t.Fatal("no VmHWM")
	return 0
}

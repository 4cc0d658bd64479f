package e2e

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"orderflow.example/dev/internal/stack"
	"orderflow.example/kit/testdb"
)

func TestOrdersAreProcessedThoughTheyFailAtFirst(t *testing.T) {
	t.Parallel()
	database := testdb.New(t)
	b := setup(t, database)
	ctx := bounded(t)
	api, err := b.stack.StartAPI(ctx, "api")
	if err != nil {
		t.Fatal(err)
	}
	consumer, err := b.stack.StartConsumer(ctx, "consumer-1", "SIMULATE_WORK=20ms", "BACKOFF_BASE=100ms")
	if err != nil {
		t.Fatal(err)
	}
	report := b.load(t, api, "ORDERS=60", "CONCURRENCY=20").end(t)
	if want := (stack.Audit{Accepted: 60, Completed: 60}); report.ExitCode != 0 || *report.Audit != want {
		t.Errorf("exit code %d, %v; want 0, %v", report.ExitCode, report.Audit, want)
	}

	conn, err := pgx.Connect(ctx, database)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(ctx)
	var orders, wrong, left int
	err = conn.QueryRow(ctx, `select count(*), count(*) filter (where status <> 'completed' or effects <> 1
		or attempts <> 1 + (message_id % 2 = 0)::int + (message_id % 6 = 0)::int), (select count(*) from pgmq.q_order_queue) from orders`).Scan(&orders, &wrong, &left)
	if err != nil || orders != 60 || wrong != 0 || left != 0 {
		t.Errorf("%d orders, %d with other attempts than simulated, %d messages left, %v", orders, wrong, left, err)
	}
	// 30 have an even message id and fail once; 10 of them have one that is divisible by 6, and fail once more.
	eventually(t, "the consumer has counted so", func() error { // it counts when it has been answered
		m, err := consumer.Metrics(ctx)
		if retried, processed := m["orderflow_consumer_messages_retried_total"], m["orderflow_consumer_messages_processed_total"]; err == nil && (retried != 40 || processed != 60) {
			err = fmt.Errorf("%v retries, %v processed; want 40 and 60", retried, processed)
		}
		return err
	})
}

func TestWrongConfigurationEndsAtOnceWithOneLine(t *testing.T) {
	t.Parallel()
	b := programsFor(t)
	for _, c := range []struct {
		service  stack.Service
		variable string
		value    string
	}{
		{stack.API, "QUEUE_NAME", `x"; drop table orders; --`},
		{stack.Consumer, "QUEUE_NAME", `x"; drop table orders; --`},
		{stack.Consumer, "VT", "0"},
		{stack.Consumer, "VT", "-1"},
		{stack.Consumer, "BATCH_SIZE", "abc"},
		{stack.API, "API_PORT", "http"},
		{stack.API, "DATABASE_URL", "mysql://u:secret@h/d"},
		{stack.Consumer, "DATABASE_URL", "mysql://u:secret@h/d"},
		{stack.Loadgen, "ORDERS", "-5"},
		{stack.Loadgen, "API_URL", "ftp://h"},
	} {
		t.Run(string(c.service)+"/"+c.variable+"="+c.value, func(t *testing.T) {
			t.Parallel()
			cmd := exec.CommandContext(bounded(t), b.binaries[c.service])
			cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "LOG_FORMAT=text", "METRICS_PORT=-1", c.variable + "=" + c.value}
			var stderr strings.Builder
			cmd.Stderr = &stderr
			err := cmd.Run()
			var exit *exec.ExitError
			if !errors.As(err, &exit) || exit.ExitCode() != 2 {
				t.Errorf("ended with %v, want exit code 2", err)
			}
			text := strings.TrimSpace(stderr.String())
			if strings.Contains(text, "\n") || !strings.Contains(text, c.variable) || strings.Contains(text, "secret") {
				t.Errorf("stderr is not one line that names %s (without secrets):\n%s", c.variable, text)
			}
		})
	}
}

func TestAnAbsentDatabaseIsWaitedFor(t *testing.T) {
	t.Parallel()
	proxy := testdb.Proxy(t, testdb.New(t))
	proxy.Refuse()
	b := setup(t, proxy.URL)
	ctx := bounded(t)
	var nodes []*stack.Node
	for service, name := range map[stack.Service]string{stack.API: "api", stack.Consumer: "consumer-1"} {
		n, err := b.stack.LaunchNode(ctx, service, name)
		if err != nil {
			t.Fatal(err)
		}
		nodes = append(nodes, n)
	}
	for _, n := range nodes {
		eventually(t, n.Name+" lives and is not ready", func() error {
			if status := get(ctx, n.MetricsURL()+"/livez"); status != http.StatusOK {
				return fmt.Errorf("livez: %d", status)
			}
			if status := get(ctx, n.MetricsURL()+"/readyz"); status != http.StatusServiceUnavailable {
				return fmt.Errorf("readyz: %d", status)
			}
			return nil
		})
		if !n.Process().Running() {
			t.Errorf("%s has ended: %v", n.Name, n.Process().Failure())
		}
	}
	proxy.Accept()
	for _, n := range nodes {
		if err := n.WaitReady(ctx); err != nil {
			t.Error(err)
		}
	}
}

func get(ctx context.Context, url string) int {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, http.NoBody)
	if err != nil {
		return 0
	}
	client := http.Client{Timeout: 5 * time.Second, Transport: &http.Transport{DisableKeepAlives: true}}
	resp, err := client.Do(req)
	if err != nil {
		return 0
	}
	defer resp.Body.Close()
	_, _ = io.Copy(io.Discard, resp.Body) // the status is what counts
	return resp.StatusCode
}

func TestReplicasAndAMigrationStartTogetherOnAnEmptyDatabase(t *testing.T) {
	t.Parallel()
	database := testdb.Empty(t)
	b := setup(t, database)
	ctx := bounded(t)
	errs := make([]error, 3)
	var together sync.WaitGroup
	for i := range 2 {
		together.Go(func() { _, errs[i] = b.stack.StartAPI(ctx, fmt.Sprintf("api-%d", i+1)) })
	}
	together.Go(func() { errs[2] = stack.Migrate(ctx, b.session, b.binaries, database) })
	together.Wait()
	if err := errors.Join(errs...); err != nil {
		t.Fatal(err)
	}
	for _, n := range b.stack.Nodes(stack.API) {
		loadgen, err := b.stack.Loadgen(n, nil, "ORDERS=5", "AUDIT=false", "PROGRESS=off")
		if err != nil {
			t.Fatal(err)
		}
		if code, err := loadgen.Wait(ctx); err != nil || code != 0 {
			t.Errorf("orders through %s: exit code %d, %v", n.Name, code, err)
		}
	}
}

func TestASecondSignalEndsAConsumerAtOnce(t *testing.T) {
	t.Parallel()
	b := setup(t, testdb.New(t))
	ctx := bounded(t)
	api, err := b.stack.StartAPI(ctx, "api")
	if err != nil {
		t.Fatal(err)
	}
	consumer, err := b.stack.StartConsumer(ctx, "consumer-1", "SIMULATE_WORK=40s", "VT=60", "DRAIN_TIMEOUT=1m")
	if err != nil {
		t.Fatal(err)
	}
	loadgen, err := b.stack.Loadgen(api, nil, "ORDERS=1", "AUDIT=false", "PROGRESS=off")
	if err != nil {
		t.Fatal(err)
	}
	if code, err := loadgen.Wait(ctx); err != nil || code != 0 {
		t.Fatalf("loadgen: %d, %v", code, err)
	}
	eventually(t, "the handler runs", func() error {
		m, err := consumer.Metrics(ctx)
		if err == nil && m["orderflow_consumer_messages_in_flight"] != 1 {
			err = fmt.Errorf("in flight: %v", m["orderflow_consumer_messages_in_flight"])
		}
		return err
	})
	if err := consumer.Process().Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	eventually(t, "it drains", func() error {
		if status := get(ctx, consumer.MetricsURL()+"/readyz"); status != http.StatusServiceUnavailable {
			return fmt.Errorf("readyz: %d", status)
		}
		return nil
	})
	if err := consumer.Process().Stop(ctx, syscall.SIGTERM, time.Minute); err != nil {
		t.Errorf("the second signal: %v", err)
	}
}

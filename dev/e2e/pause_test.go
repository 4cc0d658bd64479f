package e2e

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	"orderflow.example/dev/internal/stack"
	"orderflow.example/kit/testdb"
)

// An operator stops the queue by way of the api: what a consumer works on it finishes, nothing else is begun, also after everybody was
// started anew, until he lets it go on.
func TestTheApiStopsTheConsumers(t *testing.T) {
	t.Parallel()
	const orders = 40
	b := setup(t, testdb.New(t))
	ctx := bounded(t)
	const token = "admin-token-0123456789"
	api, err := b.stack.StartAPI(ctx, "api", "ADMIN_TOKEN="+token)
	if err != nil {
		t.Fatal(err)
	}
	// One after the other they would take four minutes. Without a notification the consumer would not look for five.
	slow, err := b.stack.StartConsumer(ctx, "consumer-1", "SIMULATE_WORK=6s", "SIMULATE_FAILURES=none", "CONCURRENCY=1", "VT=30", "POLL_INTERVAL=5m")
	if err != nil {
		t.Fatal(err)
	}
	load := b.load(t, api, fmt.Sprintf("ORDERS=%d", orders), "AUDIT=false")
	if code, err := load.Wait(ctx); err != nil || code != 0 {
		t.Fatalf("orders: %d, %v", code, err)
	}
	measured := func(n *stack.Node, name string, want float64) {
		t.Helper()
		eventually(t, name, func() error {
			m, err := n.Metrics(ctx)
			if err == nil && m["orderflow_consumer_"+name] != want {
				err = fmt.Errorf("%v, want %v", m["orderflow_consumer_"+name], want)
			}
			return err
		})
	}
	measured(slow, "messages_in_flight", 1)

	ask(ctx, t, api.URL()+"/queue/pause", token, `{"reason":"the warehouse moves"}`, `"state":"paused"`)
	measured(slow, "paused", 1)
	measured(slow, "messages_in_flight", 0)
	says(ctx, t, slow, "by the api: the warehouse moves")
	b.until(t, "what ran is done, and what waited is handed back", `select count(*) filter (where status = 'completed') > 0
		and (select count(*) from pgmq.q_order_queue where vt <= clock_timestamp()) = count(*) filter (where status = 'pending') from orders`)
	done, err := scalar(ctx, b.stack.DatabaseURL(), `select count(*) from orders where status = 'completed'`)
	if err != nil || done == orders {
		t.Fatalf("%d orders are completed, %v", done, err)
	}

	// It survives all who know of it.
	slow.Kill()
	if err := api.Stop(ctx); err != nil {
		t.Fatal(err)
	}
	if err := api.Start(); err != nil {
		t.Fatal(err)
	}
	if err := api.WaitReady(ctx); err != nil {
		t.Fatal(err)
	}
	quick, err := b.stack.StartConsumer(ctx, "consumer-2", "SIMULATE_WORK=0", "SIMULATE_FAILURES=none", "POLL_INTERVAL=5m")
	if err != nil {
		t.Fatal(err)
	}
	measured(quick, "paused", 1)
	says(ctx, t, quick, "by the api: the warehouse moves")
	if now, err := scalar(ctx, b.stack.DatabaseURL(), `select count(*) from orders where status = 'completed'`); err != nil || now != done {
		t.Errorf("%d orders are completed, and %d were before, %v", now, done, err)
	}

	ask(ctx, t, api.URL()+"/queue/resume", token, "", `"state":"running"`)
	b.until(t, "the rest is done", fmt.Sprintf(`select count(*) = %d from orders where status = 'completed' and effects = 1 and attempts = 1`, orders))
	measured(quick, "paused", 0)
	measured(quick, "messages_processed_total", float64(orders-done))
}

// ask makes an admin's call, whose answer is to contain something.
func ask(ctx context.Context, t *testing.T, url, token, body, want string) {
	t.Helper()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+token)
	if body != "" {
		req.Header.Set("Content-Type", "application/json")
	}
	resp, err := anew.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if text, err := io.ReadAll(resp.Body); err != nil || resp.StatusCode != http.StatusOK || !strings.Contains(string(text), want) {
		t.Fatalf("%s: %d %s, %v", url, resp.StatusCode, text, err)
	}
}

// says waits until a consumer's readiness contains something.
func says(ctx context.Context, t *testing.T, n *stack.Node, want string) {
	t.Helper()
	eventually(t, "it says so", func() error {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, n.MetricsURL()+"/readyz", http.NoBody)
		if err != nil {
			return err
		}
		resp, err := anew.Do(req)
		if err != nil {
			return err
		}
		defer resp.Body.Close()
		text, err := io.ReadAll(resp.Body)
		if err == nil && !strings.Contains(string(text), want) {
			err = fmt.Errorf("readyz: %s", text)
		}
		return err
	})
}

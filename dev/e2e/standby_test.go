package e2e

import (
	"context"
	"io"
	"net/http"
	"strconv"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"orderflow.example/dev/internal/postgres"
	"orderflow.example/dev/internal/stack"
	"orderflow.example/kit/testlog"
)

// The server waits for a standby that does not come, and is told not to wait: it warns, and says that it has committed. No standby has
// the order, so it is not accepted: not at once, and not by its key either, until the standby is no longer asked for.
func TestWhatNoStandbyHasIsNotAccepted(t *testing.T) {
	t.Parallel()
	b := programsFor(t)
	server, err := postgres.Open(t.Context(), postgres.Options{Session: b.session, From: "local", MaxConnections: 60})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := server.Close(context.Background()); err != nil {
			t.Error(err)
		}
	})
	var log testlog.Buffer
	api := b.start(t, stack.API, 0, &log, "DATABASE_URL="+server.URL(), "MIGRATE_ON_START=true", "REQUEST_TIMEOUT=1m")
	db, err := pgx.Connect(t.Context(), server.URL())
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close(context.Background())
	exec := func(sql string) {
		t.Helper()
		if _, err := db.Exec(t.Context(), sql); err != nil {
			t.Fatal(err)
		}
	}
	exec(`set synchronous_commit = local`)
	exec(`alter system set synchronous_standby_names = 'nobody'`)
	exec(`select pg_reload_conf()`)
	// Whoever waits for the standby is told not to. Only the api's rehearsals are counted, and each once: others may have something to commit, too.
	rehearsals := map[string]bool{}
	cancel := func() {
		rows, err := db.Query(t.Context(), `
			with waiting as materialized (
				select query_start::text as since, strpos(query, 'pg_logical_emit_message') > 0 as rehearses, pg_cancel_backend(pid)
				from pg_stat_activity where wait_event = 'SyncRep')
			select since from waiting where rehearses`)
		if err != nil {
			t.Fatal(err)
		}
		found, err := pgx.CollectRows(rows, pgx.RowTo[string])
		if err != nil {
			t.Fatal(err)
		}
		for _, since := range found {
			rehearsals[since] = true
		}
	}
	ask := func(key string) (answer string) {
		answers := make(chan string, 1)
		go func() { answers <- post(t, api.url, key) }()
		eventually(t, "the answer to an order", func() error {
			cancel() // each time that it waits
			select {
			case answer = <-answers:
				return nil
			default:
				return io.ErrNoProgress
			}
		})
		return answer
	}
	// The server has read its settings when its checkpointer has, and then no commit is answered any more. Until then each order needs a key
	// of its own. The first that is not accepted was on its way; those after it may be refused without being tried, while the api rehearses.
	tried, key, answer := 0, "", ""
	eventually(t, "commits to wait for a standby", func() error {
		tried++
		key = "k" + strconv.Itoa(tried)
		if answer = ask(key); strings.HasPrefix(answer, "201") {
			return io.ErrNoProgress
		}
		return nil
	})
	if !strings.HasPrefix(answer, "503") || !strings.Contains(answer, "it is not known") {
		t.Errorf("an order with the key %q was answered %s", key, answer)
	}
	if answer := ask(""); !strings.HasPrefix(answer, "503") || !strings.Contains(answer, "written") {
		t.Errorf("an order without a key was answered %s", answer)
	}
	eventually(t, "readiness to say why", func() error {
		cancel()
		resp, err := anew.Get(api.metrics + "/readyz")
		if err != nil {
			return err
		}
		defer resp.Body.Close()
		text, err := io.ReadAll(resp.Body)
		if err == nil && (resp.StatusCode != http.StatusServiceUnavailable || !strings.Contains(string(text), "waits for a synchronous standby")) {
			return io.ErrNoProgress
		}
		return err
	})
	// Nobody orders any more. What is rehearsed waits for the standby, too, or it would show nothing.
	clear(rehearsals)
	eventually(t, "rehearsals to wait for the standby", func() error {
		cancel()
		return want(min(len(rehearsals), 3), 3)
	})
	exec(`alter system reset synchronous_standby_names`)
	exec(`select pg_reload_conf()`)
	eventually(t, "readiness", func() error { return api.get("/readyz") })
	if answer := post(t, api.url, key); !strings.HasPrefix(answer, "201") {
		t.Errorf("the order with the key is answered %s", answer)
	}
	var orders int
	if err := db.QueryRow(t.Context(), `select count(*) from orders where idempotency_key = $1`, key).Scan(&orders); err != nil || orders != 1 {
		t.Errorf("there are %d orders with the key (%v)", orders, err)
	}
}

// post orders something, and returns the status and the body of the answer.
func post(t *testing.T, url, key string) string {
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, url+"/orders", strings.NewReader(anOrder))
	if err != nil {
		return err.Error()
	}
	req.Header.Set("Content-Type", "application/json")
	if key != "" {
		req.Header.Set("Idempotency-Key", key)
	}
	resp, err := anew.Do(req)
	if err != nil {
		return err.Error()
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		return err.Error()
	}
	return resp.Status + " " + string(text)
}

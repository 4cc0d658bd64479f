package main

import (
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"

	"github.com/jackc/pgx/v5"

	"orderflow.example/kit/await"
	"orderflow.example/kit/testdb"
)

// consuming is what an answer says of the consumers.
func consuming(t *testing.T, a answer) map[string]any {
	t.Helper()
	body := a.json(t)
	if a.status != http.StatusOK || body["queue"] != "order_queue" {
		t.Fatalf("got %d %s", a.status, a.body)
	}
	return body["consuming"].(map[string]any)
}

// The second who pauses changes nothing, nor does one who resumes what runs; and the consumers are told of each change, once.
func TestAQueueIsPausedAndResumed(t *testing.T) {
	t.Parallel()
	db := testdb.New(t)
	env := map[string]string{"DATABASE_URL": db, "ADMIN_TOKEN": "sesame"}
	s := started(t, env)
	listener, conn := testdb.Connect(t, db), testdb.Connect(t, db)
	if _, err := listener.Exec(t.Context(), `listen orderflow_order_queue`); err != nil {
		t.Fatal(err)
	}
	told := func(what, want string) {
		t.Helper()
		// One of our own comes after all that was sent before.
		if _, err := conn.Exec(t.Context(), `select pg_notify('orderflow_order_queue', 'the test')`); err != nil {
			t.Fatal(err)
		}
		got := ""
		for {
			n, err := listener.WaitForNotification(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			if n.Payload == "the test" {
				break
			}
			got += n.Payload + " "
		}
		if strings.TrimSpace(got) != want {
			t.Errorf("%s: the consumers are told %q, want %q", what, got, want)
		}
	}

	if c := consuming(t, s.post(t, "/queue/resume", "", admin...)); c["state"] != "running" || c["since"] != nil {
		t.Errorf("resumed before it was ever paused: %v", c)
	}
	told("nothing has changed", "")
	first := s.post(t, "/queue/pause", `{"reason":"the warehouse moves"}`, admin...)
	since, _ := consuming(t, first)["since"].(string)
	if c := consuming(t, first); c["state"] != "paused" || c["by"] != "the api" || c["reason"] != "the warehouse moves" || !exampleTime.MatchString(since) {
		t.Errorf("paused: %v", c)
	}
	told("paused", "gate")
	if again := s.post(t, "/queue/pause", `{"reason":"another"}`, admin...); again.body != first.body {
		t.Errorf("paused again: %s, and first: %s", again.body, first.body)
	}
	told("nothing has changed", "")

	// It is the database that knows, and so does an api that is started later.
	later := started(t, env)
	if c := consuming(t, later.get(t, "/queue")); fmt.Sprint(c) != fmt.Sprint(consuming(t, first)) {
		t.Errorf("GET /queue says %v", c)
	}
	if a := later.post(t, "/orders", orderJSON(1)); a.status != http.StatusCreated {
		t.Errorf("an order meanwhile: %d %s", a.status, a.body)
	}
	told("an order", "") // by the api's notifier, which says nothing in particular
	if c := consuming(t, later.post(t, "/queue/resume", "", admin...)); c["state"] != "running" || c["by"] != "" || c["reason"] != "" {
		t.Errorf("resumed: %v", c)
	}
	told("resumed", "gate")
	if c := consuming(t, s.post(t, "/queue/pause", "", admin...)); c["state"] != "paused" || c["reason"] != "" || c["since"] == since {
		t.Errorf("paused without a reason: %v", c)
	}

	// What else the gate knows stays.
	if _, err := conn.Exec(t.Context(), `update orderflow.gate set breaker_open = true, since = now(), reason = 'nobody is there', failures = 3`); err != nil {
		t.Fatal(err)
	}
	if c := consuming(t, s.post(t, "/queue/resume", "", admin...)); c["state"] != "breaker_open" || c["reason"] != "nobody is there" {
		t.Errorf("resumed while the breaker is open: %v", c)
	}
	if n := count(t, db, `select failures from orderflow.gate where revision > 0`); n != 3 {
		t.Errorf("%d failures are noted", n)
	}
}

// Of those who pause at once one is named, to all of them; each change has its own revision.
func TestTwoPauseAtOnce(t *testing.T) {
	t.Parallel()
	db := testdb.New(t)
	s := started(t, map[string]string{"DATABASE_URL": db, "ADMIN_TOKEN": "sesame"})
	conn := testdb.Connect(t, db)
	for round := range 10 {
		answers := make([]string, 4)
		var all sync.WaitGroup
		for i := range answers {
			all.Go(func() {
				a, err := s.try(http.MethodPost, "/queue/pause", fmt.Sprintf(`{"reason":"%d of %d"}`, i, round), admin)
				if err != nil || a.status != http.StatusOK {
					t.Errorf("got %d %s, %v", a.status, a.body, err)
				}
				answers[i] = a.body
			})
		}
		all.Wait()
		for _, body := range answers {
			if body != answers[0] || !strings.Contains(body, fmt.Sprintf(` of %d"`, round)) {
				t.Errorf("round %d: one is told %s, another %s", round, body, answers[0])
			}
		}
		var before, after int64
		revision := func(to *int64) {
			t.Helper()
			if err := conn.QueryRow(t.Context(), `select revision from orderflow.gate`).Scan(to); err != nil {
				t.Fatal(err)
			}
		}
		revision(&before)
		for range answers {
			all.Go(func() {
				if a, err := s.try(http.MethodPost, "/queue/resume", "", admin); err != nil || !strings.Contains(a.body, `"running"`) {
					t.Errorf("got %d %s, %v", a.status, a.body, err)
				}
			})
		}
		all.Wait()
		if revision(&after); after <= before {
			t.Errorf("revision %d after %d", after, before)
		}
	}
}

func TestWhatIsNoReasonIsRefused(t *testing.T) {
	t.Parallel()
	db := testdb.New(t)
	s := started(t, map[string]string{"DATABASE_URL": db, "ADMIN_TOKEN": "sesame"})
	for body, want := range map[string]string{
		`{"reason":7}`:                                  `422 "body.reason"`,
		`{"reason":null}`:                               `422 "body.reason"`,
		`{"Reason":"x"}`:                                `422 "body.Reason"`,
		`{"reason":"x","until":1}`:                      `422 "body.until"`,
		`{"reason":"x","reason":1}`:                     `422 "body.reason"`,
		`{"reason":"` + strings.Repeat("x", 201) + `"}`: `422 "body.reason"`,
		`{"reason":"` + "\\u0000" + `"}`:                `422 "body.reason"`,
		`[]`:                                            `422 "body"`,
		`{`:                                             `400 "body"`,
		`{"reason":"x"} x`:                              `400 "body"`,
	} {
		status, location, _ := strings.Cut(want, " ")
		if a := s.post(t, "/queue/pause", body, admin...); fmt.Sprint(a.status) != status || !strings.Contains(a.body, location) ||
			a.header.Get("Content-Type") != "application/problem+json" {
			t.Errorf("%.40s: got %d %s, want %s", body, a.status, a.body, want)
		}
	}
	if a := s.post(t, "/queue/pause?reason=x", "", admin...); a.status != http.StatusUnprocessableEntity {
		t.Errorf("a parameter: got %d %s", a.status, a.body)
	}
	if a := s.do(t, http.MethodPost, "/queue/pause", "reason=x", append([]string{"Content-Type", "application/x-www-form-urlencoded"}, admin...)); a.status != http.StatusUnsupportedMediaType {
		t.Errorf("a form: got %d %s", a.status, a.body)
	}
	if n := count(t, db, `select count(*) from orderflow.gate`); n != 0 {
		t.Error("something was paused all the same")
	}
}

// What has not happened is not said to have: the call is to come again.
func TestAPauseThatCannotBe(t *testing.T) {
	t.Parallel()
	db := testdb.New(t)
	proxy := testdb.Proxy(t, db)
	s := started(t, map[string]string{"DATABASE_URL": proxy.URL, "ADMIN_TOKEN": "sesame"})
	conn := testdb.Connect(t, db)
	refused := func(what string, calls ...string) {
		t.Helper()
		for _, path := range calls {
			if a := s.post(t, path, "", admin...); a.status != http.StatusServiceUnavailable || a.header.Get("Retry-After") == "" {
				t.Errorf("%s, %s: got %d %s", what, path, a.status, a.body)
			}
		}
	}
	held := func(event string, calls ...string) {
		t.Helper()
		if _, err := conn.PgConn().Exec(t.Context(), `create function never() returns trigger language plpgsql as 'begin return null; end';
			create trigger never before `+event+` on orderflow.gate for each row execute function never()`).ReadAll(); err != nil {
			t.Fatal(err)
		}
		refused("a trigger on "+event, calls...)
		if _, err := conn.Exec(t.Context(), `drop function never cascade`); err != nil {
			t.Fatal(err)
		}
	}
	held("insert", "/queue/pause")
	consuming(t, s.post(t, "/queue/pause", "", admin...))
	held("update", "/queue/resume")
	if c := consuming(t, s.post(t, "/queue/resume", "", admin...)); c["state"] != "running" {
		t.Errorf("resumed: %v", c)
	}
	held("update", "/queue/pause")

	proxy.Refuse()
	await.True(t, "an outage", func() bool { return s.get(t, "/readyz").status == http.StatusServiceUnavailable })
	refused("the database is away", "/queue/pause", "/queue/resume")
	proxy.Accept()
	s.awaitReady(t)
	await.True(t, "it works again", func() bool { return s.post(t, "/queue/pause", "", admin...).status == http.StatusOK })
}

// Somebody who keeps the row keeps nobody waiting for longer than any other call.
func TestAPauseDoesNotWaitForEver(t *testing.T) {
	t.Parallel()
	db := testdb.New(t)
	s := started(t, map[string]string{"DATABASE_URL": db, "ADMIN_TOKEN": "sesame", "REQUEST_TIMEOUT": "2s"})
	await.True(t, "a pause within two seconds", func() bool { return s.post(t, "/queue/pause", "", admin...).status == http.StatusOK })
	tx, err := testdb.Connect(t, db).BeginTx(t.Context(), pgx.TxOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := tx.Exec(t.Context(), `select from orderflow.gate for update`); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{"/queue/pause", "/queue/resume"} {
		if a := s.post(t, path, "", admin...); a.status != http.StatusServiceUnavailable {
			t.Errorf("%s: got %d %s", path, a.status, a.body)
		}
	}
	if err := tx.Rollback(t.Context()); err != nil {
		t.Fatal(err)
	}
	await.True(t, "the row is free", func() bool { return s.post(t, "/queue/resume", "", admin...).status == http.StatusOK })
}

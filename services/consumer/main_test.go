package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"

	"orderflow.example/kit/await"
	"orderflow.example/kit/env"
	"orderflow.example/kit/testdb"
	"orderflow.example/kit/testlog"
	"orderflow.example/services/consumer/internal/app"
	"orderflow.example/services/consumer/internal/dbtest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// environment holds the settings of one run of the program, and nothing of the machine's.
func environment(settings map[string]string) env.Lookup {
	return func(name string) (string, bool) {
		value, set := settings[name]
		return value, set
	}
}

func call(t *testing.T, settings map[string]string, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	var out, err bytes.Buffer
	code = (&app.App{Version: version}).Program().Run(context.Background(), args, environment(settings), &out, &err, nil)
	return code, out.String(), err.String()
}

func TestCommandsAndTheirExitCodes(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		args           []string
		code           int
		stdout, stderr string
	}{
		{[]string{"version"}, 0, "dev\n", ""},
		{[]string{"config"}, 0, "| `BATCH_SIZE` | `0` |", ""},
		{[]string{"-h"}, 0, "usage: consumer", ""},
		{[]string{"doctor", "-h"}, 0, "usage: consumer", ""},
		{[]string{"config", "-v"}, 0, "| `BATCH_SIZE` |", ""},
		{[]string{"dance"}, 2, "", `unknown command "dance"`},
		{[]string{"--fast"}, 2, "", "not defined"},
		{[]string{"doctor", "please"}, 2, "", `unexpected argument "please"`},
	} {
		code, stdout, stderr := call(t, nil, test.args...)
		if code != test.code || !strings.Contains(stdout, test.stdout) || !strings.Contains(stderr, test.stderr) {
			t.Errorf("%v: %d\n%s\n%s", test.args, code, stdout, stderr)
		}
	}
}

func TestAWrongConfigurationIsOneLineAndExitCode2(t *testing.T) {
	t.Parallel()
	code, stdout, stderr := call(t, map[string]string{"VT": "-1", "BATCH_SIZE": "abc", "QUEUE_NAME": `x"; drop table orders; --`})
	if code != 2 || stdout != "" || strings.Count(stderr, "\n") != 1 {
		t.Fatalf("%d\n%s\n%s", code, stdout, stderr)
	}
	for _, name := range []string{"VT=", "BATCH_SIZE=", "QUEUE_NAME="} {
		if !strings.Contains(stderr, name) {
			t.Errorf("%s is not named: %s", name, stderr)
		}
	}
}

func TestDoctorExitsWith1WhenTheDatabaseIsAway(t *testing.T) {
	t.Parallel()
	if code, _, stderr := call(t, map[string]string{"DATABASE_URL": "postgres://u:geheim@127.0.0.1:1/d"}, "doctor"); code != 1 || !strings.Contains(stderr, "cannot examine") || strings.Contains(stderr, "geheim") {
		t.Fatalf("%d %s", code, stderr)
	}
}

// The database is slow when the doctor is called.
func TestDoctorHasPatienceWithASlowDatabase(t *testing.T) {
	t.Parallel()
	db := dbtest.New(t)
	db.Exec(`create or replace function orderflow.standbys() returns table (name text, state text, sync_state text)
		language plpgsql security definer as $$ begin perform pg_sleep(4); end $$`)
	if _, stdout, stderr := call(t, map[string]string{"DATABASE_URL": db.URL}, "doctor"); stderr != "" || !strings.Contains(stdout, "Queue order_queue in database") {
		t.Errorf("%s\n%s", stdout, stderr)
	}
}

// Whoever looks is no consumer, and several connections of one consumer are one.
func TestTheDoctorCountsConsumersOnly(t *testing.T) {
	t.Parallel()
	db := dbtest.New(t)
	db.Publish(1)
	db.Exec(`update pgmq.q_order_queue set vt = vt - interval '1 hour'`)
	says := func(url, want string) {
		t.Helper()
		code, stdout, stderr := call(t, map[string]string{"DATABASE_URL": url}, "doctor")
		if code != 1 || !strings.Contains(stdout, "LOOK  lag ") || !strings.Contains(stdout, want) {
			t.Errorf("%d, no %q in\n%s%s", code, want, stdout, stderr)
		}
	}
	says(db.URL, "No consumer is connected, as far as ")
	for _, name := range []string{"orders", "orderflow-prod", "orderflow-consumer"} {
		says(db.URL+"&application_name="+name, "Are there consumers? DATABASE_URL, or PGAPPNAME, gives sessions a name of its own, so their sessions cannot be told apart")
	}
	for range 2 {
		testdb.Connect(t, db.URL+"&application_name=orderflow-consumer%20one")
	}
	says(db.URL, "1 consumers are connected")
	says(db.URL+"&application_name=orders", "1 consumers are connected") // the doctor alone is called so
}

// started is the program at work in this process.
type started struct {
	signals chan os.Signal
	ended   chan int
	log     *testlog.Buffer
}

func start(t *testing.T, db *dbtest.DB, settings map[string]string) *started {
	t.Helper()
	all := map[string]string{"DATABASE_URL": db.URL, "LOG_FORMAT": "json", "METRICS_PORT": "0"}
	for name, value := range settings {
		all[name] = value
	}
	s := &started{signals: make(chan os.Signal, 2), ended: make(chan int, 1), log: &testlog.Buffer{}}
	go func() {
		s.ended <- (&app.App{Version: version}).Program().Run(context.Background(), []string{"-v"}, environment(all), io.Discard, s.log, s.signals)
	}()
	return s
}

func (s *started) end(t *testing.T) int {
	t.Helper()
	var code int
	await.True(t, "it ends", func() bool {
		select {
		case code = <-s.ended:
			return true
		default:
			return false
		}
	})
	return code
}

// get asks the port of metrics and probes, once there has been something to do with it.
func (s *started) get(t *testing.T, path string) (status int, body string) {
	t.Helper()
	address := regexp.MustCompile(`"address":"\[::\]:(\d+)"`).FindStringSubmatch(s.log.String())
	if address == nil {
		t.Fatalf("no address in the log:\n%s", s.log)
	}
	answer, err := http.Get("http://127.0.0.1:" + address[1] + path)
	if err != nil {
		t.Fatal(err)
	}
	defer http.DefaultClient.CloseIdleConnections()
	defer answer.Body.Close()
	read, err := io.ReadAll(answer.Body)
	if err != nil {
		t.Fatal(err)
	}
	return answer.StatusCode, string(read)
}

func TestItConsumesUntilASignalAndSpeaksAsTheExampleDoes(t *testing.T) {
	t.Parallel()
	db := dbtest.New(t)
	db.Publish(12)
	s := start(t, db, map[string]string{"SIMULATE_WORK": "1ms", "BACKOFF_BASE": "1ms", "BACKOFF_MAX": "10ms"})
	await.True(t, "all orders are completed", func() bool { return db.Audit().Completed == 12 })

	await.True(t, "the doctor's figures are among the metrics", func() bool { // a look that takes long is left out, and taken again later
		_, body := s.get(t, "/metrics")
		return strings.Contains(body, `orderflow_consumer_doctor_dead_rows{table="pgmq.q_order_queue"}`)
	})
	await.True(t, "what the doctor finds is published", func() bool {
		return dbtest.One[bool](db, `select exists (select from orderflow.findings where at is not null)`)
	})
	for path, want := range map[string]string{"/readyz": "consuming", "/livez": "moving", "/metrics": "\norderflow_consumer_database_up 1\n"} {
		if status, body := s.get(t, path); status != http.StatusOK || !strings.Contains(body, want) {
			t.Errorf("%s: %d, no %s in\n%s", path, status, want, body)
		}
	}
	s.signals <- syscall.SIGTERM
	if code := s.end(t); code != 0 {
		t.Fatalf("exit code %d", code)
	}
	for _, line := range []string{
		"Starting consumer for queue: order_queue", "Batch size: up to 1000, Visibility timeout: 10s", "Received 12 messages",
		"Order 2 processed fail at first try", "Order 6 processed fail at second try", "Message 2 processing failed, will retry later",
		"Order 1 processed successfully", `"order_id":2,"msg_id":2,"attempt":1,"trace_id":"4bf92f3577b34da6a3ce929d0e0e4736"`,
	} {
		if !strings.Contains(s.log.String(), line) {
			t.Errorf("not in the log: %s\n%s", line, s.log)
		}
	}
}

// What the process has in memory is not for everybody who reaches the port of metrics.
func TestTheProfilerIsServedWhereItIsAskedFor(t *testing.T) {
	t.Parallel()
	for pprof, want := range map[string]int{"false": http.StatusNotFound, "true": http.StatusOK} {
		t.Run("PPROF="+pprof, func(t *testing.T) {
			t.Parallel()
			s := start(t, dbtest.New(t), map[string]string{"PPROF": pprof})
			await.True(t, "it has started", func() bool { return strings.Contains(s.log.String(), "Starting consumer for queue") })
			if status, _ := s.get(t, "/debug/pprof/"); status != want {
				t.Errorf("status %d, want %d", status, want)
			}
			s.signals <- syscall.SIGTERM
			if code := s.end(t); code != 0 {
				t.Errorf("exit code %d", code)
			}
		})
	}
}

// The default is the example's, for trying things out. Whoever gives it real orders is to know that nothing is done with them.
func TestSimulatingIsWarnedOf(t *testing.T) {
	t.Parallel()
	const warning = `"level":"WARN","msg":"HANDLER=simulate: orders are completed, and nothing is done with them; for real orders set HANDLER=webhook or HANDLER=sql"`
	for handler, warned := range map[string]bool{"": true, "simulate": true, "webhook": false, "sql": false} {
		t.Run("HANDLER="+handler, func(t *testing.T) {
			t.Parallel()
			settings := map[string]string{}
			if handler != "" {
				settings = map[string]string{"HANDLER": handler, "WEBHOOK_URL": "http://127.0.0.1:1/", "EFFECT_FUNCTION": "shop.fulfil"}
			}
			s := start(t, dbtest.New(t), settings)
			await.True(t, "it has started", func() bool { return strings.Contains(s.log.String(), "Starting consumer for queue") })
			s.signals <- syscall.SIGTERM
			if code := s.end(t); code != 0 {
				t.Fatalf("exit code %d", code)
			}
			if strings.Contains(s.log.String(), warning) != warned {
				t.Errorf("warned: %t, want %t\n%s", !warned, warned, s.log)
			}
		})
	}
}

// An operator stops the queue, and what runs and what is started meanwhile obeys until he lets it go on.
func TestAQueueIsPausedByCommand(t *testing.T) {
	t.Parallel()
	db := dbtest.New(t)
	settings := map[string]string{"DATABASE_URL": db.URL, "CONSUMER_ID": "the operator"}
	command := func(name, want string) {
		t.Helper()
		if code, stdout, stderr := call(t, settings, name); code != 0 || !strings.HasPrefix(stdout, "order_queue: "+want) {
			t.Errorf("%s: %d %s%s", name, code, stdout, stderr)
		}
	}
	command("status", "running")
	s := start(t, db, map[string]string{"SIMULATE_WORK": "0", "SIMULATE_FAILURES": "none", "POLL_INTERVAL": "5m"})
	db.Publish(3)
	await.True(t, "it works", func() bool { return db.Audit().Completed == 3 })
	command("pause", "paused since ")
	command("status", "paused since ")
	await.True(t, "it has heard", func() bool { _, body := s.get(t, "/readyz"); return strings.Contains(body, "by the operator") })
	late := start(t, db, map[string]string{"SIMULATE_WORK": "0", "SIMULATE_FAILURES": "none", "POLL_INTERVAL": "5m"})
	await.True(t, "one that is started later knows", func() bool { return strings.Contains(late.log.String(), "consuming is paused") })
	db.Publish(3)
	command("pause", "paused since ")
	if a := db.Audit(); a.Completed != 3 {
		t.Errorf("%+v", a)
	}
	command("resume", "running")
	await.True(t, "they work again", func() bool { return db.Audit().Completed == 6 })
	for _, one := range []*started{s, late} {
		one.signals <- syscall.SIGTERM
		if code := one.end(t); code != 0 {
			t.Errorf("exit code %d", code)
		}
	}
	settings["DATABASE_URL"] = "postgres://u:geheim@127.0.0.1:1/d"
	if code, _, stderr := call(t, settings, "pause"); code != 1 || !strings.Contains(stderr, "cannot pause") || strings.Contains(stderr, "geheim") {
		t.Errorf("%d %s", code, stderr)
	}
}

// Each says what is missing and what to change, and none has the server's words for it.
func TestCommandsSayWhatTheyMiss(t *testing.T) {
	t.Parallel()
	db := dbtest.New(t)
	bare := dbtest.New(t)
	bare.Exec(`drop table orderflow.gate cascade`)
	role := fmt.Sprint("consumer_stranger_", time.Now().UnixNano())
	db.Exec(`create role ` + role)
	t.Cleanup(func() { db.Exec(`drop role ` + role) })
	for name, test := range map[string]struct {
		settings map[string]string
		want     string
	}{
		"the queue":  {map[string]string{"DATABASE_URL": db.URL, "QUEUE_NAME": "nope"}, "QUEUE_NAME"},
		"the schema": {map[string]string{"DATABASE_URL": bare.URL}, "api migrate"},
		"a right":    {map[string]string{"DATABASE_URL": db.URL + "&role=" + role}, "CONSUMER_DB_ROLE"},
	} {
		for _, command := range []string{"pause", "resume", "status"} {
			code, stdout, stderr := call(t, test.settings, command)
			if code != 1 || stdout != "" || !strings.Contains(stderr, test.want) || !strings.Contains(stderr, "consumer doctor") || strings.Contains(stderr, "cannot status") {
				t.Errorf("%s without %s: %d %s%s", command, name, code, stdout, stderr)
			}
		}
	}
}

func TestASecondSignalExitsAtOnce(t *testing.T) {
	t.Parallel()
	db := dbtest.New(t)
	db.Publish(1)
	s := start(t, db, map[string]string{"SIMULATE_WORK": "10s", "VT": "60"})
	await.True(t, "the message is there", func() bool { return strings.Contains(s.log.String(), "Received 1 messages") })
	await.True(t, "a handler works on it", func() bool { // one that had not begun would be handed back, and never done
		_, metrics := s.get(t, "/metrics")
		return strings.Contains(metrics, "\norderflow_consumer_messages_in_flight 1\n")
	})
	s.signals <- syscall.SIGTERM
	s.signals <- syscall.SIGTERM
	if code := s.end(t); code != 1 {
		t.Fatalf("exit code %d", code)
	}
	if strings.Contains(s.log.String(), "drained") || !strings.Contains(s.log.String(), "another signal received") {
		t.Fatalf("%s", s.log)
	}
	// The process would be gone; this one waits for what it has left behind.
	await.True(t, "the order is done", func() bool { return db.Audit().Completed == 1 && strings.Contains(s.log.String(), "drained") })
}

package main

import (
	"bytes"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"orderflow.example/kit/await"
	"orderflow.example/kit/program"
	"orderflow.example/kit/testdb"
)

// hold takes a lock that stops orders from being written until it is let go.
func hold(t *testing.T, db string) (release func()) {
	t.Helper()
	tx, err := testdb.Connect(t, db).Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := tx.Exec(t.Context(), `lock table pgmq.q_order_queue in exclusive mode`); err != nil {
		t.Fatal(err)
	}
	return func() {
		if err := tx.Rollback(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
}

func writing(t *testing.T, db string) bool {
	return count(t, db, `select count(*) from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'`) > 0
}

// The listener closes, and who came before is answered.
func TestShutdownAnswersWhatIsUnderWay(t *testing.T) {
	t.Parallel()
	db := testdb.New(t)
	s := started(t, map[string]string{"DATABASE_URL": db, "DRAIN_TIMEOUT": "1m"})
	s.place(t, "/orders", orderJSON(0))
	release := hold(t, db)
	answers := make(chan answer, 1)
	go func() {
		a, err := s.try(http.MethodPost, "/orders", orderJSON(1), nil)
		if err != nil {
			t.Error(err)
		}
		answers <- a
	}()
	await.True(t, "the order to be under way", func() bool { return writing(t, db) })

	s.stop()
	await.True(t, "the listener to close", func() bool {
		conn, err := net.Dial("tcp", strings.TrimPrefix(s.url, "http://"))
		if err == nil {
			_ = conn.Close()
		}
		return err != nil
	})
	release()
	if a := <-answers; a.status != http.StatusCreated {
		t.Errorf("the order that was under way: %d %s", a.status, a.body)
	}
	if code := s.wait(t); code != program.OK {
		t.Errorf("exit code %d", code)
	}
	if n := count(t, db, `select count(*) from orders`); n != 2 {
		t.Errorf("%d orders", n)
	}
}

// While load balancers take note of it, the program goes on serving, says that it is not ready, and asks everybody to connect anew.
// It is a process, because only a second signal ends that time early.
func TestShutdownGoesOnServingForAWhile(t *testing.T) {
	t.Parallel()
	db := testdb.New(t)
	p := startProcess(t, db)
	address, _ := p.log.await(t, "serving")["address"].(string) // a process has no other way to tell which free port it took
	s := &service{url: "http://" + address}
	s.place(t, "/orders", orderJSON(0))
	p.terminate(t)
	p.log.await(t, "shutting down")
	await.True(t, "readiness to say so", func() bool {
		a := s.get(t, "/readyz")
		return a.status == http.StatusServiceUnavailable && strings.Contains(a.body, "shutting down")
	})
	if a := s.get(t, "/livez"); a.status != http.StatusOK {
		t.Errorf("livez says %d", a.status)
	}
	resp, err := http.Get(s.url + "/orders/1")
	if err != nil {
		t.Fatal(err)
	}
	_ = resp.Body.Close()
	if resp.StatusCode != http.StatusOK || !resp.Close {
		t.Errorf("got %d, Connection: close is %v", resp.StatusCode, resp.Close)
	}
}

func TestShutdownDoesNotWaitForEver(t *testing.T) {
	t.Parallel()
	db := testdb.New(t)
	s := started(t, map[string]string{"DATABASE_URL": connectWithin(db, time.Minute), "REQUEST_TIMEOUT": "30s", "DRAIN_TIMEOUT": "100ms"})
	s.place(t, "/orders", orderJSON(0))
	release := hold(t, db)
	var done sync.WaitGroup
	done.Go(func() { _, _ = s.try(http.MethodPost, "/orders", orderJSON(1), nil) })
	await.True(t, "the order to be under way", func() bool { return writing(t, db) })
	s.stop()
	s.log.await(t, "requests were still under way at the end of the drain timeout")
	if code := s.wait(t); code != program.OK {
		t.Errorf("exit code %d", code)
	}
	release()
	done.Wait()
}

// Replicas are replaced one after the other under load, behind something that sends requests to those that are ready. No
// request fails, although none is tried twice.
func TestRollingRestart(t *testing.T) {
	t.Parallel()
	db := testdb.New(t)
	// A client that has chosen a replica may get no processor before it connects.
	env := map[string]string{"DATABASE_URL": db, "SHUTDOWN_DELAY": "20s"}
	var ready atomic.Pointer[service]
	ready.Store(started(t, env))

	var accepted atomic.Int64
	var stopped atomic.Bool
	var clients sync.WaitGroup
	for c := range 6 {
		clients.Go(func() {
			for i := c; !stopped.Load(); i++ {
				a, err := ready.Load().try(http.MethodPost, "/orders", orderJSON(i), nil)
				if err != nil || a.status != http.StatusCreated {
					t.Errorf("got %d %s, %v", a.status, a.body, err)
					return
				}
				accepted.Add(1)
			}
		})
	}
	var replaced []*service
	for range 3 {
		next := started(t, env)
		old := ready.Load()
		old.stop()
		old.log.await(t, "shutting down")
		ready.Store(next)
		replaced = append(replaced, old)
	}
	for _, old := range replaced {
		if code := old.wait(t); code != program.OK {
			t.Errorf("exit code %d", code)
		}
	}
	stopped.Store(true)
	clients.Wait()
	if n := count(t, db, `select count(*) from orders`); n != int(accepted.Load()) {
		t.Errorf("%d orders, %d accepted", n, accepted.Load())
	}
}

func TestReplicasAndMigrationStartTogetherOnAnEmptyDatabase(t *testing.T) {
	t.Parallel()
	db := testdb.Empty(t)
	var migration sync.WaitGroup
	migration.Go(func() { runMigrate(t, db, nil) })
	one := start(t, map[string]string{"DATABASE_URL": db, "MIGRATE_ON_START": "true"})
	two := start(t, map[string]string{"DATABASE_URL": db, "MIGRATE_ON_START": "true"})
	three := start(t, map[string]string{"DATABASE_URL": db, "MIGRATE_ON_START": "false"})
	migration.Wait()
	for i, s := range []*service{one, two, three} {
		s.awaitReady(t)
		s.place(t, "/orders", orderJSON(i))
	}
}

// The schema is current, and the roles cannot be set up just now. That is no reason to go without them.
func TestMigratingIsTriedUntilTheRolesAreThere(t *testing.T) {
	t.Parallel()
	role := testdb.Role(t, "later")
	db := testdb.New(t)
	conn := testdb.Connect(t, db)
	if _, err := conn.Exec(t.Context(), `
		create function not_now() returns event_trigger language plpgsql as $$ begin raise exception 'not now'; end $$;
		create event trigger not_now on ddl_command_start when tag in ('GRANT') execute function not_now()`); err != nil {
		t.Fatal(err)
	}
	s := start(t, map[string]string{"DATABASE_URL": db, "MIGRATE_ON_START": "true", "API_DB_ROLE": role})
	await.True(t, "the reason", func() bool { return strings.Contains(s.get(t, "/readyz").body, "schema cannot be migrated") })
	if _, err := conn.Exec(t.Context(), `drop event trigger not_now`); err != nil {
		t.Fatal(err)
	}
	s.awaitReady(t)
	if n := count(t, db, `select count(*) where has_table_privilege('`+role+`', 'orders', 'insert')`); n != 1 {
		t.Error("it is ready, and the role has no rights")
	}
}

func TestWaitsForTheSchema(t *testing.T) {
	t.Parallel()
	db := testdb.Empty(t)
	s := start(t, map[string]string{"DATABASE_URL": db, "MIGRATE_ON_START": "false"})
	await.True(t, "the reason", func() bool {
		a := s.get(t, "/readyz")
		return a.status == http.StatusServiceUnavailable && strings.Contains(a.body, "schema is at version 0")
	})
	if a := s.post(t, "/orders", orderJSON(1)); a.status != http.StatusServiceUnavailable {
		t.Errorf("got %d %s", a.status, a.body)
	}
	runMigrate(t, db, nil)
	s.awaitReady(t)
	if a := s.post(t, "/orders", orderJSON(1)); a.status != http.StatusCreated {
		t.Errorf("got %d %s", a.status, a.body)
	}
}

func TestWaitsUntilTheDatabaseCanBeWrittenTo(t *testing.T) {
	t.Parallel()
	db := testdb.New(t)
	conn := testdb.Connect(t, db)
	readOnly := func(value string) {
		t.Helper()
		if _, err := conn.Exec(t.Context(), `do $$ begin execute format('alter database %I set default_transaction_read_only = `+value+`', current_database()); end $$`); err != nil {
			t.Fatal(err)
		}
	}
	readOnly("on")
	s := start(t, map[string]string{"DATABASE_URL": db})
	await.True(t, "the reason", func() bool { return strings.Contains(s.get(t, "/readyz").body, "read-only") })
	readOnly("off")
	s.awaitReady(t)
	if a := s.post(t, "/orders", orderJSON(1)); a.status != http.StatusCreated {
		t.Errorf("got %d %s", a.status, a.body)
	}
}

func environment(env map[string]string) func(string) (string, bool) {
	return func(name string) (string, bool) {
		value, set := env[name]
		return value, set
	}
}

func TestWrongConfigurationIsOneLineAndExitCode2(t *testing.T) {
	t.Parallel()
	var out, log bytes.Buffer
	code := run(t.Context(), nil, environment(map[string]string{
		"API_PORT": "http", "QUEUE_NAME": `x"; drop table orders; --`, "REQUEST_TIMEOUT": "-1s", "WRITE_BATCH": "0", "LOG_LEVEL": "loud",
		"DATABASE_URL": "postgres://me:s3cret@db:port/x", "MIGRATE_ON_START": "perhaps", "BODY_LIMIT": "much",
	}), &out, &log)
	text := log.String()
	if code != program.Configuration || out.Len() != 0 || strings.Count(text, "\n") != 1 {
		t.Errorf("exit code %d, output %q, log %q", code, &out, text)
	}
	for _, want := range []string{
		`API_PORT="http": must be a whole number`, `QUEUE_NAME="x\"; drop table orders; --": must be 1 to 43 letters`, `REQUEST_TIMEOUT="-1s": must be from 100ms to 1m0s`,
		`WRITE_BATCH="0": must be from 1 to 10000`, `LOG_LEVEL="loud": must be debug, info, warn or error`, `DATABASE_URL="postgres://me:***@db:port/x"`,
		`MIGRATE_ON_START="perhaps": must be true or false`, `BODY_LIMIT="much": must be a size`,
	} {
		if !strings.Contains(text, want) {
			t.Errorf("the line does not have %s:\n%s", want, text)
		}
	}
	if strings.Contains(text, "s3cret") {
		t.Errorf("the line has the password:\n%s", text)
	}
}

func TestCommands(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		args []string
		code int
		out  string
	}{
		{[]string{"version"}, program.OK, "dev\n"},
		{[]string{"config"}, program.OK, "| `QUEUE_NAME` | `order_queue` |"},
		{[]string{"-h"}, program.OK, "usage: api"},
		{[]string{"-x"}, program.Configuration, ""},
		{[]string{"serve"}, program.Configuration, ""},
		{[]string{"migrate", "-x"}, program.Configuration, ""},
		{[]string{"version", "-v"}, program.OK, "dev\n"},
		{[]string{"migrate", "-h"}, program.OK, "usage: api"},
		{[]string{"migrate", "down"}, program.Configuration, ""},
	} {
		var out, log bytes.Buffer
		if code := run(t.Context(), test.args, environment(nil), &out, &log); code != test.code || !strings.Contains(out.String(), test.out) {
			t.Errorf("%v: exit code %d\n%s%s", test.args, code, &out, &log)
		}
	}
}

// asMain makes the test's own binary the program, for what only a process can show.
const asMain = "ORDERFLOW_TEST_AS_MAIN"

// process is the program as a process, which goes on serving for ten minutes after the first signal.
type process struct {
	cmd   *exec.Cmd
	log   *lines
	ended chan struct{} // closed when it has
}

func startProcess(t *testing.T, db string) *process {
	t.Helper()
	p := &process{cmd: exec.Command(os.Args[0]), log: newLines(), ended: make(chan struct{})}
	p.cmd.Stderr = p.log
	p.cmd.Env = append(os.Environ(), asMain+"=1", "DATABASE_URL="+connectWithin(db, time.Minute), "API_PORT=0", "METRICS_PORT=-1", "REQUEST_TIMEOUT=1m", "SHUTDOWN_DELAY=10m", "DRAIN_TIMEOUT=10m", "LOG_FORMAT=json", "MIGRATE_ON_START=false")
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		defer close(p.ended)
		_ = p.cmd.Wait() // its state has the exit code
	}()
	t.Cleanup(func() {
		_ = p.cmd.Process.Kill()
		<-p.ended
	})
	p.log.await(t, "database is ready")
	return p
}

func (p *process) terminate(t *testing.T) {
	t.Helper()
	if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
}

func TestSignals(t *testing.T) {
	t.Parallel()
	db := testdb.New(t)
	p := startProcess(t, db)
	p.terminate(t)
	p.log.await(t, "shutting down")
	p.terminate(t)
	select {
	case <-p.ended:
		if code := p.cmd.ProcessState.ExitCode(); code != program.Fault {
			t.Errorf("the second signal: exit code %d", code)
		}
	case <-time.After(await.Limit()): // of the ten minutes that the drain would take
		t.Fatal("the second signal does not end it")
	}
	log := p.log
	if address, err := url.Parse(db); err != nil || !strings.Contains(log.String(), `"database_url":`) {
		t.Error("the log does not say where the database is", err)
	} else if password, _ := address.User.Password(); strings.Contains(log.String(), password) {
		t.Error("the log has a password")
	}
}

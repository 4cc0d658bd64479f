package main

import (
	"fmt"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"orderflow.example/kit/testdb"
)

// pooler is a PgBouncer in front of a database.
type pooler struct {
	url     string // of the database, by way of it
	config  string // file
	rest    string // of the configuration, but for the mode
	process *os.Process
}

// startPooler starts one in a mode, with so many connections, or skips the test where PgBouncer is not installed.
func startPooler(t *testing.T, db, mode string, connections int) *pooler {
	t.Helper()
	program, err := exec.LookPath("pgbouncer")
	if err != nil {
		t.Skip("pgbouncer is not installed")
	}
	u, err := url.Parse(db)
	if err != nil {
		t.Fatal(err)
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	_, port, _ := net.SplitHostPort(ln.Addr().String())
	_ = ln.Close()
	dir, err := os.MkdirTemp("", "pooler")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	if err := os.Chmod(dir, 0o755); err != nil { //nolint:gosec // it is read by another user, see below
		t.Fatal(err)
	}
	password, _ := u.User.Password()
	p := &pooler{config: filepath.Join(dir, "pgbouncer.ini"), rest: fmt.Sprintf(
		"listen_addr = 127.0.0.1\nlisten_port = %s\nunix_socket_dir =\nauth_type = any\n[databases]\n%s = host=%s port=%s user=%s password=%s\n",
		port, strings.TrimPrefix(u.Path, "/"), u.Hostname(), u.Port(), u.User.Username(), password)}
	p.write(t, mode, connections)

	log := newLines()
	cmd := exec.Command(program, p.config)
	cmd.Stderr = log
	if os.Getuid() == 0 { // as whom it refuses to run
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	p.process = cmd.Process
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		if t.Failed() {
			t.Log(log)
		}
	})
	u.Host = net.JoinHostPort("127.0.0.1", port)
	p.url = u.String()
	eventually(t, "the pooler to listen", func() bool {
		conn, err := net.Dial("tcp", u.Host)
		if err == nil {
			_ = conn.Close()
		}
		return err == nil
	})
	return p
}

func (p *pooler) write(t *testing.T, mode string, connections int) {
	t.Helper()
	if err := os.WriteFile(p.config, []byte("[pgbouncer]\npool_mode = "+mode+"\ndefault_pool_size = "+strconv.Itoa(connections)+"\n"+p.rest), 0o644); err != nil { //nolint:gosec // as above
		t.Fatal(err)
	}
}

// change makes it work in another mode, or with more connections.
func (p *pooler) change(t *testing.T, mode string, connections int) {
	t.Helper()
	p.write(t, mode, connections)
	if err := p.process.Signal(syscall.SIGHUP); err != nil {
		t.Fatal(err)
	}
}

// In transaction mode a statement that was prepared on one of the pooler's connections is looked for on another one, or is there
// already when it is to be prepared. Readiness does not say yes to that, but what to change; and a session is all it takes.
func TestReadinessKnowsAPoolerInTransactionMode(t *testing.T) {
	t.Parallel()
	db := testdb.New(t)
	p := startPooler(t, db, "transaction", 1)
	env := map[string]string{"DATABASE_URL": p.url}
	// The first one leaves what it has prepared on the pooler's connection.
	first := start(t, env)
	eventually(t, "an order to be written", func() bool { return first.post(t, "/orders", orderJSON(0)).status == http.StatusCreated })
	first.stop()
	first.wait(t)

	s := start(t, env)
	eventually(t, "readiness to say why", func() bool {
		a := s.get(t, "/readyz")
		return a.status == http.StatusServiceUnavailable && strings.Contains(a.body, "pool in transaction mode")
	})
	if a := s.post(t, "/orders", orderJSON(1)); a.status != http.StatusServiceUnavailable {
		t.Errorf("got %d %s", a.status, a.body)
	}
	p.change(t, "session", 20)
	s.awaitReady(t)
	eventually(t, "an order to be written", func() bool { return s.post(t, "/orders", orderJSON(1)).status == http.StatusCreated })
}

// The first of several hosts is like a standby: it takes connections, and no orders.
func TestTheHostThatTakesWritesIsFound(t *testing.T) {
	t.Parallel()
	db, role, asRole := leastPrivileged(t)
	if _, err := testdb.Connect(t, db).Exec(t.Context(), `alter role `+role+` set default_transaction_read_only = on`); err != nil {
		t.Fatal(err)
	}
	standby := startPooler(t, asRole, "session", 20)
	alone := start(t, map[string]string{"DATABASE_URL": standby.url})
	eventually(t, "readiness to say that it is read-only", func() bool { return strings.Contains(alone.get(t, "/readyz").body, "read-only") })

	first, err := url.Parse(standby.url)
	if err != nil {
		t.Fatal(err)
	}
	hosts, err := url.Parse(db)
	if err != nil {
		t.Fatal(err)
	}
	hosts.Host = first.Host + "," + hosts.Host
	s := started(t, map[string]string{"DATABASE_URL": hosts.String()})
	if a := s.post(t, "/orders", orderJSON(1)); a.status != http.StatusCreated {
		t.Errorf("got %d %s", a.status, a.body)
	}
}

package postgres

import (
	"context"
	"errors"
	"net/url"
	"os"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"go.uber.org/goleak"

	"orderflow.example/dev/internal/session"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// private starts a private server from this machine's binaries; it is gone at the end of the test.
func private(t *testing.T) *Server {
	t.Helper()
	s, err := session.Open()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	server, err := Open(t.Context(), Options{Session: s, From: "local", MaxConnections: 20})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := server.Close(context.Background()); err != nil {
			t.Error(err)
		}
		if left, err := os.ReadDir(s.Dir()); err != nil || len(left) > 0 {
			t.Errorf("the closed server has left %v, %v", left, err)
		}
	})
	return server
}

func execute(t *testing.T, server *Server, sql string) {
	t.Helper()
	conn, err := connect(t.Context(), server.URL(), 10*time.Second)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(t.Context())
	if _, err := conn.Exec(t.Context(), sql); err != nil {
		t.Fatal(err)
	}
}

func value(t *testing.T, server *Server, sql string) string {
	t.Helper()
	conn, err := connect(t.Context(), server.URL(), time.Minute)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(t.Context())
	var v string
	if err := conn.QueryRow(t.Context(), sql).Scan(&v); err != nil {
		t.Fatal(err)
	}
	return v
}

func TestAPrivateServerIsDurableUnprivilegedAndOnLoopbackOnly(t *testing.T) {
	t.Parallel()
	server := private(t)
	for setting, want := range map[string]string{
		"fsync": "on", "synchronous_commit": "on", "full_page_writes": "on", "listen_addresses": "127.0.0.1",
		"unix_socket_directories": "", "max_connections": "20", "server_encoding": "UTF8",
	} {
		if got := value(t, server, "select current_setting('"+setting+"')"); got != want {
			t.Errorf("%s is %q, want %q", setting, got, want)
		}
	}
	u, err := url.Parse(server.URL())
	if err != nil {
		t.Fatal(err)
	}
	u.User = url.UserPassword("postgres", "guess")
	if conn, err := pgx.Connect(t.Context(), u.String()); err == nil {
		_ = conn.Close(t.Context())
		t.Error("it lets people in with any password")
	}
}

func TestWhatIsCommittedSurvivesRestartAndCrash(t *testing.T) {
	t.Parallel()
	server := private(t)
	execute(t, server, "create table t (n int)")
	execute(t, server, "insert into t values (1)")
	if err := server.Restart(t.Context()); err != nil {
		t.Fatal(err)
	}
	execute(t, server, "insert into t values (2)")
	if err := server.Crash(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := ping(t.Context(), server.URL()); err == nil {
		t.Error("a crashed server answers")
	}
	if err := server.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := value(t, server, "select sum(n)::text from t"); got != "3" {
		t.Errorf("the sum is %s, want 3", got)
	}
}

func TestAPausedServerAnswersAgainWhenResumed(t *testing.T) {
	t.Parallel()
	server := private(t)
	conn, err := connect(t.Context(), server.URL(), 10*time.Second)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(context.Background())
	if err := server.Pause(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := ping(t.Context(), server.URL()); err == nil {
		t.Error("a paused server takes a new connection")
	}
	answered := make(chan error, 1)
	go func() {
		_, err := conn.Exec(t.Context(), "select 1")
		answered <- err
	}()
	select {
	case err := <-answered:
		t.Errorf("a paused server answers an old connection: %v", err)
	case <-time.After(100 * time.Millisecond):
	}
	if err := server.Resume(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := <-answered; err != nil {
		t.Errorf("after the pause: %v", err)
	}
}

func TestAPausedServerCanBeClosed(t *testing.T) {
	t.Parallel()
	server := private(t)
	if err := server.Pause(t.Context()); err != nil {
		t.Fatal(err)
	}
}

func TestServersStartedTogetherDoNotDisturbEachOther(t *testing.T) {
	t.Parallel()
	s, err := session.Open()
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	var group sync.WaitGroup
	servers := make([]*Server, 2)
	errs := make([]error, 2)
	for i := range servers {
		group.Go(func() { servers[i], errs[i] = Open(t.Context(), Options{Session: s, From: "local"}) })
	}
	group.Wait()
	if err := errors.Join(errs...); err != nil {
		t.Fatal(err)
	}
	if servers[0].URL() == servers[1].URL() {
		t.Error("both have the same address")
	}
	for _, server := range servers {
		execute(t, server, "create table mine (n int)")
		if err := server.Close(t.Context()); err != nil {
			t.Error(err)
		}
	}
}

func TestASharedServerIsLeftAlone(t *testing.T) {
	t.Parallel()
	own := private(t)
	shared, err := Open(t.Context(), Options{DatabaseURL: own.URL()})
	if err != nil {
		t.Fatal(err)
	}
	if shared.Private() {
		t.Error("a server behind DATABASE_URL is taken for a private one")
	}
	for name, do := range map[string]func(context.Context) error{
		"restart": shared.Restart, "crash": shared.Crash, "halt": shared.Halt, "start": shared.Start, "pause": shared.Pause, "resume": shared.Resume,
	} {
		if err := do(t.Context()); !errors.Is(err, ErrShared) {
			t.Errorf("%s: %v, want ErrShared", name, err)
		}
	}
	if err := shared.Close(t.Context()); err != nil {
		t.Error(err)
	}
	if one := value(t, own, "select 1"); one != "1" {
		t.Errorf("closing it has stopped the server: %q", one)
	}
}

func TestAnUnreachableDatabaseURLIsAnErrorAndNothingElseIsTried(t *testing.T) {
	t.Parallel()
	_, err := Open(t.Context(), Options{DatabaseURL: "postgres://u:secret@127.0.0.1:1/d"})
	if err == nil {
		t.Fatal("no error")
	}
	if text := err.Error(); !contains(text, "DATABASE_URL", "127.0.0.1:1", "unset DATABASE_URL") || contains(text, "secret") {
		t.Errorf("the message is %q", text)
	}
}

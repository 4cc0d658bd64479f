// Package postgres finds a PostgreSQL server for the local stack, or starts one. A server that it starts is private: a fresh cluster
// in the run's directory, on the loopback interface, behind a password made for it, with default durability, run by an unprivileged
// user when we are root, and gone when the run is over.
//
// It must never stop, restart or reconfigure a server that it did not start: the one behind DATABASE_URL is only connected to.
package postgres

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net"
	"net/url"
	"strconv"
	"time"

	"github.com/jackc/pgx/v5"

	"orderflow.example/dev/internal/session"
	"orderflow.example/kit/postgres"
)

// Options say what is wanted.
type Options struct {
	Session *session.Session
	// DatabaseURL is used when it is not empty, and nothing else is tried then.
	DatabaseURL string
	// From limits the search to one way: "local", "docker", "download" or "package"; "" or "auto" tries them in this order.
	From string
	// MaxConnections of a private server; 0 for Postgres's default of 100.
	MaxConnections int
	// Settings are further settings of a private server, as name=value.
	Settings []string
	// Env are further environment variables of a private server that is run from binaries.
	Env []string
	// Say tells the person what takes long or changes the machine. May be nil.
	Say func(format string, args ...any)
}

// Server is a running PostgreSQL server.
type Server struct {
	// Source says in a few words where the server comes from.
	Source string
	url    string
	own    instance
}

// instance is a private server: a cluster run from binaries, or a container.
type instance interface {
	start(ctx context.Context) error
	stop(ctx context.Context) error  // fast shutdown
	crash(ctx context.Context) error // SIGKILL to all of it
	pause(ctx context.Context) error // SIGSTOP to all of it
	resume(ctx context.Context) error
	remove(ctx context.Context) error // whatever state it is in; nothing is left
	failure() error                   // what it last said
}

// URL is the address of the database to use, with the password.
func (s *Server) URL() string { return s.url }

// Private says whether the server was started for this run, so that it may be stopped, crashed and paused.
func (s *Server) Private() bool { return s.own != nil }

// ErrShared is returned by what may only be done to a private server.
var ErrShared = errors.New("this needs a Postgres of its own: unset DATABASE_URL")

// readyTimeout bounds a start: crash recovery on a slow disk included.
const readyTimeout = 60 * time.Second

// Restart stops a private server as `pg_ctl restart -m fast` does and starts it again on the same port.
func (s *Server) Restart(ctx context.Context) error {
	if s.own == nil {
		return ErrShared
	}
	if err := s.own.stop(ctx); err != nil {
		return fmt.Errorf("stop Postgres: %w", err)
	}
	return s.Start(ctx)
}

// Crash kills all processes of a private server with SIGKILL. Start brings it back through crash recovery.
func (s *Server) Crash(ctx context.Context) error {
	if s.own == nil {
		return ErrShared
	}
	return s.own.crash(ctx)
}

// Halt stops a private server as `pg_ctl stop -m fast` does; Start brings it back.
func (s *Server) Halt(ctx context.Context) error {
	if s.own == nil {
		return ErrShared
	}
	return s.own.stop(ctx)
}

// Start starts a private server again, after Crash or Halt, and waits until it accepts connections.
func (s *Server) Start(ctx context.Context) error {
	if s.own == nil {
		return ErrShared
	}
	ctx, cancel := context.WithTimeout(ctx, readyTimeout)
	defer cancel()
	if err := s.own.start(ctx); err != nil {
		return fmt.Errorf("start Postgres: %w", err)
	}
	return waitReady(ctx, s.url, s.own)
}

// Pause stops all processes of a private server with SIGSTOP: connections stay open and nothing answers.
func (s *Server) Pause(ctx context.Context) error {
	if s.own == nil {
		return ErrShared
	}
	return s.own.pause(ctx)
}

// Resume lets a paused server go on.
func (s *Server) Resume(ctx context.Context) error {
	if s.own == nil {
		return ErrShared
	}
	return s.own.resume(ctx)
}

// Close stops a private server and removes it. A server that was only connected to is left as it is.
func (s *Server) Close(ctx context.Context) error {
	if s.own == nil {
		return nil
	}
	return s.own.remove(ctx)
}

// WithDatabase returns the URL with another database's name.
func WithDatabase(databaseURL, name string) (string, error) {
	u, err := parseURL(databaseURL)
	if err != nil {
		return "", err
	}
	u.Path = "/" + name
	return u.String(), nil
}

// privateURL is the address of a private server.
func privateURL(port int, password string) string {
	u := url.URL{
		Scheme: "postgres", User: url.UserPassword("postgres", password),
		Host: net.JoinHostPort("127.0.0.1", strconv.Itoa(port)), Path: "/postgres", RawQuery: "sslmode=disable",
	}
	return u.String()
}

// NewPassword is one that nobody knows.
func NewPassword() string { return rand.Text()[:20] }

// connect opens one connection, bounded: a server that accepts and never answers must not hold us up.
func connect(ctx context.Context, databaseURL string, timeout time.Duration) (*pgx.Conn, error) {
	address, err := postgres.Parse(databaseURL)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	return pgx.ConnectConfig(ctx, address.Config("orderflow-dev", timeout))
}

// ping says whether the server takes a query.
func ping(ctx context.Context, databaseURL string) error {
	conn, err := connect(ctx, databaseURL, 2*time.Second)
	if err != nil {
		return err
	}
	_, err = conn.Exec(ctx, "select 1")
	return errors.Join(err, conn.Close(ctx))
}

// waitReady waits until the server takes queries, and gives up as soon as the instance has failed.
func waitReady(ctx context.Context, databaseURL string, of instance) error {
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		err := ping(ctx, databaseURL)
		if err == nil {
			return nil
		}
		if failed := of.failure(); failed != nil {
			return failed
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return fmt.Errorf("Postgres does not accept connections: %w", err) //nolint:staticcheck // a name
		}
	}
}

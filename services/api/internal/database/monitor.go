package database

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"orderflow.example/kit/postgres"
	"orderflow.example/kit/wait"
)

// State is what is known of the database.
type State struct {
	Up     bool
	Reason string // why not, in words; empty when up
	Since  time.Time
	Server postgres.Server // where connections lead, or led last
	Pooled bool            // a connection pooler in transaction mode is in between; known while Up
}

// Route is what the monitor asks where connections lead; see [postgres.Route].
type Route interface {
	Current() (server postgres.Server, known bool)
	Leads(conn *pgconn.PgConn) bool
	Distrust(conn *pgconn.PgConn)
	Refresh(ctx context.Context) (moved bool)
}

// Monitor owns one connection, by which it knows whether the database can be used. Nobody has to ask the database to
// learn that it is away: requests are refused at once instead of piling up behind a connection attempt.
type Monitor struct {
	cfg     *pgx.ConnConfig
	timeout time.Duration // of each statement
	prepare func(context.Context, *pgx.Conn) error
	log     *slog.Logger
	lookNow chan struct{}
	outage  postgres.Outage
	route   Route
	moved   func()

	mu      sync.Mutex
	state   State
	changed chan struct{} // closed, and replaced, with each change of state
}

// The life of a connection in use.
const (
	pingEvery = time.Second
	// lookEvery is how often the names in the address are looked up although nothing is wrong.
	lookEvery = 10 * time.Second
)

var errMoved = errors.New("connections lead elsewhere")

// pingTimeout is how long the server may take to answer, by how long a request may: it is to be known to be away before requests have waited
// for it in vain, and not to be called so where they would have been answered.
func pingTimeout(request time.Duration) time.Duration {
	return min(max(request*7/9, 700*time.Millisecond), 5*time.Second)
}

// NewMonitor makes a monitor whose state is "down" until [Monitor.Run] has found otherwise. request is how long a request may take. prepare is
// called on each new connection and tells whether the database is fit for use (that the schema is there); it may take its time.
func NewMonitor(cfg *pgx.ConnConfig, request time.Duration, prepare func(context.Context, *pgx.Conn) error, log *slog.Logger) *Monitor {
	return &Monitor{
		cfg:     cfg,
		timeout: pingTimeout(request),
		prepare: prepare,
		log:     log,
		lookNow: make(chan struct{}, 1),
		state:   State{Reason: "not yet connected", Since: time.Now()},
		changed: make(chan struct{}),
		route:   (*postgres.Route)(nil), // which knows nothing
		moved:   func() {},
	}
}

// Follow makes the monitor go where the route leads, and tell: moved is called when connections lead to another server than before, so that
// those which stand can be given up. To be called before [Monitor.Run].
func (m *Monitor) Follow(route Route, moved func()) { m.route, m.moved = route, moved }

// Distrust says that the server behind a connection does not finish what it is asked to. The monitor looks for another one.
func (m *Monitor) Distrust(conn *pgx.Conn) {
	m.route.Distrust(conn.PgConn())
	m.LookNow()
}

// LeadsElsewhere tells whether a connection leads to another server than that of the state, and is to be given up.
func (s State) LeadsElsewhere(conn *pgx.Conn) bool {
	return s.Server.Address != "" && conn != nil && !s.Server.Serves(conn.PgConn())
}

// Up reports whether the database can be used.
func (m *Monitor) Up() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.state.Up
}

// State returns what is known, and a channel that is closed when that changes.
func (m *Monitor) State() (State, <-chan struct{}) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.state, m.changed
}

// LookNow tells the monitor that something went wrong with a connection, so that it looks now and not in a second.
func (m *Monitor) LookNow() {
	select {
	case m.lookNow <- struct{}{}:
	default: // it has been told already
	}
}

func (m *Monitor) set(s State) {
	m.mu.Lock()
	defer m.mu.Unlock()
	before := m.state
	if s.Server.Address == "" {
		s.Server = before.Server
	}
	if before.Up == s.Up && before.Reason == s.Reason && before.Server == s.Server && before.Pooled == s.Pooled {
		return
	}
	s.Since = time.Now()
	if before.Up == s.Up {
		s.Since = before.Since
	}
	m.state = s
	close(m.changed)
	m.changed = make(chan struct{})
}

// Run keeps the state true until ctx ends.
func (m *Monitor) Run(ctx context.Context) {
	// The longest pause bounds how long the database can be back before it is noticed.
	pauses := wait.Pauses{First: 20 * time.Millisecond, Longest: 500 * time.Millisecond}
	for ctx.Err() == nil {
		conn, err := m.connect(ctx)
		if err == nil {
			pauses.Reset()
			m.up(ctx, postgres.Transactional(conn))
			began := time.Now()
			err = m.watch(ctx, conn)
			Discard(conn)
			// One lost connection is no outage (an administrator can end a single one): it is one when the next attempt, which
			// is made at once, fails as well.
			m.log.DebugContext(ctx, "monitor lost its connection", "error", err)
			if time.Since(began) >= pingEvery {
				continue
			}
		} else {
			m.down(ctx, err)
		}
		wait.For(ctx, pauses.Next())
	}
}

func (m *Monitor) connect(ctx context.Context) (*pgx.Conn, error) {
	conn, err := Connect(ctx, m.cfg, Timeouts(m.timeout))
	if err != nil {
		return nil, err
	}
	if err := m.prepare(ctx, conn); err != nil {
		Discard(conn)
		return nil, err
	}
	return conn, nil
}

// watch returns when the connection has failed.
func (m *Monitor) watch(ctx context.Context, conn *pgx.Conn) error {
	ticker := time.NewTicker(pingEvery)
	defer ticker.Stop()
	looked := time.Now()
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-ticker.C:
		case <-m.lookNow:
		}
		if err := m.ping(ctx, conn); err != nil {
			return err
		}
		if time.Since(looked) >= lookEvery {
			looked = time.Now()
			if m.refresh(ctx) {
				return errMoved
			}
		}
		if !m.route.Leads(conn.PgConn()) {
			return errMoved
		}
	}
}

func (m *Monitor) refresh(ctx context.Context) (moved bool) {
	ctx, cancel := context.WithTimeout(ctx, m.timeout)
	defer cancel()
	if moved = m.route.Refresh(ctx); moved {
		m.log.InfoContext(ctx, "the database's host name now resolves to another address")
	}
	return moved
}

// ping is nil while the server answers and can be written to.
func (m *Monitor) ping(ctx context.Context, conn *pgx.Conn) error {
	ctx, cancel := context.WithTimeout(ctx, m.timeout)
	defer cancel()
	return Writable(ctx, conn)
}

// Writable is nil when the server takes writes: it is no standby, and not set to be read-only.
func Writable(ctx context.Context, conn *pgx.Conn) error {
	var no bool
	if err := conn.QueryRow(ctx, `select current_setting('transaction_read_only')::boolean`).Scan(&no); err != nil {
		return fmt.Errorf("ask whether the database can be written to: %w", err)
	}
	if no {
		return &UnfitError{Reason: readOnly}
	}
	return nil
}

func (m *Monitor) up(ctx context.Context, pooled bool) {
	before, _ := m.State()
	server, known := m.route.Current()
	if known && before.Server.Address != "" && before.Server != server {
		m.moved() // before anybody hears of it
		m.log.WarnContext(ctx, "connected to another database server", "before", before.Server.String(), "timeline_before", before.Server.Timeline,
			"server", server.String(), "timeline", server.Timeline)
	}
	m.set(State{Up: true, Server: server, Pooled: pooled})
	m.outage.Over()
	if pooled && !before.Pooled {
		m.log.InfoContext(ctx, "a connection pooler in transaction mode is in between: settings and statements are sent with each transaction")
	}
	if !before.Up {
		m.log.InfoContext(ctx, "database is ready", "after", time.Since(before.Since).Round(time.Millisecond).String(), "server", server.String())
	}
}

func (m *Monitor) down(ctx context.Context, err error) {
	if ctx.Err() != nil {
		return
	}
	reason := Reason(err)
	var unfit *UnfitError
	if errors.As(err, &unfit) {
		reason = unfit.Reason
	}
	m.set(State{Reason: reason})
	if m.outage.News(err) {
		m.log.WarnContext(ctx, reason+"; retrying", "error", err)
	}
}

// UnfitError is prepare's way to say that the database answers but cannot be used yet.
type UnfitError struct {
	Reason string
	Err    error
}

func (e *UnfitError) Error() string {
	if e.Err == nil {
		return e.Reason
	}
	return fmt.Sprintf("%s: %v", e.Reason, e.Err)
}

func (e *UnfitError) Unwrap() error { return e.Err }

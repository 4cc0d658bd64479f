package pg

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"time"

	"github.com/jackc/pgerrcode"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"orderflow.example/kit/postgres"
)

// Statement deadlines: short, so that a hang is noticed within the time that leases are worth; doubled after each
// statement that ran into it, so that a database that is merely slow gets its work done all the same, and halved again
// when it no longer is.
const (
	statementTimeout    = 3 * time.Second
	statementTimeoutMax = 24 * time.Second
)

// ErrNoAnswer is in the error of a call that was given up for having taken as long as its link allows. Whether it took effect is not known. Less
// may be quick enough.
var ErrNoAnswer = errors.New("no answer in time")

// Link is one connection with one purpose, connected when first used and again after each loss. Calls take turns.
type Link struct {
	server *Server
	name   string
	listen bool
	beside bool // nothing that it is there for is the consumer's work
	setup  func(context.Context, *pgx.Conn) error
	begins func(mayTake time.Duration)
	ends   func()

	mu       sync.Mutex
	conn     *pgx.Conn
	before   bool // has been connected once
	timeout  time.Duration
	fixed    bool      // timeout stays as it is
	answered time.Time // when the connection last did
	looked   time.Time // when the names of the address were last looked up
}

// lookEvery is how often a listening link, which is used all the time, has the names in the address looked up although nothing is wrong.
const lookEvery = 10 * time.Second

// NewLink returns a link that runs setup on every new connection, after the session settings. setup may be nil.
func (s *Server) NewLink(name string, setup func(context.Context, *pgx.Conn) error) *Link {
	return &Link{server: s, name: name, setup: setup, timeout: statementTimeout, begins: func(time.Duration) {}, ends: func() {}}
}

// Watch has begins called whenever the link begins something that takes its time, with the longest that this may take: a question for
// a name, an attempt at one address of the server, or a statement. So whoever watches can tell a hang from a long way to a connection, which leads
// past as many addresses as DATABASE_URL and the name service have, each with a time limit of its own. To be called before the first Do.
func (l *Link) Watch(begins func(mayTake time.Duration)) { l.begins = begins }

// WatchCalls is Watch for a link that several goroutines use: ends is called when a call is over, before the next one begins anything. The callers
// cannot tell that themselves: one that waits for its turn is at nothing yet, and one that is done may say so when the next one has begun.
func (l *Link) WatchCalls(begins func(mayTake time.Duration), ends func()) {
	l.begins, l.ends = begins, ends
}

// Limit gives the link's calls a deadline of their own, for what may take as long as somebody else allows. To be called before the first Do.
func (l *Link) Limit(d time.Duration) { l.timeout, l.fixed = d, true }

// NewListeningLink returns a link on which waiting for notifications can be broken off without losing the connection.
func (s *Server) NewListeningLink(name string, setup func(context.Context, *pgx.Conn) error) *Link {
	l := s.NewLink(name, setup)
	l.listen = true
	return l
}

// NewSideLink returns a link for what is no work of the consumer's, with a deadline of its own. What becomes of it says nothing about the
// database as the work has it: that it is slow, or that there is no room for another connection, is no outage.
func (s *Server) NewSideLink(name string, limit time.Duration) *Link {
	l := s.NewLink(name, nil)
	l.beside = true
	l.Limit(limit)
	return l
}

// Do runs work on the connection, connecting first when there is none, within the link's statement deadline.
// Cancelling ctx breaks work off and costs the connection. When the error means that the connection is of no more use it
// is given up, and the next call makes a new one; Do itself tries nothing twice.
func (l *Link) Do(ctx context.Context, work func(context.Context, *pgx.Conn) error) error {
	return l.DoAtLength(ctx, 0, work)
}

// DoAtLength is Do for what has been found to take its time. It may take at least so long, as far as any statement may, even where the link's own
// deadline is shorter.
func (l *Link) DoAtLength(ctx context.Context, least time.Duration, work func(context.Context, *pgx.Conn) error) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	defer l.ends()
	if err := l.connect(ctx); err != nil {
		return err
	}
	timeout := l.timeout
	if !l.fixed {
		timeout = max(timeout, min(least, statementTimeoutMax))
	}
	limited, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	start := time.Now()
	l.begins(timeout)
	err := work(limited, l.conn)
	switch {
	case err == nil:
		l.answered = time.Now()
		if !l.fixed && l.answered.Sub(start) < l.timeout/8 { // well within: what was slow is quick again
			l.timeout = max(l.timeout/2, statementTimeout)
		}
		l.noteUp()
	case limited.Err() != nil && ctx.Err() == nil:
		if !l.beside {
			l.server.route.Distrust(l.conn.PgConn()) // it may be a primary that nobody replicates any more: others are asked first
			l.server.trustNone()
		}
		l.drop()
		l.noteDown(fmt.Errorf("no answer within %s", timeout))
		if !l.fixed {
			l.timeout = min(2*l.timeout, statementTimeoutMax)
		}
		return fmt.Errorf("%w: %w", ErrNoAnswer, err)
	case l.conn.IsClosed() || useless(err) || l.conn.PgConn().TxStatus() != 'I': // the last: ctx ended between two statements of a transaction
		l.drop()
	}
	return err
}

// MayTake is how long the work that Do gives a context to may take, from now on.
func MayTake(ctx context.Context) time.Duration {
	deadline, _ := ctx.Deadline()
	return time.Until(deadline)
}

// Wait blocks until a notification arrives, ctx ends, or the connection is lost. It returns the payload; ctx's end is no
// error and leaves the connection usable.
func (l *Link) Wait(ctx context.Context) (payload string, arrived bool, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.conn == nil {
		return "", false, errors.New("not connected")
	}
	note, err := l.conn.WaitForNotification(ctx)
	switch {
	case err == nil:
		return note.Payload, true, nil
	case ctx.Err() != nil && !l.conn.IsClosed():
		return "", false, nil
	default:
		l.drop()
		return "", false, fmt.Errorf("wait for notification: %w", err)
	}
}

// Close ends the connection and waits until nothing of it is left. The next one is none that was made again after a loss.
func (l *Link) Close() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.drop()
	l.before = false
}

func (l *Link) connect(ctx context.Context) error {
	l.refresh(ctx)
	if l.conn != nil && !l.conn.IsClosed() && l.server.trusts(l.answered) && !l.server.route.Moved(l.conn.PgConn()) {
		return nil
	}
	l.drop()
	config := l.server.config.Copy()
	if l.listen {
		config.BuildContextWatcherHandler = nudgeWhenCancelled
	} else { // a user's function may listen, and nobody waits for what it hears: pgx would keep all of it
		config.OnNotification = func(*pgconn.PgConn, *pgconn.Notification) {}
	}
	l.bound(config)
	conn, err := pgx.ConnectConfig(context.WithValue(ctx, connecting{}, true), config) // its time limit is for each address, so that a silent one hides no other
	if err == nil {
		l.conn = conn
		err = l.prepare(ctx)
	}
	if err != nil {
		l.drop()
		if ctx.Err() == nil {
			l.noteDown(err)
		}
		return fmt.Errorf("connect for %s: %w", l.name, err)
	}
	l.answered = time.Now()
	l.server.noteServer()
	l.noteUp()
	if l.server.observe.Connected != nil {
		l.server.observe.Connected(l.name, l.before)
	}
	l.before = true
	return nil
}

func (l *Link) noteUp() {
	if !l.beside {
		l.server.noteUp()
	}
}

func (l *Link) noteDown(err error) {
	if !l.beside {
		l.server.noteDown(l.name, err)
	}
}

// refresh gives the connection up when the name that it was made by leads elsewhere.
func (l *Link) refresh(ctx context.Context) {
	if !l.listen || l.conn == nil || time.Since(l.looked) < lookEvery {
		return
	}
	l.looked = time.Now()
	ctx, cancel := context.WithTimeout(ctx, ConnectTimeout)
	defer cancel()
	l.begins(ConnectTimeout)
	if l.server.route.Refresh(ctx) {
		l.server.log.Info("the database's host name now resolves to another address")
		l.drop()
	}
}

// connecting marks the contexts of dials that a connect waits for. pgx dials behind our back as well, to cancel what it has given up.
type connecting struct{}

// bound gives each question for a name a time limit, as pgx gives one to each attempt at an address, and tells of both.
func (l *Link) bound(config *pgx.ConnConfig) {
	lookup := config.LookupFunc
	config.LookupFunc = func(ctx context.Context, host string) ([]string, error) {
		l.begins(config.ConnectTimeout)
		ctx, cancel := context.WithTimeout(ctx, config.ConnectTimeout)
		defer cancel()
		return lookup(ctx, host)
	}
	dial := config.DialFunc
	config.DialFunc = func(ctx context.Context, network, address string) (net.Conn, error) {
		if ctx.Value(connecting{}) != nil {
			l.begins(config.ConnectTimeout)
		}
		return dial(ctx, network, address)
	}
	setup := config.AfterConnect
	config.AfterConnect = func(ctx context.Context, conn *pgconn.PgConn) error {
		l.begins(config.ConnectTimeout)
		return setup(ctx, conn)
	}
}

func (l *Link) prepare(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, ConnectTimeout)
	defer cancel()
	l.begins(ConnectTimeout)
	if err := sessionSettings.Apply(ctx, l.conn); err != nil {
		return err
	}
	if l.setup != nil {
		return l.setup(ctx, l.conn)
	}
	return nil
}

func (l *Link) drop() {
	if l.conn == nil {
		return
	}
	// Terminate politely when it can still be said; a deadline in the past would skip even that.
	ctx, cancel := context.WithTimeout(context.Background(), 200*time.Millisecond)
	defer cancel()
	_ = l.conn.Close(ctx) // it is of no more use, however it ends
	l.conn = nil
}

// useless says whether an error that the server answered with makes the whole session worthless, although the
// connection is up.
func useless(err error) bool {
	var answer *pgconn.PgError
	if !errors.As(err, &answer) {
		return false
	}
	switch answer.Code {
	case pgerrcode.ReadOnlySQLTransaction: // we talk to a standby, or to a primary that has been demoted
		return true
	case pgerrcode.InFailedSQLTransaction: // it was not rolled back
		return true
	case pgerrcode.InvalidSQLStatementName, pgerrcode.FeatureNotSupported, pgerrcode.DuplicatePreparedStatement:
		return true // prepared statements are not what we think they are
	case pgerrcode.AdminShutdown, pgerrcode.CrashShutdown, pgerrcode.CannotConnectNow, pgerrcode.IdleSessionTimeout:
		return true // the server says goodbye
	}
	return postgres.Class(answer.Code) == "08"
}

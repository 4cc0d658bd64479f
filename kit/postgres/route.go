package postgres

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"strconv"
	"sync"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
)

// Route is the way to the server that takes writes, among those that an address leads to: several hosts, or the addresses of one name.
// All connections of a program share it. What one of them has found out, the others need not find out for themselves:
//
//   - Where writes were taken last: only that server is tried, so that a host before it that is silent costs nobody its time limit. When it
//     is not there, all are tried again, in their order, and names are looked up again.
//   - Which server does not do what it is asked to, although it answers ([Route.Distrust]): for a while it comes last.
//   - How far the history of the database has gone: each promotion begins a new timeline. A primary on an older one has been replaced.
//     What is written there is lost, so it is never used again, however well it answers.
//
// A standby is never used. The zero value and nil know nothing and are ready for use.
type Route struct {
	several bool     // hosts in the address
	hosts   []string // their names, as far as they are to be looked up

	lookup pgconn.LookupFunc

	mu         sync.Mutex
	names      map[string]string    // of what was looked up, by IP address
	at         Server               // zero: all are to be tried
	passed     map[string]time.Time // silent addresses, and until when they are passed over
	distrusted map[string]time.Time // addresses of servers that do not finish what they are asked to, likewise
	newest     map[string]uint32    // timeline, by system

	attempts map[context.Context]struct{} // to connect, that have a connection and are not judged yet
}

// Server is the one that connections lead to.
type Server struct {
	Address  string // as it was dialled: IP address and port, or a socket
	Name     string // that the IP address was found by, with the port; the same as Address where there is none
	System   string // the identifier of the database cluster, which its standbys share; empty: the server does not tell
	Timeline uint32 // 0: likewise
}

// String names the server, as for a person who looks for it.
func (s Server) String() string {
	if s.Name == s.Address {
		return s.Address
	}
	return s.Name + " (" + s.Address + ")"
}

// How long servers are not tried while there are others.
const (
	silentFor     = 5 * time.Second
	distrustedFor = 3 * time.Second
)

// ReplacedError is a primary that is not the primary any more, and does not know.
type ReplacedError struct {
	Timeline, Newest uint32
}

func (e *ReplacedError) Error() string {
	return fmt.Sprintf("a primary that has been replaced: it is on timeline %d, and timeline %d has been seen; if it was restored on purpose, "+
		"start this program again", e.Timeline, e.Newest)
}

// errElsewhere is an address that is not tried because another one is the better bet.
var errElsewhere = errors.New("not tried: another address took writes last, or this one did not answer just now")

// ErrDistrusted is a server that did not do what it was asked to a moment ago, although it answers.
var ErrDistrusted = errors.New("timed out recently; trying other hosts first")

// Current is the server that took writes when somebody last connected; false: none is known to.
func (r *Route) Current() (Server, bool) {
	if r == nil {
		return Server{}, false
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.at, r.at.Address != ""
}

// Moved tells whether a connection leads to another server than new ones do, and is to be given up.
func (r *Route) Moved(conn *pgconn.PgConn) bool {
	at, known := r.Current()
	return known && conn != nil && !at.Serves(conn)
}

// found is under what a connection's custom data have the server that it leads to.
const found = "orderflow.example/kit/postgres.Server"

// Serves tells whether a connection leads to this server. One address leads to several, one after the other, where it is a Service's, a
// virtual one or a pooler's: connections that stand still lead to the one before. What it was when they were made tells them apart.
func (s Server) Serves(conn *pgconn.PgConn) bool {
	if s.Address != addressOf(conn) {
		return false
	}
	was, known := conn.CustomData()[found].(Server)
	return !known || was.System == "" || s.System == "" || was.System == s.System && was.Timeline == s.Timeline
}

// Leads tells whether a connection that works is to be kept: nobody has found another server, or a reason not to trust this one.
func (r *Route) Leads(conn *pgconn.PgConn) bool {
	if r == nil || conn == nil {
		return r == nil
	}
	address := addressOf(conn)
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.at.Address != "" {
		return r.at.Serves(conn)
	}
	return !time.Now().Before(r.distrusted[address])
}

// Distrust says that a server keeps what it was asked to do from coming to an end: a commit that waits for a standby for ever, a primary
// that was cut off. The next attempt to connect uses it only if it finds no other: who is slow and alone is tried again at once. Lost
// connections need no word: connecting again shows who is there.
func (r *Route) Distrust(conn *pgconn.PgConn) {
	if r == nil || conn == nil {
		return
	}
	address := addressOf(conn)
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.at.Address == address {
		r.at = Server{}
	}
	if r.others(address) {
		set(&r.distrusted, address, distrustedFor)
	}
}

func addressOf(conn *pgconn.PgConn) string {
	if c := conn.Conn(); c != nil && c.RemoteAddr() != nil {
		return c.RemoteAddr().String()
	}
	return ""
}

func set(until *map[string]time.Time, address string, d time.Duration) {
	if *until == nil {
		*until = make(map[string]time.Time)
	}
	(*until)[address] = time.Now().Add(d)
}

// others tells whether there is any other address than this one.
func (r *Route) others(address string) bool {
	host, _, err := net.SplitHostPort(address)
	if r.several || err != nil {
		return r.several
	}
	for ip := range r.names {
		if ip != host {
			return true
		}
	}
	return false
}

// apply makes a configuration's connections take the route.
func (r *Route) apply(config *pgconn.Config) {
	lookup, dial := config.LookupFunc, config.DialFunc
	r.mu.Lock()
	r.lookup = lookup
	r.mu.Unlock()
	config.LookupFunc = func(ctx context.Context, host string) ([]string, error) {
		found, err := lookup(ctx, host)
		r.note(host, found)
		return found, err
	}
	config.DialFunc = func(ctx context.Context, network, address string) (net.Conn, error) {
		if r.passOver(address) {
			return nil, errElsewhere
		}
		conn, err := dial(ctx, network, address)
		if err != nil {
			r.lost(address, ctx.Err() != nil)
			return nil, err
		}
		// Who accepts and then says nothing, or nothing good, is as good as not there. The context ends with the attempt, or at its time limit.
		r.begin(ctx)
		context.AfterFunc(ctx, func() {
			if !r.end(ctx) {
				r.lost(address, errors.Is(ctx.Err(), context.DeadlineExceeded))
			}
		})
		return conn, nil
	}
	config.ValidateConnect = r.validate
}

// Refresh looks the names up again: where the server is that connections lead to, its name may not lead any more. It reports whether that
// is so, and the route is open again. A name that cannot be looked up leads to where it did.
func (r *Route) Refresh(ctx context.Context) (moved bool) {
	at, known := r.Current()
	if !known {
		return false
	}
	r.mu.Lock()
	lookup := r.lookup
	r.mu.Unlock()
	for _, host := range r.hosts {
		found, err := lookup(ctx, host)
		if err != nil || len(found) == 0 {
			return false
		}
		r.note(host, found)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	host, _, err := net.SplitHostPort(at.Address)
	if err != nil || r.names[host] != "" || r.at != at {
		return false
	}
	r.at = Server{}
	return true
}

// note remembers what a name stands for now.
func (r *Route) note(host string, addresses []string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for ip, name := range r.names {
		if name == host {
			delete(r.names, ip)
		}
	}
	if r.names == nil {
		r.names = make(map[string]string)
	}
	for _, ip := range addresses {
		r.names[ip] = host
	}
}

func (r *Route) passOver(address string) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.at.Address != "" {
		if r.at.Address == address {
			return false
		}
		// A name that stands for something else by now leads away from what it stood for.
		if host, _, err := net.SplitHostPort(r.at.Address); err == nil && r.names[host] == "" {
			r.at = Server{}
			return false
		}
		return true
	}
	return r.others(address) && time.Now().Before(r.passed[address])
}

// lost takes a server that could not be connected to for gone.
func (r *Route) lost(address string, silent bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.at.Address == address {
		r.at = Server{}
	}
	if silent && r.others(address) {
		set(&r.passed, address, silentFor)
	}
}

// begin notes an attempt, by its context, that has got as far as a connection; end takes the note away, and reports whether validate had.
func (r *Route) begin(ctx context.Context) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.attempts == nil {
		r.attempts = make(map[context.Context]struct{})
	}
	r.attempts[ctx] = struct{}{}
}

func (r *Route) end(ctx context.Context) (succeeded bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	_, open := r.attempts[ctx]
	delete(r.attempts, ctx)
	return !open
}

// validate looks at a server that a connection has been made to: whether it takes writes, and is no primary of former times.
func (r *Route) validate(ctx context.Context, conn *pgconn.PgConn) error {
	address := addressOf(conn)
	state, err := look(ctx, conn)
	if err != nil {
		return err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	switch newest := r.newest[state.system]; {
	case state.standby:
		err = fmt.Errorf("a standby: %w", pgconn.ErrReadOnlyConnection)
	case state.readOnly && r.others(address):
		err = pgconn.ErrReadOnlyConnection
	case state.system != "" && state.timeline < newest:
		err = &ReplacedError{Timeline: state.timeline, Newest: newest}
	case r.others(address) && time.Now().Before(r.distrusted[address]):
		err = ErrDistrusted
	}
	if err != nil {
		delete(r.distrusted, address) // this once
		if r.at.Address == address {
			r.at = Server{}
		}
		return err
	}
	if state.system != "" {
		if r.newest == nil {
			r.newest = make(map[string]uint32)
		}
		r.newest[state.system] = state.timeline
	}
	delete(r.passed, address)
	delete(r.attempts, ctx)
	r.at = Server{Address: address, Name: address, System: state.system, Timeline: state.timeline}
	if host, port, err := net.SplitHostPort(address); err == nil {
		r.at.Name = net.JoinHostPort(cmp.Or(r.names[host], host), port)
	}
	conn.CustomData()[found] = r.at
	return nil
}

// state is what a server says of itself.
type state struct {
	standby, readOnly bool
	system            string
	timeline          uint32
}

// What a server is, and which timeline it writes. The latter is in the name of the file that its next record goes to; the second form
// is for servers that do not tell, as platforms that store the log elsewhere do not.
const (
	lookSQL = `select pg_catalog.pg_is_in_recovery(), pg_catalog.current_setting('transaction_read_only')::boolean,
  case when not pg_catalog.pg_is_in_recovery() then pg_catalog.pg_walfile_name(pg_catalog.pg_current_wal_insert_lsn()) end,
  (select system_identifier from pg_catalog.pg_control_system())`
	lookLittleSQL = `select pg_catalog.pg_is_in_recovery(), pg_catalog.current_setting('transaction_read_only')::boolean, null, null`
)

func look(ctx context.Context, conn *pgconn.PgConn) (state, error) {
	results, err := conn.Exec(ctx, lookSQL).ReadAll()
	if errors.As(err, new(*pgconn.PgError)) {
		results, err = conn.Exec(ctx, lookLittleSQL).ReadAll()
	}
	if err != nil {
		return state{}, fmt.Errorf("ask whether the server takes writes: %w", err)
	}
	if len(results) != 1 || len(results[0].Rows) != 1 || len(results[0].Rows[0]) != 4 {
		return state{}, errors.New("the server does not say whether it takes writes")
	}
	row := results[0].Rows[0]
	s := state{standby: string(row[0]) == "t", readOnly: string(row[1]) == "t"}
	if file := string(row[2]); len(file) == 24 { // timeline and segment, in hexadecimal
		if timeline, err := strconv.ParseUint(file[:8], 16, 32); err == nil {
			s.timeline, s.system = uint32(timeline), string(row[3])
		}
	}
	return s, nil
}

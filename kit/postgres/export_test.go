package postgres

import (
	"time"

	"github.com/jackc/pgx/v5/pgconn"
)

// RouteOf makes a route for hosts that are names.
func RouteOf(hosts ...string) *Route { return &Route{several: len(hosts) > 1, hosts: hosts} }

// Open is how many attempts have a connection and are not judged.
func (r *Route) Open() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.attempts)
}

// Apply lets a test give a route names that mean what it likes.
func (r *Route) Apply(config *pgconn.Config) { r.apply(config) }

// Hold lets an address that was found to be silent be passed over for as long as a test takes, and no other; false: it was not, so far.
func (r *Route) Hold(address string) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	_, silent := r.passed[address]
	if silent {
		r.passed = map[string]time.Time{address: time.Now().Add(time.Hour)}
	}
	return silent
}

// HoldDistrust lets a server that is not trusted stay so until somebody has looked at it.
func (r *Route) HoldDistrust(conn *pgconn.PgConn) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if _, distrusted := r.distrusted[addressOf(conn)]; distrusted {
		r.distrusted[addressOf(conn)] = time.Now().Add(time.Hour)
	}
}

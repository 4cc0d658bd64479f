// Package pg owns the consumer's connections: how they are dialled, which session settings they get, that each comes
// back after a loss, and what is logged about it. It must never repeat a statement itself: whether a statement may be
// repeated is known only to who wrote it.
package pg

import (
	"cmp"
	"log/slog"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"

	"orderflow.example/kit/postgres"
)

// ConnectTimeout bounds one attempt to connect to one address, unless DATABASE_URL has a connect_timeout. A server that
// hangs accepts the connection and does not answer; the attempt that waits when it comes back succeeds at once.
const ConnectTimeout = 3 * time.Second

// unreachable is why the database cannot be used when nothing more is known.
const unreachable = "database unreachable"

// Server is the database as the consumer sees it: reachable or not. Its links share that knowledge, so that an outage
// is logged once and not once per connection.
type Server struct {
	config  *pgx.ConnConfig
	log     *slog.Logger
	observe Observer
	outage  postgres.Outage
	route   *postgres.Route

	mu         sync.Mutex
	at         postgres.Server // where connections lead, or led last
	state      state
	since      time.Time
	why        string    // it is not up
	distrusted time.Time // connections that have not answered since then are not to be trusted
}

type state int

const (
	unknown state = iota
	up
	down
)

// Observer hears of connections, for metrics. Its functions may be nil.
type Observer struct {
	Connected func(link string, again bool)
	Reachable func(bool)
}

// NewServer prepares to connect to an address; it does not connect. consumerID becomes part of the application name, by which the doctor knows
// consumers.
func NewServer(address postgres.Address, consumerID string, log *slog.Logger, observe Observer) *Server {
	return newServer(address, "orderflow-consumer "+consumerID, log, observe)
}

// NewCommandServer is NewServer for a command, which consumes nothing and logs nothing.
func NewCommandServer(address postgres.Address, command string) *Server {
	return newServer(address, "orderflow-command "+command, slog.New(slog.DiscardHandler), Observer{})
}

func newServer(address postgres.Address, application string, log *slog.Logger, observe Observer) *Server {
	config := address.Config(application, ConnectTimeout)
	config.BuildContextWatcherHandler = hangUpWhenCancelled
	return &Server{config: config, log: log, observe: observe, route: address.Route(), since: time.Now(), why: "not yet connected"}
}

// At is the server that connections lead to, or led to last.
func (s *Server) At() postgres.Server {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.at
}

// Database is the name of the database.
func (s *Server) Database() string { return s.config.Database }

// noteServer is told of each new connection.
func (s *Server) noteServer() {
	at, known := s.route.Current()
	if !known {
		return
	}
	s.mu.Lock()
	before := s.at
	s.at = at
	s.mu.Unlock()
	switch {
	case before.Address == "":
		s.log.Info("connected", "server", at.String(), "timeline", at.Timeline)
	case before != at:
		s.log.Warn("connected to another database server", "before", before.String(), "timeline_before", before.Timeline, "server", at.String(), "timeline", at.Timeline)
	}
}

// Reachable says whether the last contact with the database succeeded, since when that is so, and why not.
func (s *Server) Reachable() (ok bool, since time.Time, why string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.state == up, s.since, s.why
}

func (s *Server) noteUp() {
	if was, lasted := s.turn(up, ""); was != up {
		s.outage.Over()
		s.log.Info("database reachable", "after", lasted.Round(time.Millisecond).String())
	}
}

// noteDown is told of every failure. A permanent one is called what it is, and each new one is logged.
func (s *Server) noteDown(link string, err error) {
	why := cmp.Or(postgres.Refusal(err), postgres.NoWriter(err), unreachable)
	was, _ := s.turn(down, why)
	if news := s.outage.News(err); news || was != down {
		s.log.Warn(why+"; retrying", "link", link, "error", postgres.Brief(err))
	}
}

// trustNone has every connection that has not answered since tested before it is used: where one has gone silent, others may have too, and
// each would take a statement's deadline to find out.
func (s *Server) trustNone() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.distrusted = time.Now()
}

// trusts says whether a connection that answered at that time may be used as it is.
func (s *Server) trusts(answered time.Time) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return answered.After(s.distrusted)
}

// turn changes the state and returns the one before, with how long it had lasted.
func (s *Server) turn(to state, why string) (was state, lasted time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	was, lasted = s.state, time.Since(s.since)
	s.why = why
	if was != to {
		s.state, s.since = to, time.Now()
		if s.observe.Reachable != nil {
			s.observe.Reachable(to == up)
		}
	}
	return was, lasted
}

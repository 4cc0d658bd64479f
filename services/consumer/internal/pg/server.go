// Package pg owns the consumer's connections: how they are dialled, which session settings they get, that each comes
// back after a loss, and what is logged about it. It must never repeat a statement itself: whether a statement may be
// repeated is known only to who wrote it.
package pg

import (
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
)

// ConnectTimeout bounds one attempt to connect to one address, unless DATABASE_URL has a connect_timeout. A server that
// hangs accepts the connection and does not answer; the attempt that waits when it comes back succeeds at once.
const ConnectTimeout = 3 * time.Second

// Server is the database as the consumer sees it: reachable or not. Its links share that knowledge, so that an outage
// is logged once and not once per connection.
type Server struct {
	config  *pgx.ConnConfig
	log     *slog.Logger
	observe Observer

	mu      sync.Mutex
	state   state
	since   time.Time
	suspect time.Time // connections that have not answered since then are not to be trusted
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

// NewServer prepares to connect to databaseURL; it does not connect. consumerID becomes part of the application name.
func NewServer(databaseURL, consumerID string, log *slog.Logger, observe Observer) (*Server, error) {
	config, err := pgx.ParseConfig(databaseURL)
	if err != nil {
		return nil, fmt.Errorf("parse DATABASE_URL: %w", err)
	}
	if config.ConnectTimeout == 0 {
		config.ConnectTimeout = ConnectTimeout
	}
	config.BuildContextWatcherHandler = hangUpWhenCancelled
	if config.RuntimeParams["application_name"] == "" {
		name := "orderflow-consumer " + consumerID
		config.RuntimeParams["application_name"] = name[:min(len(name), 63)]
	}
	return &Server{config: config, log: log, observe: observe, since: time.Now()}, nil
}

// Reachable says whether the last contact with the database succeeded, and since when that is so.
func (s *Server) Reachable() (ok bool, since time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.state == up, s.since
}

func (s *Server) noteUp() {
	if was, lasted := s.turn(up); was != up {
		s.log.Info("Database reachable", "after", lasted.Round(time.Millisecond).String())
	}
}

func (s *Server) noteDown(link string, err error) {
	if was, _ := s.turn(down); was != down {
		s.log.Warn("Database unreachable, trying again until it is back", "link", link, "error", err.Error())
	}
}

// doubt makes every connection that has not answered lately suspect: where one has gone silent, others may have too, and
// each would take a statement's deadline to find out.
func (s *Server) doubt() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.suspect = time.Now()
}

// trusts says whether a connection that answered at that time may be used as it is.
func (s *Server) trusts(answered time.Time) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return answered.After(s.suspect)
}

// turn changes the state and returns the one before, with how long it had lasted.
func (s *Server) turn(to state) (was state, lasted time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	was, lasted = s.state, time.Since(s.since)
	if was != to {
		s.state, s.since = to, time.Now()
		if s.observe.Reachable != nil {
			s.observe.Reachable(to == up)
		}
	}
	return was, lasted
}

// Package httpapi is the HTTP face of the service: routes, strict reading of requests, answers, and the one place where
// errors become status codes.
//
// It must never hold a request beyond its deadline, and never answer 500 for what a client or an outage can cause. Nothing of
// a request's memory may be kept after its handler has returned: fiber uses it again.
package httpapi

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"net"
	"net/http"
	"sync/atomic"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/gofiber/fiber/v2"
	"github.com/valyala/fasthttp"

	"orderflow.example/kit/listen"
	"orderflow.example/kit/tracing"
	"orderflow.example/services/api/internal/dashboard"
	"orderflow.example/services/api/internal/database"
	"orderflow.example/services/api/internal/history"
	"orderflow.example/services/api/internal/http1"
	"orderflow.example/services/api/internal/orders"
	"orderflow.example/services/api/internal/queue"
)

// Writer writes orders; see [orders.Writers].
type Writer interface {
	Write(orders.Request) (orders.Result, error)
	NotReady() string
}

// Monitor knows whether the database can be used; see [database.Monitor].
type Monitor interface {
	Up() bool
	State() (database.State, <-chan struct{})
	LookNow()
}

// Observer is told of each request. It must not block.
type Observer interface {
	// traceID is empty where no trace is recorded.
	Request(method, route string, status int, took time.Duration, traceID string)
}

// Config is what the API needs.
type Config struct {
	Writer  Writer
	Store   *orders.Store
	History *history.Reader
	Queue   *queue.Queue
	Watcher *queue.Watcher
	// Dashboard is what stands at /, and asks for sessions by itself; nil: nothing but the way to the documentation.
	Dashboard *dashboard.Dashboard
	Monitor   Monitor
	Observer  Observer
	Tracer    *tracing.Tracer // nil: none
	Log       *slog.Logger

	Version        string
	RequestTimeout time.Duration
	BodyLimit      int   // bytes of a list of orders or dead letters
	OrderBodyLimit int   // bytes of every other request's body
	BodyBudget     int64 // bytes of the larger ones that may be under way at a time
	Input          orders.Input
	APITokens      []string // open every call but those for admins; none: everybody may call
	AdminTokens    []string // open every call; none: those for admins are off
	LogRequests    string   // whose lines are at level info and not at debug: none, changes or all
}

// Server serves the API.
type Server struct {
	cfg      Config
	app      *fiber.App
	api      huma.API
	served   atomic.Int64
	draining atomic.Bool
	bodies   *http1.Budget
	access   atomic.Pointer[access]

	databaseWarned rarely // when the log was last told of a request that the database failed
	tokenWarned    rarely // and of one without a valid token
}

// Limits of the HTTP connection itself. Requests are short: what takes longer to arrive is a stuck or hostile client.
const (
	headTimeout  = 10 * time.Second
	bodyTimeout  = 30 * time.Second
	writeTimeout = 30 * time.Second
	idleTimeout  = 2 * time.Minute
	maxHead      = 8 << 10  // bytes; longer heads are answered 431
	poolBuffers  = 64 << 10 // bytes of a body's buffer that is kept for another
)

// New makes a server; nothing is served until [Server.Serve].
func New(cfg Config) *Server {
	s := &Server{cfg: cfg, bodies: http1.NewBudget(cfg.BodyBudget)}
	s.SetTokens(cfg.APITokens, cfg.AdminTokens)
	s.app = fiber.New(fiber.Config{
		AppName:               "orderflow",
		BodyLimit:             cfg.BodyLimit,
		CaseSensitive:         true,
		Concurrency:           math.MaxInt32, // the listener has the bound
		DisableStartupMessage: true,
		ErrorHandler:          s.answerUnobserved, // of what observe could not answer
		// A form is a body like any other: read to the end that its length gives, not to its closing boundary. What follows the
		// boundary would be taken for the next request.
		DisablePreParseMultipartForm: true,
		ReadBufferSize:               maxHead + 512, // for fields that package http1 adds
		ReduceMemoryUsage:            true,          // nothing for idle connections
		WriteTimeout:                 writeTimeout,  // reading has its deadlines in package http1
	})
	server := s.app.Server()
	server.Handler = s.handle(server.Handler)
	server.ErrorHandler = s.answerUnreadable
	fasthttp.SetBodySizePoolLimit(poolBuffers, poolBuffers) // global to the process
	s.app.Use(s.observe)
	s.app.Use(s.authenticate)
	s.app.Use(refuseCompressed)
	s.probes()
	s.describe()
	s.creating()
	s.reading()
	s.messages()
	s.deadLetters()
	s.pausing()
	if cfg.Dashboard != nil {
		cfg.Dashboard.Routes(s.app, s) // before the documentation, which stands at / where there is none
	}
	s.documentation()
	return s
}

// Serve answers requests on a listener until [Server.Shutdown].
func (s *Server) Serve(ln *listen.Listener) error {
	strict, err := http1.NewListener(ln, &http1.Config{
		MaxHead:     maxHead,
		Limit:       s.bodyLimit,
		Free:        int64(s.cfg.OrderBodyLimit),
		Known:       s.knowsSender,
		Budget:      s.bodies,
		IdleTimeout: idleTimeout,
		HeadTimeout: headTimeout,
		BodyTimeout: bodyTimeout,
	})
	if err != nil {
		return err
	}
	if err := s.app.Listener(strict); err != nil {
		return fmt.Errorf("serve: %w", err)
	}
	return nil
}

// bodyLimit is how large a request's body may be.
func (s *Server) bodyLimit(method, target []byte) int64 {
	if path := string(http1.Path(target)); string(method) == http.MethodPost && (path == batchPath || path == redrivePath) {
		return int64(s.cfg.BodyLimit)
	}
	return int64(s.cfg.OrderBodyLimit)
}

// knowsSender tells whether the sender of a large body has a token that opens the call.
func (s *Server) knowsSender(target, authorization []byte) bool {
	token := bearerToken(string(authorization))
	if string(http1.Path(target)) == redrivePath {
		return s.access.Load().admins.have(token)
	}
	return s.access.Load().opensCalls(token)
}

// Drain makes readiness say no and asks clients, with each answer, to connect anew: to somebody else. Streams end.
func (s *Server) Drain() {
	s.draining.Store(true)
	if s.cfg.Dashboard != nil {
		s.cfg.Dashboard.Drain()
	}
}

// Shutdown stops accepting and waits until what is under way is answered, or ctx ends.
func (s *Server) Shutdown(ctx context.Context) error {
	s.Drain()
	if err := s.app.ShutdownWithContext(ctx); err != nil && !errors.Is(err, net.ErrClosed) {
		return fmt.Errorf("shut down: %w", err)
	}
	return nil
}

// Bodies is the memory that large bodies have.
func (s *Server) Bodies() http1.Stats { return s.bodies.Stats() }

// Served is the number of requests answered.
func (s *Server) Served() int64 { return s.served.Load() }

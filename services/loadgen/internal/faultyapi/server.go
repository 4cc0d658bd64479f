package faultyapi

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"
)

// Server is the API. Faults and Habits are set before Start.
type Server struct {
	Faults Faults
	Habits Habits
	URL    string

	mu      sync.Mutex
	random  *rand.Rand
	rows    []*order
	byKey   []*order
	sorted  bool
	keys    map[string]*entry
	nextID  int64
	counts  Counts
	pages   int // shown by a listing that does not end
	started time.Time
	http    *http.Server
	served  sync.WaitGroup
	closed  chan struct{}
}

// entry is what is remembered of an idempotency key.
type entry struct {
	ids        []int64
	fault      fault
	retryFrom  time.Time // a retry before is too soon
	answered   bool      // a 201 was sent
	replayedID int64
}

// Start listens on a port of 127.0.0.1 ("" = any).
func (s *Server) Start(addr string) error {
	if addr == "" {
		addr = "127.0.0.1:0"
	}
	l, err := (&net.ListenConfig{}).Listen(context.Background(), "tcp", addr)
	if err != nil {
		return fmt.Errorf("faulty api: %w", err)
	}
	s.random = rand.New(rand.NewPCG(s.Faults.Seed, 1))
	s.keys, s.nextID, s.started, s.closed = map[string]*entry{}, max(1, s.Habits.FirstID), time.Now(), make(chan struct{})
	mux := http.NewServeMux()
	mux.HandleFunc("POST /orders", s.post)
	mux.HandleFunc("POST /orders/batch", s.postBatch)
	mux.HandleFunc("GET /orders/{id}", s.reading(s.get))
	mux.HandleFunc("GET /health", func(w http.ResponseWriter, _ *http.Request) { writeJSON(w, 200, map[string]string{"status": "ok"}) })
	if !s.Habits.NoReadyz {
		mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, _ *http.Request) { writeJSON(w, 200, map[string]string{"status": "ok"}) })
	}
	if !s.Habits.NoListing {
		mux.HandleFunc("GET /orders", s.reading(s.list))
	}
	if !s.Habits.NoQueue {
		mux.HandleFunc("GET /queue", s.queue)
	}
	s.http = &http.Server{Handler: s.stalling(mux), ReadHeaderTimeout: time.Minute}
	s.URL = "http://" + l.Addr().String()
	s.served.Go(func() { _ = s.http.Serve(l) }) // ends with Close
	return nil
}

// Close ends it and every connection.
func (s *Server) Close() error {
	close(s.closed)
	err := s.http.Close()
	s.served.Wait()
	return err
}

// Counts are what it has done so far.
func (s *Server) Counts() Counts {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.counts
}

// stalling holds every request up while a stall lasts.
func (s *Server) stalling(next http.Handler) http.Handler {
	if s.Faults.StallEvery == 0 {
		return next
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		age := time.Since(s.started)
		if into := age % s.Faults.StallEvery; age >= s.Faults.StallEvery && into < s.Faults.StallFor {
			s.mu.Lock()
			s.counts.Stalled++
			s.mu.Unlock()
			timer := time.NewTimer(s.Faults.StallFor - into)
			defer timer.Stop()
			select {
			case <-timer.C:
			case <-s.closed:
			}
		}
		next.ServeHTTP(w, r)
	})
}

// reading answers questions about orders, or refuses to.
func (s *Server) reading(next http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if s.Faults.ReadsDown {
			w.Header().Set("Retry-After", "86400")
			problem(w, 503, "come back tomorrow")
			return
		}
		next(w, r)
	}
}

func (s *Server) get(w http.ResponseWriter, r *http.Request) {
	id := parseID(r.PathValue("id"))
	s.mu.Lock()
	defer s.mu.Unlock()
	now := time.Now()
	if o := s.find(id); o != nil && o.there(now) && !o.hidden && !s.flickers() {
		writeJSON(w, 200, s.show(o, now))
		return
	}
	problem(w, 404, "Order not found")
}

func (s *Server) list(w http.ResponseWriter, r *http.Request) {
	if s.Habits.OddListing {
		writeJSON(w, 200, map[string]string{"detail": "see elsewhere"})
		return
	}
	q := r.URL.Query()
	limit, prefix := 50, q.Get("idempotency_key_prefix")
	most := s.Habits.MaxLimit
	if most == 0 {
		most = 1000
	}
	if text := q.Get("limit"); text != "" {
		n, err := strconv.Atoi(text)
		if err != nil || n < 1 || (n > most && !s.Habits.Clamp) {
			problem(w, 422, "limit: from 1 to "+strconv.Itoa(most))
			return
		}
		limit = min(n, most)
	}
	switch {
	case prefix != "" && s.Habits.RefusesPrefix:
		problem(w, 422, "idempotency_key_prefix: unknown parameter")
		return
	case s.Habits.IgnoresPrefix:
		prefix = ""
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.counts.Listings++
	now := time.Now()
	after := q.Get("cursor")
	if s.Habits.EndlessPages {
		after = ""
	}
	rows, next := s.page(prefix, after, limit, now)
	if s.Habits.EndlessPages {
		s.pages++
		next = "page-" + strconv.Itoa(s.pages)
	}
	shown := make([]map[string]any, len(rows))
	for i, o := range rows {
		shown[i] = s.show(o, now)
	}
	var cursor any
	if next != "" && !s.Habits.NoNext {
		cursor = next
	}
	switch {
	case s.Habits.BareArray:
		writeJSON(w, 200, shown)
	case s.Habits.OtherNames:
		writeJSON(w, 200, map[string]any{"items": shown, "next": cursor})
	default:
		writeJSON(w, 200, map[string]any{"orders": shown, "next_cursor": cursor})
	}
}

func (s *Server) queue(w http.ResponseWriter, _ *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	now, depth := time.Now(), 0
	for _, o := range s.rows {
		if !o.done(now) && o.there(now) && !o.completed.IsZero() {
			depth++
		}
	}
	writeJSON(w, 200, map[string]any{"depth": depth})
}

func (s *Server) show(o *order, now time.Time) map[string]any {
	layout := "2006-01-02T15:04:05.000000+00:00"
	if s.Habits.NaiveTimes {
		layout = "2006-01-02T15:04:05.000000"
	}
	m := map[string]any{
		"id": o.id, "customer_name": o.body.Customer, "product_name": o.body.Product, "quantity": o.body.Quantity, "price": o.body.Price,
		"created_at": o.created.UTC().Format(layout), "status": o.status(now), "attempts": 0, "completed_at": nil, "last_error": nil,
	}
	if s.Habits.QuotedIDs {
		m["id"] = formatID(o.id)
	}
	effects := 0
	if o.done(now) {
		m["attempts"] = 1
		if !o.dead {
			m["completed_at"], effects = o.completed.UTC().Format(layout), o.effects
		}
	}
	if !s.Habits.NoEffects {
		m["effects"] = effects
	}
	if !s.Habits.NoKeys {
		m["idempotency_key"] = nil
		if o.key != "" {
			m["idempotency_key"] = o.key
		}
	}
	return m
}

func writeJSON(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(v) // a client that is gone cannot be told
}

func problem(w http.ResponseWriter, status int, detail string) {
	w.Header().Set("Content-Type", "application/problem+json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(map[string]any{"status": status, "detail": detail}) // as above
}

// reset ends a connection the hard way: the client sees a reset, not an end.
func reset(w http.ResponseWriter) {
	conn, _, err := http.NewResponseController(w).Hijack()
	if err != nil {
		panic(http.ErrAbortHandler)
	}
	if tcp, ok := conn.(*net.TCPConn); ok {
		_ = tcp.SetLinger(0) // without it the close is merely ruder than it could be
	}
	_ = conn.Close() // that is the point
}

func parseID(text string) int64 {
	id, err := strconv.ParseInt(text, 10, 64)
	if err != nil {
		return 0
	}
	return id
}

func formatID(id int64) string     { return strconv.FormatInt(id, 10) }
func formatPadded(id int64) string { return fmt.Sprintf("%019d", id) }

var errInvalid = errors.New("invalid order")

func (b *body) valid() error {
	switch {
	case strings.TrimSpace(b.Customer) == "", strings.TrimSpace(b.Product) == "", strings.ContainsRune(b.Customer, 0), len(b.Customer) > 200:
		return fmt.Errorf("%w: names", errInvalid)
	case b.Quantity == nil, *b.Quantity < 1, *b.Quantity != float64(int(*b.Quantity)):
		return fmt.Errorf("%w: quantity", errInvalid)
	case b.Price == nil, *b.Price < 0:
		return fmt.Errorf("%w: price", errInvalid)
	}
	return nil
}

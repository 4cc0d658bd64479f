package faultyapi

import (
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"orderflow.example/services/loadgen/internal/orders"
)

// Server is the API. Its Behaviour is set before Start.
type Server struct {
	Behaviour
	URL string

	mu       sync.Mutex
	random   *rand.Rand
	orders   []*order // by id: that of the first is 1
	requests map[string]*request
	counts   Counts
	started  time.Time
	http     *http.Server
	served   sync.WaitGroup
	closed   chan struct{}
}

// order is a row.
type order struct {
	id        int64
	key       string // "" = none
	data      orders.Data
	created   time.Time
	completed time.Time // when it is processed; zero = never
	dead      bool
	effects   int
	gone      time.Time // when it is forgotten; zero = never
	unlisted  bool      // no listing shows it
	kept      bool      // its message stays in the queue
}

func (o *order) done(now time.Time) bool { return !o.completed.IsZero() && !now.Before(o.completed) }

func (o *order) there(now time.Time) bool { return o.gone.IsZero() || now.Before(o.gone) }

// Start listens on a port of 127.0.0.1.
func (s *Server) Start() error {
	l, err := (&net.ListenConfig{}).Listen(context.Background(), "tcp", "127.0.0.1:0")
	if err != nil {
		return fmt.Errorf("faulty api: %w", err)
	}
	s.random = rand.New(rand.NewPCG(s.Seed, 1))
	s.requests, s.counts.Orders, s.started, s.closed = map[string]*request{}, map[Fault]int{}, time.Now(), make(chan struct{})
	mux := http.NewServeMux()
	mux.HandleFunc("POST /orders", s.post)
	mux.HandleFunc("POST /orders/batch", s.post)
	mux.HandleFunc("GET /orders/{id}", s.reading(s.get))
	mux.HandleFunc("GET /orders", s.reading(s.list))
	mux.HandleFunc("GET /queue", s.queue)
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, _ *http.Request) { writeJSON(w, 200, map[string]string{"status": "ok"}) })
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
	c := s.counts
	c.Orders = map[Fault]int{}
	for f, n := range s.counts.Orders {
		c.Orders[f] = n
	}
	return c
}

// pick decides what is done wrong with a request. The first order of all cannot be given an earlier one's id.
func (s *Server) pick() Fault {
	x := s.random.Float64()
	for f := Lose; f < faults; f++ {
		if x < s.Shares[f] && (f != WrongID || len(s.orders) > 0) {
			return f
		}
		x -= s.Shares[f]
	}
	return None
}

// stalling holds every request up while a stall lasts.
func (s *Server) stalling(next http.Handler) http.Handler {
	if s.StallEvery == 0 {
		return next
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		age := time.Since(s.started)
		if into := age % s.StallEvery; age >= s.StallEvery && into < s.StallFor {
			select {
			case <-time.After(s.StallFor - into):
			case <-s.closed:
			}
		}
		next.ServeHTTP(w, r)
	})
}

// reading answers questions about orders, or refuses to.
func (s *Server) reading(next http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if s.ReadsDown {
			unavailable(w, aDay)
			return
		}
		s.mu.Lock()
		defer s.mu.Unlock()
		next(w, r)
	}
}

func (s *Server) get(w http.ResponseWriter, r *http.Request) {
	id, _ := strconv.ParseInt(r.PathValue("id"), 10, 64) // what is none is nobody's
	now := time.Now()
	if o := s.find(id); o != nil && o.there(now) {
		writeJSON(w, 200, o.show(now))
		return
	}
	problem(w, 404)
}

// list answers with a page of the orders whose keys begin with a prefix, in the order of their keys. The cursor is the place of the last one
// in that order.
func (s *Server) list(w http.ResponseWriter, r *http.Request) {
	s.counts.Listings++
	q := r.URL.Query()
	prefix, limit := q.Get("idempotency_key_prefix"), 50
	if q.Has("idempotency_key_prefix") && prefix == "" {
		problem(w, 422)
		return
	}
	if text := q.Get("limit"); text != "" {
		n, err := strconv.Atoi(text)
		if err != nil || n < 1 || n > 1000 {
			problem(w, 422)
			return
		}
		limit = n
	}
	after, _ := strconv.Atoi(q.Get("cursor"))
	now := time.Now()
	var listed []*order
	for _, o := range s.orders {
		if o.key != "" && strings.HasPrefix(o.key, prefix) && !o.unlisted {
			listed = append(listed, o)
		}
	}
	slices.SortStableFunc(listed, func(a, b *order) int { return strings.Compare(a.key, b.key) })
	shown, next := []map[string]any{}, any(nil)
	for i := after; i < len(listed); i++ {
		if i == after+limit {
			next = strconv.Itoa(i)
			break
		}
		if listed[i].there(now) {
			shown = append(shown, listed[i].show(now))
		}
	}
	writeJSON(w, 200, map[string]any{"orders": shown, "next_cursor": next})
}

func (s *Server) queue(w http.ResponseWriter, _ *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	now, depth := time.Now(), 0
	for _, o := range s.orders {
		if (!o.done(now) || o.kept) && o.there(now) && !o.completed.IsZero() {
			depth++
		}
	}
	writeJSON(w, 200, map[string]any{"as_of": now.UTC().Format(layout), "depth": depth, "enqueued_total": len(s.orders)})
}

// insert adds a row. The caller holds the lock.
func (s *Server) insert(key string, data orders.Data) *order {
	now := time.Now()
	o := &order{id: int64(len(s.orders) + 1), key: key, data: data, created: now, completed: now.Add(s.Process), effects: 1}
	s.orders = append(s.orders, o)
	s.counts.Created++
	return o
}

// find is the row with an id, or nil.
func (s *Server) find(id int64) *order {
	if id < 1 || id > int64(len(s.orders)) {
		return nil
	}
	return s.orders[id-1]
}

const layout = "2006-01-02T15:04:05.000000+00:00"

func (o *order) show(now time.Time) map[string]any {
	m := map[string]any{
		"id": o.id, "customer_name": o.data.Customer, "product_name": o.data.Product, "quantity": o.data.Quantity, "price": o.data.Price,
		"created_at": o.created.UTC().Format(layout), "status": "pending", "attempts": 0, "effects": 0, "completed_at": nil, "last_error": nil, "idempotency_key": nil,
	}
	if o.key != "" {
		m["idempotency_key"] = o.key
	}
	switch {
	case !o.done(now):
	case o.dead:
		m["status"], m["attempts"], m["effects"] = "dead", 5, o.effects
	default:
		m["status"], m["attempts"], m["effects"], m["completed_at"] = "completed", 1, o.effects, o.completed.UTC().Format(layout)
	}
	return m
}

func writeJSON(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(v) // a client that is gone cannot be told
}

func problem(w http.ResponseWriter, status int) {
	writeJSON(w, status, map[string]any{"status": status, "detail": http.StatusText(status)})
}

package faultyapi

import (
	"cmp"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"time"

	"orderflow.example/services/loadgen/internal/orders"
)

// request is what is remembered of an idempotency key.
type request struct {
	fault     Fault
	ids       []int64   // of its orders, once they were made
	retryFrom time.Time // a retry before is too soon
	answered  bool      // a 201 was sent
	repeated  bool      // ReplayNewID has made it again
}

func (s *Server) post(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return
	}
	batch := struct{ Orders []orders.Data }{make([]orders.Data, 1)}
	isBatch := r.URL.Path != "/orders"
	if isBatch {
		err = json.Unmarshal(body, &batch)
	} else {
		err = json.Unmarshal(body, &batch.Orders[0])
	}
	status := 201
	if err != nil {
		status = 400
	}
	for _, d := range batch.Orders {
		if status == 201 && !valid(d) {
			status = 422
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if status != 201 {
		s.counts.Invalid++
		if s.MakesInvalid {
			s.make(&request{}, r.Header.Get("Idempotency-Key"), batch.Orders, isBatch)
		}
		problem(w, cmp.Or(s.InvalidStatus, status))
		return
	}
	shown, ok := s.take(w, r.Header.Get("Idempotency-Key"), batch.Orders, isBatch)
	switch {
	case !ok:
	case isBatch:
		writeJSON(w, 201, map[string]any{"orders": shown})
	default:
		writeJSON(w, 201, shown[0])
	}
}

func valid(d orders.Data) bool {
	for _, name := range []string{d.Customer, d.Product} {
		if strings.TrimSpace(name) == "" || strings.ContainsRune(name, 0) || len(name) > 200 {
			return false
		}
	}
	return d.Quantity >= 1 && d.Price >= 0
}

// take makes the orders of one request and returns them as they are to be shown; or it answers with whatever it does instead.
func (s *Server) take(w http.ResponseWriter, key string, sent []orders.Data, batch bool) ([]map[string]any, bool) {
	if s.HangAfter > 0 && s.counts.Accepted >= s.HangAfter {
		s.counts.Hung++
		s.mu.Unlock()
		<-s.closed
		s.mu.Lock()
		return nil, false
	}
	if key == "" {
		s.counts.MissingKey++
	}
	r, known := s.requests[key]
	if !known {
		r = &request{fault: s.pick()}
		s.requests[key] = r
		s.counts.Orders[r.fault] += len(sent)
	}
	now := time.Now()
	if now.Before(r.retryFrom) {
		s.counts.TooSoon++
	}
	replay := r.ids != nil
	switch {
	case r.fault == Refuse:
		problem(w, 422)
		return nil, false
	case r.fault == Busy && !known:
		r.retryFrom = now.Add(s.RetryAfter)
		unavailable(w, s.RetryAfter)
		return nil, false
	case r.fault == Away:
		unavailable(w, aDay)
		return nil, false
	case r.fault == ResetBefore && !known:
		reset(w)
		return nil, false
	case !replay:
		s.make(r, key, sent, batch)
	case s.ReplayNewID && r.answered && !r.repeated:
		r.ids, r.repeated = []int64{s.insert(key, sent[0]).id}, true
		s.counts.Repeats++
	case s.ReplayOther && r.answered:
		r.ids = []int64{s.orders[s.random.IntN(len(s.orders))].id}
	}
	switch {
	case r.fault == AwayMade, r.fault == Unkey && s.UnkeyStatus == http.StatusServiceUnavailable:
		unavailable(w, aDay)
		return nil, false
	case r.fault == Unkey:
		problem(w, s.UnkeyStatus)
		return nil, false
	case r.fault == ResetAfter && !replay:
		reset(w)
		return nil, false
	case replay:
		s.counts.Replays++
		w.Header().Set("Idempotency-Replayed", "true")
	}
	if !r.answered {
		r.answered = true
		s.counts.Accepted += len(sent)
	}
	return s.receipts(r, sent), true
}

// make makes a request's orders, with its fault.
func (s *Server) make(r *request, key string, sent []orders.Data, batch bool) {
	for i, d := range sent {
		if r.fault == WrongID {
			r.ids = append(r.ids, s.orders[s.random.IntN(len(s.orders))].id)
			continue
		}
		storedKey := key
		if batch {
			storedKey += orders.ElementSeparator + strconv.Itoa(i)
		}
		o := s.insert(storedKey, d)
		r.ids = append(r.ids, o.id)
		if change := stored[r.fault]; change != nil {
			change(s, o)
		}
	}
}

// receipts are the orders of a request as its answer shows them.
func (s *Server) receipts(r *request, sent []orders.Data) []map[string]any {
	shown := make([]map[string]any, len(r.ids))
	for i, id := range r.ids {
		o := *s.find(id)
		if r.fault == WrongID {
			o.data = sent[i]
		}
		shown[i] = o.show(o.created)
		switch r.fault {
		case NoID:
			delete(shown[i], "id")
		case WrongAnswer:
			shown[i]["quantity"] = 77
		}
	}
	return shown
}

const aDay = 24 * time.Hour

func unavailable(w http.ResponseWriter, retryAfter time.Duration) {
	w.Header().Set("Retry-After", strconv.Itoa(int(retryAfter/time.Second)))
	problem(w, 503)
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

package faultyapi

import (
	"cmp"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"strconv"
	"time"
)

// fault is what is done wrong with one order.
type fault int

const (
	fine fault = iota
	drop
	dropLater
	duplicateRow
	duplicateNoKey
	duplicateEffect
	noEffect
	resetCommitted
	resetForgetful
	resetBefore
	unavailable
	refuse
	stuck
	deadEnd
	hopeless
	hopelessMade
	reuse
	unlisted
	hide
	backward
	alter
	noID
	wrongAnswer
)

// pick decides, once for each key.
func (s *Server) pick() fault {
	f, x := &s.Faults, s.random.Float64()
	for i, share := range [...]float64{
		f.Drop, f.DropLater, f.DuplicateRow, f.DuplicateNoKey, f.DuplicateEffect, f.NoEffect, f.ResetCommitted, f.ResetForgetful, f.ResetBefore,
		f.Unavailable, f.Refuse, f.Stuck, f.Dead, f.Hopeless, f.HopelessMade, f.Reuse, f.Unlisted,
		f.Hide, f.Backward, f.Alter, f.NoID, f.WrongAnswer,
	} {
		if x < share {
			return fault(i + 1)
		}
		x -= share
	}
	return fine
}

const bodyLimit = 2 << 20

func (s *Server) post(w http.ResponseWriter, r *http.Request) {
	var b body
	if !s.read(w, r, &b) {
		return
	}
	if err := b.valid(); err != nil && !s.Faults.AcceptInvalid {
		s.invalid(w, 422, err.Error())
		return
	}
	s.take(w, r.Header.Get("Idempotency-Key"), []body{b}, false)
}

func (s *Server) postBatch(w http.ResponseWriter, r *http.Request) {
	var batch struct {
		Orders []body `json:"orders"`
	}
	if !s.read(w, r, &batch) {
		return
	}
	for i := range batch.Orders {
		if err := batch.Orders[i].valid(); err != nil {
			s.invalid(w, 422, "orders["+strconv.Itoa(i)+"]: "+err.Error())
			return
		}
	}
	if len(batch.Orders) == 0 || len(batch.Orders) > 1000 {
		problem(w, 422, "orders: from 1 to 1000")
		return
	}
	s.take(w, r.Header.Get("Idempotency-Key"), batch.Orders, true)
}

func (s *Server) read(w http.ResponseWriter, r *http.Request, v any) bool {
	text, err := io.ReadAll(http.MaxBytesReader(w, r.Body, bodyLimit))
	var large *http.MaxBytesError
	if errors.As(err, &large) {
		s.count(func(c *Counts) { c.Oversized++ })
		problem(w, cmp.Or(s.Faults.InvalidStatus, 413), "body too large")
		return false
	}
	if err != nil {
		return false
	}
	if err := json.Unmarshal(text, v); err != nil && !s.Faults.AcceptInvalid {
		s.invalid(w, 400, "not an order")
		return false
	}
	return true
}

func (s *Server) invalid(w http.ResponseWriter, status int, detail string) {
	s.count(func(c *Counts) { c.BadRequests++ })
	problem(w, cmp.Or(s.Faults.InvalidStatus, status), detail)
}

func (s *Server) count(f func(c *Counts)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	f(&s.counts)
}

// take makes the orders of one request, or whatever it does instead.
func (s *Server) take(w http.ResponseWriter, key string, bodies []body, batch bool) {
	s.mu.Lock()
	if s.Faults.HangAfter > 0 && s.counts.Accepted >= s.Faults.HangAfter {
		s.counts.Hung++
		s.mu.Unlock()
		<-s.closed
		return
	}
	now := time.Now()
	if key == "" {
		s.counts.MissingKey++
	}
	e := s.keys[key]
	first := e == nil
	if first {
		e = &entry{fault: s.pick()}
		s.keys[key] = e
	}
	n := len(bodies)
	switch {
	case e.fault == refuse:
		s.counts.Refused += n
		s.mu.Unlock()
		problem(w, 422, "not today")
		return
	case e.fault == resetBefore && first:
		s.counts.Resets++
		s.mu.Unlock()
		reset(w)
		return
	case e.fault == hopeless, e.fault == hopelessMade:
		if first && e.fault == hopeless {
			s.counts.Hopeless += n
		}
		if first && e.fault == hopelessMade {
			s.create(e, key, bodies, batch, now)
			s.counts.HopelessMade += n
		}
		s.mu.Unlock()
		w.Header().Set("Retry-After", "86400")
		problem(w, 503, "come back tomorrow")
		return
	case e.fault == unavailable && first:
		s.counts.Unavailable++
		e.retryFrom = now.Add(s.Faults.RetryAfter)
		s.mu.Unlock()
		w.Header().Set("Retry-After", strconv.Itoa(int(s.Faults.RetryAfter/time.Second)))
		problem(w, 503, "try again later")
		return
	case now.Before(e.retryFrom):
		s.counts.TooSoon++
	}
	replay := e.ids != nil
	switch {
	case !replay:
		s.create(e, key, bodies, batch, now)
	case s.Faults.ReplayNewID && e.answered:
		if e.replayedID == 0 {
			e.replayedID = s.insert(key, bodies[0], now).id
			s.sorted = false
			s.counts.Duplicated++
		}
		e.ids = []int64{e.replayedID}
	case s.Faults.ReplayOther && e.answered:
		e.ids = []int64{s.rows[s.random.IntN(len(s.rows))].id}
	}
	if !replay && (e.fault == resetCommitted || e.fault == resetForgetful) {
		s.counts.Resets++
		if e.fault == resetForgetful {
			e.ids, e.fault = nil, fine // the retry makes it again
			s.counts.Duplicated += n
		}
		s.mu.Unlock()
		reset(w)
		return
	}
	if replay {
		s.counts.Replays++
		w.Header().Set("Idempotency-Replayed", "true")
	}
	if !e.answered {
		e.answered = true
		s.counts.Accepted += n
	}
	shown := make([]map[string]any, 0, n)
	for i, id := range e.ids {
		o := s.find(id)
		if o == nil {
			o = &order{id: id, key: key, body: bodies[min(i, n-1)], created: now}
		}
		row := s.show(o, o.created)
		switch e.fault {
		case reuse:
			row = s.show(&order{id: id, key: key, body: bodies[min(i, n-1)], created: now}, now)
		case noID:
			delete(row, "id")
			s.counts.NoID++
		case wrongAnswer:
			row["quantity"] = 77
			s.counts.WrongAnswers++
		}
		shown = append(shown, row)
	}
	s.mu.Unlock()
	if batch {
		writeJSON(w, 201, map[string]any{"orders": shown})
		return
	}
	writeJSON(w, 201, shown[0])
}

// create makes the rows that the entry's fault lets it make. The caller holds the lock.
func (s *Server) create(e *entry, key string, bodies []body, batch bool, now time.Time) {
	s.sorted = false
	if e.fault == reuse && len(s.rows) == 0 {
		e.fault = fine // there is no earlier one
	}
	if e.fault == reuse {
		for range bodies {
			e.ids = append(e.ids, s.rows[s.random.IntN(len(s.rows))].id)
		}
		s.counts.Dropped += len(bodies)
		return
	}
	for i, b := range bodies {
		stored := key
		if batch {
			stored = key + "\x1f" + strconv.Itoa(i)
		}
		o := s.insert(stored, b, now)
		e.ids = append(e.ids, o.id)
		switch e.fault {
		case drop:
			o.gone = now
			s.counts.Dropped++
		case dropLater:
			o.gone = o.completed
			s.counts.Dropped++
		case duplicateRow:
			s.insert(stored, b, now)
			s.counts.Duplicated++
		case duplicateNoKey:
			s.insert("", b, now)
			s.counts.Duplicated++
		case duplicateEffect:
			o.effects = 2
			s.counts.Duplicated++
		case noEffect:
			o.effects = 0
			s.counts.WithoutEffect++
		case stuck:
			o.completed = time.Time{}
			s.counts.Stuck++
		case deadEnd:
			o.dead = true
			s.counts.Dead++
		case unlisted:
			o.unlisted = true
			s.counts.Unlisted++
		case hide:
			o.hidden = true
			s.counts.Hidden++
		case backward:
			o.completed = now.Add(-3 * time.Second)
			s.counts.Backward++
		case alter:
			o.body.Quantity = new(float64)
			*o.body.Quantity = 77
			s.counts.Altered++
		}
	}
}

package faultyapi

import (
	"slices"
	"strings"
	"time"
)

// order is one row.
type order struct {
	id        int64
	key       string // "" = none
	body      body
	created   time.Time
	completed time.Time // when it is processed; zero = never
	dead      bool
	effects   int
	gone      time.Time // when it is forgotten; zero = never
	unlisted  bool      // no listing shows it
	hidden    bool      // nothing but a listing does
}

type body struct {
	Customer string   `json:"customer_name"`
	Product  string   `json:"product_name"`
	Quantity *float64 `json:"quantity"`
	Price    *float64 `json:"price"`
}

func (o *order) done(now time.Time) bool { return !o.completed.IsZero() && !now.Before(o.completed) }

func (o *order) there(now time.Time) bool { return o.gone.IsZero() || now.Before(o.gone) }

func (o *order) status(now time.Time) string {
	switch {
	case !o.done(now):
		return "pending"
	case o.dead:
		return "dead"
	}
	return "completed"
}

// hidden says whether a listing leaves the order out.
func (s *Server) hidden(o *order, now time.Time) bool {
	return o.unlisted || !o.there(now) || s.flickers()
}

func (s *Server) flickers() bool {
	return s.Faults.Flicker > 0 && s.random.Float64() < s.Faults.Flicker
}

// insert adds a row. The caller holds the lock.
func (s *Server) insert(key string, b body, now time.Time) *order {
	o := &order{id: s.nextID, key: key, body: b, created: now, completed: now.Add(s.Faults.Process), effects: 1}
	s.nextID++
	s.rows = append(s.rows, o)
	s.counts.Created++
	return o
}

// find is the row with an id, or nil. Ids rise from row to row.
func (s *Server) find(id int64) *order {
	i, ok := slices.BinarySearchFunc(s.rows, id, func(o *order, id int64) int { return int(o.id - id) })
	if !ok {
		return nil
	}
	return s.rows[i]
}

// page is what a listing shows from a cursor on: by key within a prefix, otherwise by id.
func (s *Server) page(prefix string, after string, limit int, now time.Time) (rows []*order, next string) {
	if prefix != "" {
		return s.pageByKey(prefix, after, limit, now)
	}
	from := parseID(after)
	for i := range s.rows {
		o := s.rows[i]
		if !s.Habits.OldestFirst {
			o = s.rows[len(s.rows)-1-i]
		}
		if s.hidden(o, now) || (from > 0 && s.Habits.OldestFirst && o.id <= from) || (from > 0 && !s.Habits.OldestFirst && o.id >= from) {
			continue
		}
		if len(rows) == limit {
			return rows, formatID(rows[limit-1].id)
		}
		rows = append(rows, o)
	}
	return rows, ""
}

func (s *Server) pageByKey(prefix, after string, limit int, now time.Time) (rows []*order, next string) {
	if !s.sorted {
		s.byKey = s.byKey[:0]
		for _, o := range s.rows {
			if o.key != "" {
				s.byKey = append(s.byKey, o)
			}
		}
		slices.SortStableFunc(s.byKey, func(a, b *order) int { return strings.Compare(place(a), place(b)) })
		s.sorted = true
	}
	i, _ := slices.BinarySearchFunc(s.byKey, max(prefix, after), func(o *order, key string) int { return strings.Compare(place(o), key) })
	for ; i < len(s.byKey); i++ {
		o := s.byKey[i]
		if !strings.HasPrefix(o.key, prefix) {
			break
		}
		if s.hidden(o, now) || place(o) <= after {
			continue
		}
		if len(rows) == limit {
			return rows, place(rows[limit-1])
		}
		rows = append(rows, o)
	}
	return rows, ""
}

// place orders rows by key and, for the same key, by id.
func place(o *order) string { return o.key + "\x00" + formatPadded(o.id) }

// Package faultyapi is an orders API that breaks its promises on purpose and keeps count: what loadgen must find, by name and number. It is
// a real HTTP server over an in-memory store, written from the contract alone, and is in no image; tests run it.
package faultyapi

import "time"

// Fault is what is done wrong with an order.
type Fault int

// The faults. Whatever is wrong with how an order is stored or shown is a line in the table below; what is wrong with its answer is in post.go.
const (
	None          Fault = iota
	Lose                // answers 201 and forgets it
	LoseLater           // forgets it once it was completed
	Repeat              // makes it twice, with the same key
	RepeatUnkeyed       // makes it twice, the second without a key
	ProcessTwice        // processes it twice
	NoEffect            // completes it without having processed it
	Alter               // stores it with another quantity
	Stick               // never processes it
	Bury                // ends it as dead
	BuryProcessed       // ends it as dead, though it has been processed
	Unlist              // does not show it in the listing
	WrongID             // answers 201 with the id of an earlier order, and does not make it
	NoID                // answers 201 with a body that names no id
	WrongAnswer         // answers 201 with another quantity than it was sent
	ResetAfter          // makes it, then resets the connection instead of answering; a retry is a replay
	ResetBefore         // resets the connection without making it
	Busy                // answers 503 with Retry-After first
	Away                // answers 503 with a Retry-After of a day, every time, without making it
	AwayMade            // makes it, and answers the same
	Refuse              // answers 422 to a good order
	Unkey               // makes it without its key, and answers UnkeyStatus
	Keep                // leaves its message in the queue when it is completed
	faults              // how many there are
)

// stored is what the faults do to an order that is being made.
var stored = map[Fault]func(s *Server, o *order){
	Lose:          func(_ *Server, o *order) { o.gone = o.created },
	LoseLater:     func(_ *Server, o *order) { o.gone = o.completed },
	Repeat:        func(s *Server, o *order) { s.insert(o.key, o.data) },
	RepeatUnkeyed: func(s *Server, o *order) { s.insert("", o.data) },
	ProcessTwice:  func(_ *Server, o *order) { o.effects = 2 },
	NoEffect:      func(_ *Server, o *order) { o.effects = 0 },
	Alter:         func(_ *Server, o *order) { o.data.Quantity = 77 },
	Stick:         func(_ *Server, o *order) { o.completed = time.Time{} },
	Bury:          func(_ *Server, o *order) { o.dead, o.effects = true, 0 },
	BuryProcessed: func(_ *Server, o *order) { o.dead = true },
	Unlist:        func(_ *Server, o *order) { o.unlisted = true },
	Unkey:         func(_ *Server, o *order) { o.key = "" },
	Keep:          func(_ *Server, o *order) { o.kept = true },
}

// Behaviour is what the server does wrong, and how long it takes.
type Behaviour struct {
	Seed   uint64
	Shares map[Fault]float64 // of the requests, from 0 to 1; each has at most one fault

	Process    time.Duration // from creation to completion
	RetryAfter time.Duration // of Busy; sent in whole seconds
	StallEvery time.Duration // every so often, measured from the start …
	StallFor   time.Duration // … nothing is answered for this long
	HangAfter  int           // once it has accepted so many orders, no further one is answered; 0 = never

	InvalidStatus int  // answers this to invalid orders; 0 = as it should
	MakesInvalid  bool // and makes them all the same
	UnkeyStatus   int  // of Unkey; 503: with a Retry-After of a day
	ReplayNewID   bool // answers a replay with another id, that of a second order
	ReplayOther   bool // answers a replay with another order
	ReadsDown     bool // answers 503 with a Retry-After of a day to every question about orders
}

// Counts are what it did: the numbers that an audit must come to.
type Counts struct {
	Orders            map[Fault]int // with this fault
	Created, Accepted int
	Replays, Repeats  int // Repeats: second orders that ReplayNewID made
	Invalid           int // orders that were none
	TooSoon           int // requests that came back before Retry-After was over
	Hung              int
	Listings          int // pages of orders that were asked for
	MissingKey        int // POSTs without an idempotency key
}

// Lost is how many orders were answered with 201 and are not there.
func (c Counts) Lost() int { return c.Orders[Lose] + c.Orders[LoseLater] + c.Orders[WrongID] }

// Duplicated is how many orders exist or were processed more than once.
func (c Counts) Duplicated() int {
	return c.Orders[Repeat] + c.Orders[RepeatUnkeyed] + c.Orders[ProcessTwice] + c.Repeats
}

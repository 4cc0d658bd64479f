// Package faultyapi is an orders API that breaks its promises on purpose and keeps count: what loadgen must find, by name and number. It is
// a real HTTP server over an in-memory store, written from the contract alone, and is in no image; tests and demonstrations run it.
package faultyapi

import "time"

// Faults say what it does wrong. Shares are from 0 to 1, decided for each order by the seed; an order has at most one of the faults from
// Drop to WrongAnswer.
type Faults struct {
	Seed uint64

	Drop            float64 // answers 201 and forgets the order
	DropLater       float64 // forgets the order once it was completed
	DuplicateRow    float64 // makes it twice, with the same key
	DuplicateNoKey  float64 // makes it twice, the second without a key
	DuplicateEffect float64 // processes it twice
	NoEffect        float64 // completes it without having processed it
	ResetCommitted  float64 // makes it, then resets the connection instead of answering; a retry is a replay
	ResetForgetful  float64 // the same, but does not remember the key: the retry makes it a second time
	ResetBefore     float64 // resets the connection without making it
	Unavailable     float64 // answers 503 with Retry-After first
	Refuse          float64 // answers 422 to a good order
	Stuck           float64 // never processes it
	Dead            float64 // ends it as dead
	Hopeless        float64 // answers 503 with a Retry-After of a day, every time, without making it
	HopelessMade    float64 // makes it, and answers the same
	Reuse           float64 // answers 201 with the id of an earlier order, and does not make it
	Unlisted        float64 // does not show it in the listing
	Hide            float64 // lists it, but does not know it by its id
	Backward        float64 // says that it was completed before it was created
	Alter           float64 // stores it with another quantity
	NoID            float64 // answers 201 with a body that names no id
	WrongAnswer     float64 // answers 201 with another quantity than it was sent

	RetryAfter time.Duration // of a 503; sent in whole seconds
	StallEvery time.Duration // every so often, measured from the start …
	StallFor   time.Duration // … nothing is answered for this long
	HangAfter  int           // once it has accepted so many orders, no further one is answered; 0 = never
	Process    time.Duration // from creation to completion

	AcceptInvalid bool    // answers 201 to invalid orders
	InvalidStatus int     // answers this to invalid orders and to bodies that are too large; 0 = as it should
	ReplayNewID   bool    // answers a replay with another id, that of a second order
	ReplayOther   bool    // answers a replay with another order
	ReadsDown     bool    // answers 503 with a Retry-After of a day to every question about orders
	Flicker       float64 // share of looks at an order in which it is not there
}

// Habits say what its answers look like, within what the contract leaves open or beyond.
type Habits struct {
	NoKeys        bool // does not show idempotency keys
	NoEffects     bool // does not show effects
	IgnoresPrefix bool // does not know idempotency_key_prefix
	RefusesPrefix bool // answers 422 to it
	NoListing     bool // has no GET /orders
	NoNext        bool // its listing shows one page and no way to the next
	MaxLimit      int  // refuses a higher limit with a 422; 0 = 1000
	Clamp         bool // gives MaxLimit instead of refusing
	OldestFirst   bool
	BareArray     bool // the listing is an array; Link-less, so one page
	OtherNames    bool // {"items": …, "next": …}
	EndlessPages  bool // every page leads to the first one, by a new cursor
	OddListing    bool // answers GET /orders with something else
	NoQueue       bool // has no GET /queue
	NoReadyz      bool
	QuotedIDs     bool // ids are strings
	NaiveTimes    bool // times without a zone, as the Python example has them
	FirstID       int64
}

// Counts are what it did: the numbers that an audit must come to.
type Counts struct {
	Created, Accepted, Replays                   int
	Dropped, Duplicated, Resets, Unavailable     int
	Refused, Stuck, Dead, Hopeless, HopelessMade int
	Unlisted, Hidden, Backward, Altered, NoID    int
	WrongAnswers                                 int
	WithoutEffect                                int
	TooSoon                                      int // came back before Retry-After was over
	BadRequests, Oversized, Stalled, Hung        int
	Listings                                     int // answered questions for a page of orders
	MissingKey                                   int // POSTs without an idempotency key
}

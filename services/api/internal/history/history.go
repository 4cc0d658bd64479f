// Package history owns an order's story: what is known of it in the database, in the order in which it happened. The consumers write
// what did not succeed into orderflow.history, in the statements that settle it (docs/decisions/0013); the rest stands in the order.
//
// It must never change anything, and never fail for what it does not find: orders of earlier releases and adopted ones have a story, too,
// though a shorter one.
package history

import (
	"time"

	"orderflow.example/services/api/internal/isotime"
	"orderflow.example/services/api/internal/queue"
)

// History is an order's story.
type History struct {
	OrderID  int64           `json:"order_id"`
	Status   string          `json:"status" enum:"pending,completed,dead"`
	Attempts int32           `json:"attempts" doc:"since it was accepted, or redriven"`
	TraceID  *string         `json:"trace_id" example:"4bf92f3577b34da6a3ce929d0e0e4736" doc:"of the request that created the order; null when it is not known"`
	Message  *queue.Standing `json:"message" doc:"where the message of a pending order stands; null for other orders, and where the order does not name its message"`
	Events   []Event         `json:"events" nullable:"false" doc:"in the order in which they happened"`
}

// Event is one thing that happened to an order. What is not known, or does not apply, is left out.
type Event struct {
	Event string       `json:"event"` // one of EventNames
	At    isotime.Time `json:"at" doc:"when it ended, where it took time"`

	Attempt   *int32  `json:"attempt,omitempty" doc:"missing when it was no attempt"`
	Times     *int32  `json:"times,omitempty" doc:"how often it happened in a row, when more than once; omitted: deliveries"`
	MessageID *int64  `json:"message_id,omitempty"`
	Delivery  *int32  `json:"delivery,omitempty" doc:"read_ct of the message"`
	Consumer  *string `json:"consumer,omitempty"`
	By        *string `json:"by,omitempty" doc:"of what an operator did: by which way, and with what right" example:"api, admin token"`
	Note      *string `json:"note,omitempty" doc:"why, in the operator's words"`

	DueAt     *isotime.Time `json:"due_at,omitempty" doc:"since when it could be read"`
	LeasedAt  *isotime.Time `json:"leased_at,omitempty" doc:"when the consumer read it"`
	StartedAt *isotime.Time `json:"started_at,omitempty" doc:"when its handler was started"`
	SettledAt *isotime.Time `json:"settled_at,omitempty" doc:"when the outcome was written"`
	RetryAt   *isotime.Time `json:"retry_at,omitempty" doc:"from when on it could be read again"`

	WaitedSeconds *float64 `json:"waited_seconds,omitempty" doc:"from due_at to started_at, or to its end when no handler was started"`
	WorkedSeconds *float64 `json:"worked_seconds,omitempty" doc:"from started_at on"`

	Reason *string `json:"reason,omitempty" doc:"dead: as in GET /dead-letters"`
	Error  *string `json:"error,omitempty" doc:"its first 500 characters"`
}

// EventNames are what [Event.Event] can be, in the order of the API's document.
var EventNames = []string{
	accepted, queued, "failed", "timed_out", "panicked", "permanent", "crashed", "unanswered", "lease_lost", "released",
	omitted, redriven, requeued, deleted, completed, dead,
}

// EventMeaning says what those of them mean that do not say it by their name.
const EventMeaning = "failed, timed_out, panicked, permanent, crashed and completed are how an attempt ended; " +
	"unanswered: a lease ran out, and nobody knows why; lease_lost: the consumer came back when its lease had run out; " +
	"released: handed back without an attempt; omitted: what is no longer kept, or never was; " +
	"redriven, requeued, deleted: what an operator did: put its dead letter back, gave it a new message for one that was gone, " +
	"deleted its dead letter"

// Events that are no outcomes of deliveries.
const (
	accepted  = "accepted"
	queued    = "queued"
	omitted   = "omitted"
	completed = "completed"
	dead      = "dead"
)

// Outcomes of rows that become events otherwise than the others.
const (
	buried   = "buried" // to the dead letters, without an attempt
	redriven = "redriven"
	requeued = "requeued" // a new message for one that was gone
	deleted  = "deleted"  // its dead letter
)

// order is what orders says.
type order struct {
	id, messageID                   int64 // messageID 0: it never had one
	status                          string
	attempts                        int32
	created                         time.Time
	started, completed, dead        *time.Time
	lastError, processedBy, traceID *string
}

// row is one of orderflow.history.
type row struct {
	seq, times, delivery                 int32
	messageID                            int64
	enqueued                             time.Time
	outcome                              string
	attempt                              *int32
	due, leased, started, retry          *time.Time
	ended, settled                       time.Time
	consumer, reason, errorText, traceID *string
}

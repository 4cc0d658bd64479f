package queue

import (
	"encoding/json"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgtype"

	"orderflow.example/services/consumer/internal/message"
)

// Outcomes of deliveries, as the history of orders has them (docs/decisions/0013). What is completed has none there.
const (
	OutcomeFailed     = "failed"
	OutcomeTimedOut   = "timed_out"
	OutcomePanicked   = "panicked"
	OutcomePermanent  = "permanent"
	OutcomeReleased   = "released"   // handed back: no attempt
	OutcomeBuried     = "buried"     // moved to the dead letters without an attempt
	OutcomeUnanswered = "unanswered" // its lease ran out; nobody knows whether its handler was started
	OutcomeCrashed    = "crashed"    // its handler was started alone, and its consumer died
	OutcomeLeaseLost  = "lease_lost" // its consumer came back when somebody else had read the message
)

// Told is what the history of an order is told of a delivery, besides what is in its [Entry]. Times are by the database's clock.
type Told struct {
	Outcome     string
	Counted     bool // it was an attempt
	Due, Leased message.Instant
	Ended       message.Instant // of its handler, or of its lease
	TraceID     string
}

// Tell returns what the history is told of a message's delivery.
func Tell(m *message.Message, outcome string, counted bool, ended message.Instant) *Told {
	return &Told{Outcome: outcome, Counted: counted, Due: m.Due, Leased: m.Leased, Ended: ended, TraceID: m.SampledTraceID()}
}

// story is what the consumer knows of a delivery for orderflow.note_history. What names the delivery, and when it is due again, the
// statements add: they have it from the message itself. Nulls are left out, and what JSON cannot say, as an infinite time, is null.
type story struct {
	OrderID  int64           `json:"order_id,omitempty"`
	Created  json.RawMessage `json:"created_at,omitempty"`
	ReadCt   int32           `json:"read_ct,omitempty"`
	Outcome  string          `json:"outcome"`
	Attempt  int32           `json:"attempt,omitempty"`
	Due      json.RawMessage `json:"due_at,omitempty"`
	Leased   json.RawMessage `json:"leased_at,omitempty"`
	Started  json.RawMessage `json:"started_at,omitempty"`
	Ended    json.RawMessage `json:"ended_at,omitempty"`
	Retry    json.RawMessage `json:"retry_at,omitempty"`
	Consumer string          `json:"consumer,omitempty"`
	Reason   string          `json:"reason,omitempty"`
	Error    string          `json:"error,omitempty"`
	TraceID  string          `json:"trace_id,omitempty"`
}

func (s story) encode() []byte {
	text, err := json.Marshal(s)
	if err != nil {
		return nil // not told; its fields are texts, numbers and JSON of our own
	}
	return text
}

func instant(i message.Instant) json.RawMessage { return i.AppendJSON(nil) }

// stories are what the history is told about entries, null where that is nothing: no order is concerned, or nothing is to be told.
func stories(conn *pgx.Conn, entries []Entry, consumer string) [][]byte {
	told := make([][]byte, len(entries))
	consumer = encodable(conn, consumer)
	for i, e := range entries {
		t := e.Told
		if t == nil || e.OrderID == 0 {
			continue
		}
		s := story{
			OrderID: e.OrderID, Created: instant(e.Created), Outcome: t.Outcome,
			Due: instant(t.Due), Leased: instant(t.Leased), Started: instant(e.Started), Ended: instant(t.Ended),
			Consumer: consumer, Reason: e.Reason, Error: storable(conn, e.Error), TraceID: t.TraceID,
		}
		if t.Counted {
			s.Attempt = e.Attempt
		}
		told[i] = s.encode()
	}
	return told
}

// unansweredIn are the messages of a read whose delivery before this one had no answer.
func unansweredIn(read []Received) []*message.Message {
	var found []*message.Message
	for i := range read {
		if m := &read[i].Message; m.OrderID != 0 && m.Unanswered > 0 {
			found = append(found, m)
		}
	}
	return found
}

// noteUnanswered tells the history what became of those deliveries. Their leases ended when the messages became due again. One whose
// start had been made known was an attempt, and its consumer is known. It may be told once more, when something else came after it of which
// nothing was heard; the history knows it then.
func (q *Queue) noteUnanswered(conn *pgx.Conn, b *pgx.Batch, messages []*message.Message) {
	var ids, orders []int64
	var enqueued, created []message.Instant
	var told [][]byte
	add := func(m *message.Message, s story) {
		s.Ended, s.Retry, s.TraceID = instant(m.Due), instant(m.Due), m.SampledTraceID()
		ids, orders, told = append(ids, m.ID), append(orders, m.OrderID), append(told, s.encode())
		enqueued, created = append(enqueued, m.EnqueuedAt), append(created, m.Created)
	}
	for _, m := range messages {
		last := m.LastStart
		if last.ReadCount > 0 {
			add(m, story{ReadCt: last.ReadCount, Outcome: OutcomeCrashed, Attempt: m.Failed + m.Crashes, Consumer: storable(conn, last.Consumer)})
		}
		if last.ReadCount != m.ReadCount-1 {
			add(m, story{ReadCt: m.ReadCount - 1, Outcome: OutcomeUnanswered})
		}
	}
	b.Queue(q.unanswered, ids, enqueued, orders, created, told)
}

// leasedAt is when a read leased a message, of whose lease it knows the end.
func leasedAt(until pgtype.Timestamptz, visible time.Duration) message.Instant {
	if until.InfinityModifier != pgtype.Finite {
		return message.Instant{} // a trigger's doing
	}
	return message.InstantOf(until.Time.Add(-visible))
}

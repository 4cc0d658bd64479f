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

// HistoryRow is what goes into the history of an order about a delivery, besides what is in its [Entry]. Times are by the database's clock.
type HistoryRow struct {
	Outcome     string
	Counted     bool // it was an attempt
	Due, Leased message.Instant
	Ended       message.Instant // of its handler, or of its lease
	TraceID     string
}

// NewHistoryRow makes the row of a message's delivery.
func NewHistoryRow(m *message.Message, outcome string, counted bool, ended message.Instant) *HistoryRow {
	return &HistoryRow{Outcome: outcome, Counted: counted, Due: m.Due, Leased: m.Leased, Ended: ended, TraceID: m.SampledTraceID()}
}

// row is a [HistoryRow] with what its entry says, as orderflow.note_history takes it. What names the delivery, and when it is due again, the
// statements add: they have it from the message itself. Nulls are left out, and what JSON cannot say, as an infinite time, is null.
type row struct {
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

func (r row) encode() []byte {
	text, err := json.Marshal(r)
	if err != nil {
		return nil // nothing is noted; its fields are texts, numbers and JSON of our own
	}
	return text
}

func instant(i message.Instant) json.RawMessage { return i.AppendJSON(nil) }

// historyRows are what goes into the history about entries, null where that is nothing: no order is concerned, or nothing is to be noted.
func historyRows(conn *pgx.Conn, entries []Entry, consumer string) [][]byte {
	rows := make([][]byte, len(entries))
	consumer = encodable(conn, consumer)
	for i, e := range entries {
		h := e.History
		if h == nil || e.OrderID == 0 {
			continue
		}
		r := row{
			OrderID: e.OrderID, Created: instant(e.Created), Outcome: h.Outcome,
			Due: instant(h.Due), Leased: instant(h.Leased), Started: instant(e.Started), Ended: instant(h.Ended),
			Consumer: consumer, Reason: e.Reason, Error: storable(conn, e.Error), TraceID: h.TraceID,
		}
		if h.Counted {
			r.Attempt = e.Attempt
		}
		rows[i] = r.encode()
	}
	return rows
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

// noteUnanswered adds to the history what became of those deliveries. Their leases ended when the messages became due again. One whose
// start had been made known was an attempt, and its consumer is known. It may be sent once more, when something else came after it of which
// nothing was heard; the history knows it then.
func (q *Queue) noteUnanswered(conn *pgx.Conn, b *pgx.Batch, messages []*message.Message) {
	var ids, orders []int64
	var enqueued, created []message.Instant
	var rows [][]byte
	add := func(m *message.Message, r row) {
		r.Ended, r.Retry, r.TraceID = instant(m.Due), instant(m.Due), m.SampledTraceID()
		ids, orders, rows = append(ids, m.ID), append(orders, m.OrderID), append(rows, r.encode())
		enqueued, created = append(enqueued, m.EnqueuedAt), append(created, m.Created)
	}
	for _, m := range messages {
		last := m.LastStart
		if last.ReadCount > 0 {
			add(m, row{ReadCt: last.ReadCount, Outcome: OutcomeCrashed, Attempt: m.Failed + m.Crashes, Consumer: storable(conn, last.Consumer)})
		}
		if last.ReadCount != m.ReadCount-1 {
			add(m, row{ReadCt: m.ReadCount - 1, Outcome: OutcomeUnanswered})
		}
	}
	b.Queue(q.unanswered, ids, enqueued, orders, created, rows)
}

// leasedAt is when a read leased a message, of whose lease it knows the end.
func leasedAt(until pgtype.Timestamptz, visible time.Duration) message.Instant {
	if until.InfinityModifier != pgtype.Finite {
		return message.Instant{} // a trigger's doing
	}
	return message.InstantOf(until.Time.Add(-visible))
}

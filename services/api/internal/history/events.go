package history

import (
	"time"

	"orderflow.example/services/api/internal/isotime"
)

// events are what happened to an order, made from what it says of itself and from the rows of its history, in the order of seq.
func events(o order, rows []row) []Event {
	t := story{order: o, due: o.created}
	t.add(Event{Event: accepted, At: isotime.Time{Time: o.created}})
	queued := Event{Event: queued, At: isotime.Time{Time: o.created}, MessageID: number(o.messageID)}
	if len(rows) > 0 && rows[0].seq == 1 && rows[0].delivery > 0 {
		queued.MessageID = number(rows[0].messageID)
		// PGMQ gives a message the time at which its transaction began, which is before its order was written in it.
		if sent := rows[0].enqueued; sent.After(o.created) {
			queued.At, t.due = isotime.Time{Time: sent}, sent
		}
	}
	t.add(queued)
	t.rows(rows)
	t.addOmitted(o.attempts)
	t.ending()
	return t.events
}

// story is an order's events so far.
type story struct {
	order    order
	events   []Event
	due      time.Time // since when the message could be read
	life     int       // events before the order was accepted, or redriven the last time
	attempts int32     // since then that there are events of
	gap      bool      // and others may have been among what is not kept
	dead     bool      // the last thing that happened
}

func (t *story) add(e Event) { t.events = append(t.events, e) }

func (t *story) rows(rows []row) {
	next := int32(1)
	for _, r := range rows {
		if r.seq > next {
			missing := r.seq - next
			t.add(Event{Event: omitted, At: t.events[len(t.events)-1].At, Times: &missing})
			t.gap = true
		}
		next = r.seq + 1
		t.row(r)
	}
	if t.life == 0 {
		t.life = 2
	}
}

func (t *story) row(r row) {
	switch r.outcome {
	case redriven, requeued:
		t.add(r.byHand())
		t.due, t.life, t.attempts, t.gap, t.dead = r.ended, len(t.events), 0, false, false
		return
	case deleted:
		t.died() // before this release, which noted nothing
		t.add(r.byHand())
		return
	}
	t.dead = false
	if r.outcome != buried {
		t.add(t.delivery(r))
	}
	if r.attempt != nil {
		t.attempts++
	}
	if r.retry != nil {
		t.due = *r.retry
	}
	if r.reason != nil {
		t.dead = true
		t.add(Event{Event: dead, At: isotime.Time{Time: r.settled}, MessageID: &r.messageID, Reason: r.reason, Error: r.errorText})
	}
}

// byHand is what an operator did.
func (r *row) byHand() Event {
	return Event{Event: r.outcome, At: isotime.Time{Time: r.ended}, MessageID: &r.messageID, By: r.consumer, Note: r.errorText}
}

// died adds the order's death, unless there is an event of it.
func (t *story) died() {
	if o := &t.order; o.status == dead && o.dead != nil && !t.dead {
		t.dead = true
		t.add(Event{Event: dead, At: isotime.Time{Time: *o.dead}, Error: o.lastError})
	}
}

// delivery is how one ended, and how long it had taken.
func (t *story) delivery(r row) Event {
	e := Event{
		Event: r.outcome, At: isotime.Time{Time: r.ended}, Attempt: r.attempt, MessageID: &r.messageID, Delivery: &r.delivery, Consumer: r.consumer,
		DueAt: moment(r.due), LeasedAt: moment(r.leased), StartedAt: moment(r.started), SettledAt: &isotime.Time{Time: r.settled}, RetryAt: moment(r.retry),
		Error: r.errorText,
	}
	if r.times > 1 {
		e.Times = &r.times
	}
	due := t.due
	if r.due != nil {
		due = *r.due
	}
	e.DueAt = &isotime.Time{Time: due}
	e.took(due, r.started, r.ended)
	return e
}

// took says how long a delivery has waited, and how long its handler has worked.
func (e *Event) took(due time.Time, started *time.Time, ended time.Time) {
	until := ended
	if started != nil {
		until = *started
		e.WorkedSeconds = seconds(ended.Sub(until))
	}
	e.WaitedSeconds = seconds(until.Sub(due))
}

// addOmitted notes that there were more failed attempts than there are events of, as of orders of earlier releases. Where rows are missing
// they may have been among those.
func (t *story) addOmitted(attempts int32) {
	if t.order.status == completed {
		attempts--
	}
	missing := attempts - t.attempts
	if missing <= 0 || t.gap {
		return
	}
	e := Event{Event: omitted, At: t.events[t.life-1].At, Times: &missing}
	t.events = append(t.events[:t.life], append([]Event{e}, t.events[t.life:]...)...)
}

// ending adds how the order has ended, if it has.
func (t *story) ending() {
	o := &t.order
	switch {
	case o.status == completed && o.completed != nil:
		e := Event{
			Event: completed, At: isotime.Time{Time: *o.completed}, Attempt: &o.attempts, MessageID: number(o.messageID),
			Consumer: o.processedBy, StartedAt: moment(o.started),
		}
		e.DueAt = &isotime.Time{Time: t.due}
		e.took(t.due, o.started, *o.completed)
		t.add(e)
	case o.status == completed: // by another program, which did not say when
		t.add(Event{Event: completed, At: t.events[len(t.events)-1].At, Consumer: o.processedBy})
	default:
		t.died()
	}
}

func number(n int64) *int64 {
	if n == 0 {
		return nil
	}
	return &n
}

func moment(t *time.Time) *isotime.Time {
	if t == nil {
		return nil
	}
	return &isotime.Time{Time: *t}
}

// seconds are never below 0: the times of a delivery are taken by two clocks.
func seconds(d time.Duration) *float64 {
	s := max(d, 0).Seconds()
	return &s
}

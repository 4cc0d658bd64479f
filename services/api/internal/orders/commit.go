package orders

import (
	"errors"
	"slices"
	"time"

	"github.com/jackc/pgx/v5/pgconn"

	"orderflow.example/services/api/internal/database"
)

// maxTries bounds how often one transaction is attempted. Another replica that wrote the same key first costs one more
// try, and so does a deadlock or a lost connection.
const maxTries = 3

// worthTrying is the time a request must have left for another try.
const worthTrying = 20 * time.Millisecond

// write brings a batch to its end: when it returns, every unit is settled, or was given up by its request.
func (w *Writer) write(batch []*unit) {
	for len(batch) > 0 {
		leaders, followers := lead(batch)
		w.begin(leaders)
		// Followers whose leader's outcome says nothing about theirs have their own turn. At least the first of each key is
		// settled in each round, so there is an end.
		batch = batch[:0]
		for _, f := range followers {
			if !f.follow() {
				batch = append(batch, f)
			}
		}
	}
}

// lead separates the units whose key another unit before them has: one statement cannot see the rows that it is about to
// write, so they wait for the first one's outcome, which is theirs too.
func lead(batch []*unit) (leaders, followers []*unit) {
	keyed := 0
	for _, u := range batch {
		if u.Key != "" {
			keyed++
		}
		u.leader = nil
	}
	if keyed < 2 {
		return batch, nil
	}
	type scope struct {
		key   string
		batch bool
	}
	first := make(map[scope]*unit, keyed)
	for _, u := range batch {
		key := scope{u.Key, u.Batch}
		leader := first[key]
		switch {
		case u.Key == "":
			leaders = append(leaders, u)
		case leader == nil:
			first[key] = u
			leaders = append(leaders, u)
		default:
			u.leader = leader
			followers = append(followers, u)
		}
	}
	return leaders, followers
}

// follow settles a unit by its leader's outcome; false when that says nothing about it.
func (u *unit) follow() bool {
	switch {
	case u.leader.stored != nil:
		u.answer(u.leader.stored)
		return true
	case u.leader.err != nil && !errors.Is(u.leader.err, ErrKeyReused) && !errors.Is(u.leader.err, ErrTimeout) && !isRefused(u.leader.err):
		u.settle(Result{}, u.leader.err)
		return true
	}
	return false
}

// answer settles a unit by what stands under its key.
func (u *unit) answer(stored []Order) {
	same := len(stored) == len(u.Orders)
	for i := 0; same && i < len(stored); i++ {
		same = stored[i].Draft == u.Orders[i]
	}
	if !same {
		u.settle(Result{}, ErrKeyReused)
		return
	}
	u.settle(Result{Orders: stored, Replayed: true}, nil)
}

func isRefused(err error) bool {
	var refused *RefusedError
	return errors.As(err, &refused)
}

// begin makes the first attempt at units, which were not part of a transaction before or whose transaction is known to
// have been rolled back.
func (w *Writer) begin(units []*unit) { w.next(units, 1) }

// next is a try, for the units whose requests still have time for one.
func (w *Writer) next(units []*unit, try int) {
	soon := time.Now().Add(worthTrying)
	units = slices.DeleteFunc(slices.Clone(units), func(u *unit) bool {
		if u.state.Load() != unitAbandoned && u.deadline.After(soon) {
			return false
		}
		u.settle(Result{}, ErrTimeout)
		return true
	})
	if len(units) == 0 {
		return
	}
	units, err := w.reconnect(units)
	if err != nil {
		settleAll(units, ErrUnavailable)
		return
	}
	if len(units) > 0 { // all may have been withdrawn while it connected
		w.attempt(units, try)
	}
}

// attempt writes units in one transaction, or finds out which of them cannot be, and settles them all.
func (w *Writer) attempt(units []*unit, try int) {
	started := time.Now()
	outcome, err := w.conn.publish(units, w.cfg.Timeout)
	w.used = time.Now()
	kind := database.Classify(err)
	switch {
	case kind == database.OK:
		w.settle(units, outcome, started)
		return
	case kind == database.Duplicate && !worthAnotherTry(err):
		kind = database.Refused
	}
	w.cfg.Observer.Failed(kind)
	if w.conn.closed() {
		w.disconnect()
		w.gate.Suspect()
	}
	switch kind {
	case database.Duplicate, database.Conflict:
		// Nothing was written. A key that another replica has just committed is found by the next try.
		if try < maxTries {
			w.again(units, try)
			return
		}
		w.isolate(units, err)
	case database.Refused:
		w.isolate(units, err)
	case database.Lost:
		// Trying again is safe only for those with a key: the others could be written twice.
		w.cfg.Log.Debug("connection lost while writing", "orders", len(units), "error", err)
		if pgconn.SafeToRetry(err) {
			w.again(units, try)
			return
		}
		var keyed []*unit
		for _, u := range units {
			u.doubt = true
			if u.Key != "" {
				keyed = append(keyed, u)
			} else {
				u.settle(Result{}, ErrUnknownOutcome)
			}
		}
		w.again(keyed, try)
	case database.Unready:
		// A right or a table is missing. Whether that has been mended, the next connection finds out before anybody waits for it.
		w.rehearse = true
		w.disconnect()
		w.gate.Suspect()
		w.failed("orders not written", err)
		settleAll(units, ErrUnavailable)
	case database.Unavailable:
		if try < maxTries && pgconn.SafeToRetry(err) {
			w.again(units, try)
			return
		}
		w.warn("orders not written", "orders", len(units), "error", err)
		w.gate.Suspect()
		settleAll(units, ErrUnavailable)
	default:
		if pgErr := (*pgconn.PgError)(nil); len(units) > 1 && errors.As(err, &pgErr) {
			w.isolate(units, err) // whose fault it is
			return
		}
		w.cfg.Log.Error("orders not written", "orders", len(units), "error", err)
		settleAll(units, err)
	}
}

// worthAnotherTry tells whether a unique violation will be another one next time: the key is found then, and another id is
// drawn. A unique constraint that somebody has added is a rule like any other.
func worthAnotherTry(err error) bool {
	var pgErr *pgconn.PgError
	return errors.As(err, &pgErr) && (pgErr.ConstraintName == "orders_idempotency_key_idx" || pgErr.ConstraintName == "orders_pkey")
}

// again is the try after one that came to nothing.
func (w *Writer) again(units []*unit, try int) {
	if try >= maxTries {
		settleAll(units, ErrUnavailable)
		return
	}
	w.next(units, try+1)
}

// isolate finds the units that are at fault by halving, so that their neighbours are written.
func (w *Writer) isolate(units []*unit, err error) {
	if len(units) > 1 {
		half := len(units) / 2
		w.begin(units[:half])
		w.begin(units[half:])
		return
	}
	w.warn("order not written", "error", err)
	var pgErr *pgconn.PgError
	if database.Classify(err) == database.Conflict || worthAnotherTry(err) || !errors.As(err, &pgErr) {
		units[0].settle(Result{}, ErrUnavailable)
		return
	}
	units[0].settle(Result{}, &RefusedError{Reason: pgErr.Message})
}

func settleAll(units []*unit, err error) {
	for _, u := range units {
		u.settle(Result{}, err)
	}
}

// settle gives the units what the transaction returned for them.
func (w *Writer) settle(units []*unit, outcome []written, started time.Time) {
	took := time.Since(started)
	orders := 0
	for i, u := range units {
		if outcome[i].fresh {
			orders += len(u.Orders)
		}
	}
	if orders > 0 {
		w.cfg.OnCommit()
	}
	w.cfg.Observer.Committed(len(units), orders, took)
	for i, u := range units {
		o := &outcome[i]
		switch {
		case o.err != nil:
			u.settle(Result{}, o.err)
		case o.fresh:
			u.stored = o.orders
			u.settle(Result{Orders: o.orders}, nil)
		case o.partial:
			// Fewer or more than was asked for stand there: another batch. What exactly is not known.
			u.settle(Result{}, ErrKeyReused)
		default:
			u.stored = o.orders
			u.answer(o.orders)
		}
	}
}

// warn writes a line a second at most: a disk that is full fails every batch.
func (w *Writer) warn(message string, args ...any) {
	if now := time.Now(); now.Sub(w.warned) >= time.Second {
		w.warned = now
		w.cfg.Log.Warn(message, args...)
	}
}

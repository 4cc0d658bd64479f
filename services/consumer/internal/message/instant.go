package message

import (
	"bytes"
	"cmp"
	"math"
	"time"

	"github.com/jackc/pgx/v5/pgtype"
)

// Instant is a timestamptz as Postgres holds it, to the microsecond. Unlike a time.Time it can be compared with ==, and can be
// infinite, as whatever another program has put into a row. Its zero value is SQL's null, which equals nothing in a statement.
type Instant struct {
	micros int64 // since 2000, as in Postgres: from 1970 its last years do not fit; the infinities are the extremes
	valid  bool
}

const year2000 = 946_684_800 // Unix time

// InstantOf is t, cut to the microsecond.
func InstantOf(t time.Time) Instant {
	return Instant{(t.Unix()-year2000)*1e6 + int64(t.Nanosecond())/1000, true}
}

func (i Instant) time() time.Time {
	seconds, micros := i.micros/1e6, i.micros%1e6 // both negative before 2000, which time.Unix takes
	return time.Unix(year2000+seconds, micros*1000).UTC()
}

// Compare is negative when i is before other, positive when it is after. Null is as if it were 2000.
func (i Instant) Compare(other Instant) int { return cmp.Compare(i.micros, other.micros) }

// Sub is how long after the other one it is; both are finite.
func (i Instant) Sub(other Instant) time.Duration {
	return time.Duration(i.micros-other.micros) * time.Microsecond
}

// Time is the instant, if it is one that a time.Time can be.
func (i Instant) Time() (t time.Time, ok bool) {
	if !i.valid || i.micros == math.MaxInt64 || i.micros == math.MinInt64 {
		return time.Time{}, false
	}
	return i.time(), true
}

// ScanTimestamptz implements pgtype.TimestamptzScanner.
func (i *Instant) ScanTimestamptz(v pgtype.Timestamptz) error {
	switch {
	case !v.Valid:
		*i = Instant{}
	case v.InfinityModifier == pgtype.Infinity:
		*i = Instant{math.MaxInt64, true}
	case v.InfinityModifier == pgtype.NegativeInfinity:
		*i = Instant{math.MinInt64, true}
	default:
		*i = InstantOf(v.Time)
	}
	return nil
}

// TimestamptzValue implements pgtype.TimestamptzValuer.
func (i Instant) TimestamptzValue() (pgtype.Timestamptz, error) {
	v := pgtype.Timestamptz{Valid: i.valid}
	switch i.micros {
	case math.MaxInt64:
		v.InfinityModifier = pgtype.Infinity
	case math.MinInt64:
		v.InfinityModifier = pgtype.NegativeInfinity
	default:
		v.Time = i.time()
	}
	return v, nil
}

// String is the instant in RFC 3339, or infinity, -infinity or null as Postgres writes them.
func (i Instant) String() string {
	switch {
	case !i.valid:
		return "null"
	case i.micros == math.MaxInt64:
		return "infinity"
	case i.micros == math.MinInt64:
		return "-infinity"
	default:
		return i.time().Format(time.RFC3339Nano)
	}
}

// parseInstant reads the time of a JSON string as programs write it: RFC 3339, or without a zone, which then is UTC, as Python's
// isoformat gives it for what the FastAPI example stores. What it cannot read is null.
func parseInstant(value []byte) Instant {
	text := string(bytes.Trim(value, `"`))
	for _, layout := range [...]string{time.RFC3339, "2006-01-02T15:04:05", "2006-01-02 15:04:05Z07:00", "2006-01-02 15:04:05"} {
		if t, err := time.Parse(layout, text); err == nil {
			return InstantOf(t)
		}
	}
	return Instant{}
}

// AppendJSON appends the instant as RFC 3339 has it, in JSON; what that cannot say, such as infinity, is null.
func (i Instant) AppendJSON(b []byte) []byte {
	if finite := i.valid && i.micros != math.MaxInt64 && i.micros != math.MinInt64; finite {
		if t := i.time(); t.Year() >= 0 && t.Year() <= 9999 {
			return t.AppendFormat(b, `"`+time.RFC3339Nano+`"`)
		}
	}
	return append(b, "null"...)
}

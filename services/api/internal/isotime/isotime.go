// Package isotime is how every answer writes a time.
package isotime

import "time"

// layout is ISO 8601 with a numeric offset, which older Pythons' datetime.fromisoformat reads and "Z" it does not.
const layout = "2006-01-02T15:04:05.000000-07:00"

// Time is a time that is written so, in UTC.
type Time struct{ time.Time }

// MarshalJSON writes a JSON string.
func (t Time) MarshalJSON() ([]byte, error) { return Append(nil, t.Time), nil }

// Append writes a time as a JSON string.
func Append(dst []byte, t time.Time) []byte {
	dst = append(dst, '"')
	dst = t.UTC().AppendFormat(dst, layout)
	return append(dst, '"')
}

// Bounded is the SQL of a timestamptz column as an answer can show it: within the years 1 to 9999, beyond which clients cannot read a
// time. PostgreSQL's own range is wider and has infinities, and whoever writes to a table may use them.
func Bounded(column string) string {
	// greatest passes a null over: without the case, no time would be the first of all times.
	return "case when " + column + " is not null then least(greatest(" + column + ", '0001-01-01 00:00:00+00'), '9999-12-31 23:59:59.999999+00') end"
}

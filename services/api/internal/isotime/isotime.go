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

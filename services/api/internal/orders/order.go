// Package orders owns what an order is: how it is read from a request, how it is written down together with its
// message (the batching [Writer]), how it is found again ([Store]).
//
// It must never acknowledge an order whose transaction is not known to have committed, never hold money in a float, and
// never let one request's fault reach its neighbours.
package orders

import (
	"strconv"
	"time"
	"unicode/utf8"

	"orderflow.example/services/api/internal/isotime"
)

// Draft is an order as a client asks for it, checked.
type Draft struct {
	CustomerName string
	ProductName  string
	Quantity     int32
	Price        Cents
}

// Cents is money, exactly: hundredths of the currency's unit. It is never a float on its way from the request's
// digits to numeric(12,2) and back.
type Cents int64

// MaxPrice is the largest price that numeric(12,2) holds: 9999999999.99.
const MaxPrice Cents = 999_999_999_999

// AppendJSON writes the amount as a JSON number with two decimals.
func (c Cents) AppendJSON(dst []byte) []byte {
	if c < 0 {
		dst = append(dst, '-')
		c = -c
	}
	dst = strconv.AppendInt(dst, int64(c/100), 10)
	return append(dst, '.', byte('0'+c/10%10), byte('0'+c%10))
}

// MarshalJSON writes a JSON number with two decimals.
func (c Cents) MarshalJSON() ([]byte, error) { return c.AppendJSON(nil), nil }

// String is the amount with two decimals.
func (c Cents) String() string { return string(c.AppendJSON(nil)) }

// Statuses an order can have.
const (
	StatusPending   = "pending"
	StatusCompleted = "completed"
	StatusDead      = "dead"
)

// Order is an order as it stands in the database.
type Order struct {
	ID int64
	Draft
	CreatedAt      time.Time
	MessageID      int64 // 0: it never had one (adopted from an older application)
	Status         string
	Attempts       int32
	Effects        int32
	LastError      *string
	CompletedAt    *time.Time
	ProcessedBy    *string
	IdempotencyKey *string
}

// AppendJSON writes the order as every call of the API answers it.
func (o *Order) AppendJSON(dst []byte) []byte {
	dst = append(dst, `{"id":`...)
	dst = strconv.AppendInt(dst, o.ID, 10)
	dst = append(dst, `,"customer_name":`...)
	dst = appendString(dst, o.CustomerName)
	dst = append(dst, `,"product_name":`...)
	dst = appendString(dst, o.ProductName)
	dst = append(dst, `,"quantity":`...)
	dst = strconv.AppendInt(dst, int64(o.Quantity), 10)
	dst = append(dst, `,"price":`...)
	dst = o.Price.AppendJSON(dst)
	dst = append(dst, `,"created_at":`...)
	dst = appendTime(dst, &o.CreatedAt)
	dst = append(dst, `,"message_id":`...)
	if o.MessageID == 0 {
		dst = append(dst, "null"...)
	} else {
		dst = strconv.AppendInt(dst, o.MessageID, 10)
	}
	dst = append(dst, `,"status":`...)
	dst = appendString(dst, o.Status)
	dst = append(dst, `,"attempts":`...)
	dst = strconv.AppendInt(dst, int64(o.Attempts), 10)
	dst = append(dst, `,"effects":`...)
	dst = strconv.AppendInt(dst, int64(o.Effects), 10)
	dst = append(dst, `,"last_error":`...)
	dst = appendOptional(dst, o.LastError)
	dst = append(dst, `,"completed_at":`...)
	dst = appendTime(dst, o.CompletedAt)
	dst = append(dst, `,"processed_by":`...)
	dst = appendOptional(dst, o.ProcessedBy)
	dst = append(dst, `,"idempotency_key":`...)
	dst = appendOptional(dst, o.IdempotencyKey)
	return append(dst, '}')
}

// MarshalJSON is AppendJSON for encoding/json.
func (o *Order) MarshalJSON() ([]byte, error) { return o.AppendJSON(make([]byte, 0, 384)), nil }

func appendTime(dst []byte, t *time.Time) []byte {
	if t == nil {
		return append(dst, "null"...)
	}
	return isotime.Append(dst, *t)
}

func appendOptional(dst []byte, s *string) []byte {
	if s == nil {
		return append(dst, "null"...)
	}
	return appendString(dst, *s)
}

// appendString writes a JSON string. Angle brackets and ampersands are escaped as encoding/json does, so that the
// answer is harmless inside a script element.
func appendString(dst []byte, s string) []byte {
	const hex = "0123456789abcdef"
	dst = append(dst, '"')
	done := 0
	for i := 0; i < len(s); {
		c := s[i]
		if c >= utf8.RuneSelf {
			r, size := utf8.DecodeRuneInString(s[i:])
			if (r == utf8.RuneError && size == 1) || r == '\u2028' || r == '\u2029' {
				dst = append(dst, s[done:i]...)
				dst = append(dst, '\\', 'u', hex[r>>12&15], hex[r>>8&15], hex[r>>4&15], hex[r&15])
				done = i + size
			}
			i += size
			continue
		}
		if c >= ' ' && c != '"' && c != '\\' && c != '<' && c != '>' && c != '&' && c != 0x7f {
			i++
			continue
		}
		dst = append(dst, s[done:i]...)
		switch c {
		case '"', '\\':
			dst = append(dst, '\\', c)
		case '\n':
			dst = append(dst, '\\', 'n')
		case '\r':
			dst = append(dst, '\\', 'r')
		case '\t':
			dst = append(dst, '\\', 't')
		default:
			dst = append(dst, '\\', 'u', '0', '0', hex[c>>4], hex[c&15])
		}
		i++
		done = i
	}
	dst = append(dst, s[done:]...)
	return append(dst, '"')
}

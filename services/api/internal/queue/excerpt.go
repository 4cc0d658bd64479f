package queue

import (
	"encoding/json"
	"fmt"
	"unicode/utf8"

	"orderflow.example/services/api/internal/database"
)

// What a queue holds is written by anybody who may write to it, and is of any size. How much of it an answer shows is decided in SQL,
// so that the rest never reaches this process.
//
// Unpacking is what takes the server its time: 100 MB of compressed JSON as text take some 0.2 s. A value's weight is what that may come
// to.
const (
	// weightLimit is up to which weight a value is unpacked at all.
	weightLimit = 4 << 20
	// messagesLimit bounds the weight of the messages that are unpacked for one answer, headersTotal that of headers, which say what a letter
	// died of. A thousand ordinary orders weigh 400 KB. Large messages cost the most: 1 MB as text takes some 8 ms, and a page has a second.
	messagesLimit = 8 << 20
	headersTotal  = 32 << 20
	// headersLimit is up to which weight headers are looked into where thousands of them may be, for a reason or a mark.
	headersLimit = 1 << 20
	// valueLimit is up to which size, as text, a value is shown.
	valueLimit = 16 << 10
	// answerLimit bounds the text that one answer is made of.
	answerLimit = 1 << 20
	// excerptLimit is how many characters are shown of a larger value.
	excerptLimit = 500
)

// Truncated says which values of a message are not shown, because they are large.
type Truncated struct {
	Message *Cut `json:"message,omitempty"`
	Headers *Cut `json:"headers,omitempty"`
}

// Cut is a value that is not shown.
type Cut struct {
	StoredBytes int64   `json:"stored_bytes" doc:"its size in the table, perhaps compressed"`
	Excerpt     *string `json:"excerpt" doc:"its beginning; null when it is too large even for that, or the answer is full"`
}

// value is a jsonb column as [excerpts] reads it.
type value struct {
	begin  *string // no more than valueLimit+1 characters; nil when nothing of it may be shown
	stored *int64  // bytes; nil: SQL null
}

// show returns what an answer has for the value, and what is missing when that is not all.
func (v value) show() (json.RawMessage, *Cut) {
	switch {
	case v.stored == nil:
		return json.RawMessage("null"), nil
	case v.begin == nil:
		return json.RawMessage("null"), &Cut{StoredBytes: *v.stored}
	case len(*v.begin) <= valueLimit:
		return json.RawMessage(*v.begin), nil
	}
	end := 0
	for range excerptLimit {
		_, size := utf8.DecodeRuneInString((*v.begin)[end:])
		end += size
	}
	excerpt := (*v.begin)[:end]
	return json.RawMessage("null"), &Cut{StoredBytes: *v.stored, Excerpt: &excerpt}
}

// shown is a message's body and headers as an answer has them.
func shown(message, headers value) (json.RawMessage, json.RawMessage, *Truncated) {
	body, bodyCut := message.show()
	head, headCut := headers.show()
	if bodyCut == nil && headCut == nil {
		return body, head, nil
	}
	return body, head, &Truncated{Message: bodyCut, Headers: headCut}
}

// excerpts is the SQL (what "with" begins with) of a page of messages with as much of their values as an answer may have, and values
// the columns of it that two of [value] are read from.
//
// rows selects the page: msg_id, read_ct, enqueued_at, vt, message and headers. order is the answer's, which is filled from its
// beginning. fields are more columns, made of small.message and small.headers; these are null when they are too large to be looked into.
// The result is shown: msg_id, read_ct, enqueued_at, vt, the fields, and what [values] is made of.
//
// Materialized rows hold no more than a pointer to what is stored out of line.
func excerpts(rows, order, fields string) string {
	return fmt.Sprintf(`
		page as materialized (
			select p.*, `+weight("p.message")+` as message_weight, `+weight("p.headers")+` as headers_weight
			from (%[1]s) p
		),
		counted as (
			select p.*,
				sum(p.message_weight) filter (where p.message_weight <= %[4]d) over so_far <= %[5]d as unpack_message,
				sum(p.headers_weight) filter (where p.headers_weight <= %[4]d) over so_far <= %[8]d as unpack_headers
			from page p
			window so_far as (order by %[2]s)
		),
		small as materialized (
			select c.msg_id, c.read_ct, c.enqueued_at, c.vt, pg_column_size(c.message) as message_stored, pg_column_size(c.headers) as headers_stored,
				case when c.unpack_message and c.message_weight <= %[4]d then c.message end as message,
				case when c.unpack_headers and c.headers_weight <= %[4]d then c.headers end as headers
			from counted c
		),
		begun as materialized (
			select small.msg_id, small.read_ct, small.enqueued_at, small.vt, small.message_stored, small.headers_stored, %[3]s
				left(small.message::text, %[6]d) as message_begin, left(small.headers::text, %[6]d) as headers_begin
			from small
		),
		shown as (
			select begun.*, sum(coalesce(octet_length(begun.message_begin), 0) + coalesce(octet_length(begun.headers_begin), 0))
				over (order by %[2]s) <= %[7]d as fits
			from begun
		)`, rows, order, fields, weightLimit, messagesLimit, valueLimit+1, answerLimit, headersTotal)
}

func values(as database.ShownAs) string {
	begin := func(column string) string { return `case when shown.fits then ` + as(column) + ` end` }
	return begin("shown.message_begin") + `, shown.message_stored, ` + begin("shown.headers_begin") + `, shown.headers_stored`
}

// weight is the SQL of a value's size in bytes, unpacked: a guess at the worst of what is compressed (pglz makes one byte of 90 at most,
// lz4 of 255). Nothing is unpacked for it.
func weight(column string) string {
	return "pg_column_size(" + column + ")::bigint * case when pg_column_compression(" + column + ") is null then 1 else 100 end"
}

package queue

import (
	"strings"
	"unicode"

	"github.com/jackc/pgx/v5"
)

// storable is a text of others' making, such as an error, as conn's database can store it, and no more of it than anybody reads. What cannot
// be stored would keep the whole result from being written, again and again.
func storable(conn *pgx.Conn, text string) string {
	const most = 2000
	if len(text) > most {
		text = text[:most] + "…"
	}
	return encodable(conn, text)
}

// encodable is a text as conn's database can store it, as text and in jsonb: valid UTF-8 without NUL and, where its encoding is another one,
// without what is not ASCII. Which of that an encoding has only the server knows, and as JSON's escapes it takes none of it.
func encodable(conn *pgx.Conn, text string) string {
	text = strings.ReplaceAll(strings.ToValidUTF8(text, "\uFFFD"), "\x00", "\uFFFD")
	if conn.PgConn().ParameterStatus("server_encoding") == "UTF8" {
		return text
	}
	return strings.Map(func(r rune) rune {
		if r > unicode.MaxASCII {
			return '?'
		}
		return r
	}, text)
}

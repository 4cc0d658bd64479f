package schema_test

import (
	"slices"
	"strconv"
	"testing"

	"github.com/jackc/pgx/v5"

	"orderflow.example/services/api/internal/schema"
)

// What client libraries send with parameters whose types they leave to the server: pgmq-js and @waiting/pgmq-js by way of
// node-postgres, and whoever else casts nothing. The values go as text, as these drivers send them.
func TestPGMQTakesUntypedParameters(t *testing.T) {
	t.Parallel()
	db := newDatabase(t)
	db.installPGMQ(schema.InstallSQL)
	mustExec(t, db.conn, `select pgmq.create('q')`)
	mustExec(t, db.conn, `select pgmq.send_batch('q', array['{"n": 1}', '{"n": 2}']::jsonb[])`)

	const (
		hours    = `round(extract(epoch from vt - now()) / 3600)`
		moved    = `select msg_id, ` + hours + ` from `
		asMoment = `select msg_id, vt = '2099-01-02 03:04:05+00' from `
	)
	for _, call := range []struct {
		sql    string
		params []string
		want   string
	}{
		{moved + `pgmq.set_vt($1, $2, $3)`, []string{"q", "1", "36000"}, "1|10"},
		{moved + `pgmq.set_vt($1, $2, $3)`, []string{"q", `{"1","2"}`, "36000"}, "1|10\n2|10"},
		{asMoment + `pgmq.set_vt($1, $2, $3)`, []string{"q", "1", "2099-01-02T03:04:05.000+00:00"}, "1|t"},
		{asMoment + `pgmq.set_vt($1, $2, $3)`, []string{"q", "{1,2}", "2099-01-02T03:04:05.000+00:00"}, "1|t\n2|t"},
		{moved + `pgmq.set_vt($1, $2::bigint, $3)`, []string{"q", "2", "-36000"}, "2|-10"},
		{moved + `pgmq.set_vt($1, $2::bigint[], $3)`, []string{"q", "{2}", "72000"}, "2|20"},
		{moved + `pgmq.set_vt($1, $2, $3::integer)`, []string{"q", "2", "72000"}, "2|20"},
		{moved + `pgmq.set_vt($1, $2, 72000)`, []string{"q", "1"}, "1|20"},
		{asMoment + `pgmq.set_vt($1, $2, $3::timestamptz)`, []string{"q", "1", "2099-01-02T03:04:05Z"}, "1|t"},
		{moved + `pgmq.set_vt(queue_name => $1, msg_id => $2, vt => $3)`, []string{"q", "1", "0"}, "1|0"},
		{moved + `pgmq.set_vt($1, $2, $3)`, []string{"q", "99", "0"}, ""},
	} {
		if got, err := untyped(t, db.conn, call.sql, call.params); err != nil || got != call.want {
			t.Errorf("%s %v: got %q, %v; want %q", call.sql, call.params, got, err, call.want)
		}
	}
	for _, call := range []struct {
		sql    string
		params []string
		want   string
	}{
		{`pgmq.send($1, $2)`, []string{"q", `{"n":3}`}, `0|{"n": 3}|∅`},
		{`pgmq.send($1, $2, $3)`, []string{"q", `{"n":4}`, "36000"}, `10|{"n": 4}|∅`},
		{`pgmq.send($1, $2, $3)`, []string{"q", `{"n":5}`, `{"h":1}`}, `0|{"n": 5}|{"h": 1}`},
		{`pgmq.send($1, $2, $3, $4)`, []string{"q", `{"n":6}`, `{"h":1}`, "36000"}, `10|{"n": 6}|{"h": 1}`},
		{`pgmq.send_batch($1, $2::jsonb[], $3)`, []string{"q", `{"1"}`, "36000"}, `10|1|∅`},
		{`pgmq.send_batch($1, $2, $3)`, []string{"q", `{"1","2"}`, `{"{\"h\":1}","{}"}`}, "0|1|{\"h\": 1}\n0|2|{}"},
		{`pgmq.send_batch($1, $2, $3, $4)`, []string{"q", `{"1"}`, `{"{}"}`, "36000"}, `10|1|{}`},
	} {
		last := ask[int64](t, db.conn, `select last_value from pgmq.q_q_msg_id_seq`)
		if _, err := untyped(t, db.conn, `select * from `+call.sql, call.params); err != nil {
			t.Errorf("%s %v: %v", call.sql, call.params, err)
			continue
		}
		got, err := untyped(t, db.conn, `select `+hours+`, message, headers from pgmq.q_q where msg_id > $1 order by msg_id`, []string{strconv.FormatInt(last, 10)})
		if err != nil || got != call.want {
			t.Errorf("%s %v: got %q, %v; want %q", call.sql, call.params, got, err, call.want)
		}
	}
}

// A typed call means what it meant: whatever its types, no call of text is preferred.
func TestPGMQPrefersTypedParameters(t *testing.T) {
	t.Parallel()
	db := newDatabase(t)
	db.installPGMQ(schema.InstallSQL)

	for sql, want := range map[string][]string{
		`select pgmq.set_vt('q', $1::smallint, $2::smallint)`:              {"smallint", "smallint"},
		`select pgmq.set_vt('q'::varchar, $1::integer, current_date)`:      {"integer"},
		`select pgmq.set_vt('q', $1::integer[], now()::timestamp)`:         {"integer[]"},
		`select pgmq.set_vt($1, 1::bigint, 30)`:                            {"text"},
		`select pgmq.send($1, $2, 30)`:                                     {"text", "jsonb"},
		`select pgmq.send($1, $2, $3, 30)`:                                 {"text", "jsonb", "jsonb"},
		`select pgmq.send(queue_name => $1, msg => $2, headers => $3)`:     {"text", "jsonb", "jsonb"},
		`select pgmq.send_batch($1, $2, now())`:                            {"text", "jsonb[]"},
		`select pgmq.send_batch(queue_name => $1, msgs => $2)`:             {"text", "jsonb[]"},
		`select pgmq.send_batch($1, $2, array['{}']::jsonb[], now())`:      {"text", "jsonb[]"},
		`select pgmq.read($1, $2, $3)`:                                     {"text", "integer", "integer"},
		`select pgmq.read_with_poll($1, $2, $3, $4, $5)`:                   {"text", "integer", "integer", "integer", "integer"},
		`select pgmq.set_vt(queue_name => $1, msg_ids => $2, vt => now())`: {"text", "bigint[]"},
	} {
		statement, err := db.conn.Prepare(t.Context(), "", sql)
		if err != nil {
			t.Errorf("%s: %v", sql, err)
			continue
		}
		var got []string
		for _, oid := range statement.ParamOIDs {
			got = append(got, ask[string](t, db.conn, `select format_type($1::oid, null)`, oid))
		}
		if !slices.Equal(got, want) {
			t.Errorf("%s takes %v, want %v", sql, got, want)
		}
	}
}

// untyped sends a statement as node-postgres does: parameters as text, of no type.
func untyped(t *testing.T, conn *pgx.Conn, sql string, params []string) (string, error) {
	t.Helper()
	values := make([][]byte, len(params))
	for i, p := range params {
		values[i] = []byte(p)
	}
	result := conn.PgConn().ExecParams(t.Context(), sql, values, nil, nil, nil).Read()
	return asText(result.Rows), result.Err
}

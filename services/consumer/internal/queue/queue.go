// Package queue owns the SQL of the lease protocol: reading, acknowledging, delaying, extending, handing back and burying
// messages of one PGMQ queue. A lease is (msg_id, read_ct, enqueued_at): PGMQ has no receipt handle, but read_ct only ever grows,
// and no msg_id that is given out again, after a restore or a failover, comes with the same enqueued_at. So the three name one
// delivery, and every statement that ends or extends a lease checks them. Likewise an order is (id, created_at). Each is one
// statement and one round trip for a whole batch, and returns what the check confirmed; an ack with work in its transaction is several (OpenAck).
//
// The package must never send a statement about a lease again, never decide what becomes of a delivery, and never compare the host's clock with
// the database's.
package queue

import (
	"context"
	"embed"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/jackc/pgerrcode"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"orderflow.example/kit/postgres"
	"orderflow.example/services/consumer/internal/message"
)

// SchemaVersion is the migration that this code was built for; see services/api/internal/schema.
const SchemaVersion = 18

// DeadLetterSuffix makes the dead-letter queue's name of the queue's.
const DeadLetterSuffix = "_dlq"

//go:embed sql/*.sql
var files embed.FS

// Queue holds the statements for one queue. It has no connection, and changes no more once ReadInstallation has been called.
type Queue struct {
	Name         string
	Installation message.Installation // as ReadInstallation says; messages bear it

	table, deadTable string
	front            string // unquoted, and without its schema

	fetch, first, limit, identify, look, describe         string
	peek, peekAndReport, report                           string
	extend, start, late, fate, unanswered                 string
	ack, ackUnlocked, ackOpen, ackOpenUnlocked, ackStands string
	nack, nackMessageOnly, release, bury                  string
	gateRead, gateWrite, gatePause, gateResume            string
}

// New prepares the statements for the queue called name, with what d says that the database has for it; zero is what each has.
func New(name string, d Description) *Queue {
	q := &Queue{
		Name:      name,
		table:     pgx.Identifier{"pgmq", "q_" + strings.ToLower(name)}.Sanitize(),
		deadTable: pgx.Identifier{"pgmq", "q_" + strings.ToLower(name+DeadLetterSuffix)}.Sanitize(),
		front:     "front_" + strings.ToLower(name),
	}
	front, move := "(values (0::bigint)) as none (last_value)", "0"
	if d.Front {
		front = pgx.Identifier{"orderflow", q.front}.Sanitize()
		move = "orderflow.move_front('" + front + "', (select last_value from front), " +
			"(extract(epoch from greatest(max(vt), '2000-01-01')) * 1e6)::bigint, not $7::boolean and $3::timestamptz = '-infinity')"
	}
	last := ""
	if d.LastRead {
		last = ",\n       last_read_at = case when taken.unread then q.last_read_at else clock_timestamp() end"
	}
	fill := strings.NewReplacer(
		"{queue}", q.table,
		"{last_read}", last,
		"{front}", front,
		"{move_front}", move,
		"{moves_front}", strconv.Itoa(MovesFront),
		"{effect}", load("effect"),
		"{acked}", load("acked"),
		// Headers are an object or nothing; should somebody have sent anything else, it is kept under a name of its own.
		"{headers}", "case coalesce(jsonb_typeof(q.headers), 'none') when 'object' then q.headers when 'none' then '{}'::jsonb "+
			"else jsonb_build_object('orderflow-headers', q.headers) end",
		"{noted}", strings.ReplaceAll(load("noted"), "{ended}", "back"),
		"{noted_gone}", strings.ReplaceAll(load("noted"), "{ended}", "gone"),
		// What the header says or, where none has been written yet, whether our first read has left its mark: see fetch.sql. A failure takes the
		// header away and leaves its own.
		"{unanswered}", "case when jsonb_typeof(q.headers -> 'orderflow-unanswered') = 'number' "+
			"then least(greatest((q.headers ->> 'orderflow-unanswered')::numeric, 0), q.read_ct)::bigint "+
			"when q.read_ct > 0 and not coalesce(q.headers ?| array['orderflow-unanswered', 'orderflow-retry'], false) "+
			"and q.message ->> 'created_at' = "+written("greatest(q.enqueued_at, '0001-01-01') - interval '1 microsecond'")+" then 1 else 0 end",
		"{written_enqueued_at}", written("enqueued_at"),
		// A start that was made known has its answer.
		"{answered}", "#- array['orderflow-started', q.read_ct::text]",
	)
	for file, statement := range map[string]*string{
		"fetch": &q.fetch, "peek": &q.peek, "ack": &q.ack, "ack_unlocked": &q.ackUnlocked, "ack_stands": &q.ackStands, "nack": &q.nack,
		"nack_message_only": &q.nackMessageOnly, "release": &q.release, "extend": &q.extend, "start": &q.start, "late": &q.late, "bury": &q.bury, "fate": &q.fate,
		"unanswered": &q.unanswered,
		"first":      &q.first, "limit": &q.limit, "identify": &q.identify, "look": &q.look, "describe": &q.describe,
		"gate_read": &q.gateRead, "gate_write": &q.gateWrite, "gate_pause": &q.gatePause, "gate_resume": &q.gateResume,
	} {
		*statement = "/* orderflow consumer: " + file + " */ " + fill.Replace(load(file))
	}
	report := strings.TrimSpace(load("report"))
	q.peekAndReport = strings.TrimSpace(q.peek) + ",\n       " + report
	q.report = "/* orderflow consumer: report */ select " + report + " where $1::text is null"
	open := strings.NewReplacer("{acked}", load("acked_open"))
	q.ackOpen = "/* orderflow consumer: ack_open */ " + fill.Replace(open.Replace(load("ack")))
	q.ackOpenUnlocked = "/* orderflow consumer: ack_open_unlocked */ " + fill.Replace(open.Replace(load("ack_unlocked")))
	return q
}

// written is a moment as the api writes created_at into messages.
func written(moment string) string {
	return `to_char((` + moment + `) at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"+00:00"')`
}

// load returns a statement without its comments: they are for the reader of the file, not for pg_stat_activity.
func load(name string) string {
	text, err := files.ReadFile("sql/" + name + ".sql")
	if err != nil {
		panic(err) // embedded at build time
	}
	var b strings.Builder
	for line := range strings.Lines(string(text)) {
		if !strings.HasPrefix(strings.TrimSpace(line), "--") {
			b.WriteString(line)
		}
	}
	return b.String()
}

// Tables are the quoted names of the queue's table and its dead letters'.
func (q *Queue) Tables() (queue, deadLetters string) { return q.table, q.deadTable }

// Channel is where the api and other consumers notify of messages that are due.
func (q *Queue) Channel() string { return "orderflow_" + strings.ToLower(q.Name) }

// Description is what the database has for us.
type Description struct {
	SchemaVersion int64 // 0: no migration has been applied
	Tables        bool  // orders, the queue and its dead letters are there
	LastRead      bool  // the queue has last_read_at, as from PGMQ 1.10 on
	Front         bool  // the queue has a front, which we may move
}

// Ready says whether the consumer can work on it.
func (d Description) Ready() bool { return d.Tables && d.SchemaVersion >= SchemaVersion }

func (d Description) String() string {
	return fmt.Sprintf("schema version %d of at least %d, tables present: %t", d.SchemaVersion, SchemaVersion, d.Tables)
}

// Describe looks at the database. It works before the first migration as well.
func (q *Queue) Describe(ctx context.Context, conn *pgx.Conn) (Description, error) {
	var d Description
	migrated, err := q.scanDescription(conn.QueryRow(ctx, q.describe, q.table, q.deadTable, q.front), &d)
	if err == nil && migrated {
		err = conn.QueryRow(ctx, schemaVersion).Scan(&d.SchemaVersion)
	}
	if err != nil {
		return Description{}, fmt.Errorf("describe database: %w", err)
	}
	return d, nil
}

const schemaVersion = `select coalesce(max(version_id), 0) from public.orderflow_migrations where is_applied`

func (q *Queue) scanDescription(row pgx.Row, d *Description) (migrated bool, err error) {
	err = row.Scan(&migrated, &d.Tables, &d.LastRead, &d.Front)
	return migrated, err
}

// AskDescription puts what [Queue.Describe] asks into somebody else's batch, but for the version of the schema.
func (q *Queue) AskDescription(b *pgx.Batch, d *Description) {
	b.Queue(q.describe, q.table, q.deadTable, q.front).QueryRow(func(row pgx.Row) error {
		_, err := q.scanDescription(row, d)
		return err
	})
}

// AskSchemaVersion asks for that. Without a migration it fails, for want of a table.
func (q *Queue) AskSchemaVersion(b *pgx.Batch, d *Description) {
	b.Queue(schemaVersion).QueryRow(func(row pgx.Row) error { return row.Scan(&d.SchemaVersion) })
}

// ErrNoInstallation says that nothing names this installation: its row is gone.
var ErrNoInstallation = errors.New("orderflow.installation is empty: restore its row (`consumer doctor` says how)")

// ReadInstallation finds out what names this installation to others. The schema must be there.
func (q *Queue) ReadInstallation(ctx context.Context, conn *pgx.Conn) error {
	err := conn.QueryRow(ctx, `select id from orderflow.installation`).Scan(&q.Installation)
	if errors.Is(err, pgx.ErrNoRows) {
		return ErrNoInstallation
	}
	if err != nil {
		return fmt.Errorf("read the installation's id: %w", err)
	}
	return nil
}

// Answered says whether an error is the server's answer to a statement: the connection works, and other statements may. What it says to who
// wants to connect, while it starts up for instance, is none.
func Answered(err error) bool {
	var local *pgconn.ConnectError
	if errors.As(err, &local) {
		return false
	}
	var answer *pgconn.PgError
	return errors.As(err, &answer)
}

// StatementFailed says whether an error is the server's answer that a statement has failed, and the session goes on: nothing took effect, and one of
// the rows that it was about may be at fault, whatever the SQLSTATE: a trigger may raise any. Only what the server itself lacks, such as room on its
// disk (classes 53 and 58), is taken for no row's fault: each would be found to be at fault, one by one.
func StatementFailed(err error) bool {
	var answer *pgconn.PgError
	if !Answered(err) || !errors.As(err, &answer) || postgres.EndsSession(answer) {
		return false
	}
	class := postgres.Class(answer.Code)
	return class != "53" && class != "58"
}

// Fault classifies a statement's error by what can be done about it.
type Fault int

const (
	// Unknown whether the statement took effect: the connection was lost or the answer did not come in time.
	Unknown Fault = iota
	// Refused by something that concerns every message alike (rights, a missing table, a full disk, shutdown): nothing took
	// effect, and the same will work when the cause is gone.
	Refused
	// Locked: somebody holds a row of the batch, or a deadlock was resolved against us.
	Locked
	// Spoiled: some message of the batch cannot be written, for what it contains or where it is stored.
	Spoiled
	// Suppressed: some rows were not written although nothing refused it, as a trigger that returns null does; nothing took effect.
	// SuppressedMessages says which. The same will work when the cause is gone, and must not be taken for done until then.
	Suppressed
	// TooLong: the server cut the statement off for how long it took, or we did for how much it brought; nothing took effect. A smaller
	// batch may be quick enough.
	TooLong
)

// notWritten is the SQLSTATE of the schema's function orderflow.not_written.
const notWritten = "OF001"

// SuppressedMessages returns the msg_ids that an error of the kind Suppressed is about; others of the batch may well be written.
func SuppressedMessages(err error) map[int64]bool {
	var answer *pgconn.PgError
	if !errors.As(err, &answer) || answer.Code != notWritten {
		return nil
	}
	found := map[int64]bool{}
	for text := range strings.SplitSeq(strings.Trim(answer.Detail, "{}"), ",") {
		if id, err := strconv.ParseInt(text, 10, 64); err == nil {
			found[id] = true
		}
	}
	return found
}

// Classify says what an error of one of this package's statements means.
func Classify(err error) Fault {
	if errors.Is(err, errTooMuch) {
		return TooLong
	}
	var (
		local  *pgconn.ConnectError
		answer *pgconn.PgError
	)
	switch {
	case errors.As(err, &local), pgconn.SafeToRetry(err):
		return Refused // never sent, whatever the server said
	case !errors.As(err, &answer), postgres.EndsSession(answer):
		return Unknown // perhaps it was just after the commit
	}
	code := answer.Code
	switch class := postgres.Class(code); {
	case code == pgerrcode.LockNotAvailable, code == pgerrcode.DeadlockDetected, code == pgerrcode.SerializationFailure:
		return Locked
	case class == "22", class == "23", class == "P0", // by class, and not by the codes that pgerrcode lists: a trigger may raise any
		code == pgerrcode.ProgramLimitExceeded, code == pgerrcode.StatementTooComplex,
		code == pgerrcode.DataCorrupted, code == pgerrcode.IndexCorrupted:
		return Spoiled
	case code == notWritten:
		return Suppressed
	case code == pgerrcode.QueryCanceled:
		return TooLong
	case code == pgerrcode.AdminShutdown, code == pgerrcode.CrashShutdown, class == "08":
		return Unknown // likewise, whatever a pooler makes of the severity
	default:
		return Refused
	}
}

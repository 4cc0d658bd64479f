package schema

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"regexp"
	"strings"

	"github.com/jackc/pgx/v5"
)

// queueNamePattern is stricter than PGMQ: a queue of this name and its "_dlq" stay within PGMQ's 47 bytes, and nothing
// in it needs thought in SQL, URLs, labels or shells.
var queueNamePattern = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_-]{0,42}$`)

// ValidateQueueName tells what is wrong with the name of a queue, nil when nothing is.
func ValidateQueueName(name string) error {
	if !queueNamePattern.MatchString(name) || strings.Contains(name, "--") {
		return fmt.Errorf("queue name %q: allowed are 1 to 43 letters, digits, _ and single -, not beginning with a digit or -", name)
	}
	return nil
}

// deadLetterQueue names the queue of a queue's dead letters.
func deadLetterQueue(queue string) string { return queue + "_dlq" }

// queueTable is the unquoted name, within the schema pgmq, of a queue's table.
func queueTable(queue string) string { return "q_" + strings.ToLower(queue) }

// Tables are those that an order is in on its way: its own, the queue's and the dead letters', as regclass takes their names.
func Tables(queue string) []string {
	return []string{
		ordersTable, pgx.Identifier{"pgmq", queueTable(queue)}.Sanitize(), pgx.Identifier{"pgmq", queueTable(deadLetterQueue(queue))}.Sanitize(),
	}
}

// frontSequence is the quoted name of the sequence that tells how far reads of a queue have come.
func frontSequence(queue string) string {
	return pgx.Identifier{"orderflow", "front_" + strings.ToLower(queue)}.Sanitize()
}

// archiveTable is the unquoted name, within the schema pgmq, of a queue's archive.
func archiveTable(queue string) string { return "a_" + strings.ToLower(queue) }

// storage are the settings of a queue's table. An operator's own settings win over them. A queue is a table of few rows, each of which is
// rewritten at each delivery and then deleted: dead rows pass through it at the rate of its traffic, whatever its size is at the moment.
var storage = []struct{ name, value string }{
	// Room on the page for the version that a read writes. It cannot be HOT, because vt is indexed, but it costs no second
	// page: reading and deleting 100,000 messages wrote 76 MB of WAL instead of 112, in a table of the same size.
	{"fillfactor", "50"},
	// Vacuum by traffic and not by size, which says nothing here, and without the pauses that are meant to spare big tables.
	{"autovacuum_vacuum_scale_factor", "0"},
	{"autovacuum_vacuum_threshold", "5000"},
	{"autovacuum_vacuum_insert_scale_factor", "0"},
	{"autovacuum_vacuum_insert_threshold", "50000"},
	{"autovacuum_vacuum_cost_delay", "0"},
	{"autovacuum_analyze_scale_factor", "0"},
	{"autovacuum_analyze_threshold", "20000"},
	// Giving an emptied queue's pages back needs an exclusive lock that stops every consumer, only for the next burst to
	// ask for them again.
	{"vacuum_truncate", "off"},
}

// EnsureQueue creates queue and its dead-letter queue where they are missing and gives their tables the storage settings.
// Nothing that is right already is touched. The caller holds the lock.
func EnsureQueue(ctx context.Context, conn *pgx.Conn, queue string, log *slog.Logger) error {
	if err := ValidateQueueName(queue); err != nil {
		return err
	}
	for _, name := range []string{queue, deadLetterQueue(queue)} {
		if err := ensureQueue(ctx, conn, name, log); err != nil {
			return fmt.Errorf("queue %s: %w", name, err)
		}
	}
	return nil
}

func ensureQueue(ctx context.Context, conn *pgx.Conn, name string, log *slog.Logger) error {
	table := pgx.Identifier{"pgmq", queueTable(name)}.Sanitize()

	var exists bool
	if err := conn.QueryRow(ctx, `select to_regclass($1) is not null`, table).Scan(&exists); err != nil {
		return fmt.Errorf("look for its table: %w", err)
	}
	if !exists {
		if _, err := conn.Exec(ctx, `select pgmq.create($1)`, name); err != nil {
			if denied(err) {
				return fmt.Errorf("create: %w: let PGMQ's owner create it (select pgmq.create('%s')) and grant all on its tables", err, name)
			}
			return fmt.Errorf("create: %w", err)
		}
		log.InfoContext(ctx, "queue created", "queue", name)
	}
	if err := warnOfMembership(ctx, conn, table, log); err != nil {
		return err
	}
	return ensureStorage(ctx, conn, table, log)
}

// ensureFront makes the sequence that tells how far reads of the queue have come, where it is missing, and gives it to those who lease. Without it
// consumers read all the same, and get more into each other's way.
func ensureFront(ctx context.Context, conn *pgx.Conn, queue string, log *slog.Logger) error {
	front := frontSequence(queue)
	var exists bool
	err := conn.QueryRow(ctx, `select to_regclass($1) is not null`, front).Scan(&exists)
	if err == nil {
		_, err = conn.Exec(ctx, `select orderflow.make_front($1)`, queue)
	}
	if denied(err) && exists { // who may not make it may start all the same
		return nil
	}
	if denied(err) {
		log.WarnContext(ctx, "no right to make the queue's front, which spares consumers each other's messages: let the schema's owner make it",
			"queue", queue, "statement", "select orderflow.make_front('"+queue+"')")
		return nil
	}
	if err != nil {
		return fmt.Errorf("queue %s: make its front: %w", queue, err)
	}
	return nil
}

// ErrUnlogged is a queue that does not outlive a crash of the server.
var ErrUnlogged = errors.New("the queue is unlogged")

// refuseUnlogged looks for tables whose rows are gone after a crash of the server, and are on no standby: the orders would be pending for
// ever, with nobody to process them.
func refuseUnlogged(ctx context.Context, conn *pgx.Conn, queue string) error {
	rows, err := conn.Query(ctx, `
		select c.oid::regclass::text
		from unnest($1::text[]) t (name)
		join pg_catalog.pg_class c on c.oid = to_regclass(t.name)
		where c.relpersistence = 'u'`,
		[]string{
			ordersTable, pgx.Identifier{"pgmq", queueTable(queue)}.Sanitize(), pgx.Identifier{"pgmq", queueTable(deadLetterQueue(queue))}.Sanitize(),
		})
	if err != nil {
		return fmt.Errorf("look for unlogged tables: %w", err)
	}
	unlogged, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		return fmt.Errorf("look for unlogged tables: %w", err)
	}
	if len(unlogged) == 0 {
		return nil
	}
	var mend []string
	for _, table := range unlogged {
		mend = append(mend, "alter table "+table+" set logged;")
	}
	return fmt.Errorf("%w: a crash of the server empties %s, and a standby has nothing of it; make it logged (%s), or set UNLOGGED_QUEUE=allow",
		ErrUnlogged, strings.Join(unlogged, ", "), strings.Join(mend, " "))
}

// warnOfMembership tells of a queue that belongs to the extension, as older versions of PGMQ (1.5 among them) make it: pg_dump
// takes an extension's tables for part of its installation, and leaves their rows out.
func warnOfMembership(ctx context.Context, conn *pgx.Conn, table string, log *slog.Logger) error {
	var member bool
	err := conn.QueryRow(ctx, `
		select exists (select from pg_catalog.pg_depend
		                where classid = 'pg_class'::regclass and objid = to_regclass($1)
		                  and refclassid = 'pg_extension'::regclass and deptype = 'e')`, table).Scan(&member)
	if err != nil {
		return fmt.Errorf("see whose its table is: %w", err)
	}
	if member {
		log.WarnContext(ctx, "pg_dump leaves this queue's messages out, because its table belongs to the extension: "+
			"update PGMQ and alter extension pgmq drop table, or take physical backups", "table", table)
	}
	return nil
}

// ensureStorage sets what is not set. A table that cannot have the settings, because it is somebody else's or partitioned, is
// left as it is, with a warning: the queue works without them.
func ensureStorage(ctx context.Context, conn *pgx.Conn, table string, log *slog.Logger) error {
	var current []string
	var partitioned bool
	err := conn.QueryRow(ctx, `
		select coalesce(reloptions, '{}'), relkind = 'p' from pg_catalog.pg_class where oid = to_regclass($1)`,
		table).Scan(&current, &partitioned)
	if err != nil {
		return fmt.Errorf("read its storage settings: %w", err)
	}
	if partitioned {
		log.WarnContext(ctx, "a partitioned queue has no storage settings of its own: set them on its partitions", "table", table)
		return nil
	}
	have := make(map[string]bool, len(current))
	for _, option := range current {
		name, _, _ := strings.Cut(option, "=")
		have[name] = true
	}

	var missing []string
	for _, s := range storage {
		if !have[s.name] {
			missing = append(missing, s.name+" = "+s.value)
		}
	}
	if len(missing) == 0 {
		return nil
	}

	_, err = conn.Exec(ctx, "alter table "+table+" set ("+strings.Join(missing, ", ")+")")
	if denied(err) {
		log.WarnContext(ctx, "no right to set a queue table's storage settings: ask its owner to", "table", table, "settings", missing)
		return nil
	}
	if err != nil {
		return fmt.Errorf("set its storage settings: %w", err)
	}
	return nil
}

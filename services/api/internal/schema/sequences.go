package schema

import (
	"context"
	"fmt"
	"log/slog"

	"github.com/jackc/pgx/v5"
)

// topID is where absurd ids begin: nobody has given out so many, but a hand can have written one. A sequence that went on from there
// would soon be at its end.
const topID = "4611686018427387904" // 2^62

// ids is a column whose values a sequence of the database gives out.
type ids struct {
	table, column string
	// archive is a table with ids that were the table's; empty when there is none. Nothing of ours archives, so the api's role may not see
	// it, and looks at the table alone.
	archive string
}

// bringSequencesUp repairs sequences that are behind their tables: after a restore of the data alone, or a failover by logical
// replication, they would give out ids that are taken. What is not behind is not touched. The caller holds the lock.
func bringSequencesUp(ctx context.Context, conn *pgx.Conn, queue string, log *slog.Logger) error {
	all := []ids{{table: ordersTable, column: "id"}}
	for _, name := range []string{queue, deadLetterQueue(queue)} {
		all = append(all, ids{
			table:   pgx.Identifier{"pgmq", queueTable(name)}.Sanitize(),
			column:  "msg_id",
			archive: pgx.Identifier{"pgmq", archiveTable(name)}.Sanitize(),
		})
	}
	for _, i := range all {
		if err := i.bringUp(ctx, conn, log); err != nil {
			return fmt.Errorf("sequence of %s: %w", i.table, err)
		}
	}
	return nil
}

func (i ids) bringUp(ctx context.Context, conn *pgx.Conn, log *slog.Logger) error {
	var sequence *string
	var cache int64
	var archived bool
	err := conn.QueryRow(ctx, `
		select s.name, coalesce((select seqcache from pg_catalog.pg_sequence where seqrelid = s.name::regclass), 1), 
			coalesce(has_table_privilege(to_regclass(nullif($3, '')), 'select'), false)
		from (select pg_get_serial_sequence($1, $2) as name) s`, i.table, i.column, i.archive).Scan(&sequence, &cache, &archived)
	if err != nil {
		return fmt.Errorf("look for it: %w", err)
	}
	if sequence == nil {
		return nil // ids of somebody else's making
	}
	// The id before the next one, and the last one that is taken.
	look := `
		select (select case when s.is_called then s.last_value else s.last_value - 1 end from ` + *sequence + ` s),
			greatest((select max(` + i.column + `) from ` + i.table + ` where ` + i.column + ` < ` + topID + `), 0`
	if archived {
		look += `, (select max(` + i.column + `) from ` + i.archive + ` where ` + i.column + ` < ` + topID + `)`
	}
	look += `)`
	var last, taken int64
	if err := conn.QueryRow(ctx, look).Scan(&last, &taken); err != nil || last >= taken {
		if denied(err) {
			log.WarnContext(ctx, "no right to see whether a sequence is behind its table", "sequence", *sequence, "error", err)
			return nil
		}
		return err
	}

	was := last
	err = pgx.BeginFunc(ctx, conn, func(tx pgx.Tx) error {
		// A change that changes nothing, for its lock: it waits for those who have drawn an id, and nobody draws one until the end.
		if _, err := tx.Exec(ctx, fmt.Sprintf(`alter sequence %s cache %d`, *sequence, cache)); err != nil {
			return err
		}
		if err := tx.QueryRow(ctx, look).Scan(&last, &taken); err != nil || last >= taken {
			return err
		}
		_, err := tx.Exec(ctx, `select setval($1::regclass, $2)`, *sequence, taken)
		return err
	})
	if denied(err) {
		log.WarnContext(ctx, "a sequence is behind its table and gives out ids that are taken; only its owner can correct it",
			"sequence", *sequence, "at", was, "statement", fmt.Sprintf(`select setval('%s', %d)`, *sequence, taken))
		return nil
	}
	if err != nil {
		return fmt.Errorf("bring it up: %w", err)
	}
	log.WarnContext(ctx, "a sequence was behind its table, as after a restore of the data alone or a failover by logical replication; it is corrected",
		"sequence", *sequence, "was", was, "now", max(last, taken))
	return nil
}

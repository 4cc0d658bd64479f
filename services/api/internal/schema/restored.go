package schema

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgerrcode"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/pressly/goose/v3"
)

// restoredWithoutInstallation finds out when the first of the orders was completed that is older than this schema by more than a day (the time
// of a migration is noted in the session's zone), while orderflow.installation is still the row that the migration has put there: both were written
// by one transaction, whose number a row keeps. What was completed before Orderflow came says so. Ids follow time, so the first orders tell.
const restoredWithoutInstallation = `
	select min(o.completed_at)
	from (select completed_at, processed_by from ` + ordersTable + ` order by id limit 100) o
	where o.completed_at < (select min(m.tstamp) from ` + versionTable + ` m) - interval '1 day'
	  and o.processed_by is distinct from 'before orderflow'
	  and exists (select from ` + installation + ` i join ` + versionTable + ` m on m.version_id = 9 and m.xmin = i.xmin)`

// noteRestored warns when data alone was restored, and not that by which receivers of webhooks know an order.
func noteRestored(ctx context.Context, conn *pgx.Conn, log *slog.Logger) error {
	var completed *time.Time
	if err := conn.QueryRow(ctx, restoredWithoutInstallation).Scan(&completed); err != nil && !denied(err) {
		return fmt.Errorf("look at what was restored: %w", err)
	}
	if completed != nil {
		log.WarnContext(ctx, "orders are older than the schema, and orderflow.installation was not restored with them: "+
			"receivers will treat repeated webhooks as new. "+
			"Empty it (truncate orderflow.installation) and restore it from the dump (pg_restore --data-only --schema=orderflow --table=installation)",
			"completed_at", completed.UTC())
	}
	return nil
}

// explained adds to the error of a migration what it most likely means that its objects are there already.
func explained(ctx context.Context, migrations *goose.Provider, err error) error {
	var refused *pgconn.PgError
	if !errors.As(err, &refused) {
		return err
	}
	switch refused.Code {
	case pgerrcode.DuplicateTable, pgerrcode.DuplicateFunction, pgerrcode.DuplicateObject, pgerrcode.DuplicateColumn, pgerrcode.DuplicateSchema:
	default:
		return err
	}
	all, unknown := migrations.Status(ctx)
	if unknown != nil {
		return err
	}
	var pending []string
	for _, m := range all {
		if m.State == goose.StatePending {
			pending = append(pending, "("+strconv.FormatInt(m.Source.Version, 10)+", true)")
		}
	}
	return fmt.Errorf("%w: the database has already what this migration makes. If you restored only a dump's data, including orderflow_migrations, "+
		"run: insert into orderflow_migrations (version_id, is_applied) values %s", err, strings.Join(pending, ", "))
}

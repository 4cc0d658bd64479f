package postgres

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"orderflow.example/kit/pooling"
)

// resolveSettings finds out what applySettings would set: of what the server knows, and of a limit on time the stricter one. A server's
// connection may have been left with settings of somebody else's; what would be found there without them is reset_val. Those of ours ($3)
// are in force.
const resolveSettings = `
select s.name,
       case when s.unit = 'ms' then least(nullif(case when s.name = any ($3) then s.setting else s.reset_val end::bigint, 0), w.value::bigint)::text else w.value end
  from unnest($1::text[], $2::text[]) as w (name, value)
  join pg_catalog.pg_settings as s using (name)`

// Set makes settings for as long as the connection lasts, whatever it is otherwise set to; names that the server does not know have a dot.
func Set(ctx context.Context, conn *pgconn.PgConn, settings map[string]string) error {
	if pooling.Transactional(conn) {
		pooling.Set(conn, settings)
		return nil
	}
	return makeSettings(ctx, conn, settings)
}

// Setting is what a setting of the server's is for this connection. On a transactional one that need not be what the server says: the
// connection that it happens to have may have been left with somebody else's.
func Setting(ctx context.Context, conn *pgx.Conn, name string) (value string, err error) {
	if Transactional(conn) {
		if ours, set := pooling.Settings(conn.PgConn())[name]; set {
			return ours, nil
		}
		err = conn.QueryRow(ctx, `select reset_val from pg_catalog.pg_settings where name = $1`, name).Scan(&value)
	} else {
		err = conn.QueryRow(ctx, `select pg_catalog.current_setting($1)`, name).Scan(&value)
	}
	if err != nil {
		return "", fmt.Errorf("read the setting %s: %w", name, err)
	}
	return value, nil
}

// isolation is a setting that is too late when a transaction has begun.
const isolation = "default_transaction_isolation"

// IsolationError is why a transactional connection is of no use.
type IsolationError struct{ Is, Must string }

func (e *IsolationError) Error() string {
	return fmt.Sprintf("%s is %q, and a connection pooler in transaction mode is in between, through which it cannot be set: "+
		"alter role … set %s = '%s', or connect to PostgreSQL itself", isolation, e.Is, isolation, e.Must)
}

func (s Settings) applyToTransactions(ctx context.Context, conn *pgx.Conn) error {
	before := slices.Collect(maps.Keys(pooling.Settings(conn.PgConn())))
	names, values := s.columns()
	rows, err := conn.Query(ctx, resolveSettings, names, values, before)
	if err != nil {
		return fmt.Errorf("set up session: %w", err)
	}
	resolved := make(Settings)
	var name, value string
	if _, err := pgx.ForEachRow(rows, []any{&name, &value}, func() error {
		resolved[name] = value
		return nil
	}); err != nil {
		return fmt.Errorf("set up session: %w", err)
	}
	if must, asked := resolved[isolation]; asked {
		delete(resolved, isolation)
		var is string
		if err := conn.QueryRow(ctx, `select pg_catalog.current_setting('transaction_isolation')`).Scan(&is); err != nil {
			return fmt.Errorf("set up session: %w", err)
		}
		if is != must {
			return &IsolationError{is, must}
		}
	}
	// These are about the way between server and pooler, which is the pooler's.
	maps.DeleteFunc(resolved, func(name, _ string) bool { return strings.HasPrefix(name, "tcp_") })
	err = resolved.set(ctx, conn, trySettings)
	if err == nil {
		pooling.Set(conn.PgConn(), resolved)
		return nil
	}
	if !refused(err, conn) {
		return err
	}
	for name, value := range resolved {
		one := Settings{name: value}
		switch err := one.set(ctx, conn, trySettings); {
		case err == nil:
			pooling.Set(conn.PgConn(), one)
		case !refused(err, conn):
			return err
		}
	}
	return nil
}

// trySettings makes settings for no longer than itself.
const trySettings = `select pg_catalog.set_config(w.name, w.value, true) from unnest($1::text[], $2::text[]) as w (name, value)`

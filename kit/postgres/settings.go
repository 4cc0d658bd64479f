package postgres

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

// Settings are what a session is set to for what it is there to do, besides what every session is. Limits on time are in milliseconds.
type Settings map[string]string

// Timeouts are the settings that keep a session from waiting or holding locks for longer than whoever waits for it does.
func Timeouts(statement, lock, idleInTransaction time.Duration) Settings {
	ms := func(d time.Duration) string { return fmt.Sprint(d.Milliseconds()) }
	return Settings{"statement_timeout": ms(statement), "lock_timeout": ms(lock), "idle_in_transaction_session_timeout": ms(idleInTransaction)}
}

// With is s with the settings of others.
func (s Settings) With(others Settings) Settings {
	all := make(Settings, len(s)+len(others))
	maps.Copy(all, s)
	maps.Copy(all, others)
	return all
}

// applySettings passes over settings that the server does not know. Of a limit on time, where zero means none, the role's or the
// database's stays when it is stricter.
const applySettings = `
select pg_catalog.set_config(s.name,
         case when s.unit = 'ms' then least(nullif(s.setting::bigint, 0), w.value::bigint)::text else w.value end, false)
  from unnest($1::text[], $2::text[]) as w (name, value)
  join pg_catalog.pg_settings as s using (name)`

// Apply makes the settings, all of them in one round trip. Where the server refuses one (its platform cannot do it, or somebody has
// forbidden the value), the others are made all the same: without any of them everything works, only less well.
//
// On a transactional connection each transaction will begin with them.
func (s Settings) Apply(ctx context.Context, conn *pgx.Conn) error {
	if Transactional(conn) {
		return s.applyToTransactions(ctx, conn)
	}
	err := s.set(ctx, conn, applySettings)
	if err == nil || !refused(err, conn) {
		return err
	}
	for name, value := range s {
		if err := (Settings{name: value}).set(ctx, conn, applySettings); err != nil && !refused(err, conn) {
			return err
		}
	}
	return nil
}

func (s Settings) set(ctx context.Context, conn *pgx.Conn, sql string) error {
	if len(s) == 0 {
		return nil
	}
	names, values := s.columns()
	if _, err := conn.Exec(ctx, sql, pgx.QueryExecModeExec, names, values); err != nil {
		return fmt.Errorf("set up session: %w", err)
	}
	return nil
}

func (s Settings) columns() (names, values []string) {
	for name, value := range s {
		names, values = append(names, name), append(values, value)
	}
	return names, values
}

func refused(err error, conn *pgx.Conn) bool {
	return errors.As(err, new(*pgconn.PgError)) && !conn.IsClosed()
}

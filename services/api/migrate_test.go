package main

import (
	"errors"
	"log/slog"
	"testing"
	"time"

	"github.com/jackc/pgerrcode"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"orderflow.example/kit/testdb"
	"orderflow.example/services/api/internal/config"
	"orderflow.example/services/api/internal/schema"
)

// A migration that waits for a lock holds up all who come after it, those who write orders too: it lets them pass for longer than it waits.
func TestAMigrationThatWaitsForALockLetsOthersPass(t *testing.T) {
	t.Parallel()
	db := testdb.Empty(t)
	// The table of the FastAPI example, which somebody reads for long.
	reader := testdb.Connect(t, db)
	_, err := reader.Exec(t.Context(), `
		create table orders (
			id serial primary key, customer_name varchar, product_name varchar, quantity integer, price double precision, created_at timestamp
		)`)
	if err != nil {
		t.Fatal(err)
	}
	reading, err := reader.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := reading.Exec(t.Context(), `select from orders`); err != nil {
		t.Fatal(err)
	}

	now := time.Now()
	m := &migration{
		cfg: &config.Config{Database: testdb.Config(t, db, time.Minute), QueueName: "order_queue", PGMQInstall: "sql"},
		log: slog.New(slog.DiscardHandler), now: func() time.Time { return now },
	}
	conn := testdb.Connect(t, db)
	err = m.run(t.Context(), conn)
	if refused := (*pgconn.PgError)(nil); !errors.As(err, &refused) || refused.Code != pgerrcode.LockNotAvailable {
		t.Fatalf("it has waited for the reader, or failed otherwise: %v", err)
	}
	if wait := aside(err); wait < 3*schema.LockPatience || aside(pgx.ErrNoRows) != 0 {
		t.Errorf("it waits for %s, and lets others pass for %s", schema.LockPatience, wait)
	}
	if err := reading.Rollback(t.Context()); err != nil {
		t.Fatal(err)
	}
	now = now.Add(aside(err) - 1)
	if again := m.run(t.Context(), conn); again == nil || again.Error() != err.Error() {
		t.Errorf("it does not let others pass: %v", again)
	}
	now = now.Add(1)
	if err := m.run(t.Context(), conn); err != nil {
		t.Error(err)
	}
}

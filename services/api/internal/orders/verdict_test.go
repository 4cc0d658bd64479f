package orders

import (
	"context"
	"errors"
	"fmt"
	"io"
	"testing"

	"github.com/jackc/pgx/v5/pgconn"
)

func TestJudge(t *testing.T) {
	t.Parallel()
	server := func(code string) *pgconn.PgError { return &pgconn.PgError{Code: code, Severity: "ERROR"} }
	on := func(schema, table, constraint, code, detail string) *pgconn.PgError {
		return &pgconn.PgError{Code: code, Severity: "ERROR", SchemaName: schema, TableName: table, ConstraintName: constraint, Detail: detail}
	}
	key := on("public", "orders", "orders_idempotency_key_idx_ccnew", "23505", "Schlüssel »(idempotency_key)=(k)« existiert bereits.")
	id := on("public", "orders", "orders_pkey", "23505", "Key (id)=(7) already exists.")
	message := on("pgmq", "q_order_queue", "q_order_queue_pkey", "23505", "Key (msg_id)=(7) already exists.")
	for _, test := range []struct {
		err        error
		try, units int
		want       verdict
	}{
		{on("public", "orders", "rule", "23514", ""), 1, 1, refuse},
		{on("public", "orders", "rule", "23514", ""), 1, 2, split},
		{on("public", "orders", "rule", "23503", ""), 9, 1, refuse},
		{on("public", "orders", "rule", "23P01", ""), 1, 1, refuse},
		{on("public", "orders", "", "23514", ""), 1, 1, examine},          // no partition, say
		{on("public", "orders", "not_null", "23502", ""), 1, 1, examine},  // a column that this program does not know
		{on("public", "order_lines", "rule", "23514", ""), 1, 1, examine}, // another table
		{on("sales", "orders", "rule", "23514", ""), 1, 1, examine},       // another schema
		{on("pgmq", "q_order_queue", "rule", "23514", ""), 1, 2, examine}, // about messages
		{on("public", "orders", "rule", "42501", ""), 1, 1, examine},      // not a constraint's error
		{on("public", "orders", "once", "23505", "Key (lower(customer_name))=(a) already exists."), 1, 1, refuse},
		{on("public", "orders", "once", "23505", "Key (customer_name, product_name)=(a, b) already exists."), 1, 1, refuse},
		{on("public", "orders", "once", "23505", ""), 1, 1, examine}, // the role may not see which
		{on("public", "orders", "once", "23505", "Key (message_id)=(7) already exists."), maxDraws, 1, examine},
		{on("public", "audit", "once", "23505", "Key (line)=(7) already exists."), 1, 2, examine},
		{key, 1, 1, tryAgain},
		{key, maxTries, 2, examine},
		{id, maxTries, 1, tryAgain},
		{message, maxTries, 1, tryAgain},
		{message, maxDraws, 1, examine},
		{server("22P05"), 1, 1, refuse},
		{server("22P05"), 1, 2, split},
		{server("22001"), 1, 1, refuse},
		{server("22012"), 1, 1, examine},
		{server("P0001"), 1, 1, examine},
		{server("XX000"), 1, 2, examine},
		{server("42501"), 1, 1, examine},
		{server("40P01"), 1, 2, tryAgain},
		{server("40P01"), maxTries, 2, examine},
		{server("26000"), 1, 1, tryAfresh},
		{server("0A000"), 1, 1, tryAfresh},
		{server("26000"), maxTries, 1, examine},
		{server("53100"), 1, 2, giveUp},
		{server("57014"), 1, 2, giveUp},
		{server("25006"), 1, 1, giveUp},
		{server("57P01"), 1, 1, doubt},
		{&pgconn.PgError{Code: "XX000", Severity: "FATAL"}, 1, 1, doubt},
		{io.ErrUnexpectedEOF, 1, 1, doubt},
		{context.DeadlineExceeded, 1, 1, doubt},
		{errors.New("an answer that nobody understands"), 1, 1, doubt},
		{unsent{}, 1, 1, tryAgain},
		{unsent{}, maxTries, 1, giveUp},
	} {
		if got := judge(fmt.Errorf("publish: %w", test.err), test.try, test.units); got != test.want {
			t.Errorf("%v, try %d, %d units: %d, want %d", test.err, test.try, test.units, got, test.want)
		}
	}
}

// unsent is an error before anything was sent.
type unsent struct{}

func (unsent) Error() string     { return "not sent" }
func (unsent) SafeToRetry() bool { return true }

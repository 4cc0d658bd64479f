package orders

import (
	"context"
	"errors"
	"fmt"
	"io"
	"testing"

	"github.com/jackc/pgerrcode"
	"github.com/jackc/pgx/v5/pgconn"

	"orderflow.example/services/api/internal/database"
)

func TestJudge(t *testing.T) {
	t.Parallel()
	server := func(code string) *pgconn.PgError { return &pgconn.PgError{Code: code, Severity: "ERROR"} }
	on := func(schema, table, constraint, code, detail string) *pgconn.PgError {
		return &pgconn.PgError{Code: code, Severity: "ERROR", SchemaName: schema, TableName: table, ConstraintName: constraint, Detail: detail}
	}
	key := on("public", "orders", "orders_idempotency_key_idx_ccnew", pgerrcode.UniqueViolation, "Schlüssel »(idempotency_key)=(k)« existiert bereits.")
	id := on("public", "orders", "orders_pkey", pgerrcode.UniqueViolation, "Key (id)=(7) already exists.")
	message := on("pgmq", "q_order_queue", "q_order_queue_pkey", pgerrcode.UniqueViolation, "Key (msg_id)=(7) already exists.")
	for _, test := range []struct {
		err        error
		try, units int
		want       verdict
	}{
		{on("public", "orders", "rule", pgerrcode.CheckViolation, ""), 1, 1, refuse},
		{on("public", "orders", "rule", pgerrcode.CheckViolation, ""), 1, 2, split},
		{on("public", "orders", "rule", pgerrcode.ForeignKeyViolation, ""), 9, 1, refuse},
		{on("public", "orders", "rule", pgerrcode.ExclusionViolation, ""), 1, 1, refuse},
		{on("public", "orders", "", pgerrcode.CheckViolation, ""), 1, 1, examine},            // no partition, say
		{on("public", "orders", "not_null", pgerrcode.NotNullViolation, ""), 1, 1, examine},  // a column that this program does not know
		{on("public", "order_lines", "rule", pgerrcode.CheckViolation, ""), 1, 1, examine},   // another table
		{on("sales", "orders", "rule", pgerrcode.CheckViolation, ""), 1, 1, examine},         // another schema
		{on("pgmq", "q_order_queue", "rule", pgerrcode.CheckViolation, ""), 1, 2, examine},   // about messages
		{on("public", "orders", "rule", pgerrcode.InsufficientPrivilege, ""), 1, 1, examine}, // not a constraint's error
		{on("public", "orders", "once", pgerrcode.UniqueViolation, "Key (lower(customer_name))=(a) already exists."), 1, 1, refuse},
		{on("public", "orders", "once", pgerrcode.UniqueViolation, "Key (customer_name, product_name)=(a, b) already exists."), 1, 1, refuse},
		{on("public", "orders", "once", pgerrcode.UniqueViolation, ""), 1, 1, examine}, // the role may not see which
		{on("public", "orders", "once", pgerrcode.UniqueViolation, "Key (message_id)=(7) already exists."), maxDraws, 1, examine},
		{on("public", "audit", "once", pgerrcode.UniqueViolation, "Key (line)=(7) already exists."), 1, 2, examine},
		{key, 1, 1, tryAgain},
		{key, maxTries, 2, examine},
		{id, maxTries, 1, tryAgain},
		{message, maxTries, 1, tryAgain},
		{message, maxDraws, 1, examine},
		{server(pgerrcode.UntranslatableCharacter), 1, 1, refuse},
		{server(pgerrcode.UntranslatableCharacter), 1, 2, split},
		{server(pgerrcode.StringDataRightTruncationDataException), 1, 1, refuse},
		{server(pgerrcode.DivisionByZero), 1, 1, examine},
		{server(pgerrcode.RaiseException), 1, 1, examine},
		{server(pgerrcode.InternalError), 1, 2, examine},
		{server(pgerrcode.InsufficientPrivilege), 1, 1, examine},
		{server(pgerrcode.DeadlockDetected), 1, 2, tryAgain},
		{server(pgerrcode.DeadlockDetected), maxTries, 2, examine},
		{server(pgerrcode.InvalidSQLStatementName), 1, 1, tryAfresh},
		{server(pgerrcode.FeatureNotSupported), 1, 1, tryAfresh},
		{server(pgerrcode.InvalidSQLStatementName), maxTries, 1, examine},
		{server(pgerrcode.DiskFull), 1, 2, giveUp},
		{server(pgerrcode.QueryCanceled), 1, 2, giveUp},
		{server(pgerrcode.ReadOnlySQLTransaction), 1, 1, giveUp},
		{server(pgerrcode.AdminShutdown), 1, 1, doubt},
		{&pgconn.PgError{Code: pgerrcode.InternalError, Severity: "FATAL"}, 1, 1, doubt},
		{&pgconn.PgError{Code: pgerrcode.DiskFull, Severity: "PANIC"}, 1, 2, doubt},
		{&pgconn.PgError{Code: pgerrcode.IOError, Severity: "PANIK", SeverityUnlocalized: "PANIC"}, 1, 1, doubt},
		{&pgconn.PgError{Code: pgerrcode.CannotConnectNow, Severity: "FATAL"}, 1, 1, giveUp}, // a pooler's, which has not sent it
		{io.ErrUnexpectedEOF, 1, 1, doubt},
		{database.ErrUnreplicated, 1, 1, doubt},
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

package queue_test

import (
	"errors"
	"fmt"
	"io"
	"testing"

	"github.com/jackc/pgerrcode"
	"github.com/jackc/pgx/v5/pgconn"

	"orderflow.example/services/consumer/internal/queue"
)

// What may have been written is never said to have been refused.
func TestTheEndOfASessionLeavesItOpenWhatWasWritten(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		severity, code string
		want           queue.Fault
	}{
		{"ERROR", pgerrcode.DiskFull, queue.Refused},
		{"ERROR", pgerrcode.IOError, queue.Refused},
		{"ERROR", pgerrcode.ReadOnlySQLTransaction, queue.Refused},
		{"ERROR", pgerrcode.DeadlockDetected, queue.Locked},
		{"ERROR", pgerrcode.CheckViolation, queue.Spoiled},
		{"ERROR", pgerrcode.QueryCanceled, queue.TooLong},
		{"PANIC", pgerrcode.DiskFull, queue.Unknown}, // the commit may be in the log
		{"PANIC", pgerrcode.IOError, queue.Unknown},
		{"PANIC", pgerrcode.DataCorrupted, queue.Unknown},
		{"FATAL", pgerrcode.AdminShutdown, queue.Unknown},
		{"FATAL", pgerrcode.IdleInTransactionSessionTimeout, queue.Unknown},
		{"FATAL", pgerrcode.InternalError, queue.Unknown},
		{"FATAL", pgerrcode.CannotConnectNow, queue.Refused}, // a pooler's, which has not sent it
		{"FATAL", pgerrcode.TooManyConnections, queue.Refused},
	} {
		err := &pgconn.PgError{Severity: "in the server's language", SeverityUnlocalized: test.severity, Code: test.code}
		if got := queue.Classify(fmt.Errorf("ack: %w", err)); got != test.want {
			t.Errorf("%s %s: %d, want %d", test.severity, test.code, got, test.want)
		}
	}
	for err, want := range map[error]queue.Fault{
		io.ErrUnexpectedEOF: queue.Unknown,
		unsent{}:            queue.Refused,
		errors.New("an answer that nobody foresaw"): queue.Unknown,
	} {
		if got := queue.Classify(err); got != want {
			t.Errorf("%v: %d, want %d", err, got, want)
		}
	}
}

// unsent is an error before anything was sent.
type unsent struct{}

func (unsent) Error() string     { return "not sent" }
func (unsent) SafeToRetry() bool { return true }

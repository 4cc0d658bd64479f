package schema_test

import (
	"strings"
	"testing"

	"orderflow.example/services/api/internal/schema"
)

// As PGMQ 1.5 leaves its queues, whose tables it makes members of the extension. Any extension shows it.
func TestAQueueThatPgDumpWouldLeaveOutIsWarnedOf(t *testing.T) {
	t.Parallel()
	db := migrated(t, schema.InstallSQL)
	const warning = "pg_dump leaves this queue's messages out"
	if strings.Contains(db.log.String(), warning) {
		t.Fatalf("warned without a reason:\n%s", db.log)
	}
	mustExec(t, db.conn, `alter extension plpgsql add table pgmq."q_order-queue"`)
	if err := schema.EnsureQueue(t.Context(), db.conn, queue, logger(db.log)); err != nil {
		t.Fatal(err)
	}
	if strings.Count(db.log.String(), warning) != 1 {
		t.Errorf("want one warning:\n%s", db.log)
	}
}

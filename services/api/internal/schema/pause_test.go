package schema_test

import (
	"strings"
	"testing"

	"orderflow.example/services/api/internal/schema"
)

// The first who pauses is the one that is named, and each change has a higher revision and is told once.
func TestAPauseIsWhatTheFirstOneAskedFor(t *testing.T) {
	t.Parallel()
	forEachFlavour(t, func(t *testing.T, install schema.Install) {
		db := migrated(t, install)
		listener := connect(t, db.cfg)
		mustExec(t, listener, `listen "orderflow_order-queue"`)
		told := func(want string) {
			t.Helper()
			mustExec(t, db.conn, `select pg_notify('orderflow_order-queue', 'end')`) // comes after all that was sent before
			var got []string
			for {
				n, err := listener.WaitForNotification(t.Context())
				if err != nil {
					t.Fatal(err)
				}
				if n.Payload == "end" {
					break
				}
				got = append(got, n.Payload)
			}
			if strings.Join(got, " ") != want {
				t.Errorf("told %q, want %q", got, want)
			}
		}
		const columns = `select g.queue, g.paused_at is not null, g.paused_by, g.pause_reason from `

		wantTable(t, db.conn, columns+`orderflow.resume('Order-Queue') g`, "∅|f|∅|∅")
		told("")
		wantTable(t, db.conn, columns+`orderflow.pause('Order-Queue', 'a', 'because') g`, "order-queue|t|a|because")
		told("gate")
		paused := ask[int64](t, db.conn, `select revision from orderflow.gate`)
		wantTable(t, db.conn, columns+`orderflow.pause('order-queue', 'b', 'why not') g`, "order-queue|t|a|because")
		told("")
		if again := ask[int64](t, db.conn, `select revision from orderflow.gate`); again != paused {
			t.Errorf("revision %d, and %d before nothing changed", again, paused)
		}
		wantTable(t, db.conn, columns+`orderflow.resume('ORDER-QUEUE') g`, "order-queue|f||")
		told("gate")
		if resumed := ask[int64](t, db.conn, `select revision from orderflow.gate`); resumed <= paused {
			t.Errorf("revision %d after %d", resumed, paused)
		}

		// What is there already stays, and its revision is not used again, whatever the clock says.
		mustExec(t, db.conn, `update orderflow.gate set breaker_open = true, failures = 3, revision = 9000000000000000000`)
		wantTable(t, db.conn, columns+`orderflow.pause('order-queue', 'c', '') g`, "order-queue|t|c|")
		wantTable(t, db.conn, columns+`orderflow.resume('order-queue') g`, "order-queue|f||")
		wantTable(t, db.conn, `select breaker_open, failures, revision from orderflow.gate`, "t|3|9000000000000000002")
	})
}

// What is not written must not be taken for written.
func TestAPauseNoticesWhatIsNotWritten(t *testing.T) {
	t.Parallel()
	db := migrated(t, schema.InstallSQL)
	held := func(event, statement, want string) {
		t.Helper()
		mustExec(t, db.conn, `create function never() returns trigger language plpgsql as 'begin return null; end'`)
		mustExec(t, db.conn, `create trigger never before `+event+` on orderflow.gate for each row execute function never()`)
		if _, err := table(t, db.conn, statement); err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), "OF001") {
			t.Errorf("%s: got %v, want something about %q", statement, err, want)
		}
		mustExec(t, db.conn, `drop function never cascade`)
	}
	const (
		pause  = `select orderflow.pause('order-queue', 'a', '')`
		resume = `select orderflow.resume('order-queue')`
	)
	held("insert", pause, "cannot be paused")
	mustExec(t, db.conn, pause)
	held("update", resume, "cannot be resumed")
	mustExec(t, db.conn, resume)
	held("update", pause, "cannot be paused")
}

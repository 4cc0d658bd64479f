package doctor_test

import (
	"strings"
	"testing"

	"github.com/jackc/pgx/v5/pgproto3"

	"orderflow.example/services/consumer/internal/dbtest"
	"orderflow.example/services/consumer/internal/doctor"
	"orderflow.example/services/consumer/internal/effect"
	"orderflow.example/services/consumer/internal/queue"
)

// Every consumer is scraped, and each scrape examines the database: as many statements as it has questions would be half of what an idle
// installation does. The statements are described in one transaction and run in a second one.
func TestAnExaminationIsTwoTransactions(t *testing.T) {
	b := setup(t)
	b.Publish(3)
	b.Exec(`create function public.work(orders public.orders[]) returns void language sql as 'select'`)
	var seen strings.Builder
	b.conn.PgConn().Frontend().Trace(&seen, pgproto3.TracerOptions{SuppressTimestamps: true})
	f, err := doctor.Examine(b.ctx, b.conn, queue.New(dbtest.QueueName, queue.Description{}), effect.NewFunction([]string{"public", "work"}))
	if err != nil {
		t.Fatal(err)
	}
	if f.Gate == nil || f.Stranded == nil || f.Waiting == nil || f.Effect == nil || f.Effect.Problem != "" || len(f.Settings) < 5 || f.Description.SchemaVersion != queue.SchemaVersion {
		t.Errorf("it has not looked at all: %+v", f)
	}
	if n := strings.Count(seen.String(), "ReadyForQuery"); n > 2 {
		t.Errorf("%d transactions:\n%s", n, seen.String())
	}
}

// A role that may not see all of it is refused once, and then gets what it may see.
func TestWhatMayNotBeSeenHidesNothingElse(t *testing.T) {
	b := setup(t)
	b.Publish(3)
	b.asStranger("select on orderflow.gate", "select on orderflow.order_scan", "execute on function orderflow.standbys()")
	f, findings := b.examine()
	if f.Gate != nil || f.Stranded != nil || f.Waiting == nil || len(f.Tables) != 3 || len(f.Settings) < 5 || f.Description.SchemaVersion != queue.SchemaVersion {
		t.Errorf("%+v", f)
	}
	for _, right := range []string{"orderflow.gate", "orderflow.order_scan", "orderflow.standbys"} {
		if !strings.Contains(findings["rights"].Finding, right) {
			t.Errorf("%s is not missed: %+v", right, findings["rights"])
		}
	}
}

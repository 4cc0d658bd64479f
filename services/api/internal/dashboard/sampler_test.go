package dashboard

import (
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"orderflow.example/kit/testdb"
	"orderflow.example/services/api/internal/database"
	"orderflow.example/services/api/internal/queue"
)

// openStore opens a store on a database of its own.
func openStore(t *testing.T) (s *store, url string) {
	t.Helper()
	url = testdb.New(t)
	pool, err := database.NewPool(t.Context(), testdb.Config(t, url, time.Minute), 2, database.Timeouts(time.Minute))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(pool.Close)
	messages := queue.New(pool, "order_queue")
	watcher := queue.NewWatcher(messages)
	t.Cleanup(watcher.Close)
	return &store{db: pool, queue: messages, watcher: watcher}, url
}

// Whoever takes a sample tells it what it has counted up to then. Its last report may be a second old, or on its way in the viewers' look:
// samples would be of four seconds and of six by turns, and a steady rate would be drawn as a saw.
func TestASampleHasWhatItsTakerHasCountedUntilNow(t *testing.T) {
	t.Parallel()
	s, _ := openStore(t)
	accepted := int64(0)
	taker := &sampler{store: s, reporter: newReporter(func() int64 { return accepted })}
	for _, accepted = range []int64{7, 2000, 2001, 4000} {
		if accepted == 4000 {
			taker.reporter.due(time.Now())
		}
		_, processes, _, err := taker.read(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if len(processes) != 1 || processes[0].Kind != "api" || processes[0].Accepted != accepted {
			t.Errorf("of %d accepted orders the sample knows %+v", accepted, processes)
		}
	}
}

// A process that ended while the clock was far ahead is not shown as working until then.
func TestWhoReportedUnderAClockAheadIsSilent(t *testing.T) {
	t.Parallel()
	s, url := openStore(t)
	conn := testdb.Connect(t, url)
	if _, err := conn.Exec(t.Context(), `
		select orderflow.report('k', 'order_queue', 'consumer', 'n', 0, 1, 'working', 1, 8, 0, 0, 0, 0, 0, '{}');
		update orderflow.processes set seen_at = now() + interval '1 year';
		insert into orderflow.sampling (queue, claimed_step) values ('order_queue', 7)`, pgx.QueryExecModeSimpleProtocol); err != nil {
		t.Fatal(err)
	}
	found, err := s.look(t.Context(), 0, nil)
	if err != nil {
		t.Fatal(err)
	}
	if len(found.processes) != 1 || !found.processes[0].vanished() {
		t.Errorf("the dashboard shows %+v", found.processes)
	}
	taker := &sampler{store: s, reporter: newReporter(func() int64 { return 0 })}
	if err := taker.sample(t.Context(), 7, nil, map[string]tally{}); err != nil {
		t.Fatal(err)
	}
	var left int
	if err := conn.QueryRow(t.Context(), `select count(*) from orderflow.processes where key = 'k'`).Scan(&left); err != nil || left != 0 {
		t.Errorf("%d rows of it are left (%v)", left, err)
	}
}

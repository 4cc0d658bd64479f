package schema_test

import (
	"errors"
	"fmt"
	"sync"
	"testing"

	"orderflow.example/kit/await"
	"orderflow.example/services/api/internal/schema"
)

func TestOneQueueCreatedByTwoSessionsAtOnce(t *testing.T) {
	t.Parallel()
	forEachFlavour(t, func(t *testing.T, install schema.Install) {
		db := newDatabase(t)
		db.installPGMQ(install)
		first, second := connect(t, db.cfg), connect(t, db.cfg)

		mustExec(t, first, `begin`)
		mustExec(t, first, `select pgmq.create('both')`)
		done := make(chan error)
		go func() {
			_, err := second.Exec(t.Context(), `select pgmq.create('both')`)
			done <- err
		}()
		await.True(t, "the second session waits for the first", func() bool {
			return ask[bool](t, db.conn, `
				select exists (select from pg_stat_activity where pid = $1 and wait_event_type = 'Lock')`, int32(second.PgConn().PID()))
		})
		mustExec(t, first, `commit`)

		if err := <-done; err != nil {
			t.Fatal(err)
		}
		wantTable(t, db.conn, `select queue_name from pgmq.list_queues()`, "both")
		wantTable(t, db.conn, `select pgmq.send('both', '1')`, "1")
	})
}

func TestManySessionsCreateAndDropTheSameQueues(t *testing.T) {
	t.Parallel()
	db := newDatabase(t)
	db.installPGMQ(schema.InstallSQL)
	const sessions, rounds = 6, 10

	var wg sync.WaitGroup
	errs := make([]error, sessions)
	for i := range sessions {
		conn := connect(t, db.cfg)
		wg.Go(func() {
			for round := range rounds {
				name := fmt.Sprintf("race-%d", round%3)
				statement := `select pgmq.create($1)`
				if (i+round)%3 == 0 {
					statement = `select pgmq.drop_queue($1)`
				}
				if i%2 == 0 {
					name = fmt.Sprintf("RACE-%d", round%3) // the same tables
				}
				_, err := conn.Exec(t.Context(), statement, name)
				errs[i] = errors.Join(errs[i], err)
			}
		})
	}
	wg.Wait()

	if err := errors.Join(errs...); err != nil {
		t.Fatal(err)
	}
	wantTable(t, db.conn, `
		select count(*) from pgmq.meta where to_regclass(format('pgmq.%I', 'q_' || lower(queue_name))) is null`, "0")
}

// No message goes to two readers, and none is left out, however many read at once.
func TestConcurrentReadersShareAQueue(t *testing.T) {
	t.Parallel()
	forEachFlavour(t, func(t *testing.T, install schema.Install) {
		db := newDatabase(t)
		db.installPGMQ(install)
		const readers, messages = 4, 400
		mustExec(t, db.conn, `select pgmq.create('shared')`)
		mustExec(t, db.conn, `select pgmq.send_batch('shared', array_agg(to_jsonb(n))) from generate_series(1, $1) n`, messages)

		var mu sync.Mutex
		seen := make(map[int64]int)
		var wg sync.WaitGroup
		errs := make([]error, readers)
		for i := range readers {
			conn := connect(t, db.cfg)
			function := []string{"pgmq.read('shared', 60, 7)", "pgmq.read_with_poll('shared', 60, 5, 1, 10)", "pgmq.pop('shared')"}[i%3]
			wg.Go(func() {
				for {
					var ids []int64
					err := conn.QueryRow(t.Context(), `select coalesce(array_agg(msg_id), '{}') from `+function).Scan(&ids)
					if err != nil || len(ids) == 0 {
						errs[i] = err
						return
					}
					mu.Lock()
					for _, id := range ids {
						seen[id]++
					}
					mu.Unlock()
				}
			})
		}
		wg.Wait()

		if err := errors.Join(errs...); err != nil {
			t.Fatal(err)
		}
		for id, times := range seen {
			if times != 1 {
				t.Errorf("message %d was read %d times", id, times)
			}
		}
		if len(seen) != messages {
			t.Errorf("%d messages of %d were read", len(seen), messages)
		}
	})
}

func TestPurgeCountsWhatItTakes(t *testing.T) {
	t.Parallel()
	db := newDatabase(t)
	db.installPGMQ(schema.InstallSQL)
	mustExec(t, db.conn, `select pgmq.create('purged')`)
	sender, purger := connect(t, db.cfg), connect(t, db.cfg)

	mustExec(t, sender, `begin`)
	mustExec(t, sender, `select pgmq.send('purged', '1')`)
	purged := make(chan int64)
	go func() {
		var n int64
		if err := purger.QueryRow(t.Context(), `select pgmq.purge_queue('purged')`).Scan(&n); err != nil {
			n = -1
		}
		purged <- n
	}()
	await.True(t, "the purge waits for the sender", func() bool {
		return ask[bool](t, db.conn, `
			select exists (select from pg_stat_activity where pid = $1 and wait_event_type = 'Lock')`, int32(purger.PgConn().PID()))
	})
	mustExec(t, sender, `commit`)

	if n := <-purged; n != 1 {
		t.Errorf("the purge counted %d messages, it took 1", n)
	}
}

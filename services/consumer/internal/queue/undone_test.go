package queue_test

import (
	"strings"
	"testing"
	"time"

	"orderflow.example/services/consumer/internal/dbtest"
	"orderflow.example/services/consumer/internal/queue"
)

// A trigger can let a write happen and undo the one part of it that counts. A read count that does not rise makes two leases one; a due
// time that stays where it was is no extension, no delay and no release.
func TestWhatATriggerUndoesIsNotTakenForWritten(t *testing.T) {
	const (
		readCount = `new.read_ct := old.read_ct`
		due       = `new.vt := old.vt`
		headers   = `new.headers := old.headers`
	)
	undo := func(b *bundle, what string) {
		b.Exec(`create function undo() returns trigger language plpgsql as $$ begin ` + what + `; return new; end $$`)
		b.Exec(`create trigger undo before update on pgmq.q_order_queue for each row execute function undo()`)
	}
	t.Run("a read", func(t *testing.T) {
		b := setup(t)
		b.Publish(2)
		undo(b, `if new.msg_id = 2 then `+readCount+`; end if`)
		f, err := b.Fetch(b.ctx, b.conn, bounds(5), 30*time.Second)
		if err != nil || len(f.Messages) != 1 || f.Messages[0].ID != 1 || len(f.Suppressed) != 1 || f.Suppressed[0] != 2 {
			t.Errorf("%d messages, suppressed %v, %v", len(f.Messages), f.Suppressed, err)
		}
	})
	for name, test := range map[string]struct {
		undone string
		write  func(*bundle, []queue.Entry) (queue.Confirmed, error)
		fails  bool // or confirms nothing
	}{
		"an extension": {undone: due, write: func(b *bundle, e []queue.Entry) (queue.Confirmed, error) {
			return b.Extend(b.ctx, b.conn, e, time.Hour)
		}},
		"a nack's delay": {undone: due, fails: true, write: func(b *bundle, e []queue.Entry) (queue.Confirmed, error) { return b.Nack(b.ctx, b.conn, e, "test") }},
		"a nack's mark":  {undone: headers, fails: true, write: func(b *bundle, e []queue.Entry) (queue.Confirmed, error) { return b.Nack(b.ctx, b.conn, e, "test") }},
		"a nack of the message alone": {undone: due, fails: true, write: func(b *bundle, e []queue.Entry) (queue.Confirmed, error) {
			return b.NackMessageOnly(b.ctx, b.conn, e, "test")
		}},
		"a release":             {undone: due, fails: true, write: func(b *bundle, e []queue.Entry) (queue.Confirmed, error) { return b.Release(b.ctx, b.conn, e, "test") }},
		"that it is no attempt": {undone: headers, fails: true, write: func(b *bundle, e []queue.Entry) (queue.Confirmed, error) { return b.Release(b.ctx, b.conn, e, "test") }},
	} {
		t.Run(name, func(t *testing.T) {
			b := setup(t)
			b.Publish(1)
			e := entries(b.read(1)...)
			e[0].Delay, e[0].Error = time.Minute, "it failed"
			undo(b, test.undone)
			before := dbtest.One[time.Time](b.DB, `select vt from pgmq.q_order_queue`)
			confirmed, err := test.write(b, e)
			if len(confirmed) > 0 || (err != nil) != test.fails || err != nil && !strings.Contains(err.Error(), "OF001") {
				t.Errorf("confirmed %v, %v", confirmed, err)
			}
			if after := dbtest.One[time.Time](b.DB, `select vt from pgmq.q_order_queue`); !after.Equal(before) {
				t.Error("the trigger undoes nothing: the test shows nothing")
			}
			b.Exec(`drop trigger undo on pgmq.q_order_queue`)
			if confirmed, err := test.write(b, e); len(confirmed) != 1 || err != nil {
				t.Errorf("without it: confirmed %v, %v", confirmed, err)
			}
		})
	}
}

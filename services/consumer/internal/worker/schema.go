package worker

import (
	"context"
	"errors"

	"github.com/jackc/pgx/v5"

	"orderflow.example/kit/wait"
	"orderflow.example/services/consumer/internal/effect"
	"orderflow.example/services/consumer/internal/pg"
	"orderflow.example/services/consumer/internal/queue"
)

// waitForSchema waits until the database has what we were built for, and returns the queue. It says false when ctx ended first.
func (c *Consumer) waitForSchema(ctx context.Context, link *pg.Link) (q *queue.Queue, ok bool) {
	var retry wait.Pauses
	said := ""
	for ctx.Err() == nil {
		var d queue.Description
		var unfit *effect.UnfitError
		err := link.Do(ctx, func(ctx context.Context, conn *pgx.Conn) (err error) {
			d, err = queue.New(c.settings.Queue, queue.Description{}).Describe(ctx, conn)
			if err == nil && d.Ready() {
				q = queue.New(c.settings.Queue, d)
				err = q.ReadInstallation(ctx, conn)
			}
			if err == nil && d.Ready() && c.runner != nil {
				err = c.runner.Prepare(ctx, conn)
			}
			return err
		})
		switch {
		case errors.As(err, &unfit):
			c.workHealth.Note(err)
		case errors.Is(err, queue.ErrNoInstallation):
			c.readHealth.Turn("installation", err.Error())
		default:
			c.readHealth.Note(err)
		}
		if err == nil && d.Ready() {
			if !d.Front {
				c.log.Warn("the queue's front is missing or not ours to move: several consumers get in each other's way; run `api migrate`, grant what it says, and restart")
			}
			c.workHealth.Note(nil)
			c.schemaReady.Store(true)
			c.metrics.SchemaReady.Set(1)
			return q, true
		}
		if now := d.String(); err == nil && now != said {
			c.log.Warn("waiting for the database's schema: run `api migrate`, or start the api", "found", now)
			said = now
		}
		wait.For(ctx, retry.Next())
	}
	return nil, false
}

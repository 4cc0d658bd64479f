package pg

import (
	"context"
	"errors"
	"log/slog"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"orderflow.example/services/consumer/internal/dbtest"
)

// Of those who share a link, one at a time is at something. What it has begun is over before the next one can begin, however its call ends: else
// the end of the one would be taken for the other's.
func TestACallIsOverBeforeTheNextBegins(t *testing.T) {
	t.Parallel()
	db := dbtest.New(t)
	for name, end := range map[string]error{"it works": nil, "it fails": errors.New("on purpose"), "there is no connection": context.Canceled} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			l := NewServer(db.Address(), "test", slog.New(slog.DiscardHandler), Observer{}).NewLink("test", nil)
			defer l.Close()
			begun, over := false, 0
			l.WatchCalls(func(time.Duration) { begun = true }, func() {
				begun = false
				over++
				if l.mu.TryLock() {
					l.mu.Unlock()
					t.Error("the next call may have begun")
				}
			})
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			if errors.Is(end, context.Canceled) {
				cancel()
			}
			for calls := 1; calls <= 2; calls++ {
				err := l.Do(ctx, func(context.Context, *pgx.Conn) error {
					if !begun {
						t.Error("it is at work, and nothing has begun")
					}
					return end
				})
				if !errors.Is(err, end) || begun || over != calls {
					t.Errorf("call %d: %v; begun: %t; %d are over", calls, err, begun, over)
				}
			}
		})
	}
}

package doctor_test

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"testing"

	"orderflow.example/services/consumer/internal/dbtest"
	"orderflow.example/services/consumer/internal/doctor"
	"orderflow.example/services/consumer/internal/pg"
	"orderflow.example/services/consumer/internal/queue"
)

// publish looks as one of the queue's consumers.
func (b *bundle) publish(consumer string) {
	b.t.Helper()
	b.publishWith(consumer, "webhook")
}

func (b *bundle) publishWith(consumer, handler string) {
	b.t.Helper()
	log := slog.New(slog.DiscardHandler)
	server := pg.NewServer(b.Address(), consumer, log, pg.Observer{})
	publisher := doctor.NewPublisher(server, queue.New(dbtest.QueueName, false), nil, consumer, handler, log)
	for {
		err := publisher.Publish(b.ctx)
		if errors.Is(err, context.DeadlineExceeded) && b.ctx.Err() == nil { // its own deadline, on a busy machine: it is its turn all the same
			b.Exec(`update orderflow.findings set claimed_at = claimed_at - interval '1 minute'`)
			continue
		}
		if err != nil {
			b.t.Fatal(err)
		}
		return
	}
}

func TestWhatIsFoundIsPublishedByOneForAll(t *testing.T) {
	b := setup(t)
	b.Exec(`select orderflow.pause('order_queue', 'ann', '')`)
	b.publish("first")
	b.publish("second") // which is too early
	var by string
	var raw []byte
	if err := b.QueryRow(context.Background(), `select by, findings from orderflow.findings where at is not null`).Scan(&by, &raw); err != nil {
		t.Fatal(err)
	}
	var found []struct{ Check, Finding, Advice string }
	if err := json.Unmarshal(raw, &found); err != nil {
		t.Fatal(err)
	}
	if by != "first" || len(found) < 8 || found[0].Advice == "" || found[len(found)-1].Advice != "" {
		t.Errorf("by %s: %+v", by, found)
	}
	advised := false
	for _, f := range found {
		advised = advised || f.Check == "consuming" && f.Advice == "When it is to go on: consumer resume"
	}
	if !advised {
		t.Errorf("nothing is said of the pause: %+v", found)
	}

	b.Exec(`update orderflow.findings set claimed_at = claimed_at - interval '1 minute'`)
	b.publish("second")
	if by := dbtest.One[string](b.DB, `select by from orderflow.findings`); by != "second" {
		t.Errorf("after a minute it is by %s", by)
	}
	// A clock that was set back does not end it for ever.
	b.Exec(`update orderflow.findings set claimed_at = clock_timestamp() + interval '1 year'`)
	b.publish("third")
	if by := dbtest.One[string](b.DB, `select by from orderflow.findings`); by != "third" {
		t.Errorf("after the clock was set back it is by %s", by)
	}
}

// Who looks at the dashboard must not take simulated work for real.
func TestWhoOnlySimulatesWorkSaysSo(t *testing.T) {
	b := setup(t)
	said := `select count(*) from orderflow.findings, jsonb_array_elements(findings) f where f ->> 'check' = 'handler' and f ->> 'advice' <> ''`
	b.publishWith("first", "webhook")
	if n := dbtest.One[int](b.DB, said); n != 0 {
		t.Error("a webhook is called simulated")
	}
	b.Exec(`update orderflow.findings set claimed_at = claimed_at - interval '1 minute'`)
	b.publishWith("second", "simulate")
	if n := dbtest.One[int](b.DB, said); n != 1 {
		t.Error("nothing is said of simulated work")
	}
}

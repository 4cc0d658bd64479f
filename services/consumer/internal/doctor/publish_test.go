package doctor_test

import (
	"context"
	"encoding/json"
	"log/slog"
	"math"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/prometheus/client_golang/prometheus"

	"orderflow.example/kit/await"
	"orderflow.example/kit/testdb"
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
	publisher := doctor.NewPublisher(server, queue.New(dbtest.QueueName, queue.Description{}), nil, consumer, handler, log)
	if err := publisher.Publish(b.ctx); err != nil {
		b.t.Fatal(err)
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

// It looks again and again: what was found goes out of date.
func TestWhatIsFoundIsPublishedAgainAndAgain(t *testing.T) {
	b := setup(t)
	log := slog.New(slog.DiscardHandler)
	server := pg.NewServer(b.Address(), "one", log, pg.Observer{})
	publisher := doctor.NewPublisher(server, queue.New(dbtest.QueueName, queue.Description{}), nil, "one", "webhook", log)
	publisher.LookEvery(50 * time.Millisecond)
	running, stop := context.WithCancel(b.ctx)
	var ended sync.WaitGroup
	ended.Go(func() { publisher.Run(running) })
	defer ended.Wait()
	defer stop()
	published := func() bool {
		return dbtest.One[bool](b.DB, `select exists (select from orderflow.findings where at is not null)`)
	}
	await.True(t, "what is found is published", published)
	b.Exec(`delete from orderflow.findings`) // as if that had been long ago
	await.True(t, "it is published again", published)
}

// Alerts go by the metrics: they have to say what the command says.
func TestTheMetricsSayWhatIsFound(t *testing.T) {
	b := setup(t)
	b.Publish(1)
	b.Exec(`update pgmq.q_order_queue set vt = vt - interval '1 hour'`)
	idle, err := b.Begin(b.ctx)
	if err != nil {
		t.Fatal(err)
	}
	defer idle.Rollback(context.WithoutCancel(b.ctx))
	if _, err := idle.Exec(b.ctx, `select txid_current()`); err != nil {
		t.Fatal(err)
	}
	registry := prometheus.NewRegistry()
	server := pg.NewServer(b.Address(), "scraped", slog.New(slog.DiscardHandler), pg.Observer{})
	registry.MustRegister(doctor.NewCollector(server, queue.New(dbtest.QueueName, queue.Description{}), nil))
	values := map[string]float64{}
	await.True(t, "the database is looked at", func() bool { // a look that takes long is left out, and taken again later
		families, err := registry.Gather()
		if err != nil {
			t.Fatal(err)
		}
		for _, family := range families {
			for _, m := range family.GetMetric() {
				name := strings.TrimPrefix(family.GetName(), "orderflow_consumer_doctor_")
				for _, label := range m.GetLabel() {
					name += " " + label.GetValue()
				}
				values[name] = m.GetGauge().GetValue()
			}
		}
		return len(values) > 0
	})
	for name, least := range map[string]float64{"look lag": 1, "oldest_message_seconds": 3600, "oldest_xmin_seconds session": math.SmallestNonzeroFloat64} {
		if values[name] < least {
			t.Errorf("%s is %v, want at least %v", name, values[name], least)
		}
	}
	if ok, told := values["look rights"]; !told || ok != 0 {
		t.Errorf("rights are said to be missing: %v", values)
	}
}

// What becomes of a look says nothing about the database as the work has it: neither that it takes its time nor that there is no connection for
// it. To take that for an outage would make the consumer unready, and have all its connections made anew.
func TestALookThatIsSlowOrHasNoConnectionIsNoOutage(t *testing.T) {
	b := setup(t)
	b.Exec(slowLook)
	log, outages := slog.New(slog.DiscardHandler), 0
	server := pg.NewServer(b.Address(), "slow", log, pg.Observer{Reachable: func(ok bool) {
		if !ok {
			outages++
		}
	}})
	work := server.NewLink("work", nil)
	defer work.Close()
	pid := func() (pid int) {
		if err := work.Do(b.ctx, func(ctx context.Context, conn *pgx.Conn) error {
			return conn.QueryRow(ctx, `select pg_backend_pid()`).Scan(&pid)
		}); err != nil {
			t.Fatal(err)
		}
		return pid
	}
	before := pid()
	publisher := doctor.NewPublisher(server, queue.New(dbtest.QueueName, queue.Description{}), nil, "slow", "webhook", log)
	if err := publisher.Publish(b.ctx); err != nil {
		t.Error(err)
	}
	if by := dbtest.One[string](b.DB, `select by from orderflow.findings where at is not null`); by != "slow" {
		t.Errorf("findings are by %s", by)
	}
	testdb.Admin(t, "alter database "+server.Database()+" allow_connections false")
	if err := publisher.Publish(b.ctx); err == nil {
		t.Error("there was a connection: the test shows nothing")
	}
	if doctor.NewCollector(server, queue.New(dbtest.QueueName, queue.Description{}), nil).Collect(make(chan prometheus.Metric, 100)); outages > 0 {
		t.Errorf("%d outages", outages)
	}
	if ok, _, why := server.Reachable(); !ok {
		t.Errorf("not reachable: %s", why)
	}
	if after := pid(); after != before {
		t.Errorf("the work's connection %d was replaced", before)
	}
}

// slowLook makes one of the doctor's questions take longer than a statement of the consumer's may.
const slowLook = `create or replace function orderflow.standbys() returns table (name text, state text, sync_state text)
	language plpgsql security definer as $$ begin perform pg_sleep(4); end $$`

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

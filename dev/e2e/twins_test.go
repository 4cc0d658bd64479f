package e2e

import (
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"github.com/jackc/pgx/v5"

	"orderflow.example/dev/internal/mutants"
	"orderflow.example/dev/internal/stack"
	patience "orderflow.example/kit/await"
	"orderflow.example/kit/testdb"
)

// audited are runs that end in the load generator's audit. With sound programs each is green; each shows the audit something else. more are
// settings of the load generator.
var audited = map[string]func(t *testing.T, b *bundle, more ...string) stack.Report{
	"undisturbed": func(t *testing.T, b *bundle, more ...string) stack.Report {
		api := b.api(t)
		b.consumer(t, "SIMULATE_WORK=0")
		return b.load(t, api, append(more, "ORDERS=1200")...).end(t)
	},
	// What the api has answered before it was killed has to be there afterwards.
	"the api is killed": func(t *testing.T, b *bundle, more ...string) stack.Report {
		api := b.api(t)
		b.consumer(t, "SIMULATE_WORK=0")
		load := b.load(t, api, append(more, "ORDERS=0", "DURATION=15s", "CONCURRENCY=4")...)
		b.until(t, "orders come in", `select count(*) >= 50 from orders`)
		api.Kill()
		if err := api.Start(); err != nil {
			t.Fatal(err)
		}
		if err := api.WaitReady(bounded(t)); err != nil {
			t.Fatal(err)
		}
		return load.end(t)
	},
	// Somebody else takes messages over while their handlers run: what those did must not count.
	"leases are lost": func(t *testing.T, b *bundle, _ ...string) stack.Report {
		api := b.api(t)
		calls, goOn := make(chan struct{}, 100), make(chan struct{})
		shop := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { calls <- struct{}{}; <-goOn }))
		t.Cleanup(shop.Close)
		letGo := sync.OnceFunc(func() { close(goOn) })
		t.Cleanup(letGo)
		// No heartbeat comes before the handlers may go on, and finds out.
		b.consumer(t, "HANDLER=webhook", "WEBHOOK_URL="+shop.URL, "CONCURRENCY=50", "VT=300", "HANDLER_TIMEOUT=2m")
		load := b.load(t, api, "ORDERS=20")
		for range 20 {
			patience.Value(t, "all are worked on", calls)
		}
		b.until(t, "somebody reads them", `with taken as (update pgmq.q_order_queue set read_ct = read_ct + 1, vt = clock_timestamp() + interval '6 seconds' where read_ct = 1 returning 1)
			select count(*) = 20 from taken`)
		letGo()
		return load.end(t)
	},
}

func (b *bundle) api(t *testing.T) *stack.Node {
	t.Helper()
	n, err := b.stack.StartAPI(bounded(t), "api")
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func (b *bundle) consumer(t *testing.T, env ...string) {
	t.Helper()
	if _, err := b.stack.StartConsumer(bounded(t), "consumer-1", append([]string{"SIMULATE_FAILURES=none"}, env...)...); err != nil {
		t.Fatal(err)
	}
}

// until waits for a query to say true.
func (b *bundle) until(t *testing.T, what, sql string) {
	t.Helper()
	conn, err := pgx.Connect(bounded(t), b.stack.DatabaseURL())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(t.Context())
	eventually(t, what, func() error {
		var yes bool
		if err := conn.QueryRow(t.Context(), sql).Scan(&yes); err != nil || yes {
			return err
		}
		return fmt.Errorf("not yet: %s", sql)
	})
}

// run is a load generator under way.
type run struct{ *stack.Load }

func (b *bundle) load(t *testing.T, api *stack.Node, env ...string) run {
	t.Helper()
	load, err := b.stack.Loadgen(api, nil, append([]string{"PROGRESS=off", "LOG_FORMAT=json"}, env...)...)
	if err != nil {
		t.Fatal(err)
	}
	return run{load}
}

// end waits for the end of the run and reads its report, which must say the exit code that the process had.
func (r run) end(t *testing.T) stack.Report {
	t.Helper()
	code, err := r.Wait(bounded(t))
	if err != nil {
		t.Fatal(err)
	}
	report, err := r.Report()
	if err != nil || report.ExitCode != code {
		t.Fatalf("exit code %d: %v, %+v", code, err, report)
	}
	if _, err := report.Account(); err != nil {
		t.Fatal(err)
	}
	return report
}

func TestOrdersAreAccountedFor(t *testing.T) {
	t.Parallel()
	for name, scenario := range audited {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := setup(t, testdb.New(t))
			if a := scenario(t, &b); a.ExitCode != 0 || len(a.Faults) > 0 || a.Audit.Accepted == 0 || a.Audit.Completed != a.Audit.Accepted {
				t.Errorf("%+v", a)
			}
		})
	}
}

// A build that breaks the promise turns the audit red, and what it finds has the right name.
func TestBrokenBuildsTurnTheAuditRed(t *testing.T) {
	t.Parallel()
	for twin, test := range map[string]struct {
		scenario string
		service  stack.Service
		fault    string // part of one that is found
	}{
		mutants.CountsNoEffects:    {"undisturbed", stack.Consumer, "1,200 orders completed without an effect"},
		mutants.DropsOneInThousand: {"undisturbed", stack.Consumer, "1 order stuck"},
		mutants.AnswersTooEarly:    {"the api is killed", stack.API, "lost: accepted and not there"},
		mutants.EffectWithoutLease: {"leases are lost", stack.Consumer, "20 orders duplicated"},
	} {
		t.Run(twin, func(t *testing.T) {
			t.Parallel()
			programs := programsFor(t)
			m, err := mutants.Twin(twin)
			if err != nil {
				t.Fatal(err)
			}
			overlay, err := m.Overlay(programs.root, t.TempDir())
			if err != nil {
				t.Fatal(err)
			}
			changed, err := stack.BuildOverlaid(bounded(t), programs.session, programs.root, overlay, test.service)
			if err != nil {
				t.Fatal(err)
			}
			binaries := maps.Clone(programs.binaries)
			maps.Copy(binaries, changed)
			b := setupWith(t, testdb.New(t), binaries)
			// Nothing more is to come: it is enough to outlast a lease that was lost, which hides an order for ten seconds.
			a := audited[test.scenario](t, &b, "AUDIT_PATIENCE=30s")
			if a.ExitCode != 99 || !strings.Contains(strings.Join(a.Faults, "\n"), test.fault) {
				t.Errorf("exit code %d, faults %q; want 99 and %q", a.ExitCode, a.Faults, test.fault)
			}
		})
	}
}

package doctor_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"orderflow.example/kit/await"
	"orderflow.example/kit/pgbouncer"
	"orderflow.example/kit/testdb"
	"orderflow.example/services/consumer/internal/dbtest"
	"orderflow.example/services/consumer/internal/doctor"
	"orderflow.example/services/consumer/internal/effect"
	"orderflow.example/services/consumer/internal/gate"
	"orderflow.example/services/consumer/internal/queue"
)

type bundle struct {
	*dbtest.DB
	t    *testing.T
	ctx  context.Context
	conn *pgx.Conn
}

func setup(t *testing.T) *bundle {
	t.Helper()
	t.Parallel()
	db := dbtest.New(t)
	ctx := t.Context()
	conn, err := pgx.Connect(ctx, db.URL)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close(context.WithoutCancel(ctx)) })
	return &bundle{DB: db, t: t, ctx: ctx, conn: conn}
}

// examine returns the figures and, by check, the findings.
func (b *bundle) examine() (*doctor.Figures, map[string]doctor.Finding) {
	b.t.Helper()
	f, err := doctor.Examine(b.ctx, b.conn, queue.New(dbtest.QueueName, queue.Description{}), nil)
	if err != nil {
		b.t.Fatal(err)
	}
	findings := map[string]doctor.Finding{}
	for _, finding := range f.Findings() {
		findings[finding.Check] = finding
	}
	return f, findings
}

func (b *bundle) wantAdvice(check string, words ...string) {
	b.t.Helper()
	_, findings := b.examine()
	f := findings[check]
	for _, word := range words {
		if !strings.Contains(f.Finding+" "+f.Advice, word) {
			b.t.Errorf("%s: no %q in %+v", check, word, f)
		}
	}
	if f.Advice == "" {
		b.t.Errorf("%s: no advice in %+v", check, f)
	}
}

func TestAHealthyDatabaseNeedsNoAdvice(t *testing.T) {
	b := setup(t)
	b.Publish(3)
	f, err := doctor.Examine(b.ctx, b.conn, queue.New(dbtest.QueueName, queue.Description{}), nil)
	if err != nil {
		t.Fatal(err)
	}
	// Others use the server at the same time; whatever they hold is theirs.
	f.Holders = slices.DeleteFunc(f.Holders, func(doctor.Holder) bool { return true })
	findings := f.Findings()
	if !doctor.Healthy(findings) || f.Waiting == nil || len(f.Tables) != 3 {
		t.Fatalf("%+v", findings)
	}
	var report strings.Builder
	if err := f.Write(&report, dbtest.QueueName, findings); err != nil || !strings.HasSuffix(report.String(), "\nNothing to do.\n") {
		t.Fatalf("%v\n%s", err, report.String())
	}
}

func TestTheSessionThatHoldsVacuumBackIsNamed(t *testing.T) {
	for kind, hold := range map[string]string{
		"by its snapshot":       `declare c cursor for select 1`,
		"by its transaction id": `select txid_current()`,
	} {
		t.Run(kind, func(t *testing.T) {
			b := setup(t)
			idle, err := pgx.Connect(b.ctx, b.URL)
			if err != nil {
				t.Fatal(err)
			}
			defer idle.Close(b.ctx)
			for _, statement := range []string{`set application_name = 'sleepy report'`, `begin`, hold} {
				if _, err := idle.Exec(b.ctx, statement); err != nil {
					t.Fatal(err)
				}
			}
			await.True(t, "it is seen", func() bool {
				f, _ := b.examine()
				i := slices.IndexFunc(f.Holders, func(h doctor.Holder) bool { return h.Name == fmt.Sprint(idle.PgConn().PID()) })
				if i < 0 {
					return false
				}
				// As it will be found in a while.
				minutes := 125.0
				f.Holders[i].Seconds = &minutes
				f.Holders = f.Holders[i : i+1]
				for _, finding := range f.Findings() {
					if finding.Check == "vacuum" {
						for _, want := range []string{"sleepy report", "idle in transaction", "for 2m5s", fmt.Sprintf("pg_terminate_backend(%d)", idle.PgConn().PID())} {
							if !strings.Contains(finding.Finding+finding.Advice, want) {
								t.Errorf("no %q in %+v", want, finding)
							}
						}
					}
				}
				return true
			})
		})
	}
}

func TestARoleThatSeesLittleSeesWhoHoldsVacuumBackAllTheSame(t *testing.T) {
	b := setup(t)
	role := "consumer_doctor_" + rand()
	b.Exec(`create role ` + role)
	defer b.Exec(`drop owned by ` + role + `; drop role ` + role)
	b.Exec(`grant usage on schema pgmq to ` + role + `; grant select on pgmq.q_order_queue, public.orderflow_migrations to ` + role)
	idle, err := b.Begin(b.ctx)
	if err != nil {
		t.Fatal(err)
	}
	defer idle.Rollback(b.ctx)
	pid := backendPID(t, idle)
	if _, err := idle.Exec(b.ctx, `select txid_current()`); err != nil {
		t.Fatal(err)
	}
	if _, err := b.conn.Exec(b.ctx, `set role `+role); err != nil {
		t.Fatal(err)
	}
	f, _ := b.examine()
	i := slices.IndexFunc(f.Holders, func(h doctor.Holder) bool { return h.Name == pid })
	if i < 0 || !strings.Contains(f.Holders[i].Detail, "in a transaction that has written") {
		t.Fatalf("session %s is not among %+v", pid, f.Holders)
	}
	f.Holders[i].XminAge = 5000
	f.Holders = f.Holders[i : i+1]
	if doctor.Healthy(f.Findings()) {
		t.Fatalf("%+v", f.Findings())
	}
}

func backendPID(t *testing.T, tx pgx.Tx) string {
	t.Helper()
	var pid string
	if err := tx.QueryRow(context.Background(), `select pg_backend_pid()::text`).Scan(&pid); err != nil {
		t.Fatal(err)
	}
	return pid
}

func TestOtherHoldersOfVacuumAreNamedToo(t *testing.T) {
	t.Parallel()
	age := 100.0
	for _, h := range []struct {
		doctor.Holder
		advice string
	}{
		{doctor.Holder{Kind: "prepared transaction", Name: "it's", Seconds: &age}, "rollback prepared 'it''s'"},
		{doctor.Holder{Kind: "replication slot", Name: "old", XminAge: 5000, Detail: "physical, inactive"}, "pg_drop_replication_slot('old')"},
		{doctor.Holder{Kind: "replication slot", Name: "used", XminAge: 5000, Detail: "physical, active"}, "look there"},
		{doctor.Holder{Kind: "standby", Name: "1", XminAge: 5000, Seconds: &age}, "hot_standby_feedback"},
	} {
		f := doctor.Figures{Description: queue.Description{Tables: true}, Holders: []doctor.Holder{h.Holder}}
		if i := slices.IndexFunc(f.Findings(), func(c doctor.Finding) bool { return strings.Contains(c.Advice, h.advice) }); i < 0 {
			t.Errorf("%s: %+v", h.Kind, f.Findings())
		}
	}
}

func TestAHealthyStandbyIsNoFinding(t *testing.T) {
	t.Parallel()
	connected := 86_400.0
	f := doctor.Figures{Description: queue.Description{Tables: true}, Holders: []doctor.Holder{
		{Kind: "standby", Name: "1", XminAge: 3, Seconds: &connected, Detail: "replicator, streaming"},
		{Kind: "replication slot", Name: "standby1", XminAge: 3, Detail: "physical, active"},
	}}
	for _, c := range f.Findings() {
		if c.Check == "vacuum" && c.Advice != "" {
			t.Errorf("%+v", c)
		}
	}
}

func TestWhatIsWrongIsFoundAndAdvisedOn(t *testing.T) {
	for name, test := range map[string]struct {
		harm  func(b *bundle)
		check string
		words []string
	}{
		"no schema": {
			func(b *bundle) { b.Exec(`drop table public.orders`) },
			"schema",
			[]string{"missing", "api migrate"},
		},
		"an old schema": {
			func(b *bundle) { b.Exec(`delete from public.orderflow_migrations where version_id > 1`) },
			"schema",
			[]string{"version 1", "api migrate"},
		},
		"a queue that nobody reads": {
			func(b *bundle) {
				b.Publish(1)
				b.Exec(`update pgmq.q_order_queue set vt = vt - interval '1 hour'`)
			},
			"lag",
			[]string{"1h", "start one"},
		},
		"row-level security": {
			func(b *bundle) {
				b.Exec(`alter table public.orders enable row level security`)
				b.Exec(`alter table public.orders force row level security`)
				b.asStranger()
			},
			"filters",
			[]string{"row-level security on orders", "disable row level security"},
		},
		"a trigger that suppresses writes": {
			func(b *bundle) {
				b.Exec(`create function swallow() returns trigger language plpgsql as $$ begin RETURN  null; end $$`)
				b.Exec(`create trigger swallow before delete on pgmq.q_order_queue for each row execute function swallow()`)
			},
			"filters",
			[]string{"trigger swallow on pgmq.q_order_queue", "disable trigger swallow"},
		},
		"a trigger that undoes writes": {
			func(b *bundle) {
				b.Exec(`create function undo() returns trigger language plpgsql as $$ begin new.status = old.status; return new; end $$`)
				b.Exec(`create trigger undo before update on public.orders for each row execute function undo()`)
			},
			"filters",
			[]string{"trigger undo on orders", "disable trigger undo"},
		},
		"a rule": {
			func(b *bundle) {
				b.Exec(`create rule never as on insert to pgmq.q_order_queue_dlq do instead nothing`)
			},
			"filters",
			[]string{"rule never on pgmq.q_order_queue_dlq", "drop rule never"},
		},
		"orders whose message is gone": {
			func(b *bundle) {
				b.Publish(3)
				b.Exec(`update public.orders set created_at = created_at - interval '1 hour'`)
				b.Exec(`select pgmq.purge_queue('order_queue')`)
				for range 3 {
					b.Exec(`select orderflow.look_for_stranded('order_queue', 1000)`)
				}
			},
			"stranded",
			[]string{"3 orders", "order 1 the first", "api requeue"},
		},
		"a search that nobody makes": {
			func(b *bundle) {
				b.Exec(`update orderflow.order_scan set looked_at = clock_timestamp() - interval '1 hour'`)
			},
			"stranded",
			[]string{"1h", "stays open"},
		},
		"sequences that are behind": {
			func(b *bundle) {
				b.Publish(3)
				b.Exec(`select setval(pg_get_serial_sequence('public.orders', 'id'), 2), setval(pg_get_serial_sequence('pgmq.q_order_queue', 'msg_id'), 1, false)`)
			},
			"restore",
			[]string{"pgmq.q_order_queue_msg_id_seq, public.orders_id_seq: behind the table", "api migrate"},
		},
		"orders that were restored without the installation": {
			func(b *bundle) {
				b.Publish(1)
				b.Exec(`update public.orders set status = 'completed', processed_by = 'consumer-1', completed_at = clock_timestamp() - interval '2 days'`)
			},
			"restore",
			[]string{"orderflow.installation was not restored", "truncate orderflow.installation"},
		},
		"an installation without its row": {
			func(b *bundle) { b.Exec(`truncate orderflow.installation`) },
			"restore",
			[]string{"orderflow.installation is empty", "pg_restore", "default values"},
		},
		"dead letters": {
			func(b *bundle) { b.Exec(`select pgmq.send('order_queue_dlq', '{}')`) },
			"dead letters",
			[]string{"1", "GET /dead-letters"},
		},
		"autovacuum switched off for the queue": {
			func(b *bundle) { b.Exec(`alter table pgmq.q_order_queue set (autovacuum_enabled = false)`) },
			"rows of pgmq.q_order_queue",
			[]string{"reset (autovacuum_enabled)"},
		},
		"commits that do not wait for the disk": {
			func(b *bundle) {
				if _, err := b.conn.Exec(b.ctx, `set synchronous_commit = off`); err != nil {
					b.t.Fatal(err)
				}
			},
			"durability",
			[]string{"synchronous_commit = off", "loses the latest results"},
		},
		"a table that a crash empties": {
			func(b *bundle) { b.Exec(`alter table pgmq.q_order_queue set unlogged`) },
			"durability",
			[]string{"pgmq.q_order_queue is unlogged", "alter table pgmq.q_order_queue set logged;"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			b := setup(t)
			test.harm(b)
			b.wantAdvice(test.check, test.words...)
		})
	}
}

func TestWhatAFailoverWouldLoseIsSaid(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		settings map[string]string
		standbys int
		words    string // of the finding or its advice
		advised  bool
	}{
		"nobody replicates":     {map[string]string{"synchronous_commit": "on"}, 0, "outlives a crash", false},
		"asynchronous standbys": {map[string]string{"synchronous_commit": "on"}, 2, "2 standbys replicate, and no commit waits for them", true},
		"synchronous ones":      {map[string]string{"synchronous_commit": "on", "synchronous_standby_names": "ANY 1 (a, b)"}, 2, "the right one of 2 standbys (ANY 1 (a, b))", false},
		"for whom nobody waits": {map[string]string{"synchronous_commit": "local", "synchronous_standby_names": "*"}, 2, "synchronous_commit = local", true},
		"no fsync":              {map[string]string{"fsync": "off"}, 0, "destroy the database", true},
	} {
		f := doctor.Figures{Description: queue.Description{Tables: true}, Settings: test.settings, Standbys: test.standbys}
		for _, finding := range f.Findings() {
			if finding.Check == "durability" && ((finding.Advice != "") != test.advised || !strings.Contains(finding.Finding+" "+finding.Advice, test.words)) {
				t.Errorf("%s: %+v", name, finding)
			}
		}
	}
}

func TestManyDeadRowsAndAnEmptyGiantAreSeen(t *testing.T) {
	t.Parallel()
	f := doctor.Figures{Description: queue.Description{Tables: true}, Tables: []doctor.Table{
		{Name: "pgmq.q_order_queue", Live: 10, Dead: 200_000},
		{Name: "pgmq.q_order_queue_dlq", Live: 10, Dead: 0, Bytes: 1 << 30},
		{Name: "orders", Live: 1_000_000, Dead: 60_000, Bytes: 1 << 30},
	}}
	advised := map[string]bool{}
	for _, finding := range f.Findings() {
		advised[finding.Check] = finding.Advice != ""
	}
	if !advised["rows of pgmq.q_order_queue"] || !advised["rows of pgmq.q_order_queue_dlq"] || advised["rows of orders"] {
		t.Fatalf("%v", advised)
	}
}

// granted is what `api migrate` grants to a consumer, right by right.
var granted = map[string]string{
	"usage on schema pgmq":                                      "",
	"usage on schema orderflow":                                 "usage on schema orderflow",
	"select on pgmq.q_order_queue":                              `on "pgmq"."q_order_queue"`,
	"update on pgmq.q_order_queue":                              `on "pgmq"."q_order_queue"`,
	"delete on pgmq.q_order_queue":                              `delete on "pgmq"."q_order_queue"`,
	"select on sequence pgmq.q_order_queue_msg_id_seq":          "select on sequence pgmq.q_order_queue_msg_id_seq",
	"select on pgmq.q_order_queue_dlq":                          `on "pgmq"."q_order_queue_dlq"`,
	"insert on pgmq.q_order_queue_dlq":                          `insert on "pgmq"."q_order_queue_dlq"`,
	"select on public.orders":                                   "select on public.orders",
	"update (status) on public.orders":                          "update of public.orders",
	"update (attempts) on public.orders":                        "update of public.orders",
	"update (effects) on public.orders":                         "update of public.orders",
	"update (last_error) on public.orders":                      "update of public.orders",
	"update (started_at) on public.orders":                      "update of public.orders",
	"update (completed_at) on public.orders":                    "update of public.orders",
	"update (processed_by) on public.orders":                    "update of public.orders",
	"update (dead_at) on public.orders":                         "update of public.orders",
	"select on orderflow.installation":                          "select on orderflow.installation",
	"select on orderflow.gate":                                  "select, insert and update on orderflow.gate",
	"insert on orderflow.gate":                                  "select, insert and update on orderflow.gate",
	"update on orderflow.gate":                                  "select, insert and update on orderflow.gate",
	"select on orderflow.findings":                              "select, insert and update on orderflow.findings",
	"insert on orderflow.findings":                              "select, insert and update on orderflow.findings",
	"update on orderflow.findings":                              "select, insert and update on orderflow.findings",
	"execute on function orderflow.report":                      "execute on orderflow.report",
	"select on public.orderflow_migrations":                     "",
	"execute on function orderflow.note_history(jsonb)":         "execute on orderflow.note_history",
	"execute on function orderflow.not_written(text, bigint[])": "execute on orderflow.not_written",
	"execute on function orderflow.standbys()":                  "execute on orderflow.standbys",
	"execute on function orderflow.pause(text, text, text)":     "execute on orderflow.pause and orderflow.resume",
	"select on orderflow.open_blocks":                           "select on orderflow.open_blocks and orderflow.order_scan",
	"select on orderflow.order_scan":                            "select on orderflow.open_blocks and orderflow.order_scan",
	"execute on function orderflow.resume(text)":                "execute on orderflow.pause and orderflow.resume",
}

// asStranger makes the session that of a role with all rights of a consumer but those.
func (b *bundle) asStranger(without ...string) (role string) {
	b.t.Helper()
	role = "consumer_doctor_" + rand()
	b.Exec(`create role ` + role)
	b.t.Cleanup(func() { b.Exec(`drop owned by ` + role + `; drop role ` + role) })
	b.Exec(`revoke execute on function orderflow.not_written(text, bigint[]) from public`)
	for right := range granted {
		if !slices.Contains(without, right) {
			b.Exec(`grant ` + right + ` to ` + role)
		}
	}
	if _, err := b.conn.Exec(b.ctx, `set role `+role); err != nil {
		b.t.Fatal(err)
	}
	return role
}

// Each right counts by itself: a role that lacks one of them is told so, and one that has all of them is told nothing.
func TestEachMissingRightIsNoticed(t *testing.T) {
	b := setup(t)
	all := b.asStranger()
	if _, findings := b.examine(); findings["rights"].Advice != "" {
		t.Errorf("a role with all rights is told: %+v", findings["rights"])
	}
	for right, named := range granted {
		if named == "" {
			continue // without it the examination itself is refused
		}
		b.Exec(`revoke ` + right + ` from ` + all)
		if _, findings := b.examine(); !strings.Contains(findings["rights"].Finding, named) || !strings.Contains(findings["rights"].Advice, "CONSUMER_DB_ROLE="+all) {
			t.Errorf("without %s: %+v", right, findings["rights"])
		}
		b.Exec(`grant ` + right + ` to ` + all)
	}
}

// Who asks why nothing is done is told of what stops the queue, and not to add consumers to it.
func TestWhatStopsTheQueueIsTheAnswerToItsLag(t *testing.T) {
	for name, test := range map[string]struct {
		stop   func(b *bundle, q *queue.Queue) (queue.GateRow, error)
		words  []string
		unsaid string
	}{
		"a pause": {
			func(b *bundle, q *queue.Queue) (queue.GateRow, error) { return q.Pause(b.ctx, b.conn, "ann") },
			[]string{"paused since", "by ann", "consumer resume"},
			"breaker",
		},
		"the breaker": {
			func(b *bundle, q *queue.Queue) (queue.GateRow, error) {
				return q.ChangeGate(b.ctx, b.conn, func(g queue.GateRow) gate.State {
					g.Open, g.Since, g.Reason = true, g.Now, "webhook: connection refused"
					return g.State
				})
			},
			[]string{"the breaker is open", "connection refused", "goes on by itself"},
			"consumer resume",
		},
	} {
		t.Run(name, func(t *testing.T) {
			b := setup(t)
			b.Publish(1)
			b.Exec(`update pgmq.q_order_queue set vt = vt - interval '1 hour'`)
			if _, findings := b.examine(); findings["consuming"].Finding != "running" || findings["consuming"].Advice != "" {
				t.Errorf("nothing stops it: %+v", findings["consuming"])
			}
			if _, err := test.stop(b, queue.New(dbtest.QueueName, queue.Description{})); err != nil {
				t.Fatal(err)
			}
			b.wantAdvice("consuming", test.words...)
			f, findings := b.examine()
			if strings.Contains(findings["consuming"].Advice, test.unsaid) {
				t.Errorf("%q in %+v", test.unsaid, findings["consuming"])
			}
			if lag := findings["lag"]; !strings.Contains(lag.Advice, "start one") {
				t.Errorf("no consumer is there either: %+v", lag)
			}
			f.Consumers = 2
			for _, lag := range f.Findings() {
				if lag.Check == "lag" && (lag.Advice != "" || !strings.Contains(lag.Finding, "1h")) {
					t.Errorf("%+v", lag)
				}
			}
		})
	}
}

func rand() string { return fmt.Sprint(time.Now().UnixNano()) }

// Behind a pooler sessions are shared out, so the doctor does not say that no consumer is connected.
func TestBehindAPoolerNobodyIsCalledMissing(t *testing.T) {
	b := setup(t)
	b.Send(map[string]any{"order_id": 1}, nil)
	b.Exec(`update pgmq.q_order_queue set vt = now() - interval '1 hour'`)
	b.wantAdvice("lag", "No consumer is connected")
	p := testdb.Pooler(t, b.URL, pgbouncer.Transaction, 3)
	conn, err := pgx.ConnectConfig(b.ctx, testdb.Config(t, p.URL, 30*time.Second))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close(context.WithoutCancel(b.ctx)) })
	b.conn = conn
	b.wantAdvice("lag", "Are there consumers?", "the dashboard shows them")
}

func TestItSaysHowTheFunctionIsCalledOrWhyItCannotBe(t *testing.T) {
	b := setup(t)
	look := func() doctor.Finding {
		f, err := doctor.Examine(b.ctx, b.conn, queue.New(dbtest.QueueName, queue.Description{}), effect.NewFunction(pgx.Identifier{"shop", "fulfil"}))
		if err != nil {
			t.Fatal(err)
		}
		i := slices.IndexFunc(f.Findings(), func(f doctor.Finding) bool { return f.Check == "effect" })
		return f.Findings()[i]
	}
	if f := look(); !strings.Contains(f.Finding, "orders wait") || !strings.Contains(f.Advice, "create it") {
		t.Errorf("%+v", f)
	}
	b.Exec(`create schema shop; create function shop.fulfil(orders public.orders[]) returns void language sql as ''`)
	if f := look(); !strings.Contains(f.Finding, "all orders") || f.Advice != "" {
		t.Errorf("%+v", f)
	}
	if _, findings := b.examine(); findings["effect"] != (doctor.Finding{}) {
		t.Errorf("without a function: %+v", findings["effect"])
	}
}

package mutants

// outageMutants break what the api does while its database, or a client of it, is away, silent or slow: whom it asks, for how long, and what
// it makes of that.
func outageMutants() []Mutant {
	const (
		monitor   = api + "/internal/database/monitor.go"
		describe  = api + "/internal/httpapi/describe.go"
		keeper    = api + "/internal/housekeeping/housekeeping.go"
		durable   = api + "/internal/durability/durability.go"
		snapshot  = api + "/internal/queue/snapshot.go"
		commit    = api + "/internal/orders/commit.go"
		rehearsal = api + "/internal/orders/readiness.go"
	)
	known := func(test string) Test { return goTest(api, "./internal/database", test) }
	call := func(test string) Test { return goTest(api, "./internal/httpapi", test) }
	keep := func(test string) Test { return goTest(api, "./internal/housekeeping", test) }
	queue := func(test string) Test { return goTest(api, "./internal/queue", test) }
	return []Mutant{
		{
			Breaks: "the api stays with a primary that nobody replicates", By: known("TestADistrustedServerIsLeft"),
			Edits: []Edit{{monitor, "	m.route.Distrust(conn.PgConn())\n", ""}},
		},
		{
			Breaks: "who does not say what became of an order is trusted", By: goTest(api, "./internal/orders", "TestAServerThatDoesNotFinishIsDistrusted"),
			Edits: []Edit{{commit, "		w.monitor.Distrust(w.conn.Conn)\n", ""}},
		},
		{
			Breaks: "who does not finish a rehearsal is trusted", By: goTest(api, "./internal/orders", "TestAServerThatDoesNotFinishIsDistrusted"),
			Edits: []Edit{{rehearsal, "			w.monitor.Distrust(w.conn.Conn)\n", ""}},
		},
		{
			Breaks: "after an outage who reads waits for the server of before it", By: known("TestWhatLeadsToTheServerBeforeIsGivenUpFirst"),
			Edits: []Edit{{monitor, `	if s.Server.Address == "" {
		s.Server = before.Server
	}
`, ``}},
		},
		{
			Breaks: "a setting that is changed is noticed a day later", By: goTest(api, "./internal/durability", "TestASettingThatChangesIsNoticed"),
			Edits: []Edit{{durable, `every      = time.Minute`, `every      = 24 * time.Hour`}},
		},
		{
			Breaks: "a page is searched for for as long as it takes", By: goTest(api, "./internal/cursor", "TestAPageIsNotSearchedForForLong"),
			Edits: []Edit{{api + "/internal/cursor/cursor.go", `searchTime = 25 * time.Millisecond`, `searchTime = 25 * time.Second`}},
		},
		{
			Breaks: "who asks in an outage waits for its end", By: call("TestAKnownOutageIsAnsweredAtOnce"),
			Edits: []Edit{{describe, `		if !s.cfg.Monitor.Up() {
			return nil, s.logFailure(ctx, unavailable(orders.ErrUnavailable.Error()))
		}
`, ``}},
		},
		{
			Breaks: "who reads waits for a minute", By: call("TestHowLongACallMayTake"),
			Edits: []Edit{{describe, `timeout := s.cfg.RequestTimeout`, `timeout := adminTimeout`}},
		},
		{
			Breaks: "a redrive of thousands has the time of a request", By: call("TestHowLongACallMayTake"),
			Edits: []Edit{{describe, `if op.Method != http.MethodGet {`, `if op.Method == http.MethodGet {`}},
		},
		{
			Breaks: "what changes something is done twice", By: call("TestOnlyWhatReadsIsTriedAgain"),
			Edits: []Edit{{describe, `if op.Method == http.MethodGet && limited`, `if limited`}},
		},
		{
			Breaks: "a panic ends the process with everybody's requests", By: call("TestAPanicIsAnswered"),
			Edits: []Edit{{api + "/internal/httpapi/request.go", `if r := recover(); r != nil {`, `if r := any(nil); r != nil {`}},
		},
		{
			Breaks: "whoever asks is told what only the log is", By: call("TestAPanicIsAnswered"),
			Edits: []Edit{{api + "/internal/httpapi/problem.go", `"internal error; the service's log has the details under the trace id"`, `"internal error under the trace id: "+err.Error()`}},
		},
		{
			Breaks: "after each step of its work housekeeping rests as if there were none", By: keep("TestWorkGoesOnWhileThereIsMore"),
			Edits: []Edit{{keeper, `; more {`, `; more && false {`}},
		},
		{
			Breaks: "an outage is a failure of housekeeping", By: keep("TestAnOutageIsNoFailureOfHousekeeping"),
			Edits: []Edit{{keeper, `		if !k.opts.Up() {
			continue
		}
`, ``}},
		},
		{
			Breaks: "housekeeping fails at the same step for ever", By: keep("TestAStepThatCannotBeFinishedIsMadeSmaller"),
			Edits: []Edit{{keeper, "			t.pace.smaller()\n			pause = setBack", "			pause = setBack"}},
		},
		{
			Breaks: "a step of housekeeping has the time of a request", By: keep("TestAStepHasMoreTimeThanARequest"),
			Edits: []Edit{{keeper, `		if err := patience(ctx, tx, stepTimeout); err != nil {
			return err
		}
`, ``}},
		},
		{
			Breaks: "a name that moves is not followed while nothing is wrong", By: known("TestANameThatMovesIsFollowedWhileNothingIsWrong"),
			Edits: []Edit{{monitor, `			if m.refresh(ctx) {
				return errMoved
			}
`, ``}},
		},
		{
			Breaks: "nobody looks whether the database is away when a call has found it so", By: call("TestOnlyWhatReadsIsTriedAgain"),
			Edits: []Edit{{describe, "		s.cfg.Monitor.LookNow()\n", ""}},
		},
		{
			Breaks: "what dies counts as completed", By: queue("TestWhatDiesIsNotCompleted"),
			Edits: []Edit{{snapshot, `(now.Depth - before.Depth) - dead`, `(now.Depth - before.Depth) - 0*dead`}},
		},
		{
			Breaks: "a queue of any length is looked at each second", By: queue("TestALookThatTakesLongIsTakenSeldom"),
			Edits: []Edit{{snapshot, `max(snapshotAge, snapshotCost*time.Since(started))`, `max(snapshotAge, 0*time.Since(started))`}},
		},
		{
			Breaks: "who sends a head byte by byte may take as long as he likes", By: goTest(api, "./internal/http1", "TestAHeadThatTricklesHasNoMoreTime"),
			Edits: []Edit{{api + "/internal/http1/head.go", "			late = true\n", ""}},
		},
		{
			Breaks: "what is changed on a page in an outage waits for its end", By: goTest(api, ".", "TestTheStreamSaysThatTheDatabaseIsAwayAndGoesOn"),
			Edits: []Edit{{api + "/internal/dashboard/actions.go", `	if state, _ := d.cfg.Monitor.State(); !state.Up {`, `	if state, _ := d.cfg.Monitor.State(); !state.Up && false {`}},
		},
	}
}

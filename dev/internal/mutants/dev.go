package mutants

// devMutants make the chaos suite end well when it must not.
func devMutants() []Mutant {
	const (
		dev = "dev"
		dir = dev + "/internal/chaos/"
	)
	judge := goTest(dev, "./internal/chaos", "TestJudge")
	failed := goTest(dev, "./internal/chaos", "TestFailed")
	ledger := goTest(dev, "./internal/chaos", "TestTheLedgerSeesEveryContradiction")
	prober := goTest(dev, "./internal/chaos", "TestTheProbersOrdersAreKnown")
	leases := goTest(dev, "./internal/chaos", "TestALeaseThatWasTakenOverIsSeen")
	sound := goTest(dev, "./internal/chaos", "TestTheVerdictIsRedForABrokenBuild")
	commits := goTest("kit", "./pgproxy", "TestTheFaultDecidesWhatIsCommitted")
	return []Mutant{
		{
			Breaks: "an attempt that was never started is none of chaos' business", By: goTest(dev, "./internal/chaos", "TestAttemptsAreStarts"),
			Edits: []Edit{{dir + "starts.go", `began && started[d] == 0`, `began && started[d] < 0`}},
		},
		{
			Breaks: "a start that is counted nowhere is none of chaos' business", By: goTest(dev, "./internal/chaos", "TestAttemptsAreStarts"),
			Edits: []Edit{{dir + "starts.go", `if untold != ended {`, `if untold < ended {`}},
		},
		{
			Breaks: "what grows without end in a soak is flat", By: goTest("dev", "./internal/chaos", "TestASoakKnowsWhatGrows"),
			Edits: []Edit{{"dev/internal/chaos/samples.go", `t.Rise <= t.May`, `t.Rise <= 10*t.May`}},
		},
		{
			Breaks: "a soak that looked at nothing is flat", By: goTest("dev", "./internal/chaos", "TestASoakKnowsWhatGrows"),
			Edits: []Edit{{"dev/internal/chaos/samples.go", `len(values) > 2 && `, ``}},
		},
		{
			Breaks: "a soak's account that does not hold is no fault", By: goTest("dev", "./internal/chaos", "TestASoakHoldsEachCycleToItsAccount"),
			Edits: []Edit{{"dev/internal/chaos/soak.go", `		if !c.OK {
			s.Wrong`, `		if !c.OK && c.Measured {
			s.Wrong`}},
		},
		{
			Breaks: "what fills once in a soak is taken for growth", By: goTest("dev", "./internal/chaos", "TestASoakKnowsWhatGrows"),
			Edits: []Edit{{"dev/internal/chaos/samples.go", `if n >= len(s.Samples)/2 {`, `if n >= 0 {`}},
		},
		{
			Breaks: "a port that somebody has taken is not noticed", By: goTest(dev, "./internal/ports", "TestTakenIsWhereSomebodyListens"),
			Edits: []Edit{{dev + "/internal/ports/ports.go", "port != 0 && listenable(port) != nil", "false"}},
		},
		{
			Breaks: "the proxy cuts only after the commit that it is to prevent", By: commits,
			Edits: []Edit{{"kit/pgproxy/link.go", "case *pgproto3.Sync, *pgproto3.Query:", "case *pgproto3.Terminate:"}},
		},
		{
			Breaks: "the proxy cuts before the commit that it is to let through", By: commits,
			Edits: []Edit{{"kit/pgproxy/link.go", "case t.fault == Unsent:", "case t.fault == Unsent, t.fault == Unanswered:"}},
		},
		{
			Breaks: "chaos: every check is kept", By: judge,
			Edits: []Edit{{dir + "verdict.go", `Want: fmt.Sprint(want), OK: ok})`, `Want: fmt.Sprint(want), OK: ok || true})`}},
		},
		{
			Breaks: "chaos: lost orders do not count", By: judge,
			Edits: []Edit{{dir + "verdict.go", `r.check(r.Lost == 0, "orders lost", r.Lost, 0)`, ``}},
		},
		{
			Breaks: "chaos: orders that the prober lost do not count", By: judge,
			Edits: []Edit{{dir + "verdict.go", `a.Lost + e.probed - e.probedCompleted`, `a.Lost`}},
		},
		{
			Breaks: "chaos: loadgen's exit code does not count", By: judge,
			Edits: []Edit{{dir + "verdict.go", `r.check(e.exitCode == 0 && e.account.ExitCode == 0,`, `r.check(true,`}},
		},
		{
			Breaks: "chaos: a process that has ended does not count", By: judge,
			Edits: []Edit{{dir + "verdict.go", `r.check(l.running,`, `r.check(true,`}},
		},
		{
			Breaks: "chaos: a queue that does not empty does not count", By: judge,
			Edits: []Edit{{dir + "verdict.go", `r.check(e.unsettled == nil,`, `r.check(true,`}},
		},
		{
			Breaks: "chaos: any recovery is quick enough", By: judge,
			Edits: []Edit{{dir + "verdict.go", `r.check(r.Recovery <= bar,`, `r.check(r.Recovery <= bar*100,`}},
		},
		{
			Breaks: "chaos: two effects are no duplicate", By: ledger, Quick: true,
			Edits: []Edit{{dir + "ledger.go", `count(*) filter (where effects > 1)`, `count(*) filter (where effects > 2)`}},
		},
		{
			Breaks: "chaos: completed without an effect is no contradiction", By: ledger,
			Edits: []Edit{{dir + "ledger.go", `(status = 'completed') <> (effects = 1) and effects <= 1`, `(status = 'completed') <> (effects = 1) and effects = 1`}},
		},
		{
			Breaks: "chaos: an order that was written twice is one", By: prober, Quick: true,
			Edits: []Edit{{dir + "ledger.go", `count(distinct (customer_name, product_name))`, `count((customer_name, product_name))`}},
		},
		{
			Breaks: "chaos: orders that are there twice do not count", By: judge,
			Edits: []Edit{{dir + "verdict.go", ` + e.ledger.doubled`, ``}},
		},
		{
			Breaks: "chaos: an order that is there twice does not count when nothing goes wrong", By: goTest(dev, "./internal/chaos", "TestJudgeAlone"),
			Edits: []Edit{{dir + "verdict.go", `l.twice + l.doubled`, `l.twice`}},
		},
		{
			Breaks: "chaos: an order is its id", By: prober,
			Edits: []Edit{{dir + "ledger.go", `using (id, created_at, product_name)`, `using (id)`}},
		},
		{
			Breaks: "chaos: an order is its id and its product", By: prober,
			Edits: []Edit{{dir + "ledger.go", `using (id, created_at, product_name)`, `using (id, product_name)`}},
		},
		{
			Breaks: "chaos: the queue is counted when the orders have been", By: goTest(dev, "./internal/chaos", "TestTheQueueIsCountedWithTheOrders"),
			Edits: []Edit{
				{dir + "ledger.go", `(select count(*) from pgmq.q_order_queue),`, `0::bigint,`},
				{dir + "ledger.go", `		return err == nil && l.atRest(), err
`, `		if err != nil || !l.atRest() {
			return false, err
		}
		queued, err := r.scalar(ctx, "select count(*) from pgmq.q_order_queue")
		return err == nil && queued == 0, err
`},
			},
		},
		{
			Breaks: "chaos: histories explain nothing", By: sound,
			Edits: []Edit{{dir + "rig.go", "	r.result.judgeStories(e.stories, &r.failures)\n", ``}},
		},
		{
			Breaks: "chaos: nobody holds attempts against starts of handlers", By: sound,
			Edits: []Edit{{dir + "rig.go", `		return r.judgeStarts(ctx, e.stories)`, `		return nil`}},
		},
		{
			Breaks: "chaos: what the api is late is this machine's lag", By: goTest(dev, "./internal/chaos", "TestASlowAPIIsNotThisMachinesLag"),
			Edits: []Edit{
				{dir + "lag.go", `func startLag(ctx context.Context) (`, `func startLag(ctx context.Context, livez string) (`},
				{dir + "lag.go", `l.answers(ctx, "http://"+listener.Addr().String())`, `l.answers(ctx, livez)`},
				{dir + "rig.go", `startLag(ctx)`, `startLag(ctx, r.api.MetricsURL()+"/livez")`},
			},
		},
		{
			Breaks: "chaos: a lease that another had taken over is none", By: leases,
			Edits: []Edit{{dir + "leases.go", `last.reader is distinct from 'orderflow-consumer '`, `false and last.reader is distinct from 'orderflow-consumer '`}},
		},
		{
			Breaks: "chaos: an order may be completed without a lease", By: leases,
			Edits: []Edit{{dir + "leases.go", `left join (select`, `join (select`}},
		},
		{
			Breaks: "chaos: an order may be completed by nobody", By: leases,
			Edits: []Edit{{dir + "leases.go", `last.reader is distinct from 'orderflow-consumer '`, `last.reader <> 'orderflow-consumer '`}},
		},
		{
			Breaks: "a machine that breaks catches mutants", By: goTest(dev, "./internal/mutants", "TestAMachineThatBreaksCatchesNothing"),
			Edits: []Edit{{dev + "/internal/mutants/run.go", `if why, ok := broken[outcomes[i].By]; ok {`, `if why, ok := broken[outcomes[i].By]; ok && i < 0 {`}},
		},
		{
			Breaks: "chaos: a broken promise does not fail the fault", By: failed,
			Edits: []Edit{{dir + "verdict.go", `slices.ContainsFunc(r.Checks, func(c Check) bool { return !c.OK })`, `slices.ContainsFunc(r.Checks, func(c Check) bool { return false })`}},
		},
		{
			Breaks: "chaos: a fault that put nothing to the test is good", By: failed,
			Edits: []Edit{{dir + "verdict.go", `len(r.Checks) == 0 ||`, ``}},
		},
		{
			Breaks: "chaos: only the last fault decides", By: failed,
			Edits: []Edit{{dir + "verdict.go", `for _, r := range results {
		if r.Failed() {`, `for i, r := range results {
		if i == len(results)-1 && r.Failed() {`}},
		},
		{
			Breaks: "chaos: any answer of the api is a good one", By: goTest(dev, "./internal/chaos", "TestAnswers"),
			Edits: []Edit{{dir + "prober.go", `one.status != http.StatusCreated && one.status != http.StatusServiceUnavailable`, `one.status == http.StatusTeapot`}},
		},
		{
			Breaks: "chaos: an api that takes no order again is good", By: goTest(dev, "./internal/chaos", "TestAnswers"),
			Edits: []Edit{{dir + "prober.go", `r.check(false, "accepts orders again after"`, `r.check(p.Untimed, "accepts orders again after"`}},
		},
		{
			Breaks: "a report of the load generator without an audit is an account", By: goTest(dev, "./internal/stack", "TestReportIsRead"),
			Edits: []Edit{{dev + "/internal/stack/loadgen.go", `if r.Audit == nil {`, `if r.Audit == nil && r.ExitCode == 0 {`}},
		},
	}
}

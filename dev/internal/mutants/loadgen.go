package mutants

const loadgen = "services/loadgen"

// loadgenMutants make the load generator pass what it must not, or blame what is sound.
func loadgenMutants() []Mutant {
	const dir = loadgen + "/internal/"
	judge := goTest(loadgen, "./internal/report", "TestJudge")
	leftovers := goTest(loadgen, "./internal/audit", "TestMessagesOfSettledOrdersAreNotLeftInTheQueue")
	measures := goTest(loadgen, "./internal/report", "TestEveryMeasureIsItsOwn")
	return []Mutant{
		{
			Breaks: "dead orders are no fault", Quick: true, By: judge,
			Edits: []Edit{{dir + "report/judge.go", `if !deadAllowed {`, `if false {`}},
		},
		{
			Breaks: "a threshold on another measure allows dead orders", By: goTest(loadgen, "./internal/app", "TestDeadOrdersFailTheRunUnlessAThresholdAllowsThem"),
			Edits: []Edit{{dir + "report/judge.go", `conditions.About("dead")`, `len(conditions) > 0`}},
		},
		{
			Breaks: "lost orders are no fault", Quick: true, By: judge,
			Edits: []Edit{{dir + "report/judge.go", `{a.Lost, "%s lost: accepted and not there"},`, ``}},
		},
		{
			Breaks: "orders that were never answered are no fault", By: judge,
			Edits: []Edit{{dir + "report/judge.go", `s.fault(t.Unknown, "%s never answered")`, ``}},
		},
		{
			Breaks: "undetermined orders are no fault", By: judge,
			Edits: []Edit{{dir + "report/judge.go", `s.fault(int64(a.Undetermined), "%s undetermined: the audit was cut short")`, ``}},
		},
		{
			Breaks: "orders without an effect are no fault", By: judge,
			Edits: []Edit{{dir + "report/judge.go", `{a.NoEffect, "%s completed without an effect"},`, ``}},
		},
		{
			Breaks: "a run without an accepted order passes", By: judge,
			Edits: []Edit{{dir + "report/judge.go", `s.Capacity == nil && (s.Load == nil`, `false && (s.Load == nil`}},
		},
		{
			Breaks: "a threshold that is not held is no fault", Quick: true, By: goTest(loadgen, "./internal/app", "TestThresholdsDecideWithoutAnAudit"),
			Edits: []Edit{{dir + "report/judge.go", `s.Thresholds = conditions.Evaluate(s.Value)`, `if s.Audit != nil {
		s.Thresholds = conditions.Evaluate(s.Value)
	}`}},
		},
		{
			Breaks: "a threshold on dropped arrivals always holds", By: measures,
			Edits: []Edit{{dir + "report/judge.go", `"dropped": t.Dropped,`, `"dropped": t.Late - t.Late,`}},
		},
		{
			Breaks: "a schedule that was not kept was kept", By: measures,
			Edits: []Edit{{dir + "report/judge.go", `return l.Kept, l.Intended > 0`, `return 1, true`}},
		},
		{
			Breaks: "whatever was accepted is completed", By: measures,
			Edits: []Edit{{dir + "report/judge.go", `"completed": a.Completed,`, `"completed": a.Accepted,`}},
		},
		{
			Breaks: "a second's lateness is a thousand", By: measures,
			Edits: []Edit{{dir + "report/judge.go", `return t.MaxLate / 1000, true`, `return t.MaxLate, true`}},
		},
		{
			Breaks: "no drain takes any time", By: goTest(loadgen, "./internal/audit", "TestTheDrainIsFromTheLastOrderToTheLastCompletion"),
			Edits: []Edit{{dir + "audit/result.go", `a.finished.Sub(a.created)`, `a.created.Sub(a.finished)`}},
		},
		{
			Breaks: "a threshold without a value holds", By: goTest(loadgen, "./internal/thresholds", "TestConditionsAreReadAndCompared"),
			Edits: []Edit{{dir + "thresholds/thresholds.go", `r := Result{Condition: t.text, Actual: "no value"}`, `r := Result{Condition: t.text, Actual: "no value", OK: true}`}},
		},
		{
			Breaks: "a threshold at its bound is held whichever way it is written", By: goTest(loadgen, "./internal/thresholds", "TestConditionsAreReadAndCompared"),
			Edits: []Edit{{dir + "thresholds/thresholds.go", `return v > t.Value`, `return v >= t.Value`}},
		},
		{
			Breaks: "an order without an effect has had one", Quick: true, By: goTest(loadgen, "./internal/app", "TestCompletedOrdersWithoutAnEffectFailTheRun"),
			Edits: []Edit{{dir + "audit/book.go", `o.Effects < 1`, `o.Effects < 0`}},
		},
		{
			Breaks: "a second effect is not seen", By: goTest(loadgen, "./internal/audit", "TestAuditComesToTheServersOwnNumbers"),
			Edits: []Edit{{dir + "audit/book.go", `o.Effects > 1`, `o.Effects > 2`}},
		},
		{
			Breaks: "an order that was completed and is not any more is completed", By: goTest(loadgen, "./internal/audit", "TestACompletedOrderHasToStayCompleted"),
			Edits: []Edit{{dir + "audit/book.go", `(missed|lost|completed|dead|deadEffect|pending`, `(missed|lost|dead|deadEffect|pending`}},
		},
		{
			Breaks: "a dead order that was processed is a dead order like others", By: goTest(loadgen, "./internal/audit", "TestAuditComesToTheServersOwnNumbers"),
			Edits: []Edit{{dir + "audit/book.go", `if o.Effects > 0 {`, `if o.Effects > 1 {`}},
		},
		{
			Breaks: "an order that was made of an invalid request is not seen", By: goTest(loadgen, "./internal/audit", "TestOrdersMadeOfInvalidRequestsAreFound"), Quick: true,
			Edits: []Edit{{dir + "audit/look.go", `index, wrong = orders.ParseWrong(a.run, key)`, `index, _ = orders.ParseWrong(a.run, key)`}},
		},
		{
			Breaks: "an order that is missing once is lost", By: goTest(loadgen, "./internal/audit", "TestAnOrderThatIsMissingOnceIsNotLost"),
			Edits: []Edit{{dir + "audit/book.go", `if *m&missed != 0 {`, `if true {`}},
		},
		{
			Breaks: "an order that is missing is never lost", By: goTest(loadgen, "./internal/audit", "TestAuditSeesARunInBatches"),
			Edits: []Edit{{dir + "audit/book.go", `if *m&missed != 0 {`, `if false {`}},
		},
		{
			Breaks: "an order stored with other data is not seen", By: goTest(loadgen, "./internal/audit", "TestAuditComesToTheServersOwnNumbers"),
			Edits: []Edit{{dir + "audit/book.go", `if b.deviation(n, o) != "" {`, `if false {`}},
		},
		{
			Breaks: "the same order twice is one", By: goTest(loadgen, "./internal/audit", "TestAuditSeesARunInBatches"),
			Edits: []Edit{{dir + "audit/book.go", `if !slices.Contains(b.others[n], o.ID) {`, `if slices.Contains(b.others[n], o.ID) {`}},
		},
		{
			Breaks: "an order made again without its key is not looked for", By: goTest(loadgen, "./internal/audit", "TestDuplicatesWithoutAKeyAreSeenInParallelRuns"),
			Edits: []Edit{{dir + "audit/audit.go", `if err := a.probeGaps(ctx); err != nil {`, `if err := ctx.Err(); err != nil {`}},
		},
		{
			Breaks: "of too many ids between the run's own, only the first are looked at", By: goTest(loadgen, "./internal/audit", "TestDuplicatesWithoutAKeyAreSeenAmongTooManyIds"),
			Edits: []Edit{{dir + "audit/gaps.go", `at + rand.Int64N(min(every, all-at))`, `int64(len(ids)) + rand.Int64N(1)`}},
		},
		{
			Breaks: "of too many ids between the run's own, those are looked at that stand at regular intervals", By: goTest(loadgen, "./internal/audit", "TestDuplicatesWithoutAKeyAreSeenAmongTooManyIds"),
			Edits: []Edit{{dir + "audit/gaps.go", `at + rand.Int64N(min(every, all-at))`, `at + rand.Int64N(1)`}},
		},
		{
			Breaks: "messages of settled orders may stay in the queue", Quick: true, By: goTest(loadgen, "./internal/app", "TestMessagesThatAreLeftInTheQueueFailTheRun"),
			Edits: []Edit{{dir + "app/run.go", `r.cfg.RequestTimeout+r.cfg.RetryFor, r.before`, `r.cfg.RequestTimeout+r.cfg.RetryFor, nil`}},
		},
		{
			Breaks: "messages that were in the queue before the run are the run's", By: leftovers,
			Edits: []Edit{{dir + "audit/left.go", `before.Depth > 0 || `, ``}},
		},
		{
			Breaks: "messages that another program has sent are the run's", By: leftovers,
			Edits: []Edit{{dir + "audit/left.go", ` || last.Sent-before.Sent != int64(a.found())`, ``}},
		},
		{
			Breaks: "a message of another client's order is the run's", By: leftovers,
			Edits: []Edit{{dir + "audit/left.go", `	case !a.alone:
`, ``}},
		},
		{
			Breaks: "messages that are being deleted are left in the queue", By: leftovers,
			Edits: []Edit{{dir + "audit/left.go", `last.Depth != first.Depth || `, ``}},
		},
		{
			Breaks: "messages are left in the queue that nobody has had the time to delete", By: leftovers,
			Edits: []Edit{{dir + "audit/left.go", ` || last.AsOf.Sub(first.AsOf) < max(time.Second, a.opt.Linger/2)`, ` || time.Second < 0`}},
		},
		{
			Breaks: "the last look is at the orders that were left alone", By: goTest(loadgen, "./internal/audit", "TestTheLastLookIsAtAllOrders"),
			Edits: []Edit{{dir + "audit/audit.go", `if !list || !a.nothingMoreComes(begun) {`, `if !a.nothingMoreComes(begun) {`}},
		},
		{
			Breaks: "that the queue was empty before the run is taken for its end", By: goTest(loadgen, "./internal/audit", "TestAnEmptyQueueOfThePastIsNoReasonToStopLooking"),
			Edits: []Edit{{dir + "audit/audit.go", `!q.AsOf.Before(a.newest)`, `true`}},
		},
		{
			Breaks: "an api that refuses to show an order has lost it", By: goTest(loadgen, "./internal/audit", "TestARefusalIsNoLoss"),
			Edits: []Edit{{dir + "client/read.go", `err = r.ask(ctx, func() (err error) { o, found, err = r.api.Order(ctx, id); return err })
	return o, found, err`, `_ = r.ask(ctx, func() (err error) { o, found, err = r.api.Order(ctx, id); return err })
	return o, found, nil`}},
		},
		{
			Breaks: "409 is final", By: goTest(loadgen, "./internal/load", "TestJudgeOfAValidOrder"),
			Edits: []Edit{{dir + "load/request.go", `status == 408 || status == 409 ||`, `status == 408 ||`}},
		},
		{
			Breaks: "an error of the server's is final", By: goTest(loadgen, "./internal/load", "TestJudgeOfAValidOrder"),
			Edits: []Edit{{dir + "load/request.go", `case a.Status >= 500:`, `case a.Status > 500:`}},
		},
		{
			Breaks: "an api that knows no such path has refused a wrong order", By: goTest(loadgen, "./internal/load", "TestJudgeOfAPoison"),
			Edits: []Edit{{dir + "load/request.go", `[]int{400, 413, 415, 422}`, `[]int{400, 404, 413, 415, 422}`}},
		},
		{
			Breaks: "Retry-After is not honoured", By: goTest(loadgen, "./internal/load", "TestRetryAfterIsHonoured"),
			Edits: []Edit{{dir + "load/request.go", `if retryAfter > 0 {`, `if false {`}},
		},
		{
			Breaks: "poison that is accepted is as expected", By: goTest(loadgen, "./internal/load", "TestInvalidOrdersThatAreAcceptedAreFaults"),
			Edits: []Edit{{dir + "load/request.go", "r.outcome = measure.Accepted\n", "r.outcome, r.expected = measure.Accepted, true\n"}},
		},
		{
			Breaks: "a second id for an order goes unnoticed", By: goTest(loadgen, "./internal/load", "TestADuplicateThatOvertakesIsHeldAgainstTheFirstAnswer"),
			Edits: []Edit{{dir + "ledger/ledger.go", `l.conflicts = append(l.conflicts, Conflict{N: n, First: e.id, Second: id})`, ``}},
		},
		{
			Breaks: "a fault does not change the exit code", Quick: true, By: goTest(loadgen, "./internal/app", "TestEveryFaultIsNamedWithItsNumber"),
			Edits: []Edit{{dir + "app/summary.go", `summary.ExitCode = ExitThresholds`, `summary.ExitCode = ExitOK`}},
		},
		{
			Breaks: "a capacity search overlooks lost orders", By: goTest(loadgen, "./internal/app", "TestCapacityDoesNotOverlookABrokenPromise"),
			Edits: []Edit{{dir + "app/capacity.go", `for _, broken := range step.Broken {`, `for _, broken := range step.Broken[:0] {`}},
		},
		{
			Breaks: "an answer that is not the order is taken for it", By: goTest(loadgen, "./internal/audit", "TestAnIdThatIsAnothersIsNoOrder"),
			Edits: []Edit{{dir + "audit/look.go", `case there && b.isOrder(n, &o):`, `case there:`}, {dir + "audit/look.go", `case there:
					b.miss(`, `case false:
					b.miss(`}},
		},
		{
			Breaks: "another client's order without a key is taken for the run's", By: goTest(loadgen, "./internal/audit", "TestAnotherClientsOrderIsNoDuplicate"),
			Edits: []Edit{{dir + "orders/orders.go", `n >= 0 && d == Of(n)`, `n >= 0`}},
		},
		{
			Breaks: "what another client ordered before the run is the run's, made again", By: goTest(loadgen, "./internal/audit", "TestAnotherClientsSameOrderIsNoDuplicate"),
			Edits: []Edit{{dir + "audit/look.go", `if again.CreatedAt.Before(a.oldest) {`, `if false {`}},
		},
		{
			Breaks: "what was made without its key before any order of the run is another client's", By: goTest(loadgen, "./internal/audit", "TestADuplicateWithoutAKeyWasMadeWithItsOrder"),
			Edits: []Edit{{dir + "audit/look.go", `	if underWay == 0 {
		if again`, `	if underWay >= 0 {
		if again`}},
		},
		{
			Breaks: "an order that was refused, and is there without its key, is called another client's", By: goTest(loadgen, "./internal/audit", "TestAnOrderWithoutItsKeyMayBeTheRuns"),
			Edits: []Edit{{dir + "audit/look.go", `			alone++`, `			others++`}},
		},
		{
			Breaks: "what another client ordered after the run's request is the run's, made again", By: goTest(loadgen, "./internal/audit", "TestADuplicateWithoutAKeyWasMadeWithItsOrder"),
			Edits: []Edit{{dir + "audit/look.go", ` && since <= underWay+afterwards`, ``}},
		},
		{
			Breaks: "what another client ordered before the run's request is the run's, made again", By: goTest(loadgen, "./internal/audit", "TestADuplicateWithoutAKeyWasMadeWithItsOrder"),
			Edits: []Edit{{dir + "audit/look.go", `since >= -underWay && `, ``}},
		},
		{
			Breaks: "nobody notes how long a request was under way", By: goTest(loadgen, "./internal/audit", "TestADuplicateWithoutAKeyWasMadeWithItsOrder"),
			Edits: []Edit{{dir + "load/worker.go", `w.g.Ledger.MarkEnded(first+i, at)`, `_, _ = at, i`}},
		},
		{
			Breaks: "an audit that was never told of the queue says nothing about it", By: goTest(loadgen, "./internal/audit", "TestAnAuditWithoutTheQueueSaysSo"),
			Edits: []Edit{{dir + "audit/result.go", `case !a.looked || r.Stuck`, `case a.queue == nil || !a.looked || r.Stuck`}},
		},
		{
			Breaks: "an audit that was told of the queue's past says nothing about it", By: goTest(loadgen, "./internal/audit", "TestAnAuditWithoutTheQueueSaysSo"),
			Edits: []Edit{{dir + "audit/result.go", `case !a.empty(a.queue):`, `case false:`}},
		},
		{
			Breaks: "a receiver that nobody will ask is not refused", By: goTest(loadgen, "./internal/config", "TestAReceiverIsRefusedWhereThereIsNoAudit"),
			Edits: []Edit{{dir + "config/load.go", ` && c.audits(command)`, ``}},
		},
		{
			Breaks: "an audit may have no request under way, and hangs", Quick: true, By: goTest(loadgen, "./internal/config", "TestEveryNumberHasBounds"),
			Edits: []Edit{{dir + "config/load.go", `c.AuditConcurrency, 1, 256`, `c.AuditConcurrency, 0, 256`}},
		},
		{
			Breaks: "nothing bounds the requests under way", By: goTest(loadgen, "./internal/config", "TestEveryNumberHasBounds"),
			Edits: []Edit{{dir + "config/load.go", `	env.Between(p, "MAX_IN_FLIGHT", c.MaxInFlight, 1, 20_000)
`, ``}},
		},
		{
			Breaks: "a listing that shows other orders than asked for is believed", By: goTest(loadgen, "./internal/audit", "TestAListingThatBreaksItsContractEndsTheAudit"),
			Edits: []Edit{{dir + "client/read.go", `if !strings.HasPrefix(o.Key, prefix) {`, `if !strings.HasPrefix(o.Key, "") {`}},
		},
		{
			Breaks: "a large run is listed while it is being processed", By: goTest(loadgen, "./internal/audit", "TestALargeRunIsListedWhenItIsDone"),
			Edits: []Edit{{dir + "audit/audit.go", `min(a.open, a.pages) <= cheap`, `true`}},
		},
		{
			Breaks: "an answer with other data than were sent is taken", By: goTest(loadgen, "./internal/load", "TestSuccessesThatBreakTheContractAreCounted"),
			Edits: []Edit{{dir + "load/worker.go", `o.ID != 0 && text != ""`, `false && text != ""`}},
		},
		{
			Breaks: "the termination message leaves the audit out", By: goTest(loadgen, "./internal/report", "TestTheTerminationMessageIsTheReportThatFits"),
			Edits: []Edit{{dir + "report/files.go", `short.Audit = &account`, `short.Audit, account = nil, account`}},
		},
	}
}

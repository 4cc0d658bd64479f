package mutants

// breakerMutants break what the consumer promises about an outage of what its handlers call.
func breakerMutants() []Mutant {
	const (
		gate   = consumer + "/internal/gate/"
		worker = consumer + "/internal/worker/"
		parts  = consumer + "/internal/"
		queue  = consumer + "/internal/queue/"
	)
	rules := func(test string) Test { return goTest(consumer, "./internal/gate", test) }
	works := func(test string) Test { return goTest(consumer, "./internal/worker", test) }
	gating := func(test string) Test { return goTest(consumer, "./internal/gating", test) }
	ending := func(test string) Test { return goTest(consumer, "./internal/ending", test) }
	return []Mutant{
		{
			Breaks: "attempts are counted while the breaker is open", By: works("TestAnOutageOfWhatIsCalledCostsNoAttempt"),
			Edits: []Edit{{parts + "ending/rules.go", `	case e.Uncounted:
`, `	case e.Uncounted && false:
`}},
		},
		{
			Breaks: "consumers probe beside each other", Quick: true, By: rules("TestNothingThatHappensBreaksTheRules"),
			Edits: []Edit{{gate + "step.go", `	case s.Open && s.probing(now):
		return s, Answer{Wait: until(now, s.ProbeUntil)}
`, ``}},
		},
		{
			Breaks: "a consumer that dies keeps the right to probe", By: rules("TestWhatTheGateAnswers"),
			Edits: []Edit{{gate + "breaker.go", `s.Prober != "" && now.Before(s.ProbeUntil)`, `s.Prober != ""`}},
		},
		{
			Breaks: "the probe of one that has lost the right closes the breaker", Quick: true, By: rules("TestWhatTheGateAnswers"),
			Edits: []Edit{{gate + "breaker.go", `if !s.Open || s.Prober != who {`, `if !s.Open {`}},
		},
		{
			Breaks: "after an outage all that is possible is sent", By: rules("TestARecoveryIsQuickAndNoStampede"),
			Edits: []Edit{{gate + "gate.go", `len(s.RatedBy) > 0 && s.Normal >= floor:
		return most
`, `len(s.RatedBy) > 0 && s.Normal >= floor:
		return rate
`}},
		},
		{
			Breaks: "a quiet time bounds the recovery after it", Quick: true, By: rules("TestHowFarARecoveryGoes"),
			Edits: []Edit{{gate + "gate.go", `len(s.RatedBy) > 0 && s.Normal >= floor:`, `len(s.RatedBy) > 0:`}},
		},
		{
			Breaks: "what arrives during a recovery holds it up", By: rules("TestHowFarARecoveryGoes"),
			Edits: []Edit{{gate + "gate.go", `case s.Open || s.Normal >= floor || s.resuming():`, `case s.Open || s.Normal > 0 || s.resuming():`}},
		},
		{
			Breaks: "what a recovery has broken down at is forgotten", By: rules("TestWhatIsTooMuchIsRemembered"),
			Edits: []Edit{{gate + "breaker.go", `			s.Normal = max(s.Normal, rate*easeTo/catchUp)
`, ``}},
		},
		{
			Breaks: "what has piled up behind slow handlers comes all at once", Quick: true, By: rules("TestAfterASlowTimeThereIsNoStampede"),
			Edits: []Edit{{gate + "step.go", `		s = s.hold(now, a.Rate)
`, ``}},
		},
		{
			Breaks: "nobody notices that handlers have become slow", By: works("TestAfterASlowTimeALimitHolds"),
			Edits: []Edit{{parts + "gating/gating.go", `		g.slowed, g.news = true, true
`, ``}},
		},
		{
			Breaks: "one consumer that fails alone stops all the others", By: works("TestAConsumerThatFailsAloneOpensOnlyItsOwnBreaker"),
			Edits: []Edit{{parts + "gating/own.go", `	if !g.own.disproved {`, `	if g.own.disproved || true {`}},
		},
		{
			Breaks: "a consumer that has failed alone never probes for the others", By: works("TestAConsumerThatHasFailedAloneProbesForAll"),
			Edits: []Edit{{parts + "gating/exchange.go", `	if next.Open && g.own.Open {`, `	if false {`}},
		},
		{
			Breaks: "a breaker that was closed by hand speaks against who had opened it", By: gating("TestWhatDisprovesAConsumer"),
			Edits: []Edit{{parts + "gating/own.go", ` || o.opened && seen.Recovering(seen.Now)`, ` || o.opened`}},
		},
		{
			Breaks: "handlers are called slow although workers are free", By: gating("TestWhenHandlersHaveBecomeSlow"),
			Edits: []Edit{{parts + "gating/gating.go", ` || len(g.running) < g.workers {`, ` {`}},
		},
		{
			Breaks: "times far ahead are believed", By: rules("TestNothingThatHappensBreaksTheRules"),
			Edits: []Edit{{gate + "gate.go", `			*soon.at = latest
`, `			_ = latest
`}},
		},
		{
			Breaks: "one order opens the breaker", By: works("TestOneOrderThatTakesTooLongOpensNothing"),
			Edits: []Edit{{gate + "window.go", ` && w.several()`, ` && (true || w.several())`}},
		},
		{
			Breaks: "what is an order's own fault opens the breaker", By: ending("TestWhatAnAttemptSaysAboutWhatItCalls"),
			Edits: []Edit{{parts + "ending/event.go", `	default:
		return gate.Answered, true`, `	default:
		return gate.Unavailable, true`}},
		},
		{
			Breaks: "a consumer that starts does not ask whether the breaker is open", By: works("TestAConsumerThatStartsWhileTheBreakerIsOpenStartsClosed"),
			Edits: []Edit{{parts + "gating/gating.go", `		stale:   true, // it may be closed
`, ``}},
		},
		{
			Breaks: "what waits is started although the breaker is open", By: works("TestAPausedQueueIsNotWorkedOn"),
			Edits: []Edit{{parts + "fetch/fetcher.go", `		if p.Shut {
			f.Buffer.ReleaseAll()
		}
`, ``}, {worker + "workers.go", `if !w.gate.Starts(&d.Ticket) {`, `if !w.gate.Starts(&d.Ticket) && false {`}},
		},
		{
			Breaks: "what is handed back goes to the end of the line", By: works("TestWhatIsHandedBackKeepsItsPlace"),
			Edits: []Edit{{parts + "fetch/buffer.go", `ending.Unstarted{InPlace: true}`, `ending.Unstarted{}`}},
		},
		{
			Breaks: "what is handed back is due later by as long as writing that takes", By: works("TestWhatIsHandedBackKeepsItsPlace"),
			Edits: []Edit{{parts + "settle/outcome.go", `e.Due = o.delivery.Message.Due`, `due, _ := o.delivery.Message.Due.Time()
		e.Delay = -time.Since(due)`}},
		},
		{
			Breaks: "what refuses the first calls is taken for what refuses too many", By: rules("TestAfterPatienceTheFullRateIsBackSoon"),
			Edits: []Edit{{gate + "limit.go", `s.limit(floor, resumeGrowth, now)`, `s.limit(max(s.Rate(now)*easeTo, 1), easeGrowth, now)`}},
		},
		{
			Breaks: "a receiver's limit is never found out", By: rules("TestAReceiversLimitIsFoundOut"),
			Edits: []Edit{{gate + "limit.go", `case rested || since >= easeEvery:`, `case since >= 1000*easeEvery:`}},
		},
		{
			Breaks: "what comes back first decides whether the breaker opens", By: works("TestQuickFailuresAmongSlowAnswersOpenNothing"),
			Edits: []Edit{{parts + "gating/gating.go", `slower = g.slowerLocked(t)`, `_ = g.slowerLocked(t)`}},
		},
		{
			Breaks: "a breaker that nobody shares is closed by a row that cannot be written", By: works("TestWithoutItsRowEachConsumerHasABreakerOfItsOwn"),
			Edits: []Edit{{parts + "gating/exchange.go", `		told.Trip = g.known.Reason
`, `		_ = told.Trip
`}},
		},
		{
			Breaks: "what was done in a moment is taken for what is normal", By: rules("TestTheMeter"),
			Edits: []Edit{{gate + "meter.go", `	if last < meterLeast {
		return 0
	}
`, ``}},
		},
		{
			Breaks: "patience uses up attempts", By: ending("TestHowADeliveryEnds"),
			Edits: []Edit{{parts + "ending/rules.go", `	case failure == throttled:
`, `	case failure == throttled && m.Attempt < 0:
`}},
		},
		{
			Breaks: "a probe whose read is lost is taken for a queue with nothing due", By: works("TestAProbeThatWasNotReadIsRepeated"),
			Edits: []Edit{{parts + "fetch/fetcher.go", `		f.Gate.ReadFailed(p)
		return r, err`, `		f.Gate.Fetched(p, p.Fetch, nil)
		return r, err`}},
		},
		{
			Breaks: "a probe whose order has gone goes on for ever", By: works("TestAProbeWhoseOrderGoesAwayIsRepeated"),
			Edits: []Edit{{parts + "settle/write.go", `		l.Gate.Unused(&planned.delivery.Ticket) // unless it has heard how the attempt ended
`, ``}},
		},
		{
			Breaks: "a consumer that has stopped itself tells nobody of patience", By: gating("TestPatienceIsToldWhileTheOwnBreakerIsOpen"),
			Edits: []Edit{{parts + "gating/permit.go", `!g.stale && !g.eased && !g.slowed && !g.known.Open`, `!g.stale && !g.known.Open`}},
		},
		{
			Breaks: "who has room for more does not ask what a limit allows", By: gating("TestWhatIsPermittedWithoutAStatement"),
			Edits: []Edit{{parts + "gating/permit.go", ` && (!limited || want == 0): //`, `: _ = limited //`}},
		},
		{
			Breaks: "a consumer that has stopped itself asks for what is the others'", By: gating("TestWhatIsPermittedWithoutAStatement"),
			Edits: []Edit{{parts + "gating/exchange.go", `told.Probe, told.Want = gate.ProbeNone, 0`, `told.Probe = gate.ProbeNone`}},
		},
		{
			Breaks: "what a consumer that has stopped itself hears during an exchange is told to nobody", By: gating("TestWhatIsHeardDuringAnExchangeIsToldInTheNext"),
			Edits: []Edit{{parts + "gating/own.go", `g.news = g.eased || g.slowed //`, `g.news = false //`}},
		},
		{
			Breaks: "a failure without a text opens nothing", By: gating("TestAFailureWithoutATextOpensTheBreaker"),
			Edits: []Edit{{parts + "gating/own.go", `cmp.Or(problem, "the handler has given no reason")`, `cmp.Or(problem, "")`}},
		},
		{
			Breaks: "a process has a name that comes back from the database as another", By: gating("TestTheNameOfAProcessIsASCII"),
			Edits: []Edit{{parts + "gating/gating.go", `if r > unicode.MaxASCII {`, `if r > unicode.MaxRune {`}},
		},
		{
			Breaks: "with nothing to probe with it is tried all the time", By: works("TestWithNothingDueTheBreakerWaitsForAMessage"),
			Edits: []Edit{{parts + "gating/permit.go", `if g.known.Open && g.idle || `, `if `}},
		},
		{
			Breaks: "nobody probes with the first message after a quiet time", By: works("TestWithNothingDueTheBreakerWaitsForAMessage"),
			Edits: []Edit{{parts + "fetch/fetcher.go", `	case <-due:
		f.Gate.HasDue()
`, `	case <-due:
`}},
		},
		{
			Breaks: "a probe that finds nothing to probe with goes on", By: works("TestWithNothingDueTheBreakerWaitsForAMessage"),
			Edits: []Edit{{parts + "fetch/fetcher.go", `		f.Gate.Fetched(p, 0, nil)
`, ``}},
		},
		{
			Breaks: "a limit that holds nothing back is never lifted", By: works("TestAfterASlowTimeALimitHolds"),
			Edits: []Edit{{parts + "gating/permit.go", `g.short = got < p.Fetch`, `g.short = false`}},
		},
		{
			Breaks: "nobody is told that nothing more is due", By: works("TestAfterASlowTimeALimitHolds"),
			Edits: []Edit{{parts + "gating/exchange.go", ` Short: g.short,`, ``}},
		},
		{
			Breaks: "a probe is taken for lost while its handler still has time", By: gating("TestAProbeGoesOnForAsLongAsItMayTake"),
			Edits: []Edit{{parts + "gating/gating.go", `longest: 2*s.HandlerTimeout + s.Grace`, `longest: s.Grace`}},
		},
		{
			Breaks: "failures that take their time never open the breaker", By: gating("TestFailuresThatTakeTheirTimeOpenTheBreaker"),
			Edits: []Edit{{parts + "gating/gating.go", `return max(time.Minute, 2*time.Duration(s.Breaker.Least)*s.HandlerTimeout/time.Duration(s.Concurrency))`, `return time.Minute`}},
		},
		{
			Breaks: "what finds nobody there in a recovery uses up an attempt", By: gating("TestAFailureInARecoveryDoesNotCount"),
			Edits: []Edit{{parts + "gating/gating.go", `(old || g.known.Recovering(g.nowLocked()))`, `old`}},
		},
		{
			Breaks: "failures of before an outage open the breaker after it", By: gating("TestResultsOfBeforeAnOutageAreForgotten"),
			Edits: []Edit{{parts + "gating/exchange.go", `		g.window.Clear()
`, ``}},
		},
		{
			Breaks: "a row of somebody's hand gives the right to probe before the breaker opens", By: rules("TestWhatTheGateAnswers"),
			Edits: []Edit{{gate + "breaker.go", `	s.Prober, s.ProbeUntil = "", time.Time{}
	s.ProbeAt = now.Add(`, `	s.ProbeAt = now.Add(`}},
		},
		{
			Breaks: "failures of nobody's probes, in a row of somebody's hand, put the first probe off", By: rules("TestWhatTheGateAnswers"),
			Edits: []Edit{{gate + "breaker.go", `		s.Failures, s.Normal, s.RatedBy = 0, 0, nil
`, ``}},
		},
		{
			Breaks: "two consumers change the gate without seeing each other", By: goTest(consumer, "./internal/queue", "TestTheGateChangesOneStepAtATime"),
			Edits: []Edit{{queue + "sql/gate_write.sql", `
   where g.revision = $2`, ``}},
		},
		{
			Breaks: "whoever others are quicker than again and again gives a change of the gate up", By: goTest(consumer, "./internal/queue", "TestTheGateChangesOneStepAtATime"),
			Edits: []Edit{{queue + "gate.go", `if same++; found.Revision != last {`, `if same++; found.Revision < last {`}},
		},
		{
			Breaks: "a change of the gate undoes a pause", By: goTest(consumer, "./internal/queue", "TestTheGateIsReadAsItWasWritten"),
			Edits: []Edit{{queue + "sql/gate_write.sql", `set revision = excluded.revision, breaker_open`, `set revision = excluded.revision, paused_at = excluded.paused_at, breaker_open`}},
		},
		{
			Breaks: "the gates of all queues are one", By: works("TestTheBreakersOfTwoQueuesDoNotMix"),
			Edits: []Edit{
				{queue + "sql/gate_read.sql", `(values (lower($1::text)))`, `(values (left(lower($1::text), 0) || 'all'))`},
				{queue + "sql/gate_write.sql", `values (lower($1::text),`, `values (left(lower($1::text), 0) || 'all',`},
			},
		},
	}
}

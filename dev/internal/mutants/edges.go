package mutants

// edgeMutants break what holds at the edges of what a database can contain, and of how slow it can be.
func edgeMutants() []Mutant {
	const dir = consumer + "/internal/"
	queue := func(name string) Test { return goTest(consumer, "./internal/queue", name) }
	link := func(name string) Test { return goTest(consumer, "./internal/pg", name) }
	worker := func(name string) Test { return goTest(consumer, "./internal/worker", name) }
	gating := func(name string) Test { return goTest(consumer, "./internal/gating", name) }
	doctor := func(name string) Test { return goTest(consumer, "./internal/doctor", name) }
	return []Mutant{
		{
			Breaks: "an idle consumer asks more often than its poll interval says", By: worker("TestAnIdleConsumerAsksOncePerPollInterval"),
			Edits: []Edit{{dir + "fetch/poller.go", `		default:
			p.spin.Reset()
			p.sleep(ctx, looked.Add(interval))`, `		default:
			p.spin.Reset()
			p.sleep(ctx, looked.Add(min(interval, LookPause)))`}},
		},
		{
			Breaks: "a failure whose text the database cannot hold is never noted", By: queue("TestAnyTextIsWrittenInADatabaseOfAnyEncoding"),
			Edits: []Edit{{dir + "queue/text.go", `ParameterStatus("server_encoding") == "UTF8"`, `ParameterStatus("server_encoding") != ""`}},
		},
		{
			Breaks: "a consumer whose name the database cannot hold acknowledges nothing", By: queue("TestAnyTextIsWrittenInADatabaseOfAnyEncoding"),
			Edits: []Edit{{dir + "queue/settle.go", `c.attempts, encodable(conn, consumer), c.started)`, `c.attempts, consumer, c.started)`}},
		},
		{
			Breaks: "a message that is larger than all memory is asked for for ever", By: queue("TestAMessageThatIsLargerThanAllMemoryIsSetAside"),
			Edits: []Edit{{dir + "queue/fetch.go", `int64(max(b.MessageBytes, 0)) && len(f.Messages) > 0 {`, `int64(max(b.MessageBytes, 0)) {`}},
		},
		{
			Breaks: "a message of the first moment stops all reads", By: queue("TestAMessageOfAnyMomentIsRead"),
			Edits: []Edit{{dir + "queue/queue.go", `greatest(q.enqueued_at, '0001-01-01') - interval`, `q.enqueued_at - interval`}},
		},
		{
			Breaks: "a message of the last moment stops all reads", By: queue("TestAMessageOfAnyMomentIsRead"),
			Edits: []Edit{{dir + "queue/sql/fetch.sql", ` and enqueued_at < '9999-12-31'`, ``}},
		},
		{
			Breaks: "what the server says to who cannot connect is taken for an answer", By: queue("TestWhoCannotConnectHasNoAnswer"),
			Edits: []Edit{{dir + "queue/queue.go", `	if errors.As(err, &local) {
		return false
	}
	var answer`, `	_ = local
	var answer`}},
		},
		{
			Breaks: "what a server that panics may have written is said to have been refused", By: queue("TestTheEndOfASessionLeavesItOpenWhatWasWritten"),
			Edits: []Edit{{dir + "queue/queue.go", `case !errors.As(err, &answer), postgres.EndsSession(answer):`, `case !errors.As(err, &answer):`}},
		},
		{
			Breaks: "what a pooler says to who waits for a connection leaves it open what was written", By: queue("TestTheEndOfASessionLeavesItOpenWhatWasWritten"),
			Edits: []Edit{{"kit/postgres/refusal.go", `return !beginnings[err.Code]`, `return err.Code != ""`}, {"kit/postgres/refusal.go", `var beginnings =`, `var _ =`}},
		},
		{
			Breaks: "a call that is broken off leaves its transaction open", By: link("TestACallThatIsBrokenOffLeavesNoTransaction"),
			Edits: []Edit{{dir + "pg/link.go", ` || l.conn.PgConn().TxStatus() != 'I': //`, `: //`}},
		},
		{
			Breaks: "nobody can tell that a call was given up for its time", By: link("TestAStatementHasADeadlineThatGrowsWhenItIsHitAndShrinksAgain"),
			Edits: []Edit{{dir + "pg/link.go", `		return fmt.Errorf("%w: %w", ErrNoAnswer, err)
`, ``}},
		},
		{
			Breaks: "what a user's function listens to is kept for ever", By: link("TestWhatNobodyWaitsForIsNotKept"),
			Edits: []Edit{{dir + "pg/link.go", `config.OnNotification = func(*pgconn.PgConn, *pgconn.Notification) {}`, `_ = l.listen`}},
		},
		{
			Breaks: "a slow look of the doctor's is an outage", By: doctor("TestALookThatIsSlowOrHasNoConnectionIsNoOutage"),
			Edits: []Edit{{dir + "doctor/publish.go", `server.NewSideLink("findings", longestLook)`, `server.NewLink("findings", nil)`}},
		},
		{
			Breaks: "that there is no connection for the doctor is an outage", By: doctor("TestALookThatIsSlowOrHasNoConnectionIsNoOutage"),
			Edits: []Edit{{dir + "pg/link.go", `	if !l.beside {
		l.server.noteDown(l.name, err)
	}`, `	l.server.noteDown(l.name, err)`}},
		},
		{
			Breaks: "the doctor gives up where the database is slow", By: goTest(consumer, ".", "TestDoctorHasPatienceWithASlowDatabase"),
			Edits: []Edit{{dir + "app/doctor.go", `	link.Limit(patience)
`, ``}},
		},
		{
			Breaks: "a clock that goes back holds a recovery up", By: goTest(consumer, "./internal/gate", "TestWhatTheGateAnswers"), Quick: true,
			Edits: []Edit{{dir + "gate/gate.go", `		s.Limit.At = latest
	}
	for`, `		_ = latest
	}
	for`}},
		},
		{
			Breaks: "a receiver that asks for more time than there is asks for none", By: goTest(consumer, "./internal/webhook", "TestAnAnswerDecidesAboutTheRetry"),
			Edits: []Edit{{dir + "webhook/answer.go", `err == nil || errors.Is(err, strconv.ErrRange) {`, `err == nil || errors.Is(err, strconv.ErrSyntax) && false {`}},
		},
		{
			Breaks: "an ack that takes longer than is waited for is sent again as it was", By: worker("TestABatchThatHasNoAnswerIsMadeSmaller"),
			Edits: []Edit{{dir + "settle/write.go", `if late {`, `if late && false {`}, {dir + "settle/write.go", `		item.mostTogether = b.half()
		switch {`, `		switch {`}},
		},
		{
			Breaks: "a read that takes longer than is waited for is sent again as it was", By: goTest(consumer, "./internal/fetch", "TestReadsThatTakeTooLongAreHalved"), Quick: true,
			Edits: []Edit{{dir + "fetch/demand.go", `, errors.Is(err, pg.ErrNoAnswer):`, `, errors.Is(err, pg.ErrNoAnswer) && false:`}},
		},
		{
			Breaks: "a heartbeat that takes longer than is waited for is sent again as it was", By: goTest(consumer, "./internal/lease", "TestAHeartbeatThatHasNoAnswerIsMadeSmaller"),
			Edits: []Edit{{dir + "lease/heartbeat.go", `errors.Is(err, pg.ErrNoAnswer), queue`, `errors.Is(err, pg.ErrNoAnswer) && false, queue`}},
		},
		{
			Breaks: "a few quick results let a statement grow that was too large", By: queue("TestHowLargeTheNextStatementIs"),
			Edits: []Edit{{dir + "queue/statement_size.go", `if n < size || n > small && took`, `if n > small && took`}},
		},
		{
			Breaks: "results that wait for a connection keep no read waiting", By: goTest(consumer, "./internal/settle", "TestResultsWaitWhereNobodyCanConnect"),
			Edits: []Edit{{dir + "settle/lane.go", `		l.overdue.Store(true)
`, ``}},
		},
		{
			Breaks: "the results of an outage are not written first", By: worker("TestResultsOfAnOutageAreWrittenBeforeAnythingIsRead"),
			Edits: []Edit{{dir + "fetch/fetcher.go", `	f.Settler.CatchUp(ctx)
`, ``}},
		},
		{
			Breaks: "a server that takes no connection refuses a statement", By: worker("TestAWrongPasswordIsCalledThat"),
			Edits: []Edit{{dir + "health/statements.go", `case queue.Answered(err) && errors.As(err, &answer):`, `case (queue.Answered(err) || true) && errors.As(err, &answer):`}},
		},
		{
			Breaks: "nobody is told that nothing names the installation", By: worker("TestItWaitsForTheInstallationsName"),
			Edits: []Edit{{dir + "worker/schema.go", `			c.readHealth.Turn("installation", err.Error())
`, ``}},
		},
		{
			Breaks: "with a long POLL_INTERVAL a message of the dead waits for as long", By: worker("TestTheMessageOfAConsumerThatDiedIsReadWhenItIsDue"),
			Edits: []Edit{{dir + "fetch/poller.go", `if at := time.Now().Add(p.Visible); at.Before(until) {`, `if at := time.Now().Add(p.Visible); at.Before(until) && false {`}},
		},
		{
			Breaks: "a read that was rolled back takes the lease from who has it", By: goTest(consumer, "./internal/settle", "TestADoubtfulLeaseIsNotTakenFromWhoHasIt"), Quick: true,
			Edits: []Edit{{dir + "settle/settler.go", `o.unsure, o.doubtful = true, true`, `o.unsure = true`}},
		},
		{
			Breaks: "who has been answered stays suspect", By: goTest(consumer, "./internal/settle", "TestAnAnswerEndsASuspicion"),
			Edits: []Edit{{dir + "settle/outcome.go", `		e.Unanswered = 0 // its handler has come back
`, ``}},
		},
		{
			Breaks: "in a drain a suspect waits for the others", By: worker("TestADrainHandsBackWhatWaitsToBeAlone"),
			Edits: []Edit{{dir + "worker/drain.go", `	d.held.AdmitNobody()
`, ``}},
		},
		{
			Breaks: "a notification of the gate is not heard", By: worker("TestAnIdleConsumerLearnsOfAPause"),
			Edits: []Edit{{dir + "fetch/poller.go", `			p.Gate.Refresh(-1)
`, ``}},
		},
		{
			Breaks: "a change of the gate is not seen by a look", By: worker("TestAnIdleConsumerLearnsOfAPause"),
			Edits: []Edit{{dir + "fetch/poller.go", `	p.Gate.Refresh(seen.Gate)
`, ``}},
		},
		{
			Breaks: "attempts of before an outage are counted after it", By: gating("TestAnAttemptOfBeforeAnOutageDoesNotCount"),
			Edits: []Edit{{dir + "gating/gating.go", `old := t.epoch != g.epoch`, `old := false`}},
		},
		{
			Breaks: "a consumer that was wrong once stops only itself for ever", By: gating("TestAnAnswerEndsWhatWasDisproved"),
			Edits: []Edit{{dir + "gating/gating.go", `		g.own.disproved = false
`, ``}},
		},
		{
			Breaks: "what could not be told to the gate is forgotten", By: gating("TestWhatCouldNotBeToldIsToldAgain"),
			Edits: []Edit{{dir + "gating/exchange.go", `		g.news = true
		g.eased`, `		g.eased`}},
		},
	}
}

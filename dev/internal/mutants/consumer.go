package mutants

// consumerMutants break what the consumer promises about a message that it has read.
func consumerMutants() []Mutant {
	const (
		dir = consumer + "/internal/"
		sql = dir + "queue/sql/"
	)
	queue := func(test string) Test { return goTest(consumer, "./internal/queue", test) }
	worker := func(test string) Test { return goTest(consumer, "./internal/worker", test) }
	lease := func(test string) Test { return goTest(consumer, "./internal/lease", test) }
	settling := func(test string) Test { return goTest(consumer, "./internal/settle", test) }
	decides := goTest(consumer, "./internal/ending", "TestHowADeliveryEnds")
	stale := queue("TestAckOfAStaleLeaseChangesNothing")
	return []Mutant{
		{
			Breaks: "a result is written before those of the same read", By: worker("TestWhatWasReadTogetherIsAckedTogether"),
			Edits: []Edit{{dir + "settle/lane.go", `		l.await(ctx)
`, ``}},
		},
		{
			Breaks: "a result waits for a slow handler", By: worker("TestAResultDoesNotWaitForASlowHandler"),
			Edits: []Edit{{dir + "settle/lane.go", `		case <-over:
			return
`, ``}},
		},
		{
			Breaks: "a read that memory has cut short waits for the next look", By: worker("TestAReadThatMemoryCutsShortGoesOn"),
			Edits: []Edit{{dir + "fetch/fetcher.go", `f.Poller.fetched(r)`, `r.cut = false
			f.Poller.fetched(r)`}},
		},
		{
			Breaks: "a failure is counted each time that its outcome is written anew", By: worker("TestAFailureThatItsOrderCannotBeToldOfIsCountedOnce"),
			Edits: []Edit{{dir + "settle/write.go", `	if planned.Failure == "" {`, `	if planned.Failure != "-" {`}},
		},
		{
			Breaks: "a failure that its order cannot be told of waits for ever", By: worker("TestAFailureThatItsOrderCannotBeToldOfIsCountedOnce"),
			Edits: []Edit{{dir + "ending/rules.go", `			e.Planned.MessageOnly = true //`, `			e.Planned.MessageOnly = false //`}},
		},
		{
			Breaks: "an order is said to be processed before that is written", By: worker("TestOneSuppressedOrderKeepsNoOtherWaiting"),
			Edits: []Edit{{dir + "settle/settler.go", `	s.countFailure(end)
	s.Put(d, end)
	return true`, `	logCompleted(s.needs.Log, &d.Message)
	s.countFailure(end)
	s.Put(d, end)
	return true`}},
		},
		{
			Breaks: "while a handler takes its time the poller asks all the time", By: goTest(consumer, "./internal/presence", "TestWhenToLookIsNotOverUntilAReportIsDue"),
			Edits: []Edit{{dir + "presence/presence.go", `		next = now.Add(reportWorking)
`, ``}},
		},
		{
			Breaks: "one order that is refused holds all others up", By: worker("TestOneOrderThatCannotBeWrittenHoldsNoOthersUp"),
			Edits: []Edit{{dir + "settle/write.go", `		item.mostTogether = b.half()
		switch {`, `		switch {`}},
		},
		{
			Breaks: "one order whose write has no answer is always tried with all others", By: settling("TestAnAckWithoutAnAnswerKeepsNoOtherKindWaiting"),
			Edits: []Edit{{dir + "settle/write.go", `if !answered && fault != queue.Unknown {`, `if !answered {`}},
		},
		{
			Breaks: "one order whose write has no answer keeps reads waiting each time", By: settling("TestAnAckWithoutAnAnswerKeepsNoOtherKindWaiting"),
			Edits: []Edit{{dir + "settle/lane.go", `if b.items[0].tries == 0 {`, `if true {`}},
		},
		{
			Breaks: "an ack that is slow gets no more time than others", By: settling("TestASlowAckGetsItsTimeBesideQuickOnes"),
			Edits: []Edit{{dir + "settle/write.go", `2*b.items[0].silence`, `0*b.items[0].silence`}},
		},
		{
			Breaks: "orders that run into a trigger's lock keep others with them", By: worker("TestOrdersThatWriteALockedRowKeepNobodyElseWaiting"),
			Edits: []Edit{{dir + "settle/write.go", `if item.tries > 0 { //`, `if false { //`}},
		},
		{
			Breaks: "the attempts that fail with their work are not counted", By: settling("TestAnOrderWhoseWorkFailsIsCounted"),
			Edits: []Edit{{dir + "settle/ackwork.go", `l.ackWork.Took(1, f.took) //`, `//`}},
		},
		{
			Breaks: "a pooler's lost server is an order's failure", By: goTest(consumer, "./internal/effect", "TestWhoseFaultAFailureIs"),
			Edits: []Edit{{dir + "effect/verdict.go", `cmp.Or(answer.SeverityUnlocalized, answer.Severity)`, `cmp.Or(answer.SeverityUnlocalized)`}},
		},
		{
			Breaks: "work that is left after the drain's deadline stays behind", By: worker("TestWorkThatIsLeftAfterTheDrainsDeadlineIsReleased"),
			Edits: []Edit{{dir + "settle/settler.go", `		if handled.Err() != nil {`, `		if true {`}},
		},
		{
			Breaks: "the time of a handler that leaves work does not count", By: worker("TestWhoLeavesWorkAndTakesLongHoldsNothingAhead"),
			Edits: []Edit{{dir + "worker/workers.go", `		w.demand.Occupied(0, took) //`, `		//`}},
		},
		{
			Breaks: "who has no worker free takes the probe", By: goTest(consumer, "./internal/gating", "TestWhoHasNobodyToProbeWithAsksForNoProbe"),
			Edits: []Edit{{dir + "gating/permit.go", ` || g.openLocked() && len(g.running) >= g.workers`, ``}},
		},
		{
			Breaks: "an attempt ends when its outcome is written anew", By: worker("TestAFailureThatItsOrderCannotBeToldOfIsCountedOnce"),
			Edits: []Edit{{dir + "settle/write.go", `	next.at = planned.at
`, ``}},
		},
		{
			Breaks: "with SIGTERM the leases of what still runs are extended no more", By: worker("TestADrainKeepsTheLeasesOfWhatRuns"),
			Edits: []Edit{{dir + "worker/consumer.go", `keeping, stopKeeping := context.WithCancel(context.WithoutCancel(ctx))`, `keeping, stopKeeping := context.WithCancel(ctx)`}},
		},
		{
			Breaks: "an attempt that was out of time is an error like any other", By: worker("TestADeadlineEndsAnAttempt"),
			Edits: []Edit{{dir + "worker/workers.go", `Cause: context.Cause(limited)`, `Cause: context.Cause(ctx)`}},
		},
		{
			Breaks: "with each look it is as if all workers had just been stuck", By: goTest(consumer, "./internal/fetch", "TestStuckWorkersAreTimedFromTheirBeginning"),
			Edits: []Edit{{dir + "fetch/demand.go", `	case !d.stuck.Busy():`, `	default:`}},
		},
		{
			Breaks: "a connection to a server that others have left is used on", By: goTest(consumer, "./internal/pg", "TestALinkFollowsToTheServerThatAnotherHasFound"),
			Edits: []Edit{{dir + "pg/link.go", ` && !l.server.route.Moved(l.conn.PgConn())`, ``}},
		},
		{
			Breaks: "who listens stays with the server that a name led to once", By: goTest(consumer, "./internal/pg", "TestWhoListensFollowsANameThatMoves"),
			Edits: []Edit{{dir + "pg/link.go", `	l.refresh(ctx)
`, ``}},
		},
		{
			Breaks: "who was slow once may take long for ever", By: goTest(consumer, "./internal/pg", "TestAStatementHasADeadlineThatGrowsWhenItIsHitAndShrinksAgain"),
			Edits: []Edit{{dir + "pg/link.go", `			l.timeout = max(l.timeout/2, statementTimeout)`, `			l.timeout = max(l.timeout, statementTimeout)`}},
		},
		{
			Breaks: "who has lost the database says that it listens", By: worker("TestResultsOfAnOutageAreAllWrittenAfterIt"),
			Edits: []Edit{{dir + "fetch/poller.go", `		if err != nil {
			p.Metrics.ListenerUp.Set(0)
`, `		if err != nil {
`}},
		},
		// The lease, in SQL.
		{
			Breaks: "ack does not ask for the read count", Quick: true, By: stale,
			Edits: []Edit{{sql + "ack.sql", `     and q.read_ct = lease.read_ct
`, ``}},
		},
		{
			Breaks: "ack, after a lock, does not ask for the read count", By: stale,
			Edits: []Edit{{sql + "ack_unlocked.sql", ` and q.read_ct = lease.read_ct`, ``}},
		},
		{
			Breaks: "nack does not ask for the message's life", By: queue("TestALeaseOfAnotherLifeOfTheDatabaseChangesNothing"),
			Edits: []Edit{{sql + "nack.sql", ` and q.enqueued_at = lease.enqueued_at`, ``}},
		},
		{
			Breaks: "ack does not ask for the message's life", Quick: true, By: queue("TestALeaseOfAnotherLifeOfTheDatabaseChangesNothing"),
			Edits: []Edit{{sql + "ack.sql", `     and q.enqueued_at = lease.enqueued_at
`, ``}},
		},
		{
			Breaks: "a burial does not ask for the message's life", By: queue("TestALeaseOfAnotherLifeOfTheDatabaseChangesNothing"),
			Edits: []Edit{{sql + "bury.sql", ` and q.enqueued_at = lease.enqueued_at`, ``}},
		},
		{
			Breaks: "a heartbeat does not ask for the message's life", By: queue("TestALeaseOfAnotherLifeOfTheDatabaseChangesNothing"),
			Edits: []Edit{{sql + "extend.sql", `     and q.enqueued_at = lease.enqueued_at
`, ``}},
		},
		{
			Breaks: "a burial kills the order that has the id by now", By: queue("TestAMessageOfAnOrderThatHadTheIDBeforeIsSetAside"),
			Edits: []Edit{{sql + "bury.sql", `     and o.created_at = failure.created_at
`, ``}},
		},
		{
			Breaks: "any order with the id is the message's", By: queue("TestMessagesAreTheirOrders"),
			Edits: []Edit{{sql + "identify.sql", `when o.id is null then false`, `when o.id is not null then true`}},
		},
		{
			Breaks: "an effect that a trigger suppresses is taken for done", Quick: true, By: worker("TestAWriteThatIsSuppressedIsNotTakenForWritten"),
			Edits: []Edit{{sql + "acked.sql", `case when ids is null then true`, `case when true then true`}},
		},
		{
			Breaks: "an effect that a trigger undoes is taken for done", By: worker("TestAWriteThatIsUndoneIsNotTakenForWritten"),
			Edits: []Edit{{sql + "effect.sql", `(select id from done where stands)`, `(select id from done)`}},
		},
		{
			Breaks: "a msg_id that came again makes a message another order's", By: queue("TestMessagesAreTheirOrders"),
			Edits: []Edit{{sql + "identify.sql", `when o.message_id <> m.msg_id then false`, `when o.message_id is not null then o.message_id = m.msg_id`}},
		},
		{
			Breaks: "a dead letter that a trigger suppresses is lost", By: worker("TestAWriteThatIsSuppressedIsNotTakenForWritten"),
			Edits: []Edit{{sql + "bury.sql", `case when ids is null then true`, `case when true then true`}},
		},
		{
			Breaks: "a message of any size is read", By: queue("TestAMessageThatIsTooLargeComesWithoutItsBody"),
			Edits: []Edit{{sql + "fetch.sql", `coalesce(bytes <= $4::integer, false) as fits`, `true as fits`}, {sql + "fetch.sql", `case when stored > $4::integer then null`, `case when false then null`}},
		},
		{
			Breaks: "one message's read count stops all reads", By: worker("TestNoRowsValueStopsTheOthers"),
			Edits: []Edit{{sql + "fetch.sql", `case when read_ct = 2147483647 then read_ct else greatest(read_ct, 0) + 1 end`, `read_ct + 1`}},
		},
		{
			Breaks: "two installations give orders the same key", By: goTest(consumer, "./internal/message", "TestAnOrdersKeyIsItsOwn"),
			Edits: []Edit{{dir + "message/key.go", `binary.BigEndian.AppendUint64(installation[:], uint64(id))`, `binary.BigEndian.AppendUint64(installation[:0], uint64(id))`}},
		},
		{
			Breaks: "a message without its order is deleted", By: queue("TestAckLeavesMessagesOfUnknownOrders"),
			Edits: []Edit{{sql + "ack.sql", `exists (select from public.orders as o where o.id`, `not exists (select from public.orders as o where false and o.id`}},
		},
		{
			Breaks: "a second effect is hidden by the status", By: queue("TestAckCountsEveryEffectSoThatADuplicateShows"),
			Edits: []Edit{{sql + "effect.sql", `effects = o.effects + effect.times`, `effects = case when o.status = 'completed' then o.effects else effect.times end`}},
		},
		{
			Breaks: "nack does not ask for the read count", By: queue("TestNothingIsWrittenUnderAStaleLease"),
			Edits: []Edit{{sql + "nack.sql", ` and q.read_ct = lease.read_ct`, ``}},
		},
		{
			Breaks: "the mark of another attempt is taken for an ack of ours", By: queue("TestTheMarkOfAnotherAttemptIsNotOurs"),
			Edits: []Edit{{sql + "fate.sql", ` and o.attempts = lease.attempt, false)`, `, false)`}},
		},
		{
			Breaks: "a hand-back does not ask for the read count", By: queue("TestNothingIsWrittenUnderAStaleLease"),
			Edits: []Edit{{sql + "release.sql", `     and q.read_ct = lease.read_ct
`, ``}},
		},
		{
			Breaks: "a burial does not ask for the read count", By: queue("TestNothingIsWrittenUnderAStaleLease"),
			Edits: []Edit{{sql + "bury.sql", ` and q.read_ct = lease.read_ct`, ``}},
		},
		{
			Breaks: "nack brings the message back at once", By: queue("TestNackHidesWithTheErrorAndTellsTheOrder"),
			Edits: []Edit{{sql + "nack.sql", `set vt = clock_timestamp() + make_interval(secs => ours.delay)`, `set vt = clock_timestamp()`}},
		},
		{
			Breaks: "a heartbeat extends another consumer's lease", By: queue("TestExtendHoldsOnlyWhatIsStillLeased"),
			Edits: []Edit{{sql + "extend.sql", `     and q.read_ct = lease.read_ct
`, ``}},
		},
		{
			Breaks: "a heartbeat hides a message that waits for its retry", By: queue("TestExtendHoldsOnlyWhatIsStillLeased"),
			Edits: []Edit{{sql + "extend.sql", `     and q.headers -> 'orderflow-retry' is distinct from to_jsonb(lease.read_ct)
`, ``}},
		},
		{
			Breaks: "a dead letter's order stays pending", By: queue("TestBuryMovesTheMessageWithItsReason"),
			Edits: []Edit{{sql + "bury.sql", `     set status = 'dead',`, `     set status = o.status,`}},
		},
		{
			Breaks: "a dead letter is buried without a copy", By: queue("TestBuryMovesTheMessageWithItsReason"),
			Edits: []Edit{{sql + "bury.sql", `pgmq.send($9::text, g.message,`, `(select length($9::text) from (select g.message) as x where g.headers is distinct from`}, {sql + "bury.sql", `'consumer', $11::text))) as dead_id`, `'consumer', $11::text)))::bigint as dead_id`}},
		},
		{
			Breaks: "messages that cannot be leased keep all others waiting", By: worker("TestAReadThatIsSuppressedIsNoEmptyQueue"),
			Edits: []Edit{{sql + "fetch.sql", ` and msg_id <> all ($6::bigint[])`, ` and $6::bigint[] is not null`}},
		},
		{
			Breaks: "messages that cannot be leased keep a probe waiting", By: worker("TestWhatIsSuppressedKeepsNoProbeWaiting"),
			Edits: []Edit{{dir + "fetch/fetcher.go", `	if r.more && p.Fetch == 0 {
		f.Gate.ReadFailed(p)`, `	if r.more && p.Fetch == 0 {
		f.Gate.Fetched(p, 0, nil)`}},
		},
		{
			Breaks: "a row for which a trigger raises an error keeps all others waiting", By: worker("TestARowThatCannotBeLeasedStopsNoOther"),
			Edits: []Edit{{dir + "fetch/demand.go", `nearer = d.passed.failed(unleasable.ID, err, r.took); nearer`, `nearer = true; nearer`}},
		},
		{
			Breaks: "a row for which a trigger raises an error of its own is not found", By: queue("TestAMessageThatCannotBeLeasedIsNamed"),
			Edits: []Edit{{dir + "queue/fetch.go", `first != 0 && StatementFailed(err)`, `first != 0 && Classify(err) == Spoiled`}},
		},
		{
			Breaks: "a row for which a trigger hangs is not found", By: queue("TestAMessageThatCannotBeLeasedIsNamed"),
			Edits: []Edit{{dir + "queue/fetch.go", `read.Queue(q.limit, halfOf(ctx))`, `read.Queue(q.limit, (*int64)(nil))`}},
		},
		{
			Breaks: "what keeps all messages from being leased is taken for one's fault", By: queue("TestWhatConcernsAllMessagesNamesNone"),
			Edits: []Edit{{dir + "queue/fetch.go", `first != 0 && StatementFailed(err)`, `StatementFailed(err)`}},
		},
		{
			Breaks: "what keeps a read from being committed is taken for a row's fault", By: goTest(consumer, "./internal/fetch", "TestTheRowAtFaultIsLookedFor"),
			Edits: []Edit{{dir + "fetch/demand.go", `return r.got == 0 && queue.StatementFailed(err)`, `return queue.StatementFailed(err)`}},
		},
		{
			Breaks: "on a full disk each row is found to be at fault", By: goTest(consumer, "./internal/fetch", "TestTheRowAtFaultIsLookedFor"),
			Edits: []Edit{{dir + "queue/queue.go", `return class != "53" && class != "58"`, `return class != "58"`}},
		},
		{
			Breaks: "of many rows that cannot be leased the first are tried again before the last are found", By: worker("TestManyRowsThatCannotBeLeasedStopNoOther"),
			Edits: []Edit{{dir + "fetch/fetcher.go", `nearer := f.Demand.noteRead(r, err); nearer {`, `nearer := f.Demand.noteRead(r, err); nearer && wait.For(ctx, time.Second) {`}},
		},
		{
			Breaks: "an idle consumer whose rows that could not be leased are gone stays unready", By: worker("TestReadingWorksAgainWhenWhatCannotBeLeasedIsGone"),
			Edits: []Edit{{dir + "fetch/fetcher.go", `some && (look <= 0 || again < look)`, `some && again < look`}},
		},
		{
			Breaks: "one lease that cannot be extended loses all others", By: lease("TestALeaseThatCannotBeExtendedLosesNoOther"),
			Edits: []Edit{{dir + "lease/heartbeat.go", `errors.Is(err, pg.ErrNoAnswer), queue.StatementFailed(err):`, `errors.Is(err, pg.ErrNoAnswer):`}},
		},
		{
			Breaks: "an error that panics when it is asked ends the process", By: worker("TestAnErrorThatPanicsIsAFailureOfItsMessageOnly"),
			Edits: []Edit{{dir + "worker/workers.go", `return ackWork, handler.Plain(err)`, `return ackWork, err`}},
		},
		{
			Breaks: "an argument that panics when it is encoded ends the process", By: goTest(consumer, "./consumer", "TestWhatIsLeftToTheAckIsCommittedWithIt"),
			Edits: []Edit{{dir + "effect/statements.go", `if p := recover(); p != nil {
			_ = conn.Close(ctx)`, `if p := any(nil); p != nil {
			_ = conn.Close(ctx)`}},
		},
		{
			Breaks: "results are looked at after another order's work has failed", By: goTest(consumer, "./internal/effect", "TestAfterAFailureNoOtherResultIsLookedAt"),
			Edits: []Edit{{dir + "effect/statements.go", `all.Queue(q.SQL, q.Arguments...)`, `all.Queue(q.SQL, q.Arguments...).Fn = q.Fn`}},
		},
		{
			Breaks: "a message with a character that UTF-8 lacks keeps all others waiting", By: worker("TestACharacterThatUTF8LacksStopsNoOther"),
			Edits: []Edit{{sql + "look.sql", `octet_length(convert_to(message::text, pg_client_encoding()))`, `octet_length(message::text)`}},
		},
		{
			Breaks: "a header with a character that UTF-8 lacks keeps all others waiting", By: worker("TestACharacterThatUTF8LacksStopsNoOther"),
			Edits: []Edit{{sql + "look.sql", `octet_length(convert_to(headers::text, pg_client_encoding()))`, `octet_length(headers::text)`}},
		},
		{
			Breaks: "a read takes what another has locked", By: queue("TestFetchPassesOverWhatAnotherReadHasLocked"),
			Edits: []Edit{{sql + "fetch.sql", `     for update skip locked`, `     for update`}},
		},
		{
			Breaks: "a lost lease is taken for a lost reply", By: queue("TestFatesTellALostLeaseFromALostReply"),
			Edits: []Edit{{dir + "queue/settle.go", `case !asked[l].Unsure:`, `case false:`}},
		},

		{
			Breaks: "an order of any later time is the message's", By: queue("TestMessagesAreTheirOrders"),
			Edits: []Edit{{sql + "identify.sql", `m.created_at + interval '15 hours'`, `m.created_at + interval '15 days'`}},
		},
		{
			Breaks: "an idle consumer is ready though nothing can be written", By: worker("TestAnIdleConsumerKnowsThatNothingCanBeWritten"),
			Edits: []Edit{{dir + "fetch/poller.go", `p.noteReadOnly(seen.ReadOnly)`, `p.noteReadOnly(false)`}},
		},
		{
			Breaks: "a read whose count does not rise is a lease", By: queue("TestWhatATriggerUndoesIsNotTakenForWritten"),
			Edits: []Edit{{sql + "fetch.sql", `q.vt > taken.vt and q.read_ct = taken.read_ct`, `q.vt > taken.vt`}},
		},
		{
			Breaks: "an extension that is undone is one", By: queue("TestWhatATriggerUndoesIsNotTakenForWritten"),
			Edits: []Edit{{sql + "extend.sql", ` where stands
`, ``}},
		},
		{
			Breaks: "a nack whose delay is undone is one", By: queue("TestWhatATriggerUndoesIsNotTakenForWritten"),
			Edits: []Edit{{sql + "nack.sql", `(select msg_id from back where stands)`, `(select msg_id from back)`}},
		},
		{
			Breaks: "a batch of nacks takes time by the square of its size", By: queue("TestPlansHoldWhateverThePlannerBelieves"),
			Edits: []Edit{{sql + "nack.sql", `(select distinct on (id) id, attempt, error
            from free
`, `(select distinct on (order_id) order_id as id, attempt, error
            from back
           where order_id in (select id from free)
`}},
		},
		{
			Breaks: "a batch of acks with work takes time by the square of its size", By: queue("TestPlansHoldWhateverThePlannerBelieves"),
			Edits: []Edit{{sql + "acked_open.sql", `       null, null
  from gone
`, `       null, null
  from gone join done on done.id = gone.order_id
`}},
		},
		{
			Breaks: "a release that is undone is one", By: queue("TestWhatATriggerUndoesIsNotTakenForWritten"),
			Edits: []Edit{{sql + "release.sql", `where stands`, ``}},
		},

		// What becomes of an attempt.
		{
			Breaks: "a lease that ran out counts as a failure", Quick: true, By: decides,
			Edits: []Edit{{dir + "ending/event.go", `errors.Is(e.Cause, handler.ErrLeaseExpired) || `, ``}},
		},
		{
			Breaks: "a drain counts as a failure", By: decides,
			Edits: []Edit{{dir + "ending/event.go", `(errors.Is(e.Cause, handler.ErrDraining) || `, `(`}},
		},
		{
			Breaks: "one attempt more than allowed", By: decides,
			Edits: []Edit{{dir + "ending/rules.go", `if m.Attempt >= r.maxAttempts {`, `if m.Attempt > r.maxAttempts {`}},
		},
		{
			Breaks: "a permanent error is tried again", By: decides,
			Edits: []Edit{{dir + "ending/event.go", `case handler.IsPermanent(e.Err):`, `case handler.IsPermanent(e.Err) && false:`}},
		},
		{
			Breaks: "what is not known to be written is taken for done", By: worker("TestWhatIsNotKnownToBeWrittenIsWrittenAgain"),
			Edits: []Edit{{dir + "settle/write.go", `case !known, fate == queue.StillOurs,`, `case !known:
			l.done(item)
		case fate == queue.StillOurs,`}},
		},
		{
			Breaks: "of a refused batch the second half is dropped after an error", By: worker("TestALostConnectionInTheMiddleOfARefusedBatchLosesNothing"),
			Edits: []Edit{{dir + "settle/write.go", `	return errors.Join(l.write(ctx, one), l.write(ctx, two))`, `	if err := l.write(ctx, one); err != nil {
		return errors.Join(err)
	}
	return l.write(ctx, two)`}},
		},
		{
			Breaks: "a lease is not extended while its ack waits", By: lease("TestALeaseIsExtendedUntilItsEndIsDecidedOrWritten"),
			Edits: []Edit{{dir + "lease/claims.go", `d.stage <= Acking`, `d.stage < Acking`}},
		},
		{
			Breaks: "heartbeat and ack write about one lease at the same time", By: lease("TestOnlyOneWritesAboutALeaseAtATime"),
			Edits: []Edit{{dir + "lease/claims.go", ` && d.claimedBy == unclaimed }`, ` }`}},
		},
		{
			Breaks: "the backoff does not grow", By: goTest(consumer, "./internal/backoff", "TestTheBoundGrowsToTheCapAndNoFurther"),
			Edits: []Edit{{dir + "backoff/backoff.go", `bound *= p.Multiplier`, `bound *= 1`}},
		},
		{
			Breaks: "the backoff has no jitter", By: goTest(consumer, "./internal/backoff", "TestDelaysStayWithinTheirBoundAndUseAllOfIt"),
			Edits: []Edit{{dir + "backoff/backoff.go", `return rand.N(p.Bound(attempt) + 1)`, `return p.Bound(attempt) - rand.N(time.Duration(1))`}},
		},
		{
			Breaks: "the doctor does not miss the right to delete", By: goTest(consumer, "./internal/doctor", "TestEachMissingRightIsNoticed"),
			Edits: []Edit{{dir + "doctor/sql/rights.sql", ` and has_table_privilege($1, 'delete')`, ``}},
		},
		{
			Breaks: "the doctor asks question by question", By: goTest(consumer, "./internal/doctor", "TestAnExaminationIsTwoTransactions"),
			Edits: []Edit{{dir + "doctor/doctor.go", `err := askTogether(ctx, conn, slices.Concat(always, withTables))`, `err := askEach(ctx, conn, slices.Concat(always, withTables))`}},
		},
		{
			Breaks: "what the doctor may not see hides the rest from it", By: goTest(consumer, "./internal/doctor", "TestWhatMayNotBeSeenHidesNothingElse"),
			Edits: []Edit{{dir + "doctor/doctor.go", `if queue.Answered(err) {`, `if false {`}},
		},
		{
			Breaks: "the doctor has a paused queue scaled out", By: goTest(consumer, "./internal/doctor", "TestWhatStopsTheQueueIsTheAnswerToItsLag"),
			Edits: []Edit{{dir + "doctor/findings.go", `(f.Gate.Paused() || f.Gate.Open): //`, `f.Gate.Open: //`}},
		},
		{
			Breaks: "a function without its HANDLER has its orders completed with nothing done", By: goTest(consumer, "./internal/config", "TestADestinationWithoutItsHandlerIsRefused"),
			Edits: []Edit{{dir + "config/check.go", `case c.EffectFunction != "":`, `case false:`}},
		},
		{
			Breaks: "a handler's own metrics are not served", By: goTest(consumer, "./consumer", "TestMetricsOfTheHandlerAreServed"),
			Edits: []Edit{{dir + "app/consume.go", `all = append(all, a.Metrics)`, `_ = a.Metrics`}},
		},
		{
			Breaks: "an order may have the id 0", By: goTest(consumer, "./internal/message", "TestPoisonIsNamed"),
			Edits: []Edit{{consumer + "/internal/message/message.go", `case err != nil || n < 1:`, `case err != nil:`}},
		},
		{
			Breaks: "a later effect moves the time of the first", By: queue("TestAckCountsEveryEffectSoThatADuplicateShows"),
			Edits: []Edit{{consumer + "/internal/queue/sql/effect.sql", `completed_at = coalesce(o.completed_at, clock_timestamp())`, `completed_at = clock_timestamp()`}},
		},
		{
			Breaks: "a completed order stays marked as buried", By: queue("TestAckCountsEveryEffectSoThatADuplicateShows"),
			Edits: []Edit{{consumer + "/internal/queue/sql/effect.sql", `last_error = null,
         dead_at = null`, `last_error = null`}},
		},
	}
}

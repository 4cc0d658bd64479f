package mutants

// attemptMutants break what counts as an attempt, and what is done about messages whose consumers died.
func attemptMutants() []Mutant {
	const dir = consumer + "/internal/"
	const sql = dir + "queue/sql/"
	worker := func(name string) Test { return goTest(consumer, "./internal/worker", name) }
	lease := func(name string) Test { return goTest(consumer, "./internal/lease", name) }
	fetch := func(name string) Test { return goTest(consumer, "./internal/fetch", name) }
	ending := func(name string) Test { return goTest(consumer, "./internal/ending", name) }
	queue := func(name string) Test { return goTest(consumer, "./internal/queue", name) }
	return []Mutant{
		{
			Breaks: "a delivery without an answer counts as an attempt", By: worker("TestWhatACrashLeavesBehindHasHadNoAttempt"),
			Edits: []Edit{{dir + "message/message.go", `int(m.Failed+m.Crashes) + 1`, `int(m.Failed+m.Crashes+m.Unanswered) + 1`}},
		},
		{
			Breaks: "a hand-back counts as a delivery without an answer", By: queue("TestADeliveryWithoutAnAnswerIsRemembered"),
			Edits: []Edit{{sql + "release.sql", `'orderflow-unanswered', ours.unanswered)`, `'orderflow-unanswered', ours.unanswered + 1)`}},
		},
		{
			Breaks: "a hand-back is taken for an answer", By: queue("TestADeliveryWithoutAnAnswerIsRemembered"),
			Edits: []Edit{{sql + "release.sql", `'orderflow-unanswered', ours.unanswered)`, `'orderflow-unanswered', 0 * ours.unanswered)`}},
		},
		{
			Breaks: "a first read without an answer is forgotten", By: queue("TestDeliveriesWithoutAnAnswerAreCountedWhoeverElseReads"),
			Edits: []Edit{{dir + "queue/queue.go", `" then 1 else 0 end"`, `" then 0 else 0 end"`}},
		},
		{
			Breaks: "a first read that failed is taken for one without an answer", By: queue("TestDeliveriesWithoutAnAnswerAreCountedWhoeverElseReads"),
			Edits: []Edit{{dir + "queue/queue.go", `array['orderflow-unanswered', 'orderflow-retry']`, `array['orderflow-unanswered']`}},
		},
		{
			Breaks: "a first read is neither counted nor marked", By: queue("TestDeliveriesWithoutAnAnswerAreCountedWhoeverElseReads"),
			Edits: []Edit{{sql + "fetch.sql", `case when taken.unread then q.enqueued_at +`, `case when taken.unread and q.headers is null then q.enqueued_at +`}},
		},
		{
			Breaks: "a message of another sender is marked, and nobody can tell", By: queue("TestDeliveriesWithoutAnAnswerAreCountedWhoeverElseReads"),
			Edits: []Edit{{sql + "fetch.sql", `then message ->> 'created_at' = {written_enqueued_at} else false end as unread`, `then true else false end as unread`}},
		},
		{
			Breaks: "a first read writes the headers", By: queue("TestAFirstReadLeavesTheHeadersAsTheyAre"),
			Edits: []Edit{{sql + "fetch.sql", `case when read_ct = 0 and not compressed`, `case when read_ct < 0 and not compressed`}},
		},
		{
			Breaks: "the api's messages cannot be marked", By: goTest(api, "./internal/orders", "TestAMessageIsEnqueuedWhenItsOrderIsCreated"),
			Edits: []Edit{{api + "/internal/orders/publish.sql", `        f.msg_id,
        f.created_at,
        f.created_at,`, `        f.msg_id,
        now(),
        f.created_at,`}},
		},
		{
			Breaks: "a failure is not taken for an answer", By: queue("TestADeliveryWithoutAnAnswerIsRemembered"),
			Edits: []Edit{{sql + "nack.sql", ` - 'orderflow-unanswered')`, `)`}},
		},
		{
			Breaks: "a start that has its answer is taken for a crash", By: queue("TestAStartThatIsKnownAndHasNoAnswerIsAnAttempt"),
			Edits: []Edit{{dir + "queue/queue.go", `"#- array['orderflow-started', q.read_ct::text]"`, `"#- array['orderflow-started', q.read_ct::text || 'x']"`}},
		},
		{
			Breaks: "a start is made known under another's lease", By: queue("TestNothingIsWrittenUnderAStaleLease"),
			Edits: []Edit{{sql + "start.sql", `   and q.read_ct = $2::integer`, `   and q.read_ct >= $2::integer`}},
		},
		{
			Breaks: "a suspect is worked on in full company", By: worker("TestSuspectsAreWorkedOnInEverSmallerCompany"),
			Edits: []Edit{{dir + "lease/company.go", `n < s.Of(c.concurrency)`, `n < c.concurrency`}},
		},
		{
			Breaks: "others overtake a suspect that waits to be alone", By: lease("TestASuspectIsWorkedOnInSmallCompanyAndNobodyOvertakesIt"),
			Edits: []Edit{{dir + "lease/company.go", `c.turn != mine ||`, `c.turn > mine ||`}},
		},
		{
			Breaks: "what there is no room for beside a suspect is kept", By: fetch("TestSuspectsLeaveLessRoom"),
			Edits: []Edit{{dir + "fetch/demand.go", `return kept[:room], kept[room:]`, `return kept, nil`}},
		},
		{
			Breaks: "a suspect is handed back for ever", By: fetch("TestSuspectsLeaveLessRoom"),
			Edits: []Edit{{dir + "fetch/demand.go", `cmp.Compare(b.Suspicion(), a.Suspicion())`, `cmp.Compare(a.Suspicion(), b.Suspicion())`}},
		},
		{
			Breaks: "the start of what is worked on alone is not made known", By: worker("TestSuspectsAreWorkedOnInEverSmallerCompany"),
			Edits: []Edit{{dir + "worker/workers.go", `alone := w.held.Alone(d)`, `alone := w.held.Alone(d) && false`}},
		},
		{
			Breaks: "a consumer that was cut off is taken for dead", By: worker("TestALateAnswerTakesTheCrashBack"),
			Edits: []Edit{{dir + "settle/write.go", `fate == queue.Lost && !item.doubtful {`, `fate == queue.Lost && false {`}},
		},
		{
			Breaks: "an order whose handler comes back too late has no answer", By: worker("TestALateAnswerTakesTheCrashBack"),
			Edits: []Edit{{dir + "settle/settler.go", `	if !s.needs.Held.Decide(d, next) {`, `	if !s.needs.Held.Decide(d, next) || d.Lost() {`}},
		},
		{
			Breaks: "who was alone makes room before its end is written", By: lease("TestWhoWasAloneMakesRoomWhenItsEndIsWritten"),
			Edits: []Edit{{dir + "lease/set.go", `= running, now, deadline, known, known, cancel`, `= running, now, deadline, known, false, cancel`}},
		},
		{
			Breaks: "an end that cannot be written keeps everybody waiting", By: worker("TestASuspectWhoseEndCannotBeWrittenKeepsNobodyWaiting"),
			Edits: []Edit{{dir + "settle/write.go", `	l.Held.AdmitBeside(o.delivery)
`, ``}},
		},
		{
			Breaks: "one crash more than allowed", By: ending("TestHowADeliveryEnds"),
			Edits: []Edit{{dir + "ending/rules.go", `int(m.Crashes) >= min(`, `int(m.Crashes) > min(`}},
		},
		{
			Breaks: "a message that was never tried has had an attempt", By: worker("TestAMessageThatKillsItsConsumersIsCondemnedAlone"),
			Edits: []Edit{{dir + "settle/outcome.go", `queue.EntryOf(&o.delivery.Message, !o.Untried)`, `queue.EntryOf(&o.delivery.Message, true)`}},
		},
	}
}

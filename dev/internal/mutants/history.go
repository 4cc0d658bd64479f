package mutants

// historyMutants break what an order's history tells, and that it is in nobody's way.
func historyMutants() []Mutant {
	const (
		dir       = consumer + "/internal/"
		sql       = dir + "queue/sql/"
		migration = api + "/internal/schema/migrations/00010_history.sql"
		seeing    = api + "/internal/schema/migrations/00016_seeing.sql"
	)
	queue := func(test string) Test { return goTest(consumer, "./internal/queue", test) }
	worker := func(test string) Test { return goTest(consumer, "./internal/worker", test) }
	lease := func(test string) Test { return goTest(consumer, "./internal/lease", test) }
	ending := func(test string) Test { return goTest(consumer, "./internal/ending", test) }
	schema := func(test string) Test { return goTest(api, "./internal/schema", test) }
	stories := goTest(api, "./internal/history", "TestStories")
	explains := goTest("dev", "./internal/chaos", "TestAStoryThatDoesNotExplainItsOrderIsWrong")
	logs := goTest("dev", "./internal/chaos", "TestStoriesAreComparedWithTheLogs")
	return []Mutant{
		// What the consumer tells.
		{
			Breaks: "what did not succeed is not told", By: queue("TestEachDeliveryThatDidNotSucceedIsTold"),
			Edits: []Edit{{sql + "noted.sql", `filter (where story is not null)`, `filter (where false)`}},
		},
		{
			Breaks: "a burial is not told", By: queue("TestEachDeliveryThatDidNotSucceedIsTold"),
			Edits: []Edit{{sql + "bury.sql", `ready.story, null::timestamptz as vt`, `null::jsonb as story, null::timestamptz as vt`}},
		},
		{
			Breaks: "the history is not asked for, and so not told", By: queue("TestEachDeliveryThatDidNotSucceedIsTold"),
			Edits: []Edit{{sql + "release.sql", `
   and (select noted from noted) is not null`, ``}},
		},
		{
			Breaks: "nobody tells of what had no answer", By: worker("TestTheHistoryTellsOfConsumersThatDied"),
			Edits: []Edit{{dir + "queue/fetch.go", `len(unanswered) > 0`, `len(unanswered) < 0`}},
		},
		{
			Breaks: "a crash is told as a lease that ran out", By: worker("TestTheHistoryTellsOfConsumersThatDied"),
			Edits: []Edit{{dir + "queue/history.go", `if last.ReadCount > 0 {`, `if last.ReadCount < 0 {`}},
		},
		{
			Breaks: "a crash is told twice", By: worker("TestTheHistoryTellsOfConsumersThatDied"),
			Edits: []Edit{{dir + "queue/history.go", `if last.ReadCount != m.ReadCount-1 {`, `if last.ReadCount != m.ReadCount {`}},
		},
		{
			Breaks: "who comes too late is not told of", By: worker("TestTheHistoryTellsOfHandBacksAndLostLeases"),
			Edits: []Edit{{dir + "settle/write.go", `e.History = item.history(queue.OutcomeLeaseLost)`, `e.History = nil`}},
		},
		{
			Breaks: "who hears of its loss from the heartbeat is not told of", By: worker("TestTheHistoryTellsOfALostLeaseThatTheHeartbeatNotices"),
			Edits: []Edit{{dir + "settle/settler.go", `	if !s.needs.Held.Decide(d, next) {`, `	if !s.needs.Held.Decide(d, next) || d.Lost() {`}},
		},
		{
			Breaks: "a late answer leaves the crash that it was taken for", By: queue("TestAKnownStartWithoutAnAnswerIsACrashUntilTheAnswerComes"),
			Edits: []Edit{{sql + "late.sql", `then 0 end`, `then null end`}},
		},
		{
			Breaks: "a lost lease is told as an attempt", By: worker("TestTheHistoryTellsOfHandBacksAndLostLeases"),
			Edits: []Edit{{sql + "late.sql", `'attempt', case when`, `'not_attempt', case when`}},
		},
		{
			Breaks: "a timeout is told as a failure", By: ending("TestWhatTheHistoryCallsAnEnding"),
			Edits: []Edit{{dir + "ending/ending.go", `	case timeout:
		return queue.OutcomeTimedOut
`, ``}},
		},
		{
			Breaks: "times are those of the consumer's clock", By: lease("TestTheStampsAreTheDatabases"),
			Edits: []Edit{{dir + "lease/delivery.go", `message.InstantOf(leased.Add(moment.Sub(d.read)))`, `message.InstantOf(moment.Add(0 * leased.Sub(d.read)))`}},
		},
		{
			Breaks: "a second effect changes when the order was started", By: queue("TestAnOrderThatSucceedsAtOnceCostsNoRowAndSaysWhenItWasStarted"),
			Edits: []Edit{{sql + "effect.sql", `case when o.completed_at is null then effect.started else o.started_at end`, `effect.started`}},
		},
		{
			Breaks: "the doctor does not miss the right to tell", By: goTest(consumer, "./internal/doctor", "TestEachMissingRightIsNoticed"),
			Edits: []Edit{{dir + "doctor/sql/rights.sql", `proname = 'note_history')),`, `proname = 'not_written')),`}},
		},

		// What the database makes of it.
		{
			Breaks: "a history that cannot be written fails the settlement", By: schema("TestAHistoryThatCannotBeWrittenIsAWarning"),
			Edits: []Edit{{migration, `    raise warning 'the history`, `    raise exception 'the history`}},
		},
		{
			Breaks: "a lock on the history is waited for as long as it lasts", By: schema("TestAHistoryThatCannotBeWrittenIsAWarning"),
			Edits: []Edit{{migration, `set lock_timeout = '200ms'
`, ``}},
		},
		{
			Breaks: "an order's history grows for ever", By: schema("TestAnOrderHasFortyRowsAtMost"),
			Edits: []Edit{{migration, `case when n.seq <= 20 then n.seq else 21 + (n.seq - 21) % 20 end`, `n.seq`}},
		},
		{
			Breaks: "the first rows give way, too", By: schema("TestAnOrderHasFortyRowsAtMost"),
			Edits: []Edit{{migration, `case when n.seq <= 20 then n.seq else 21 + (n.seq - 21) % 20 end`, `1 + (n.seq - 1) % 40`}},
		},
		{
			Breaks: "a delivery is told as often as somebody says so", By: schema("TestADeliveryIsToldOnce"),
			Edits: []Edit{{migration, `a.enqueued_at = e.enqueued_at and a.read_ct = e.read_ct) as same`, `false) as same`}},
		},
		{
			Breaks: "an answer gives way to nobody's", By: schema("TestADeliveryIsToldOnce"),
			Edits: []Edit{{migration, `then e.read_ct > known.read_ct`, `then true`}},
		},
		{
			Breaks: "each hand-back has a row", By: schema("TestHandBacksInARowAreOneRow"),
			Edits: []Edit{{migration, `or k.outcome = 'released' and`, `or false and`}},
		},
		{
			Breaks: "hand-backs for different reasons are one", By: schema("TestHandBacksInARowAreOneRow"),
			Edits: []Edit{{migration, `                    and k.started_at is null and e.started_at is null
`, ``}},
		},
		{
			Breaks: "orders that are not there have a history", By: schema("TestOnlyOrdersThatAreThereHaveAHistory"),
			Edits: []Edit{{migration, `join public.orders o on o.id = any (array[e.order_id]) and o.created_at = e.created_at
`, `left join public.orders o on o.id = any (array[e.order_id]) and o.created_at = e.created_at
`}},
		},
		{
			Breaks: "a redrive is not told", By: schema("TestARedriveIsTold"),
			Edits: []Edit{{seeing, `            perform orderflow.note_history(`, `            perform pg_catalog.jsonb_typeof(`}},
		},
		{
			Breaks: "a requeue is not told", By: schema("TestWhatAnOperatorDoesIsTold"),
			Edits: []Edit{{seeing, `
        perform orderflow.note_history(jsonb_build_array(`, `
        perform pg_catalog.jsonb_typeof(jsonb_build_array(`}},
		},
		{
			Breaks: "a deleted dead letter is not told", By: schema("TestWhatAnOperatorDoesIsTold"),
			Edits: []Edit{{seeing, `        perform orderflow.note_history(entries);`, `        perform pg_catalog.jsonb_typeof(entries);`}},
		},
		{
			Breaks: "a letter that is deleted ends an order that has gone on without it", By: schema("TestWhatAnOperatorDoesIsTold"),
			Edits: []Edit{{seeing, `        where o.status = 'dead'
`, `        where true
`}},
		},
		{
			Breaks: "nobody knows who has redriven an order", By: schema("TestWhatAnOperatorDoesIsTold"),
			Edits: []Edit{{seeing, `nullif(current_setting('orderflow.operator', true), '')`, `null`}},
		},
		{
			Breaks: "the api does not say who deletes a dead letter", By: goTest(api, ".", "TestHistoryTellsOfADeletedDeadLetter"),
			Edits: []Edit{{api + "/internal/queue/deadletters.go", `if err := by.Sign(ctx, tx); err != nil {`, `if err := tx.Conn().Ping(ctx); err != nil {`}},
		},
		{
			Breaks: "a consumer may remove what is told", By: schema("TestTheHistoryIsWrittenThroughItsFunctionOnly"),
			Edits: []Edit{{api + "/internal/schema/grants.go", `		grant{on: onFunction, object: noteHistory, privileges: []string{"execute"}},
`, `		grant{on: onFunction, object: noteHistory, privileges: []string{"execute"}},
		grant{on: onTable, object: historyTable, privileges: []string{"select", "delete"}},
`}},
		},

		// What the api makes of it.
		{
			Breaks: "a wait begins with the order, whatever came between", By: stories,
			Edits: []Edit{{api + "/internal/history/events.go", `		t.due = *r.retry
`, `		_ = *r.retry
`}},
		},
		{
			Breaks: "an order is queued before it is accepted", By: stories,
			Edits: []Edit{{api + "/internal/history/events.go", `sent.After(o.created)`, `!sent.IsZero()`}},
		},
		{
			Breaks: "an order dies after its dead letter was deleted", By: stories,
			Edits: []Edit{{api + "/internal/history/events.go", `		t.died() // before this release, which noted nothing
`, ``}},
		},
		{
			Breaks: "attempts of which nothing is known are not mentioned", By: stories,
			Edits: []Edit{{api + "/internal/history/events.go", `if missing <= 0 || t.gap {`, `if true || missing <= 0 || t.gap {`}},
		},
		{
			Breaks: "what is not kept is not mentioned", By: stories,
			Edits: []Edit{{api + "/internal/history/events.go", `if r.seq > next {`, `if r.seq > next+1000 {`}},
		},
		{
			Breaks: "another order's history is told", By: goTest(api, ".", "TestHistoryTellsAnOrdersStory"),
			Edits: []Edit{{api + "/internal/history/read.go", ` and h.created_at = o.created_at`, ``}},
		},
		{
			Breaks: "the trace goes away with the message", By: goTest(api, ".", "TestHistoryTellsAnOrdersStory"),
			Edits: []Edit{{api + "/internal/orders/publish.sql", `substring(f.traceparent from 4 for 32)::uuid end`, `null::uuid end`}},
		},

		// What judges it.
		{
			Breaks: "a story whose attempts are not told explains its order", By: explains,
			Edits: []Edit{{"dev/internal/chaos/story.go", `(missing < 0 || missing > late)`, `(missing < -9 || missing > 9)`}},
		},
		{
			Breaks: "a wait that nothing explains is explained", By: explains,
			Edits: []Edit{{"dev/internal/chaos/story.go", `exact && apart != 0 ||`, `exact && apart < 0 ||`}},
		},
		{
			Breaks: "times that run backwards explain an order", By: explains,
			Edits: []Edit{{"dev/internal/chaos/story.go", `if m.at.Before(*last.at) {`, `if m.at.Before(time.Time{}) {`}},
		},
		{
			Breaks: "what only the logs know is overlooked", By: logs,
			Edits: []Edit{{"dev/internal/chaos/story.go", `		left[l] = true
`, `		left[l] = true
		delete(left, l)
`}},
		},
	}
}

package mutants

// loadMutants break how a consumer decides what to read.
func loadMutants() []Mutant {
	const file = consumer + "/internal/fetch/demand.go"
	fetch := func(name string) Test { return goTest(consumer, "./internal/fetch", name) }
	worker := func(name string) Test { return goTest(consumer, "./internal/worker", name) }
	queue := func(name string) Test { return goTest(consumer, "./internal/queue", name) }
	schema := func(name string) Test { return goTest(api, "./internal/schema", name) }
	const (
		front  = consumer + "/internal/fetch/front.go"
		sql    = consumer + "/internal/queue/sql/"
		fronts = api + "/internal/schema/migrations/00018_fronts.sql"
	)
	return []Mutant{
		{
			Breaks: "a program's own handler gets another collector", By: goTest(consumer, "./internal/app", "TestTheCollectorIsAsTheEnvironmentSaysAndElseOurs"),
			Edits: []Edit{{consumer + "/internal/app/collector.go", `a.Handler == nil && os`, `os`}},
		},
		{
			Breaks: "GOGC is not heeded", By: goTest(consumer, "./internal/app", "TestTheCollectorIsAsTheEnvironmentSaysAndElseOurs"),
			Edits: []Edit{{consumer + "/internal/app/collector.go", ` && os.Getenv("GOGC") == ""`, ` && os.Args != nil`}},
		},
		{
			Breaks: "reads begin at the front for ever while they are full", By: fetch("TestReadsBeginAtTheFrontForASecondWhileTheyAreFull"),
			Edits: []Edit{{front, `b.Watermark.IsZero() && !b.Front && b.Messages`, `b.Watermark.IsZero() && b.Messages`}},
		},
		{
			Breaks: "a read that was not full leaves what is before the front", By: fetch("TestReadsBeginAtTheFrontForASecondWhileTheyAreFull"), Quick: true,
			Edits: []Edit{{front, `	case !full:
		f.until = time.Time{}
`, `	case !full:
`}},
		},
		{
			Breaks: "reads at the watermark are taken for some from the beginning", By: fetch("TestTheFrontAndTheWatermarkDoNotTakeEachOthersReadsForWholeOnes"),
			Edits: []Edit{{front, `b.Watermark.IsZero() && !b.Front && b.Messages`, `!b.Front && b.Messages`}},
		},
		{
			Breaks: "reads at the front are taken for looks at all of it", By: fetch("TestTheFrontAndTheWatermarkDoNotTakeEachOthersReadsForWholeOnes"),
			Edits: []Edit{{consumer + "/internal/fetch/fetcher.go", `	if !want.Front { // what`, `	if want.Front || true { // what`}},
		},
		{
			Breaks: "small reads begin at the front", By: fetch("TestSmallReadsBeginAtTheBeginning"),
			Edits: []Edit{{front, `return messages >= queue.MovesFront && f.now`, `return messages > 0 && f.now`}},
		},
		{
			Breaks: "small reads stand for large ones from the beginning", By: fetch("TestSmallReadsBeginAtTheBeginning"),
			Edits: []Edit{{front, `!b.Front && b.Messages >= queue.MovesFront:`, `!b.Front:`}},
		},
		{
			Breaks: "a read at a watermark moves the front back", By: queue("TestAReadFromAWatermarkMovesTheFrontAheadOnly"),
			Edits: []Edit{{consumer + "/internal/queue/queue.go", ` and $3::timestamptz = '-infinity')`, `)`}},
		},
		{
			Breaks: "a read at the front looks at what is before it", By: queue("TestAReadAtTheFrontPassesOverWhatIsBefore"),
			Edits: []Edit{{sql + "fetch.sql", `where $7::boolean and at <`, `where false and $7::boolean and at <`}},
		},
		{
			Breaks: "the front is believed to the last moment", By: queue("TestTheFrontIsNotBelievedWithinTheLastSecond"), Quick: true,
			Edits: []Edit{{sql + "fetch.sql", ` and at < statement_timestamp() - interval '1 second'`, ``}},
		},
		{
			Breaks: "a read of one message moves the front", By: queue("TestAReadAtTheFrontPassesOverWhatIsBefore"),
			Edits: []Edit{{sql + "fetch.sql", `having count(*) >= {moves_front}`, `having count(*) >= 1`}},
		},
		{
			Breaks: "messages due since ever make reads fail", By: queue("TestMessagesDueSinceEverMoveTheFrontToo"),
			Edits: []Edit{{consumer + "/internal/queue/queue.go", `greatest(max(vt), '2000-01-01')`, `max(vt)`}},
		},
		{
			Breaks: "a queue without a front is not read", By: queue("TestAQueueWithoutAFrontIsRead"),
			Edits: []Edit{{consumer + "/internal/queue/queue.go", `	if d.Front {`, `	if d.Front || true {`}},
		},
		{
			Breaks: "a front that may not be moved is", By: queue("TestAFrontIsUsedOnlyWithTheRightTo"),
			Edits: []Edit{{sql + "describe.sql", ` and pg_catalog.has_sequence_privilege(front.oid, 'update')`, ``}},
		},
		{
			Breaks: "a read at the front moves it over what another one has found before it", By: schema("TestAFrontMovesAheadAndNotOverOneThatWasMovedBack"),
			Edits: []Edit{{fronts, `current >= began and current < reached`, `current < reached`}},
		},
		{
			Breaks: "a read at the front moves it back", By: schema("TestAFrontMovesAheadAndNotOverOneThatWasMovedBack"),
			Edits: []Edit{{fronts, `current >= began and current < reached`, `current >= began`}},
		},
		{
			Breaks: "a front is for no role that leases already", By: schema("TestAFrontIsForThoseWhoLease"),
			Edits: []Edit{{fronts, `a.privilege_type = 'UPDATE'`, `a.privilege_type = 'TRUNCATE'`}},
		},
		{
			Breaks: "a delivery that has ended is handed back as well", By: fetch("TestWhatNoWorkerTakesIsHandedBack"),
			Edits: []Edit{{consumer + "/internal/fetch/buffer.go", `if b.held.Decide(d, lease.Leaving) {`, `if b.held.Decide(d, lease.Leaving) || true {`}},
		},
		{
			Breaks: "reads do not grow with quick handlers", By: fetch("TestReadsGrowWithQuickHandlersAndShrinkWithSlowOnes"),
			Edits: []Edit{{file, `d.grown = min(2*d.grown, d.Most())`, `d.grown = d.least()`}},
		},
		{
			Breaks: "reads do not shrink with slow handlers", By: fetch("TestReadsGrowWithQuickHandlersAndShrinkWithSlowOnes"),
			Edits: []Edit{{file, `d.grown = max(min(d.grown, d.soon()), d.least())`, `d.grown = max(d.grown, d.least())`}},
		},
		{
			Breaks: "BATCH_SIZE is no bound", By: fetch("TestReadsGrowWithQuickHandlersAndShrinkWithSlowOnes"),
			Edits: []Edit{{file, `cmp.Or(d.limits.Batch, mostRead)`, `max(d.limits.Batch, mostRead)`}},
		},
		{
			Breaks: "a read that was not full makes the next one larger", By: fetch("TestReadsGrowWithQuickHandlersAndShrinkWithSlowOnes"),
			Edits: []Edit{{file, `if r.got >= d.grown {`, `if r.got > 0 {`}},
		},
		{
			Breaks: "a consumer reads ahead for a quarter of a second", By: fetch("TestPrefetchAdaptsToHowLongHandlersTake"),
			Edits: []Edit{{file, `min(readsAhead*d.roundTrip, longestAhead)`, `longestAhead`}},
		},
		{
			Breaks: "a consumer takes as much as it can", By: fetch("TestConsumersShareASmallBacklogEvenly"),
			Edits: []Edit{{file, `		return min(d.soon(), 2*d.grown)`, `		return 2 * mostRead`}, {file, `d.grown = max(min(d.grown, d.soon()), d.least())`, `d.grown = max(d.Most(), d.soon())`}},
		},
		{
			Breaks: "what was read for quick handlers waits for slow ones", By: worker("TestWhatWasReadForQuickHandlersIsHandedBackWhenTheyBecomeSlow"),
			Edits: []Edit{{file, `return held.Buffered - d.ahead()`, `return 0`}},
		},
		{
			Breaks: "what was read for quick handlers is handed back although they are", By: fetch("TestWhatWouldWaitForLongIsSurplus"),
			Edits: []Edit{{file, `held.Buffered <= d.handledIn(longestWait)`, `held.Buffered == 0`}},
		},
		{
			Breaks: "a read that takes too long is tried again as it was", By: fetch("TestReadsThatTakeTooLongAreHalved"),
			Edits: []Edit{{file, `d.batch = queue.Less(d.batch, r.wanted)`, `d.batch = r.wanted`}},
		},
	}
}

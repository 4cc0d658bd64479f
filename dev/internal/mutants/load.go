package mutants

// loadMutants break how a consumer decides what to read.
func loadMutants() []Mutant {
	const file = consumer + "/internal/fetch/demand.go"
	fetch := func(name string) Test { return goTest(consumer, "./internal/fetch", name) }
	worker := func(name string) Test { return goTest(consumer, "./internal/worker", name) }
	return []Mutant{
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

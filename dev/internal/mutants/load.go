package mutants

// loadMutants break how a consumer decides what to read.
func loadMutants() []Mutant {
	const file = consumer + "/internal/worker/load.go"
	worker := func(name string) Test { return goTest(consumer, "./internal/worker", name) }
	return []Mutant{
		{
			Breaks: "reads do not grow with quick handlers", By: worker("TestReadsGrowWithQuickHandlersAndShrinkWithSlowOnes"),
			Edits: []Edit{{file, `l.grown = min(2*l.grown, l.most())`, `l.grown = l.least()`}},
		},
		{
			Breaks: "reads do not shrink with slow handlers", By: worker("TestReadsGrowWithQuickHandlersAndShrinkWithSlowOnes"),
			Edits: []Edit{{file, `	l.grown = max(min(l.grown, soon), l.least())
`, ``}},
		},
		{
			Breaks: "BATCH_SIZE is no bound", By: worker("TestReadsGrowWithQuickHandlersAndShrinkWithSlowOnes"),
			Edits: []Edit{{file, `cmp.Or(l.settings.Batch, mostRead)`, `max(l.settings.Batch, mostRead)`}},
		},
		{
			Breaks: "a read that was not full makes the next one larger", By: worker("TestReadsGrowWithQuickHandlersAndShrinkWithSlowOnes"),
			Edits: []Edit{{file, `if got >= l.grown {`, `if got > 0 {`}},
		},
		{
			Breaks: "a consumer reads ahead for a quarter of a second", By: worker("TestPrefetchAdaptsToHowLongHandlersTake"),
			Edits: []Edit{{file, `min(readsAhead*l.roundTrip, longestAhead)`, `longestAhead`}},
		},
		{
			Breaks: "a consumer takes as much as it can", By: worker("TestConsumersShareASmallBacklogEvenly"),
			Edits: []Edit{{file, `	return min(soon, 2*l.grown)`, `	return 2 * mostRead`}, {file, `	l.grown = max(min(l.grown, soon), l.least())
`, `	l.grown = max(l.most(), soon)
`}},
		},
		{
			Breaks: "what was read for quick handlers waits for slow ones", By: worker("TestWhatWasReadForQuickHandlersIsHandedBackWhenTheyBecomeSlow"),
			Edits: []Edit{{file, `return waiting - l.ahead()`, `return 0`}},
		},
		{
			Breaks: "what was read for quick handlers is handed back although they are", By: worker("TestWhatWouldWaitForLongIsSurplus"),
			Edits: []Edit{{file, `waiting <= l.handledIn(longestWait)`, `waiting == 0`}},
		},
		{
			Breaks: "a read that takes too long is tried again as it was", By: worker("TestReadsThatTakeTooLongAreHalved"),
			Edits: []Edit{{file, `l.batch = max(wanted/2, 1)`, `l.batch = wanted`}},
		},
	}
}

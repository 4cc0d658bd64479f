package mutants

// workMutants break what the consumer promises about work in the transaction of an ack.
func workMutants() []Mutant {
	const (
		dir    = consumer + "/internal/"
		lane   = dir + "settle/ackwork.go"
		open   = dir + "queue/openack.go"
		effect = dir + "effect/"
	)
	worker := func(test string) Test { return goTest(consumer, "./internal/worker", test) }
	public := func(test string) Test { return goTest(consumer, "./consumer", test) }
	return []Mutant{
		{
			Breaks: "work that runs into others' for ever is tried for ever", By: worker("TestOrdersThatAlwaysRunIntoSomethingStarveNobody"),
			Edits: []Edit{{lane, `o.losses >= mostLosses || o.conflicts >= mostConflicts || o.overran`, `o.losses >= mostLosses || o.overran`}},
		},
		{
			Breaks: "work that ends its connection at the commit is tried for ever", By: worker("TestWorkThatFailsAtTheCommitFailsItsOrder"),
			Edits: []Edit{{lane, `if alone && b.items[0].exhausted() {`, `if alone && b.items[0].exhausted() && !f.unsure {`}},
		},
		{
			Breaks: "a silent connection is an order's failed attempt", By: worker("TestAConnectionThatGoesSilentInTheMiddleOfWorkIsNoAttempt"),
			Edits: []Edit{{lane, `failed.fault, failed.hungUp = effect.Overrun, true // nothing was committed`, `failed.fault = effect.Overrun`}},
		},
		{
			Breaks: "what a function sets for its session stays set", By: worker("TestWhatAFunctionSetsForItsSessionEndsWithItsTransaction"),
			Edits: []Edit{{open, `restore(&b, setForGood, s.After)`, `restore(&b, setLocal, s.After)`}},
		},
		{
			Breaks: "a function that is made anew fails an order", By: worker("TestAFunctionMayBeReplacedWhileConsumersRun"),
			Edits: []Edit{{effect + "function.go", `pgerrcode.UndefinedObject,
		pgerrcode.FeatureNotSupported:`, `pgerrcode.UndefinedObject:`}},
		},
		{
			Breaks: "work may undo the ack that it commits with", By: worker("TestAFunctionCanUndoOrRepeatNothing"),
			Edits: []Edit{{open, `	b.Queue(o.queue.ackStands, ids, orders, created, effects)
`, ``}},
		},
		{
			Breaks: "what was put off to the commit is not looked at before it", By: worker("TestAFunctionCanUndoOrRepeatNothing"),
			Edits: []Edit{{open, `"set constraints all immediate"`, `"select 1"`}},
		},
		{
			Breaks: "a role that work has taken stays", By: worker("TestAFunctionCanUndoOrRepeatNothing"),
			Edits: []Edit{{open, `	b.Queue("reset session authorization")
	b.Queue("reset role")
`, ``}},
		},
		{
			Breaks: "a second message does its order's work again", By: worker("TestWorkIsDoneOnceAnOrder"),
			Edits: []Edit{{lane, `if a.First && !seen[a.OrderID] {`, `if !seen[a.OrderID] {`}},
		},
		{
			Breaks: "an order completes and its work is not done", Quick: true, By: worker("TestAFunctionsEffectIsCommittedWithTheAck"),
			Edits: []Edit{{dir + "settle/settler.go", `	o.ackWork = work
`, ``}},
		},
		{
			Breaks: "a commit with work whose answer is lost is taken for another consumer's", By: worker("TestAConnectionLostAroundAnEffectNeitherLosesNorRepeatsIt"),
			Edits: []Edit{{lane, `failed.unsure = failed.fault == effect.Lost`, `failed.unsure = false`}},
		},
		{
			Breaks: "one order's failed work fails its neighbours", By: worker("TestAnErrorOfOneOrdersWorkIsItsOwn"),
			Edits: []Edit{{lane, `case f.fault == effect.Own && (alone || f.culprits[item.lease()]):`, `case f.fault == effect.Own, f.culprits == nil, f.culprits[item.lease()]:`}},
		},
		{
			Breaks: "a function that is gone fails orders", By: worker("TestAFunctionThatCannotBeCalledKeepsOrdersBack"),
			Edits: []Edit{{effect + "function.go", `if !errors.As(err, &answer) || answer.Where != "" {`, `if !errors.As(err, &answer) || true {`}},
		},
		{
			Breaks: "an order whose work is being done is not in flight", By: worker("TestWorkInTheTransactionOfTheAckIsInFlight"),
			Edits: []Edit{{dir + "lease/set.go", `InFlight: h.running + h.inAckWork`, `InFlight: h.running`}},
		},
		{
			Breaks: "a deadlock is a failed attempt", By: goTest(consumer, "./internal/effect", "TestWhoseFaultAFailureIs"),
			Edits: []Edit{{effect + "verdict.go", `code == pgerrcode.DeadlockDetected, `, ``}},
		},
		{
			Breaks: "a drain commits nothing and counts an attempt", By: worker("TestADrainRollsBackWhatIsNotOver"),
			Edits: []Edit{{lane, `ending.Returned{Err: handler.ErrDraining, Cause: handler.ErrDraining}`, `ending.Returned{Err: handler.ErrDraining}`}},
		},
		{
			Breaks: "an order whose work ends the connection is tried for ever", By: worker("TestAFunctionCanUndoOrRepeatNothing"),
			Edits: []Edit{{lane, `return o.losses >= mostLosses ||`, `return false ||`}},
		},
		{
			Breaks: "a result that was suppressed is unwritten for ever when its work fails", By: worker("TestWhatWasSuppressedAndFailsThenIsNotUnwritten"),
			Edits: []Edit{{dir + "settle/write.go", `	if planned.suppressed {
		l.Unwritten.end()
	}
`, ``}},
		},
		{
			Breaks: "a handler in Go may end the transaction of its ack", By: public("TestWhatIsLeftToTheAckIsCommittedWithIt"),
			Edits: []Edit{{effect + "statements.go", `case "begin", "start", "commit",`, `case "begin", "start",`}},
		},
		{
			Breaks: "a statement that cannot be prepared is the first order's fault", By: public("TestWhatIsLeftToTheAckIsCommittedWithIt"),
			Edits: []Edit{{effect + "statements.go", `return &FailedError{unknown, err}`, `return &FailedError{i, err}`}},
		},
	}
}

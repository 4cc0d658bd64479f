package mutants

// leaseMutants break how leases are held, and how their ends are written.
func leaseMutants() []Mutant {
	const (
		dir = consumer + "/internal/"
		sql = dir + "queue/sql/"
		set = dir + "lease/set.go"
	)
	lease := func(test string) Test { return goTest(consumer, "./internal/lease", test) }
	queue := func(test string) Test { return goTest(consumer, "./internal/queue", test) }
	worker := func(test string) Test { return goTest(consumer, "./internal/worker", test) }
	settling := func(test string) Test { return goTest(consumer, "./internal/settle", test) }
	passedOver := func(what, file string) Mutant {
		return Mutant{
			Breaks: "a message that somebody has locked keeps others waiting: " + what, By: queue("TestWhatSomebodyHoldsIsPassedOver"),
			Edits: []Edit{{sql + file, `for update of q skip locked`, `for update of q`}},
		}
	}
	return []Mutant{
		{
			Breaks: "a connection lost in the middle of a handler's work is an order's failed attempt", By: worker("TestAConnectionLostAroundAnEffectNeitherLosesNorRepeatsIt"),
			Edits: []Edit{{dir + "effect/statements.go", `!unencodable(err):
				return err`, `!unencodable(err):
				return &FailedError{i, err}`}},
		},
		{
			Breaks: "what somebody else may have read by now is admitted", By: lease("TestWhoWasAloneMakesRoomWhenItsEndIsWritten"),
			Edits: []Edit{{set, `if d.stage != buffered || !time.Now().Before(d.until) {`, `if d.stage != buffered {`}},
		},
		{
			Breaks: "a suspect that has had its end makes reads small for ever", By: lease("TestTheMostSuspectIsOneWhoseEndIsOpen"),
			Edits: []Edit{{set, `	h.suspects[d.Suspicion()]--
	if !d.stays {`, `	if !d.stays {`}},
		},
		{
			Breaks: "a suspect that was lost makes reads small for ever", By: lease("TestTheMostSuspectIsOneWhoseEndIsOpen"),
			Edits: []Edit{{set, `		h.suspects[d.Suspicion()]--
		h.dropLocked(d)`, `		h.dropLocked(d)`}},
		},
		{
			Breaks: "a suspect is alone beside a handler that does not come back", By: lease("TestBesideAHandlerThatDoesNotComeBackNobodyIsAlone"),
			Edits: []Edit{{set, `alone(h.company.concurrency) && h.stuck == 0`, `alone(h.company.concurrency)`}},
		},
		{
			Breaks: "a lease counts from when it is heard of", By: lease("TestALeaseCountsFromBeforeItWasAskedFor"),
			Edits: []Edit{{dir + "lease/delivery.go", `until := sent.Add(length)`, `until := answered.Add(length)`}},
		},
		passedOver("nack", "nack.sql"),
		passedOver("nack without the order", "nack_message_only.sql"),
		passedOver("release", "release.sql"),
		passedOver("bury", "bury.sql"),
		passedOver("extend", "extend.sql"),
		{
			Breaks: "a completed order keeps the error of an attempt before", By: worker("TestEveryOrderIsCompletedOnceAndItsFailuresAreCounted"),
			Edits: []Edit{{sql + "effect.sql", `         last_error = null,
`, ``}},
		},
		{
			Breaks: "an error is stored however long it is", By: queue("TestAnyTextIsWrittenInADatabaseOfAnyEncoding"),
			Edits: []Edit{{dir + "queue/text.go", `if len(text) > most {`, `if len(text) > 1000*most {`}},
		},
		{
			Breaks: "a lane takes orders that wait behind its work", By: worker("TestALaneLeavesToTheOthersWhatItCannotBeginWith"),
			Edits: []Edit{{dir + "settle/lane.go", `for l.ackWork == nil || len(l.pending[ending.Ack]) < l.most {`, `for {`}},
		},
		{
			Breaks: "latencies are counted in powers of two", By: queue("TestATimeIsCountedInThirdsOfPowersOfTwo"),
			Edits: []Edit{{dir + "queue/report.go", `math.Ceil(3*math.Log2(ms))`, `math.Ceil(math.Log2(ms))`}},
		},
		{
			Breaks: "a consumer's age is how often it reports", By: worker("TestAConsumerSaysHowItIsDoing"),
			Edits: []Edit{{dir + "queue/report.go", `r.Age.Seconds(), r.Every.Seconds()`, `r.Every.Seconds(), r.Age.Seconds()`}},
		},
		{
			Breaks: "work that takes too long is told as any other failure", By: worker("TestAFunctionThatTakesTooLongFailsItsOrder"),
			Edits: []Edit{{dir + "settle/ackwork.go", `		what.Cause = handler.ErrTimeout
`, ``}},
		},
		{
			Breaks: "an order has the history of the one that had its id before", By: queue("TestAMessageOfAnOrderThatHadTheIDBeforeIsSetAside"),
			Edits: []Edit{{sql + "unanswered.sql", `
 where orderflow.is_about(jsonb_build_object('created_at', m.created_at), m.msg_id, o.created_at, o.message_id)`, ``}},
		},
		{
			Breaks: "a hand-back that cannot be stored is forgotten", By: settling("TestAHandBackThatCannotBeStoredIsTriedAgain"),
			Edits: []Edit{{dir + "settle/write.go", `	if !l.instead(o, ending.Spoiled{Planned: o.Ending, Err: err}) {
		l.postpone(o)
	}`, `	l.instead(o, ending.Spoiled{Planned: o.Ending, Err: err})`}},
		},
		{
			Breaks: "a doubtful lease is given up after one look", By: settling("TestADoubtfulLeaseIsNotTakenFromWhoHasIt"),
			Edits: []Edit{{dir + "settle/write.go", `doubtfulTries = 5`, `doubtfulTries = 0`}},
		},
		{
			Breaks: "what the server refuses is asked for again at once", By: settling("TestAKindThatTheServerRefusesIsKeptBackForAWhile"),
			Edits: []Edit{{dir + "settle/lane.go", `				l.refused[op].note(time.Now())
`, ``}},
		},
		{
			Breaks: "a transaction of slow work has as many orders as there are", By: settling("TestATransactionOfSlowWorkHasFewOrders"),
			Edits: []Edit{{dir + "settle/ackwork.go", `ackWorkHorizon = 250 * time.Millisecond`, `ackWorkHorizon = 250 * time.Second`}},
		},
		{
			Breaks: "a start that has been made known is taken for a hang", By: worker("TestAfterAStartThatIsKnownTheHeartbeatRests"),
			Edits: []Edit{{dir + "pg/link.go", `	defer l.ends()
`, ``}},
		},
		{
			Breaks: "the end of one call is taken for that of the next", By: goTest(consumer, "./internal/pg", "TestACallIsOverBeforeTheNextBegins"),
			Edits: []Edit{{dir + "pg/link.go", `	defer l.mu.Unlock()
	defer l.ends()
`, `	defer l.ends()
	defer l.mu.Unlock()
`}},
		},
	}
}

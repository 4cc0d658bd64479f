package mutants

// receiverMutants make a receiver of webhooks that believes what it must not, forgets, or finds nothing wrong.
func receiverMutants() []Mutant {
	const dir = loadgen + "/internal/receive/"
	memory := func(name string) Test { return goTest(loadgen, "./internal/receive/memory", name) }
	command := func(name string) Test { return goTest(loadgen, "./internal/receive", name) }
	signed := goTest(loadgen, "./internal/receive/signature", "TestEveryPartIsSigned")
	judge := goTest("dev", "./internal/chaos", "TestJudgeReceived")
	promise := command("TestEachBrokenPromiseFails")
	return []Mutant{
		{
			Breaks: "a webhook without a valid signature is taken", Quick: true, By: signed,
			Edits: []Edit{{dir + "signature/verify.go", `if !v.signed(`, `if false && !v.signed(`}},
		},
		{
			Breaks: "a signature does not cover the webhook's id", By: signed,
			Edits: []Edit{{dir + "signature/verify.go", `append(signed, id...)`, `append(signed, "msg_1"...)`}},
		},
		{
			Breaks: "an old webhook is taken", By: signed,
			Edits: []Edit{{dir + "signature/verify.go", `away > tolerance || `, ``}},
		},
		{
			Breaks: "a receiver goes on with the keys that it began with", By: command("TestKeysInAFileAreReadAgain"),
			Edits: []Edit{{dir + "keyring.go", `	if found.Equal(k.read) {`, `	if found.Equal(k.read) || true {`}},
		},
		{
			Breaks: "a file without a key leaves a receiver without any", By: command("TestKeysInAFileAreReadAgain"),
			Edits: []Edit{{dir + "keyring.go", `	if err != nil {
		k.log.Warn(`, `	if k.keys = keys; err != nil {
		k.log.Warn(`}},
		},
		{
			Breaks: "only the first of several secrets is good", By: goTest(loadgen, "./internal/receive/signature", "TestWhatTheReferenceLibrarySignsIsValid"),
			Edits: []Edit{{dir + "signature/verify.go", `range v.Keys.secrets {`, `range v.Keys.secrets[:1] {`}},
		},
		{
			Breaks: "the receiver answers before the id is in its file", Quick: true, By: memory("TestWhatWasTakenIsInTheFile"),
			Edits: []Edit{{dir + "memory/memory.go", `return outcome, written.wait()`, `_ = written
	return outcome, nil`}},
		},
		{
			Breaks: "a restarted receiver has forgotten everything", By: memory("TestARestartForgetsNothing"),
			Edits: []Edit{{dir + "memory/file.go", `recall(parseRecord(line))`, `_ = parseRecord(line)`}},
		},
		{
			Breaks: "a state file that is damaged in the middle is cut off there", By: memory("TestADamagedEndIsCutOffAndOtherDamageStops"),
			Edits: []Edit{{dir + "memory/file.go", `case dropped > 0:`, `case false:`}},
		},
		{
			Breaks: "what could not be written counts as taken", By: memory("TestAFileThatCannotBeWrittenRefuses"),
			Edits: []Edit{{dir + "memory/file.go", `x.err = w.err`, ``}},
		},
		{
			Breaks: "the receiver answers before the disk has the id", By: memory("TestAFileThatCannotBeWrittenRefuses"),
			Edits: []Edit{{dir + "memory/file.go", `err = w.sync()`, `err = nil`}},
		},
		{
			Breaks: "a webhook that does not say when its order was made never arrived", By: memory("TestAnOrderIsFoundByItsIdAloneWhereNothingElseWasSaid"),
			Edits: []Edit{{dir + "memory/memory.go", `		place, known = m.byName[Order{ID: o.ID}]
`, ``}},
		},
		{
			Breaks: "a body that does not come is waited for for ever", By: command("TestABodyThatDoesNotComeIsNotWaitedForForEver"),
			Edits: []Edit{{dir + "receiver.go", `	_ = connection.SetReadDeadline(time.Now().Add(r.slowest)) // HTTP/1 on TCP has them
`, ``}},
		},
		{
			Breaks: "before it is answered, a body that did not come is waited for for ever", By: command("TestABodyThatDoesNotComeIsNotWaitedForForEver"),
			Edits: []Edit{{dir + "receiver.go", `	body, err := io.ReadAll(http.MaxBytesReader(w, req.Body, r.maxBody))
`, `	body, err := io.ReadAll(http.MaxBytesReader(w, req.Body, r.maxBody))
	taken()
`}},
		},
		{
			Breaks: "a receiver that can write nothing more stays", By: command("TestAReceiverWhoseMemoryHasFailedLeaves"),
			Edits: []Edit{{dir + "serve.go", `		case <-failed:
			if here {
				p.leave(0)
			}
			return errors.New("the state file cannot be written, so nothing more can be taken")
`, ``}},
		},
		{
			Breaks: "the receiver takes what it cannot remember", By: memory("TestNothingIsTakenThatCannotBeRemembered"),
			Edits: []Edit{{dir + "memory/memory.go", `return New, ErrFull`, `return New, nil`}},
		},
		{
			Breaks: "another order under a known id is a repetition like any other", By: promise,
			Edits: []Edit{{dir + "memory/memory.go", `case r.order != k.Order:`, `case false:`}},
		},
		{
			Breaks: "an order under two ids goes unnoticed", By: promise,
			Edits: []Edit{{dir + "memory/memory.go", `k.Flags = Renamed`, ``}, {dir + "memory/memory.go", `m.counts.Renamed++`, ``}},
		},
		{
			Breaks: "an order that never arrived is no fault", Quick: true, By: promise,
			Edits: []Edit{{dir + "account.go", `fault(int64(o.Never), "completed and never arrived")`, ``}},
		},
		{
			Breaks: "an order that arrived altered is no fault", By: promise,
			Edits: []Edit{{dir + "account.go", `fault(int64(o.Altered), "arrived with other data than the api shows")`, ``}},
		},
		{
			Breaks: "a forged webhook is no fault", By: promise,
			Edits: []Edit{{dir + "account.go", `fault(a.Forged(), "forged: no valid signature")`, ``}},
		},
		{
			Breaks: "answers that are held back keep others from being taken", By: command("TestSlowAnswersTakeNoRoom"),
			Edits: []Edit{{dir + "receiver.go", `defer func() { <-r.room }()`, ``}},
		},
		{
			Breaks: "anybody may order faults", By: command("TestFaultsAreOrderedFromThisMachineOrWithAToken"),
			Edits: []Edit{{dir + "control.go", `return bearer && allowed`, `return bearer`}},
		},
		{
			Breaks: "a receiver that is away listens", By: command("TestAwayMeansThatNobodyListens"),
			Edits: []Edit{{dir + "serve.go", `case away && here:`, `case false:`}},
		},
		{
			Breaks: "the receiver's faults do not fail the run", By: goTest(loadgen, "./internal/report", "TestJudge"),
			Edits: []Edit{{loadgen + "/internal/report/judge.go", `s.Faults = append(s.Faults, "receiver: "+fault)`, `_ = fault`}},
		},
		{
			Breaks: "a receiver may be told to remember nothing", By: command("TestEveryNumberHasBounds"),
			Edits: []Edit{{dir + "config.go", `c.MaxMessages >= 1 && `, `c.MaxMessages >= 0 && `}},
		},
		{
			Breaks: "no receiver is asked for its account", Quick: true, By: command("TestAnAuditAsksTheReceiver"),
			Edits: []Edit{{loadgen + "/internal/app/run.go", `if err == nil && r.cfg.ReceiverURL != "" {`, `if err == nil && r.cfg.ReceiverURL == "-" {`}},
		},
		{
			Breaks: "what the receiver found is left out of the summary", By: command("TestAnAuditAsksTheReceiver"),
			Edits: []Edit{{loadgen + "/internal/app/summary.go", `	summary.Receiver = r.received
`, ``}},
		},
		{
			Breaks: "a receiver that is asked for a run's account gives that of all orders", By: command("TestAnAuditAsksTheReceiver"),
			Edits: []Edit{{dir + "control.go", `		run = asked
`, ``}},
		},
		{
			Breaks: "chaos passes orders that never arrived", By: judge,
			Edits: []Edit{{"dev/internal/chaos/verdict.go", `r.check(o.Never == 0, `, `r.check(true, `}},
		},
		{
			Breaks: "chaos passes an order with two rows of the function's", By: goTest("dev", "./internal/chaos", "TestJudgeEffects"),
			Edits: []Edit{{"dev/internal/chaos/verdict.go", `r.check(e.Twice == 0, `, `r.check(true, `}},
		},
		{
			Breaks: "chaos passes an account of other orders", By: judge,
			Edits: []Edit{{"dev/internal/chaos/verdict.go", `r.check(o.Accepted >= r.Accepted, `, `r.check(true, `}},
		},
	}
}

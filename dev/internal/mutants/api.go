package mutants

// apiMutants break what the api promises about an order that it has answered, or not.
func apiMutants() []Mutant {
	const dir = api + "/internal/orders/"
	writer := func(test string) Test { return goTest(api, "./internal/orders", test) }
	return []Mutant{
		{
			Breaks: "large requests wait for the first writer", By: writer("TestALargeRequestNeedNotWaitForTheFirstWriter"),
			Edits: []Edit{{dir + "writers.go", `const largeFrom = 64`, `const largeFrom = 1 << 30`}},
		},
		{
			Breaks: "small requests go by the second writer", By: writer("TestWithoutLargeRequestsThereIsOneWriter"),
			Edits: []Edit{{dir + "writers.go", `const largeFrom = 64`, `const largeFrom = 2`}},
		},
		{
			Breaks: "what the second writer cannot write is not written", By: writer("TestTheFirstWriterWritesWhatTheSecondOneCannot"),
			Edits: []Edit{{dir + "writers.go", `writer == w.second && errors.Is`, `false && errors.Is`}},
		},
		{
			Breaks: "requests with one key go by both writers", By: writer("TestOneKeyHasOneWriter"),
			Edits: []Edit{{dir + "writers.go", `	if k == nil {`, `	if k == nil || true {`}},
		},
		{
			Breaks: "keys are kept after their requests", By: writer("TestOneKeyHasOneWriter"),
			Edits: []Edit{{dir + "writers.go", `k.requests == 0 {`, `k.requests < 0 {`}},
		},
		{
			Breaks: "a second writer that is not wanted connects when it is to end", By: writer("TestWithoutLargeRequestsThereIsOneWriter"),
			Edits: []Edit{{dir + "writers.go", `			case <-ctx.Done():
`, `			case <-ctx.Done():
				w.second.Run(ctx)
`}},
		},
		{
			Breaks: "each writer has room of its own", By: writer("TestBothWritersTogetherLetSoManyOrdersWait"),
			Edits: []Edit{{dir + "writers.go", `w.second.spare, w.second.room, w.second.latest = true, w.first.room, w.first.latest`, `w.second.spare = true`}},
		},
		{
			Breaks: "a client that is alone waits for company", By: writer("TestTransactionsWaitForCompanyOnlyWhereRequestsComeFast"),
			Edits: []Edit{{dir + "writer.go", `min(p.clients, gatherOrders)`, `gatherOrders`}},
		},
		{
			Breaks: "those who are waited for do not wake the writer", By: writer("TestGatheringEndsWithWhomItWaitsFor"),
			Edits: []Edit{{dir + "writer.go", `w.gathered(w.expected)`, `w.gathered(w.expected + 1)`}},
		},
		{
			Breaks: "replicas that write the same keys wait for each other in a circle", By: writer("TestReplicasDoNotWaitInACircle"),
			Edits: []Edit{{dir + "publish.sql", "    order by f.idempotency_key\n", ``}},
		},
		{
			Breaks: "an order that has lost its customer is taken for a new one", By: writer("TestWhatIsFoundUnderAKeyMayBeAnything"),
			Edits: []Edit{{dir + "publish.sql", `coalesce(f.customer_name, '')`, `f.customer_name`}},
		},
		{
			Breaks: "a null in an order that is found ends the process", By: writer("TestWhatIsFoundUnderAKeyMayBeAnything"),
			Edits: []Edit{{dir + "publish.sql", `coalesce(f.product_name, '')`, `f.product_name`}},
		},
		{
			Breaks: "an order without a customer hides all others of its page", By: writer("TestWhatIsFoundUnderAKeyMayBeAnything"),
			Edits: []Edit{{dir + "store.go", `return "coalesce(" + text + ", '')"`, `return text`}},
		},
		{
			Breaks: "an order without a quantity hides all others of its page", By: writer("TestWhatIsFoundUnderAKeyMayBeAnything"),
			Edits: []Edit{{dir + "store.go", `return "coalesce(" + column + ", 0)"`, `return column`}},
		},
		{
			Breaks: "a message that another id was given to is taken for the order's", By: writer("TestReadinessIsWhatTheLastStatementsDid"),
			Edits: []Edit{{dir + "publish.sql", `(q.orders, q.messages) is distinct from (w.orders, w.messages)`, `q.orders is distinct from w.orders`}},
		},
		{
			Breaks: "new pending orders are looked for among old ones only", By: writer("TestPendingOrdersAreFoundAmongCompletedOnes"),
			Edits: []Edit{{dir + "pending.go", `err == nil && id-1 <= o.position`, `err == nil && id > 0`}},
		},
		{
			Breaks: "what was known of a table before it was restored is believed", By: writer("TestPendingOrdersAreFoundAmongCompletedOnes"),
			Edits: []Edit{{dir + "pending.go", ` filter (where s.filenode = pg_relation_filenode('public.orders'))`, ``}},
		},
		{
			Breaks: "the block in which a page ends is passed over", By: writer("TestPendingOrdersAreFoundAmongCompletedOnes"),
			Edits: []Edit{{dir + "pending.go", `b.block <= $1`, `b.block < $1`}},
		},
		{
			Breaks: "the list of a customer's pending orders has everybody's", By: writer("TestPendingOrdersAreFoundAmongCompletedOnes"),
			Edits: []Edit{{dir + "pending.go", `filter.Status != StatusPending || filter.CustomerName != "" || filter`, `filter.Status != StatusPending || filter`}},
		},
		{
			Breaks: "the list of pending orders by their keys goes on by their ids", By: writer("TestPendingOrdersAreFoundAmongCompletedOnes"),
			Edits: []Edit{{dir + "pending.go", `filter.CustomerName != "" || filter.KeyPrefix != "" {`, `filter.CustomerName != "" {`}},
		},
		{
			Breaks: "an order between two steps of a search is on no page", By: writer("TestPendingOrdersAreFoundAmongCompletedOnes"),
			Edits: []Edit{{dir + "store.go", `strconv.Itoa(scanWindow-1)`, `strconv.Itoa(scanWindow)`}},
		},
		{
			Breaks: "a dead letter between two steps of a search is on no page", By: goTest(api, ".", "TestRareReasonAmongManyDeadLetters"),
			Edits: []Edit{{api + "/internal/queue/deadletters.go", `offset $3::int - 1`, `offset $3::int`}},
		},
		{
			Breaks: "an order that comes during a search brings one back that is on the page", By: writer("TestWhatComesDuringASearchBringsNothingBack"),
			Edits: []Edit{{dir + "store.go", `IsoLevel: pgx.RepeatableRead`, `IsoLevel: pgx.ReadCommitted`}},
		},
		{
			Breaks: "a body may nest as deep as it is long", By: writer("TestDecodeSaysWhereJSONEnds"),
			Edits: []Edit{{api + "/internal/strictjson/reader.go", `if depth > maxDepth {`, `if depth < 0 {`}},
		},
		{
			Breaks: "values may nest a hundred million deep", By: writer("TestDecodeSaysWhereJSONEnds"),
			Edits: []Edit{{api + "/internal/strictjson/reader.go", `const maxDepth = 128`, `const maxDepth = 128 << 20`}},
		},
		{
			Breaks: "what a full page has no room for is on no page", By: goTest(api, "./internal/cursor", "TestPagesHaveEachEntryOnce"),
			Edits: []Edit{{api + "/internal/cursor/cursor.go", `return page[:limit], position(&page[limit-1]), nil`, `return page[:limit], position(&page[len(page)-1]), nil`}},
		},
		{
			Breaks: "a list ends where nothing was found for a while", By: goTest(api, "./internal/cursor", "TestPagesHaveEachEntryOnce"),
			Edits: []Edit{{api + "/internal/cursor/cursor.go", `case last == "", time`, `case last == "", len(found) == 0:
			return page, "", nil
		case time`}},
		},
		{
			Breaks: "a dead letter with a character that UTF-8 lacks hides all others", By: goTest(api, ".", "TestWhatUTF8LacksIsShownAsAQuestionMark"),
			Edits: []Edit{{api + "/internal/database/legible.go", `err := read(AsItIs)
	if Untranslatable(err) {`, `err := read(AsItIs)
	if err == nil && Untranslatable(err) {`}},
		},
		{
			Breaks: "an order with a character that UTF-8 lacks hides all others", By: goTest(api, ".", "TestWhatUTF8LacksIsShownAsAQuestionMark"),
			Edits: []Edit{{dir + "store.go", `return as("left(" + column`, `return ("left(" + column`}},
		},
		{
			Breaks: "an order with a character that UTF-8 lacks has no story", By: goTest(api, ".", "TestWhatUTF8LacksIsShownAsAQuestionMark"),
			Edits: []Edit{{api + "/internal/history/read.go", `return as("left(" + column`, `return ("left(" + column`}},
		},
		{
			Breaks: "an order with a character that UTF-8 lacks blanks the overview", By: goTest(api, ".", "TestWhatUTF8LacksIsShownAsAQuestionMark"),
			Edits: []Edit{{api + "/internal/dashboard/store.go", `as("left(o.customer_name, 101)")`, `("left(o.customer_name, 101)")`}},
		},
		{
			Breaks: "a page ends at a key that is not what it is shown as", By: goTest(api, ".", "TestWhatUTF8LacksIsShownAsAQuestionMark"),
			Edits: []Edit{{dir + "store.go", `as("o.idempotency_key")+" = o.idempotency_key"`, `"true"`}},
		},
		{
			Breaks: "those who failed together come back together", By: goTest("kit", "./wait", "TestPausesDiffer"),
			Edits: []Edit{{"kit/wait/wait.go", `return pause/2 + rand.N(pause/2+1)`, `return pause - rand.N(time.Duration(1))`}},
		},
		{
			Breaks: "what waits for a retry is due, to those who alert", By: goTest(api, ".", "TestTheQueueIsMeasured"),
			Edits: []Edit{{api + "/internal/queue/snapshot.go", `min(m.vt) filter (where m.vt <= now.t and`, `min(m.enqueued_at) filter (where m.vt > now.t and`}},
		},
		{
			Breaks: "an api without a database tells of an empty queue", By: goTest(api, ".", "TestAnUnknownQueueHasNoMetrics"),
			Edits: []Edit{{api + "/internal/metrics/queue.go", `if !c.up() {
		return
	}`, ``}, {api + "/internal/metrics/queue.go", `if err != nil {
		return
	}`, `_ = err`}},
		},
		{
			Breaks: "the first failed commit is seen by no rate", By: goTest(api, ".", "TestTheQueueIsMeasured"),
			Edits: []Edit{{api + "/internal/metrics/metrics.go", `		m.failures.WithLabelValues(kind.String())
	}`, `		_ = kind
	}`}},
		},
		{
			Breaks: "LOG_REQUESTS=changes shows what is only read", By: goTest(api, ".", "TestWhichRequestsAreLogged"),
			Edits: []Edit{{api + "/internal/httpapi/request.go", `"changes" && !fiber.IsMethodSafe(c.Method())`, `"changes" && fiber.IsMethodSafe(c.Method())`}},
		},
		{
			Breaks: "an order in doubt is answered: nothing was written", Quick: true, By: writer("TestAnOrderInDoubtIsNotSaidToBeUnwritten"),
			Edits: []Edit{{dir + "unit.go", `if u.inDoubt && (errors.Is(err, ErrUnavailable)`, `if false && (errors.Is(err, ErrUnavailable)`}},
		},
		{
			Breaks: "who has waited is not told why the database is away", By: writer("TestWhoHasWaitedIsToldWhy"),
			Edits: []Edit{{dir + "connection.go", `	case !state.Up:
		return because(ErrUnavailable, state.Reason)`, `	case !state.Up:
		return ErrUnavailable`}},
		},
		{
			Breaks: "who has waited for a rehearsal is not told why it failed", By: writer("TestNobodyWaitsForAWriterThatIsNotReady"),
			Edits: []Edit{{dir + "readiness.go", `return unavailable(first)`, `return ErrUnavailable`}},
		},
		{
			Breaks: "an order in doubt is withdrawn while the writer connects", By: writer("TestAnOrderInDoubtIsNotSaidToBeUnwritten"),
			Edits: []Edit{
				{dir + "unit.go", `	if !u.inDoubt {
		u.state.CompareAndSwap(unitTaken, unitWaiting)
	}`, `	u.state.CompareAndSwap(unitTaken, unitWaiting)`},
				{dir + "unit.go", `return u.inDoubt || u.take()`, `return u.take()`},
			},
		},
		{
			Breaks: "the client gives up before the server", By: writer("TestTheServerGivesUpFirst"),
			Edits: []Edit{{dir + "connection.go", `database.Timeouts(timeout*4/5)`, `database.Timeouts(timeout*2)`}},
		},
		{
			Breaks: "an order without a key is written again after a lost connection", By: writer("TestLostReply"),
			Edits: []Edit{{dir + "commit.go", `if u.Key != "" && tx.try < maxTries {`, `if tx.try < maxTries {`}},
		},
		{
			Breaks: "one order's fault fails its neighbours", Quick: true, By: writer("TestOnesFaultDoesNotFailItsNeighbours"),
			Edits: []Edit{{dir + "commit.go", `	case split:
		return halves(tx)`, `	case split:
		answerAll(tx.units, ErrUnavailable)`}},
		},
		{
			Breaks: "of a batch that is halved, one half is forgotten", By: writer("TestOnesFaultDoesNotFailItsNeighbours"),
			Edits: []Edit{{dir + "commit.go", `return []transaction{{tx.units[:half], 1, tx.rehearsed}, {tx.units[half:], 1, tx.rehearsed}}`, `answerAll(tx.units[half:], ErrUnavailable)
	return []transaction{{tx.units[:half], 1, tx.rehearsed}}`}},
		},
		{
			Breaks: "what only a commit finds out is not rehearsed", By: writer("TestReadinessIsWhatTheLastStatementsDid"),
			Edits: []Edit{{dir + "readiness.go", `set constraints all immediate`, `select 1`}},
		},
		{
			Breaks: "a rehearsal is of no order that was written", By: writer("TestARehearsalIsOfTheOrderThatWasWrittenLast"),
			Edits: []Edit{{dir + "commit.go", `			w.latest.Store(&u.Orders[0])
`, ``}},
		},
		{
			Breaks: "what failed before orders could be written again still counts", By: writer("TestWriterWithoutTheRightToInsert"),
			Edits: []Edit{{dir + "readiness.go", `	w.failures = 0
`, ``}},
		},
		{
			Breaks: "a transaction has as many orders as wait", By: writer("TestATransactionHasAtMostSoManyOrdersOrOneRequestThatIsLarger"),
			Edits: []Edit{{dir + "writer.go", `orders+len(u.Orders) > w.cfg.MaxBatch`, `orders+len(u.Orders) > w.cfg.MaxQueue`}},
		},
		{
			Breaks: "an order whose moment a trigger has changed is answered as it was to be", By: writer("TestReadinessIsWhatTheLastStatementsDid"),
			Edits: []Edit{
				{dir + "publish.sql", `(id, msg_id, created_at), 0)`, `(id, msg_id), 0)`},
				{dir + "publish.sql", `(id, message_id, created_at), 0)`, `(id, message_id), 0)`},
			},
		},
		{
			Breaks: "orders in doubt wait for a connection to a database that is away", By: writer("TestWhoHasWaitedIsToldWhy"),
			Edits: []Edit{{dir + "connection.go", `if state, _ := w.monitor.State(); !state.Up {`, `if state, _ := w.monitor.State(); false {`}},
		},
		{
			Breaks: "another order under the same key is a replay", By: writer("TestKeyIsAnsweredOnce"),
			Edits: []Edit{{dir + "unit.go", `	if !same {
		u.answer(Result{}, ErrKeyReused)
		return
	}`, `	_ = same`}},
		},
		{
			Breaks: "another order under a key of the same batch is a replay", By: writer("TestSameKeyManyTimesInOneBatch"),
			Edits: []Edit{{dir + "unit.go", `		u.answerByKey(u.leader.stored)
`, `		u.answer(Result{Orders: u.leader.stored, Replayed: true}, nil)
`}},
		},
		{
			Breaks: "an order whose time is up is written all the same", By: writer("TestNobodyWaitsLongerThanItsTimeAndNothingIsWrittenAfterwards"),
			Edits: []Edit{
				{dir + "unit.go", `func (u *unit) take() bool { return u.state.CompareAndSwap(unitWaiting, unitTaken) }`, `func (u *unit) take() bool { u.state.CompareAndSwap(unitWaiting, unitTaken); return true }`},
				{dir + "commit.go", `if !u.abandoned() && u.deadline.After(soon) {`, `if soon.After(time.Time{}) {`},
			},
		},
		{
			Breaks: "the queue of requests has no bound", By: writer("TestFullQueueRefusesAtOnce"),
			Edits: []Edit{{dir + "writer.go", `return ErrOverloaded`, `break`}},
		},
		{
			Breaks: "an order is stored without its message", By: goTest(api, ".", "TestPostWritesOrderAndMessageTogether"),
			Edits: []Edit{
				{dir + "publish.sql", "    insert into {queue} (msg_id, enqueued_at, vt, message, headers)\n    overriding system value\n", ""},
				{dir + "publish.sql", "    from fresh f\n    returning msg_id\n", "    from fresh f\n"},
			},
		},
		{
			Breaks: "what the database refuses for its own trouble is the order's fault", By: writer("TestOnlyWhatTheOrderBreaksIsRefused"),
			Edits: []Edit{{dir + "verdict.go", `pgErr.TableName != "orders" ||`, ``}},
		},
		{
			Breaks: "a commit does not wait for the disk where that is the default", By: writer("TestDurabilityIsNotAnybodysDefault"),
			Edits: []Edit{{dir + "connection.go", `wanted = "on"`, `wanted = "off"`}},
		},
		{
			Breaks: "who has the key of an order in doubt is told that nothing was written", By: writer("TestFollowersOfAnOrderInDoubtAreInDoubt"),
			Edits: []Edit{{dir + "unit.go", `	u.answer(Result{}, err)
	return true`, `	u.answer(Result{}, ErrUnavailable)
	return true`}},
		},
		{
			Breaks: "a follower has no time because its leader had none", By: writer("TestWhatALeadersEndSaysOfItsFollowers"),
			Edits: []Edit{{dir + "unit.go", `errors.Is(err, ErrKeyReused), errors.Is(err, ErrTimeout), errors.As`, `errors.Is(err, ErrKeyReused), errors.As`}},
		},
		{
			Breaks: "a follower is refused for what its leader broke", By: writer("TestWhatALeadersEndSaysOfItsFollowers"),
			Edits: []Edit{{dir + "unit.go", `errors.As(err, &refused), errors.As(err, &invalid):`, `errors.As(err, &invalid):
		_ = refused`}},
		},
		{
			Breaks: "an abandoned order is tried again", By: writer("TestAUnitsStates"),
			Edits: []Edit{{dir + "unit.go", `u.state.CompareAndSwap(unitTaken, unitWaiting)`, `u.state.Store(unitWaiting)`}},
		},
		{
			Breaks: "a commit that no standby has is answered 201", By: goTest("dev", "./e2e", "TestWhatNoStandbyHasIsNotAccepted"),
			Edits: []Edit{{api + "/internal/database/errors.go", `return n.Routine == "SyncRepWaitForLSN"`, `return n.Routine == ""`}},
		},
		{
			Breaks: "what a server that panics may have committed is said not to be written", By: writer("TestLostReply"), Quick: true,
			Edits: []Edit{{api + "/internal/database/errors.go", `if postgres.EndsSession(pgErr) {`, `if false {`}},
		},
		{
			Breaks: "a panic is one only in English", By: writer("TestJudge"),
			Edits: []Edit{{"kit/postgres/refusal.go", `cmp.Or(err.SeverityUnlocalized, err.Severity)`, `cmp.Or(err.Severity)`}},
		},
		{
			Breaks: "any warning is one about the commit", By: writer("TestAWarningPutsNothingInDoubt"),
			Edits: []Edit{{api + "/internal/database/errors.go", `return n.Routine == "SyncRepWaitForLSN"`, `return n.Code == "01000"`}},
		},
		{
			Breaks: "what is found under a key is answered though no standby has it", By: goTest("dev", "./e2e", "TestWhatNoStandbyHasIsNotAccepted"),
			Edits: []Edit{{dir + "publish.sql", `cross join (select count(*) from confirmed) c
`, ``}},
		},
		{
			Breaks: "a rehearsal waits for no standby", By: goTest("dev", "./e2e", "TestWhatNoStandbyHasIsNotAccepted"),
			Edits: []Edit{{dir + "readiness.go", `	if err := p.awaitStandby(ctx); err != nil {`, `	if err := p.awaitStandby(ctx); err != nil && ctx == nil {`}},
		},
		{
			Breaks: "any number of bytes is redriven in one transaction", By: goTest(api, ".", "TestRedriveOfLargeLettersMovesFewAtATime"),
			Edits: []Edit{{api + "/internal/queue/redrive.go", `bytes+l.Bytes > batchBytes`, `bytes+l.Bytes < 0`}},
		},
		{
			Breaks: "a redrive goes on for as long as it takes", By: goTest(api, "./internal/queue", "TestARedriveSaysWhatItHasDone"),
			Edits: []Edit{{api + "/internal/queue/redrive.go", `case time.Now().After(end):`, `case end.IsZero():`}},
		},
		{
			Breaks: "what a redrive did not try counts as tried", By: goTest(api, ".", "TestRedriveCutShort"),
			Edits: []Edit{{api + "/internal/httpapi/redrive.go", `len(chosen)-done.Tried`, `len(chosen)-len(chosen)`}},
		},
		{
			Breaks: "dead letters are changed without the token", By: goTest(api, ".", "TestTheAdminsCallsNeedTheToken"),
			Edits: []Edit{{api + "/internal/httpapi/access.go", `found |= subtle.ConstantTimeCompare(`, `found |= 1 | subtle.ConstantTimeCompare(`}},
		},
	}
}

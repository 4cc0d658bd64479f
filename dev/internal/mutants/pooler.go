package mutants

// poolerMutants break what is promised behind a pooler in transaction mode: that everything works, and nothing of ours is found by others.
func poolerMutants() []Mutant {
	const pooling = "kit/pooling/"
	const postgres = "kit/postgres/"
	kit := func(test string) Test { return goTest("kit", "./postgres", test) }
	return []Mutant{
		{
			Breaks: "settings outlive the transaction", By: kit("TestAPoolerInTransactionModeLeaksNothing"),
			Edits: []Edit{{pooling + "pooling.go", `+", true)")`, `+", false)")`}},
		},
		{
			Breaks: "a pooler is taken for the server itself", By: kit("TestAPoolerInTransactionModeLeaksNothing"),
			Edits: []Edit{{postgres + "session.go", `strconv.FormatUint(uint64(conn.PID()), 10)`, `backendPID(ctx, conn)`}, {postgres + "session.go", `func makeSettings(ctx`, `func backendPID(ctx context.Context, conn *pgconn.PgConn) string { pid, _ := backend(ctx, conn); return pid }

func makeSettings(ctx`}, {postgres + "session.go", `	"strconv"
`, ``}},
		},
		{
			Breaks: "every pooler is taken for one in transaction mode", By: kit("TestASessionStaysOneWhereItCan"),
			Edits: []Edit{{postgres + "pooler.go", `	return false, nil
}

// besides`, `	return true, nil
}

// besides`}},
		},
		{
			Breaks: "a comparison with another connection makes the route forget the server", By: kit("TestTheServerBehindAPoolerIsKnown"),
			Edits: []Edit{{postgres + "session.go", `bare.DialFunc = a.keep.Dial //`, `bare.DialFunc = config.DialFunc //`}},
		},
		{
			Breaks: "what was found out about a pooler holds for ever", By: kit("TestAPoolerThatChangesItsModeIsNoticed"),
			Edits: []Edit{{postgres + "pooler.go", `if p.found.After(asked) {`, `if p.found.After(asked) || !p.found.IsZero() {`}},
		},
		{
			Breaks: "through a pooler, a setting that the server refuses costs the connection", By: kit("TestSettingsAreMadeWhereTheyCanBe"),
			Edits: []Edit{{postgres + "transactions.go", `	if !refused(err, conn) {
		return err
	}
	for`, `	if err != nil {
		return err
	}
	for`}},
		},
		{
			Breaks: "what another client of a pooler has left is taken for ours", By: kit("TestASettingIsNotAnotherClients"),
			Edits: []Edit{{postgres + "transactions.go", `select reset_val from`, `select setting from`}},
		},
		{
			Breaks: "a pooler in statement mode is taken for one in transaction mode", By: kit("TestAPoolerInStatementModeIsRefused"),
			Edits: []Edit{{postgres + "pooler.go", `[]string{"begin", "rollback"}`, `[]string{"rollback"}`}},
		},
		{
			Breaks: "a text by itself has no settings", By: kit("TestAPoolerInTransactionModeLeaksNothing"),
			Edits: []Edit{{pooling + "filter.go", `if f.ready && f.sql != "" {`, `if false {`}},
		},
		{
			Breaks: "a transaction that begins with BEGIN has no settings", By: kit("TestAPoolerInTransactionModeLeaksNothing"),
			Edits: []Edit{{
				pooling + "filter.go", `if statement := bytes.TrimSuffix(body, []byte{0}); f.ready && f.sql != "" && begins(statement) {`,
				`if statement := bytes.TrimSuffix(body, []byte{0}); begins(statement) {
			out = append(out, whole...)
		} else if begins(statement) {`,
			}},
		},
		{
			Breaks: "a prepared statement is looked for on the server", By: kit("TestEverythingWorksThroughAPoolerInTransactionMode"),
			Edits: []Edit{{pooling + "filter.go", `	f.current = name
	f.awaiting = append(f.awaiting, awaited{parse, true})
	return appendMessage(out, parse, []byte{0}, statement), ""`, `	_ = statement
	return out, name`}},
		},
		{
			Breaks: "answers that nobody asked for are passed on", By: kit("TestEverythingWorksThroughAPoolerInTransactionMode"),
			Edits: []Edit{{pooling + "filter.go", `	return first.drop
}`, `	return first.drop && first.to != parse
}`}},
		},
		{
			Breaks: "after an error answers are still awaited", By: kit("TestEverythingWorksThroughAPoolerInTransactionMode"),
			Edits: []Edit{{pooling + "filter.go", `for len(f.awaiting) > 0 && f.awaiting[0].to != synced && f.awaiting[0].to != query {`, `for false {`}},
		},
		{
			Breaks: "an isolation that cannot be set is passed over", By: kit("TestAnIsolationThatCannotBeSetIsSaid"),
			Edits: []Edit{{postgres + "transactions.go", `if is != must {`, `if false {`}},
		},
		{
			Breaks: "what work has set for good is set to what is ours", By: goTest(consumer, "./internal/worker", "TestWorkIsDoneThroughAPoolerInTransactionMode"),
			Edits: []Edit{{consumer + "/internal/pg/session.go", `		s.After = defaults
`, ``}},
		},
		{
			Breaks: "consumers listen where nothing is heard", By: goTest(consumer, "./internal/worker", "TestConsumersWorkThroughAPoolerInTransactionMode"),
			Edits: []Edit{{consumer + "/internal/fetch/poller.go", `	if deaf {
		return nil
	}`, ``}},
		},
	}
}

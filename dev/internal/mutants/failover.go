package mutants

// failoverMutants break what keeps orders through a failover: that all go to the server that takes writes, and only there, and that what is
// not durable is neither taken for written nor, with DURABILITY=strict, accepted.
func failoverMutants() []Mutant {
	const (
		route   = "kit/postgres/route.go"
		durable = "services/api/internal/durability/durability.go"
		manage  = "dev/internal/postgres/manage.go"
		verdict = "dev/internal/chaos/verdict.go"
	)
	kit := func(test string) Test { return goTest("kit", "./postgres", test) }
	api := func(test string) Test { return goTest("services/api", "./internal/durability", test) }
	group := goTest("dev", "./internal/postgres", "TestAFailoverIsFollowed")
	return []Mutant{
		{
			Breaks: "a server that only reads is used although there are others", By: kit("TestAServerThatOnlyReadsIsTheLastResort"),
			Edits: []Edit{{route, `case state.readOnly && r.others(address):`, `case false:`}},
		},
		{
			Breaks: "a primary that was replaced is used again", By: group,
			Edits: []Edit{{route, `state.timeline < newest`, `false`}},
		},
		{
			Breaks: "a connection to a primary that was replaced is kept where its successor has the same address",
			By:     goTest("dev", "./internal/postgres", "TestAnAddressThatLeadsToAnotherServerIsFollowed"),
			Edits:  []Edit{{route, `was.System == s.System && was.Timeline == s.Timeline`, `was.System == s.System`}},
		},
		{
			Breaks: "a slow answer is an outage where requests would have waited for it", By: goTest("services/api", "./internal/database", "TestThePingTakesNoLongerThanARequest"),
			Edits: []Edit{{"services/api/internal/database/monitor.go", `max(request*7/9, 700*time.Millisecond)`, `700*time.Millisecond`}},
		},
		{
			Breaks: "connecting has a second where requests have more", By: goTest("services/api", "./internal/config", "TestConnectingTakesAsLongAsARequest"),
			Edits: []Edit{{"services/api/internal/config/config.go", `max(c.RequestTimeout, time.Second)`, `max(0*c.RequestTimeout, time.Second)`}},
		},
		{
			Breaks: "the writer goes on with a server that was replaced, at the same address", By: goTest("services/api", "./internal/database", "TestAConnectionToAServerThatWasReplacedLeadsElsewhere"), Quick: true,
			Edits: []Edit{{"services/api/internal/database/monitor.go", `!s.Server.Serves(conn.PgConn())`, `conn.PgConn().Conn().RemoteAddr().String() != s.Server.Address`}},
		},
		{
			Breaks: "the writer does not ask where its connection leads", By: goTest("services/api", "./internal/orders", "TestNothingIsWrittenToAServerThatWasReplaced"),
			Edits: []Edit{{"services/api/internal/orders/connection.go", `case state.LeadsElsewhere(w.conn.Conn):`, `case state.LeadsElsewhere(w.conn.Conn) && false:`}},
		},
		{
			Breaks: "a silent host is tried with each connection", By: kit("TestASilentFirstHostCostsItsTimeLimitOnce"),
			Edits: []Edit{{route, `		if r.passOver(address) {`, `		if false {`}},
		},
		{
			Breaks: "a server that turns everybody away hides the others", By: kit("TestAServerThatTurnsEverybodyAwayHidesNoOther"),
			Edits: []Edit{{route, `if !r.end(ctx) {`, `if !r.end(ctx) && errors.Is(ctx.Err(), context.DeadlineExceeded) {`}},
		},
		{
			Breaks: "a server that does not finish what it is asked to stays the first", By: kit("TestADistrustedServerComesLast"),
			Edits: []Edit{{route, `set(&r.distrusted, address, distrustedFor)`, `_ = distrustedFor`}},
		},
		{
			Breaks: "nobody follows a name that moves", By: kit("TestANameThatMovesIsFollowed"),
			Edits: []Edit{{route, `if err != nil || r.names[host] != "" || r.at != at {`, `if err != nil || host != "" || r.at != at {`}},
		},
		{
			Breaks: "a standby is promoted although another one may have more", By: group,
			Edits: []Edit{{manage, `			return nil, ErrUnsafe
`, `			continue
`}},
		},
		{
			Breaks: "a server that was killed while it was promoted comes back as a primary on the timeline of another one",
			By:     goTest("dev", "./internal/postgres", "TestAPromotionThatWasBrokenOffIsBegunAgain"),
			Edits: []Edit{{manage, `	if err := m.standby(m.behind); err != nil {
		return err
	}
	return m.Start(ctx)`, `	return m.Start(ctx)`}},
		},
		{
			Breaks: "strict never refuses", By: api("TestStrictRefusesUntilNothingIsAtRisk"), Quick: true,
			Edits: []Edit{{durable, `if c == nil || !c.opts.Strict {`, `if true {`}},
		},
		{
			Breaks: "strict accepts before anybody has looked", By: api("TestStrictRefusesUntilNothingIsAtRisk"),
			Edits: []Edit{{durable, `case !c.known:`, `case false:`}},
		},
		{
			Breaks: "asynchronous standbys are no risk", By: api("TestWhatACrashOrAFailoverWouldLoseIsSaid"),
			Edits: []Edit{{durable, `say(f.Standbys > 0 && f.Synchronous == "",`, `say(false,`}},
		},
		{
			Breaks: "another session's synchronous_commit is taken for the writer's", By: api("TestTheSessionThatWritesCounts"),
			Edits: []Edit{{durable, `	facts.Commit = c.commit // what another session has says nothing
`, ``}},
		},
		{
			Breaks: "a mended setting is never noticed", By: api("TestSettingsAreLookedAtAgain"),
			Edits: []Edit{{durable, `			err := c.Again(limited, db)
`, `			err := limited.Err()
`}},
		},
		{
			Breaks: "notifications go where nobody listens any more", By: goTest("services/api", "./internal/notify", "TestNotifiesWhereTheOrdersAre"),
			Edits: []Edit{{"services/api/internal/notify/notify.go", `state.LeadsElsewhere(n.conn)`, `false && state.LeadsElsewhere(n.conn)`}},
		},
		{
			Breaks: "housekeeping that fails is not counted", By: goTest("services/api", "./internal/housekeeping", "TestAStepThatFailsIsCounted"),
			Edits: []Edit{{"services/api/internal/housekeeping/housekeeping.go", `k.change(func(s *State) { s.Failures++ })`, ``}},
		},
		{
			Breaks: "who reads waits for the server before", By: goTest("services/api", "./internal/database", "TestWhatLeadsToTheServerBeforeIsGivenUpFirst"),
			Edits: []Edit{{"services/api/internal/database/monitor.go", "		m.moved() // before anybody hears of it\n", ``}},
		},
		{
			Breaks: "a writer's connection is not looked at", By: goTest("services/api", ".", "TestStrictAcceptsNothingThatACrashWouldLose"),
			Edits: []Edit{
				{"services/api/internal/orders/writer.go", `	if reason := w.cfg.Durability.Refusal(); reason != "" {`, `	if reason := w.cfg.Durability.Refusal(); false {`},
				{"services/api/internal/orders/commit.go", `	if reason := w.cfg.Durability.Refusal(); reason != "" {`, `	if reason := w.cfg.Durability.Refusal(); false {`},
			},
		},
		{
			Breaks: "what a new connection finds holds only for those who come later",
			By:     goTest("services/api", "./internal/orders", "TestWhatACrashWouldLoseIsNotAcceptedFromTheQueue"), Quick: true,
			Edits: []Edit{{"services/api/internal/orders/commit.go", `	if reason := w.cfg.Durability.Refusal(); reason != "" {`, `	if reason := w.cfg.Durability.Refusal(); false {`}},
		},
		{
			Breaks: "who looks again while the writer connects has the last word", By: api("TestTheServerBeforeSaysNothing"),
			Edits: []Edit{{durable, `case sessions != c.sessions:`, `case false:`}},
		},
		{
			Breaks: "the server before has the last word", By: api("TestTheServerBeforeSaysNothing"),
			Edits: []Edit{{durable, `case sessions == 0, f.Server.Equal(c.server):`, `case true:`}},
		},
		{
			Breaks: "a server that was started again is another one for ever", By: api("TestTheServerBeforeSaysNothing"),
			Edits: []Edit{{durable, `case c.elsewhere < patience:`, `default:`}},
		},
		{
			Breaks: "an audit that finds no loss passes where there has to be some", By: goTest("dev", "./internal/chaos", "TestWhatHasToBeLostHasToBeFound"),
			Edits: []Edit{{verdict, `r.measured(a.Lost > 0,`, `r.measured(true,`}},
		},
		{
			Breaks: "orders that are neither there nor lost pass where some are lost", By: goTest("dev", "./internal/chaos", "TestWhatHasToBeLostHasToBeFound"),
			Edits: []Edit{{verdict, `r.Accepted == r.Completed+r.Dead+r.Lost`, `r.Accepted >= r.Completed+r.Dead+r.Lost`}},
		},
		{
			Breaks: "effects are counted at a standby", By: goTest("dev", "./internal/stack", "TestEffectsAreCountedWhereTheyAreWritten"),
			Edits: []Edit{{"dev/internal/stack/effects.go", `	a, err := postgres.Parse(databaseURL)
	if err != nil {
		return nil, err
	}
	return pgx.ConnectConfig(ctx, a.Config("effects", 5*time.Second))
`, `	if _, err := postgres.Parse(databaseURL); err != nil {
		return nil, err
	}
	return pgx.Connect(ctx, databaseURL)
`}},
		},
	}
}

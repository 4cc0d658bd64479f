package mutants

// dashboardMutants break what the dashboard says, and who may see and change what.
func dashboardMutants() []Mutant {
	const dir = "services/api/internal/dashboard/"
	unit := func(name string) Test { return goTest("services/api", "./internal/dashboard", name) }
	http := func(name string) Test { return goTest("services/api", ".", name) }
	return []Mutant{
		{
			Breaks: "the balance is green although an order has no message",
			Edits:  []Edit{{dir + "balance.go", "case when o.suspect is null then", "case when true then"}},
			By:     http("TestTheBalanceIsTrue"),
		},
		{
			Breaks: "what another queue works on is lost for the balance",
			Edits:  []Edit{{dir + "balance.go", "orderflow.without_message($1, o.suspect)", "o.suspect"}},
			By:     http("TestTwoQueuesOfOneDatabaseAreInBalance"),
		},
		{
			Breaks: "the story of another queue's order says that nobody will process it",
			Edits:  []Edit{{"services/api/internal/queue/queue.go", "then 'elsewhere' else", "then 'missing' else"}},
			By:     http("TestTwoQueuesOfOneDatabaseAreInBalance"),
		},
		{
			Breaks: "the balance does not know what the search for stranded orders has found",
			Edits:  []Edit{{dir + "balance.go", "if more := c.Stranded - c.Lost; more > 0 {", "if more := c.Stranded - c.Lost; more < 0 {"}},
			By:     http("TestTheBalanceIsRedForWhatTheSearchHasFound"),
		},
		{
			Breaks: "a balance that is old does not say so",
			Edits:  []Edit{{dir + "balance.go", "ago > late {", "ago < -late {"}},
			By:     unit("TestABalanceThatIsOldSaysSo"),
		},
		{
			Breaks: "the balance misses orders that come after it has counted",
			Edits:  []Edit{{dir + "balance.go", "c.under_way > 0 or c.lost > 0 or c.dead > 0 or c.begun_at > clock_timestamp() - interval '1 minute'", "false"}},
			By:     http("TestTheBalanceIsTrue"),
		},
		{
			Breaks: "between its end and its sample a point is drawn as unknown", By: unit("TestWindowsHaveAllTheirPoints"),
			Edits: []Edit{{dir + "sample.go", `!taken && len(`, `!taken && end < 0 && len(`}},
		},
		{
			Breaks: "where nobody takes samples any more the chart ends before", By: unit("TestWindowsHaveAllTheirPoints"),
			Edits: []Edit{{dir + "sample.go", `!taken && len(p.between(end-2, end-1)) > 0`, `!taken`}},
		},
		{
			Breaks: "a sample has what its taker had counted at its last report", By: unit("TestASampleHasWhatItsTakerHasCountedUntilNow"),
			Edits: []Edit{{dir + "sampler.go", `max(p.Accepted, accepted)`, `max(p.Accepted, 0*accepted)`}},
		},
		{
			Breaks: "an absurd id ends the counting of the others", By: goTest("services/api", "./internal/dashboard", "TestAbsurdIdsAreNotInTheBalancesWay"),
			Edits: []Edit{{"services/api/internal/dashboard/balance.go", `			  and o.id < $3::bigint
`, `			  and o.id <> $3::bigint
`}},
		},
		{
			Breaks: "what a clock ahead has counted is not counted again until then", By: unit("TestWhatAClockAheadHasCountedIsCountedAgain"),
			Edits: []Edit{{dir + "balance.go", ` or c.checked_at > clock_timestamp())`, `)`}},
		},
		{
			Breaks: "what is open in what a clock ahead has counted comes last", By: unit("TestWhatAClockAheadHasCountedIsCountedAgain"),
			Edits: []Edit{{dir + "balance.go", `				c.checked_at <= clock_timestamp(), c.checked_at
`, `				c.checked_at
`}},
		},
		{
			Breaks: "the charts stay empty until the time that a clock ahead has told", By: unit("TestWindowsHaveAllTheirPoints"),
			Edits: []Edit{{dir + "sample.go", `step > oldest+sampleSlots+2`, `step > oldest+2*sampleSlots`}},
		},
		{
			Breaks: "nobody says why the overview is not shown", By: http("TestWhyTheOverviewIsNotShownIsInTheLog"),
			Edits: []Edit{{dir + "look.go", `		l.note(ctx, err)
`, ``}},
		},
		{
			Breaks: "who ended while the clock was ahead works until then", By: unit("TestWhoReportedUnderAClockAheadIsSilent"),
			Edits: []Edit{{dir + "sql/look.sql", `abs(extract(epoch from clock_timestamp() - p.seen_at))`, `greatest(extract(epoch from clock_timestamp() - p.seen_at), 0)`}},
		},
		{
			Breaks: "who ended while the clock was ahead is kept until then", By: unit("TestWhoReportedUnderAClockAheadIsSilent"),
			Edits: []Edit{{dir + "sampler.go", `abs(extract(epoch from clock_timestamp() - p.seen_at)) > 5`, `p.seen_at < clock_timestamp() - interval '5 seconds'`}},
		},
		{
			Breaks: "rates stand still until the time that a clock ahead has told", By: unit("TestRatesAreOfTheLastSeconds"),
			Edits: []Edit{{dir + "rate.go", `n > 0 && p.SeenAt.Before(known[n-1].SeenAt)`, `n < 0`}},
		},
		{
			Breaks: "a consumer that is silent is shown as if it worked",
			Edits:  []Edit{{dir + "consumers.go", "return p.Ago > p.silentAfter() }", "return false }"}},
			By:     http("TestConsumersAppearAndVanish"),
		},
		{
			Breaks: "what was counted before the last sample is counted again",
			Edits:  []Edit{{dir + "sampler.go", "s.Accepted += max(0, counted.Accepted-then.Accepted)", "s.Accepted += counted.Accepted"}},
			By:     unit("TestASampleIsWhatWasCountedSinceTheOneBefore"),
			Quick:  true,
		},
		{
			Breaks: "a process that is not known any more counts all of its life into one sample",
			Edits:  []Edit{{dir + "sampler.go", "if !ok && (before == nil || p.StartedAt.Before(*before)) {", "if !ok && before == nil {"}},
			By:     unit("TestASampleIsWhatWasCountedSinceTheOneBefore"),
		},
		{
			Breaks: "a form from another site is taken",
			Edits:  []Edit{{dir + "access.go", "case !sameOrigin(c):\n\t\treturn d.problem(c, http.StatusForbidden, \"This request does not come from a page of this service.\")\n\tcase s.level", "case s.level"}},
			By:     http("TestChangingTakesASessionOfAnAdmin"),
		},
		{
			Breaks: "a form without the session's secret is taken",
			Edits:  []Edit{{dir + "access.go", `[]byte(form(c).Get("csrf"))) != 1:`, `[]byte(s.csrf)) != 1:`}},
			By:     http("TestChangingTakesASessionOfAnAdmin"),
		},
		{
			Breaks: "a reader's session changes things",
			Edits:  []Edit{{dir + "access.go", "case s.level != admin:", "case s.level == nobody:"}},
			By:     http("TestWithAPITokensNothingIsShownWithoutOne"),
		},
		{
			Breaks: "with API_TOKENS, who has none sees the orders",
			Edits:  []Edit{{dir + "access.go", "if len(d.credentials.Load().readers) == 0 || s.level != nobody {", "if true {"}},
			By:     http("TestWithAPITokensNothingIsShownWithoutOne"),
		},
		{
			Breaks: "a session does not end",
			Edits:  []Edit{{dir + "session.go", " || end <= uint64(now.Unix())", ""}, {dir + "session.go", "end := binary.BigEndian.Uint64(content[1:])", "_ = binary.BigEndian.Uint64(content[1:])"}},
			By:     unit("TestSessionsEnd"),
			Quick:  true,
		},
		{
			Breaks: "a reader's token makes an admin's session",
			Edits:  []Edit{{dir + "session.go", "for _, known := range c.of(l) {\n\t\tif hmac.Equal", "for _, known := range append(append([]credential{}, c.readers...), c.admins...) {\n\t\tif hmac.Equal"}},
			By:     unit("TestSessionsEnd"),
		},
		{
			Breaks: "a reader makes an admin's cookie of his own",
			Edits:  []Edit{{dir + "session.go", "mac.Write(content)", "mac.Write(content[1:])"}},
			By:     unit("TestACookieCannotBeChanged"),
		},
		{
			Breaks: "a cookie's end can be put off by who has it",
			Edits:  []Edit{{dir + "session.go", "mac.Write(content)", "mac.Write(content[:1])\n\tmac.Write(content[9:])"}},
			By:     unit("TestACookieCannotBeChanged"),
		},
		{
			Breaks: "a page's forms show a part of the cookie",
			Edits:  []Edit{{dir + "session.go", `known.seal("csrf", content)`, `known.seal("session", content)`}},
			By:     unit("TestACookieCannotBeChanged"),
		},
		{
			Breaks: "sessions last for a month",
			Edits:  []Edit{{dir + "session.go", "sessionLife   = 12 * time.Hour", "sessionLife   = 720 * time.Hour"}},
			By:     unit("TestACookieCannotBeChanged"),
		},
		{
			Breaks: "large letters hide what those behind them died of",
			Edits:  []Edit{{api + "/internal/queue/excerpt.go", "case when c.unpack_headers and", "case when c.unpack_message and"}},
			By:     goTest(api, "./internal/queue", "TestOnlySoMuchIsUnpackedForAnAnswer"),
		},
		{
			Breaks: "a page of large letters costs as much as all of them",
			Edits:  []Edit{{api + "/internal/queue/excerpt.go", "messagesLimit = 8 << 20", "messagesLimit = 32 << 20"}},
			By:     goTest(api, "./internal/queue", "TestOnlySoMuchIsUnpackedForAnAnswer"),
		},
		{
			Breaks: "tokens can be tried as fast as one likes",
			Edits:  []Edit{{dir + "access.go", "d.throttle.wrong(client, now)", "_ = client"}},
			By:     http("TestWrongTokensAreSlowedDownAndTheRightOneIsNotLockedOut"),
		},
		{
			Breaks: "a redrive moves what has died since its dry run",
			Edits:  []Edit{{dir + "actions.go", "filter.choice(upTo, mostRedriven))", "filter.choice(0, mostRedriven))"}},
			By:     http("TestDeadLettersAreRedrivenAfterADryRun"),
		},
		{
			Breaks: "a redrive moves what nobody has been shown",
			Edits:  []Edit{{dir + "actions.go", `given.Get("confirm") != "yes" || upTo <= 0 {`, `given.Get("confirm") != "yes" {`}},
			By:     http("TestDeadLettersAreRedrivenAfterADryRun"),
		},
		{
			Breaks: "a redrive moves what nobody has confirmed",
			Edits:  []Edit{{dir + "actions.go", `given.Get("confirm") != "yes" || upTo <= 0 {`, `upTo <= 0 {`}},
			By:     http("TestDeadLettersAreRedrivenAfterADryRun"),
		},
		{
			Breaks: "a page does not say that a redrive has left some",
			Edits:  []Edit{{dir + "actions.go", `case len(progress.Moved) < len(chosen):`, `case len(progress.Moved) > len(chosen):`}},
			By:     http("TestDeadLettersAreRedrivenAfterADryRun"),
		},
		{
			Breaks: "a redrive that broke off has left some for other reasons",
			Edits:  []Edit{{dir + "actions.go", "case err != nil:\n\t\t\twhat = \"broken-off\"", "case err != nil:\n\t\t\twhat = \"kept\""}},
			By:     http("TestRedriveCutShort"),
		},
		{
			Breaks: "what may have been done is said not to have been",
			Edits:  []Edit{{dir + "actions.go", `case database.Classify(err) == database.Lost:`, `case database.Classify(err) == database.Fault:`}},
			By:     http("TestWhoChangesSomethingIsToldWhetherItMayHaveBeenDone"),
		},
		{
			Breaks: "a foreign page signs its visitors in",
			Edits:  []Edit{{dir + "access.go", "func (d *Dashboard) begin(c *fiber.Ctx) error {\n\tif !sameOrigin(c) {", "func (d *Dashboard) begin(c *fiber.Ctx) error {\n\tif false {"}},
			By:     http("TestTheSessionsCookieIsKeptFromOthers"),
		},
		{
			Breaks: "behind a proxy nobody can sign in",
			Edits:  []Edit{{dir + "access.go", ` || strings.EqualFold(origin.Host, c.Get(fiber.HeaderXForwardedHost))`, ``}},
			By:     http("TestTheSessionsCookieIsKeptFromOthers"),
		},
		{
			Breaks: "a session outlives its token",
			Edits:  []Edit{{dir + "access.go", `d.credentials.Store(newCredentials(readers, admins))`, `d.credentials.CompareAndSwap(nil, newCredentials(readers, admins))`}},
			By:     http("TestALostTokenIsGoodForNothingOnceItIsReplaced"),
		},
		{
			Breaks: "an admin's token that is replaced stays good",
			Edits:  []Edit{{api + "/tokens.go", `if api || admin {`, `if api || admin && false {`}},
			By:     http("TestALostTokenIsGoodForNothingOnceItIsReplaced"),
		},
		{
			Breaks: "viewers keep a service from ending",
			Edits:  []Edit{{dir + "dashboard.go", "	d.draining.Store(true)\n	d.feed.close()", "	d.draining.Store(true)"}},
			By:     http("TestStreamsEndWhenTheServiceDoes"),
		},
		{
			Breaks: "a rate over no time is a number",
			Edits:  []Edit{{dir + "sample.go", "if math.IsNaN(v) || math.IsInf(v, 0) {", "if math.IsNaN(v) {"}},
			By:     unit("TestWhatIsNoNumberIsNotKnown"),
		},
		{
			Breaks: "next to nothing, rounded, is no number",
			Edits:  []Edit{{dir + "sample.go", "if math.Abs(v) < 1e-100 {", "if v == 0 {"}},
			By:     unit("TestWhatIsNoNumberIsNotKnown"),
		},
		{
			Breaks: "an event that cannot be sent ends the process",
			Edits:  []Edit{{dir + "feed.go", `return nil, fmt.Errorf("write the event %s: %w", name, err)`, `panic(fmt.Errorf("write the event %s: %w", name, err))`}},
			By:     unit("TestAnEventWithoutJSONIsLeftOut"),
		},
		{
			Breaks: "a null where it is kept what was counted ends the process",
			Edits:  []Edit{{dir + "sampler.go", " || known == nil { //", " { //"}},
			By:     http("TestNoRowEndsTheDashboard"),
		},
		{
			Breaks: "viewers take all connections",
			Edits:  []Edit{{dir + "feed.go", "if f.closed || len(f.viewers) >= f.most {", "if f.closed {"}},
			By:     http("TestThereAreOnlySoManyViewersAndTheyKeepNobodyOut"),
		},
		{
			Breaks: "a viewer's connection is closed for others",
			Edits:  []Edit{{dir + "feed.go", "	to.Stream()\n", ""}},
			By:     goTest("services/api", "./internal/dashboard", "TestAViewersConnectionIsNotClosedForOthers"),
		},
		{
			Breaks: "a stream is closed for others while it is written",
			Edits:  []Edit{{"services/api/internal/http1/conn.go", "	if c.streams {\n", "	if false {\n"}},
			By:     goTest("services/api", "./internal/http1", "TestAStreamIsNotClosedForOthersWhileItIsWritten"),
		},
		{
			Breaks: "a consumer that polls seldom says nothing of what it does",
			Edits:  []Edit{{"services/consumer/internal/presence/presence.go", "	if next.Before(until) {", "	if false {"}},
			By:     goTest("services/consumer", "./internal/worker", "TestAConsumerSaysHowItIsDoing"),
		},
		{
			Breaks: "every consumer of a queue examines the database",
			Edits:  []Edit{{"services/consumer/internal/queue/report.go", "where f.claimed_at not between clock_timestamp() - make_interval(secs => $2) and clock_timestamp()", "where $2::float8 > 0"}},
			By:     goTest("services/consumer", "./internal/doctor", "TestWhatIsFoundIsPublishedByOneForAll"),
		},
	}
}

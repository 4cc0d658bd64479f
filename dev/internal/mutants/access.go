package mutants

// accessMutants let somebody in, or take what must be refused.
func accessMutants() []Mutant {
	const (
		http   = api + "/internal/httpapi/"
		orders = api + "/internal/orders/"
		charts = chartDir + "/templates/"
	)
	live := func(test string) Test { return goTest(api, ".", test) }
	unit := func(test string) Test { return goTest(api, "./internal/orders", test) }
	return []Mutant{
		{
			Breaks: "a call needs no token", By: live("TestEveryCallNeedsAToken"),
			Edits: []Edit{{http + "access.go", `if len(access.callers) == 0 || openToAll[c.Path()] ||`, `if len(access.callers) == 0 || c.Path() == "/queue" || openToAll[c.Path()] ||`}},
		},
		{
			Breaks: "a caller's token opens the admin's calls", By: live("TestEveryCallNeedsAToken"),
			Edits: []Edit{{http + "access.go", `	if !access.admins.have(token) {
		if len`, `	if !access.admins.have(token) && !access.callers.have(token) {
		if len`}},
		},
		{
			Breaks: "the queue is paused by everybody", By: live("TestTheAdminsCallsNeedTheToken"),
			Edits: []Edit{{http + "pause.go", `	op := s.forAdmins(huma.Operation{`, `	op := (huma.Operation{`}},
		},
		{
			Breaks: "of two tokens the first counts", By: live("TestOfTwoTokensNoneCounts"),
			Edits: []Edit{{http + "access.go", `if len(headers) != 1 {`, `if len(headers) == 0 {`}},
		},
		{
			Breaks: "a wrong token costs its sender nothing", By: live("TestWrongTokensHinderNobody"),
			Edits: []Edit{{http + "access.go", `	if given {
		c.Response().Header.SetConnectionClose()
	}
`, ``}},
		},
		{
			Breaks: "room is held for a stranger's body", By: live("TestStrangersLargeBodiesAreNotRead"),
			Edits: []Edit{{http + "server.go", `return s.access.Load().opensCalls(token)`, `return true`}},
		},
		{
			Breaks: "a foreign web page makes orders", By: live("TestBodyIsSaidToBeJSON"),
			Edits: []Edit{{http + "create.go", `	if isJSON(c.Request().Header.ContentType()) {`, `	if kind := c.Request().Header.ContentType(); len(kind) == 0 || isJSON(kind) {`}},
		},
		{
			Breaks: "a call takes a body that is compressed", By: live("TestCompressedBodiesAreRefused"),
			Edits: []Edit{{http + "server.go", `	s.app.Use(refuseCompressed)
`, ``}},
		},
		{
			Breaks: "of two content codings the first counts", By: live("TestCompressedBodiesAreRefused"),
			Edits: []Edit{{http + "request.go", `range c.Request().Header.PeekAll(fiber.HeaderContentEncoding) {`, `range [][]byte{c.Request().Header.ContentEncoding()} {`}},
		},
		{
			Breaks: "a few bytes from a stranger become gigabytes", By: live("TestABombIsNotUnpacked"),
			Edits: []Edit{{http + "server.go", `	s.app.Use(refuseCompressed)
`, ``}, {api + "/internal/dashboard/access.go", `string(c.Request().Body())`, `string(c.Body())`}},
		},
		{
			Breaks: "a misspelt parameter is passed over when creating", By: live("TestBadInputIsRefusedByName"),
			Edits: []Edit{{http + "create.go", `	if err := noQuery(c); err != nil {
		return "", err
	}
`, ``}},
		},
		{
			Breaks: "a made-up cursor reaches a statement unread", By: live("TestForgedCursors"),
			Edits: []Edit{{orders + "store.go", `utf8.ValidString(position) && !strings.Contains(position, "\x00")`, `utf8.ValidString(position)`}},
		},
		{
			Breaks: "a price is rounded without a word", By: live("TestExampleInputAgainstTheExample"),
			Edits: []Edit{{orders + "decode.go", `			if !noise {`, `			if noise {`}},
		},
		{
			Breaks: "a price that was divided is taken for noise", By: unit("TestNoiseOfFloatsIsNotAPrice"),
			Edits: []Edit{{orders + "number.go", `(strings.HasPrefix(rest, "000") || strings.HasPrefix(rest, "999"))`, `rest != ""`}},
		},
		{
			Breaks: "half a cent is always rounded up", By: unit("TestNoiseOfFloatsIsNotAPrice"),
			Edits: []Edit{{orders + "number.go", `rest == "5" && value%2 == 1`, `rest == "5"`}},
		},
		{
			Breaks: "a name that nobody sees is one", By: unit("TestNamesCanBeSeen"),
			Edits: []Edit{{orders + "decode.go", `unicode.Cc, unicode.Cf,`, `unicode.Cc,`}},
		},
		{
			Breaks: "a name of symbols that nobody sees is one", By: unit("TestNamesCanBeSeen"),
			Edits: []Edit{{orders + "decode.go", `!strings.ContainsRune(blank, r)`, `r != '\u2800'`}},
		},
		{
			Breaks: "whoever may scrape may profile", By: live("TestMetrics"),
			Edits: []Edit{{api + "/serve.go", `p.cfg.Pprof`, `true`}},
		},
		{
			Breaks: "an Ingress publishes an api that asks nobody", By: suite("validate"),
			Edits: []Edit{{charts + "_validate_exposure.tpl", `{{- if and $published (not $api.tokens.enabled) (not $api.allowAnonymous) -}}`, `{{- if and false $published -}}`}},
		},
		{
			Breaks: "monitors open the metrics to every namespace", By: suite("validate"),
			Edits: []Edit{{charts + "_validate_exposure.tpl", `{{- if and .Values.metrics.monitors.enabled .Values.networkPolicy.enabled (not .Values.networkPolicy.metrics.from) -}}`, `{{- if false -}}`}},
		},
		{
			Breaks: "another api is sent our token", By: suite("tokens"),
			Edits: []Edit{{charts + "loadgen-job.yaml", `{{- else if not $loadgen.apiUrl }}`, `{{- else }}`}},
		},
		{
			Breaks: "room is taken from the latest of the slow", By: goTest(api, "./internal/http1", "TestBudgetIsTakenFromTheSlowestFirst"),
			Edits: []Edit{{api + "/internal/http1/budget.go", `cmp.Compare(b.held[x].since.UnixNano(), b.held[y].since.UnixNano())`, `cmp.Compare(b.held[y].since.UnixNano(), b.held[x].since.UnixNano())`}},
		},
		{
			Breaks: "who takes more room is as good as new", By: goTest(api, "./internal/http1", "TestBudgetIsTakenFromTheSlowestFirst"),
			Edits: []Edit{{api + "/internal/http1/budget.go", `	if !ok {
		h.since`, `	if ok || !ok {
		h.since`}},
		},
		{
			Breaks: "each chunk may be as long as the body", By: goTest(api, "./internal/http1", "TestChunksTogetherHaveTheLimit"),
			Edits: []Edit{{api + "/internal/http1/chunked.go", `if size > limit-int64(len(body)) {`, `if size > limit {`}},
		},
		{
			Breaks: "a host goes before the path that a proxy has not seen", By: goTest(api, "./internal/http1", "TestWhatIsNoRequestIsRefused"),
			Edits: []Edit{{api + "/internal/http1/head.go", ` || bytes.HasPrefix(target, []byte("//"))`, ``}},
		},
		{
			Breaks: "a request is routed by another path than its target's", By: goTest(api, "./internal/httpapi", "TestNothingIsRoutedByAnotherPathThanItsTargetHas"),
			Edits: []Edit{{http + "request.go", `if !bytes.Equal(path, found) && (`, `if false && (`}},
		},
		{
			Breaks: "a URL without a path has none", By: goTest(api, "./internal/http1", "TestPathOfATarget"),
			Edits: []Edit{{api + "/internal/http1/head.go", `return []byte("/")`, `return nil`}},
		},
		{
			Breaks: "HTTP/1.0 is told to go on", By: goTest(api, "./internal/http1", "TestGoOnIsSaidWhenTheBodyIsWanted"),
			Edits: []Edit{{api + "/internal/http1/head.go", `h.expects = !h.http10`, `h.expects = true`}},
		},
		{
			Breaks: "the server sees two lengths", By: goTest(api, "./internal/http1", "TestGoOnIsSaidWhenTheBodyIsWanted"),
			Edits: []Edit{{api + "/internal/http1/head.go", ` || is(name, "Expect") || is(name, "Content-Length")`, ` || is(name, "Expect")`}},
		},
		{
			Breaks: "of two tokens the last counts", By: goTest(api, "./internal/http1", "TestOfTwoTokensNoneIsKnown"),
			Edits: []Edit{{api + "/internal/http1/head.go", `if seen.authorization++; seen.authorization > 1 {`, `if seen.authorization++; seen.authorization > 9 {`}},
		},
		{
			Breaks: "a body in chunks has no deadline", By: goTest(api, "./internal/http1", "TestDeadlinesOfTheClient"),
			Edits: []Edit{{api + "/internal/http1/conn.go", `if h.chunked || c.left > int64(c.w-c.r) {`, `if c.left > int64(c.w-c.r) {`}},
		},
		{
			Breaks: "who connects and says nothing may stay", By: goTest(api, "./internal/http1", "TestDeadlinesOfTheClient"),
			Edits: []Edit{{api + "/internal/http1/conn.go", `		if c.stage == first {
			wait = c.cfg.HeadTimeout
		}
`, ``}},
		},
		{
			Breaks: "what is left of a body is the next request", By: goTest(api, "./internal/http1", "TestServerOutOfStep"),
			Edits: []Edit{{api + "/internal/http1/conn.go", `case c.stage == begun && (len(c.out) > 0 || c.left > 0 ||`, `case c.stage == begun && (len(c.out) > 0 ||`}},
		},
		{
			Breaks: "the address does not say how long connecting may take", By: goTest("kit", "./postgres", "TestTheAddressSaysHowLongConnectingMayTake"),
			Edits: []Edit{{"kit/postgres/address.go", `if config.ConnectTimeout == 0 {`, `if timeout > 0 {`}},
		},
	}
}

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
			Edits: []Edit{{http + "access.go", `if len(s.callers) == 0 || openToAll[c.Path()] {`, `if len(s.callers) == 0 || c.Path() == "/queue" || openToAll[c.Path()] {`}},
		},
		{
			Breaks: "a caller's token opens the admin's calls", By: live("TestEveryCallNeedsAToken"),
			Edits: []Edit{{http + "access.go", `	if !s.admins.have(token) {
		if len`, `	if !s.admins.have(token) && !s.callers.have(token) {
		if len`}},
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
			Edits: []Edit{{http + "connection.go", `return len(s.callers) == 0 || s.callers.have(token) || s.admins.have(token)`, `return true`}},
		},
		{
			Breaks: "a foreign web page makes orders", By: live("TestBodyIsSaidToBeJSON"),
			Edits: []Edit{{http + "publish.go", `	if isJSON(header.ContentType()) {`, `	if len(header.ContentType()) == 0 || isJSON(header.ContentType()) {`}},
		},
		{
			Breaks: "a misspelt parameter is passed over when creating", By: live("TestBadInputIsRefusedByName"),
			Edits: []Edit{{http + "publish.go", `	if err := noQuery(c); err != nil {
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
			Edits: []Edit{{orders + "round.go", `(strings.HasPrefix(rest, "000") || strings.HasPrefix(rest, "999"))`, `rest != ""`}},
		},
		{
			Breaks: "half a cent is always rounded up", By: unit("TestNoiseOfFloatsIsNotAPrice"),
			Edits: []Edit{{orders + "round.go", `rest == "5" && value%2 == 1`, `rest == "5"`}},
		},
		{
			Breaks: "a name that nobody sees is one", By: unit("TestNamesCanBeSeen"),
			Edits: []Edit{{orders + "visible.go", `unicode.Cc, unicode.Cf,`, `unicode.Cc,`}},
		},
		{
			Breaks: "whoever may scrape may profile", By: live("TestMetrics"),
			Edits: []Edit{{api + "/serve.go", `cfg.Pprof`, `true`}},
		},
		{
			Breaks: "an Ingress publishes an api that asks nobody", By: suite("validate"),
			Edits: []Edit{{charts + "_validate.tpl", `{{- if and $published (not $api.tokens.enabled) (not $api.allowAnonymous) -}}`, `{{- if and false $published -}}`}},
		},
		{
			Breaks: "monitors open the metrics to every namespace", By: suite("validate"),
			Edits: []Edit{{charts + "_validate.tpl", `{{- if and .Values.metrics.monitors.enabled .Values.networkPolicy.enabled (not .Values.networkPolicy.metrics.from) -}}`, `{{- if false -}}`}},
		},
		{
			Breaks: "another api is sent our token", By: suite("tokens"),
			Edits: []Edit{{charts + "loadgen-job.yaml", `{{- else if not $loadgen.apiUrl }}`, `{{- else }}`}},
		},
	}
}

package mutants

// screenMutants break what people see of the dashboard.
func screenMutants() []Mutant {
	const (
		dir       = api + "/internal/dashboard/"
		templates = dir + "templates/"
		script    = dir + "static/dashboard.js"
	)
	unit := func(test string) Test { return goTest(api, "./internal/dashboard", test) }
	browser := func(test string) Test { return goTest("dev/browser", ".", test) }
	return []Mutant{
		{
			Breaks: "what people write is taken for markup", By: unit("TestPagesHaveNothingInlineAndEscapeWhatPeopleWrite"),
			Edits: []Edit{{dir + "render.go", `"html/template"`, `"text/template"`}, {dir + "functions.go", `"html/template"`, `"text/template"`}},
		},
		{
			Breaks: "a form goes without the session's token", By: unit("TestEveryFormThatPostsHasTheSessionsToken"),
			Edits: []Edit{{templates + "overview.html", `action="{{.Root}}ui/resume">{{template "csrf" .}}`, `action="{{.Root}}ui/resume">`}},
		},
		{
			Breaks: "a name ends a line of the stream", By: unit("TestANameCannotEndAnEvent"),
			Edits: []Edit{{dir + "feed.go", `bytes.ReplaceAll(html, []byte("\r"), []byte("\n"))`, `html`}},
		},
		{
			Breaks: "a page takes its icon from another host", By: unit("TestPagesHaveNothingInlineAndEscapeWhatPeopleWrite"),
			Edits: []Edit{{templates + "layout.html", `href="{{.Root}}{{asset "icon.svg"}}"`, `href="https://example.com/icon.svg"`}},
		},
		{
			Breaks: "everybody is shown the forms of admins", By: unit("TestWhoMayNotChangeAnythingIsShownNoForms"),
			Edits: []Edit{{templates + "order.html", `{{if and .DeadLetter .Access.CanChange}}`, `{{if .DeadLetter}}`}},
		},
		{
			Breaks: "simulated work is shown as real", By: goTest("services/consumer", "./internal/doctor", "TestWhoOnlySimulatesWorkSaysSo"),
			Edits: []Edit{{"services/consumer/internal/doctor/publish.go", `if p.handler != "simulate" {`, `if p.handler != "" {`}},
		},
		{
			Breaks: "figures that are not of now look like those of now", By: browser("TestThePageComesBackByItself"),
			Edits: []Edit{{script, `connection.state === 'away' || connection.state === 'lost')`, `false)`}},
		},
		{
			Breaks: "a page that has lost its api does not come back", By: browser("TestThePageComesBackByItself"),
			Edits: []Edit{{script, `    again = window.setTimeout(connect,`, `    again = window.setTimeout(paint,`}},
		},
		{
			Breaks: "a page that nobody sees goes on asking", By: browser("TestAHiddenPageRests"),
			Edits: []Edit{{script, `    if (document.hidden) {
      disconnect();`, `    if (document.hidden) {`}},
		},
		{
			Breaks: "a consumer that is silent looks like one that is not", By: browser("TestConsumersAppearGreyOutAndVanish"),
			Edits: []Edit{{templates + "overview.html", `{{if eq .State "silent"}} class="gone"{{end}}`, ``}},
		},
		{
			Breaks: "a redrive comes without its dry run", By: browser("TestADeadLetterIsRedrivenByClicks"),
			Edits: []Edit{{dir + "actions.go", `if given.Get("confirm") != "yes" || upTo <= 0 {`, `if given.Get("confirm") == "no" {`}},
		},
		{
			Breaks: "a chart says nothing to who does not see it", By: browser("TestPagesAreAccessible"),
			Edits: []Edit{{templates + "overview.html", ` role="img" aria-label="{{.Title}}: a line chart. Its figures are in the table below."`, ` role="img"`}},
		},
		{
			Breaks: "the focus cannot be seen", By: browser("TestADeadLetterIsRedrivenByKeyboard"),
			Edits: []Edit{{dir + "static/style.css", `:focus-visible { outline: 2px solid var(--accent);`, `:focus-visible { outline: none;`}},
		},
		{
			Breaks: "a page that is paused does not offer to go on", By: browser("TestConsumingIsPausedAndResumed"),
			Edits: []Edit{{script, `    if (gate) gate.dataset.consuming =`, `    if (!gate) root.dataset.consuming =`}},
		},
	}
}

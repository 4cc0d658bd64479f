package dashboard

import (
	"bytes"
	"html"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"
)

// hostile is what people can write into a name, a reason or an error, and what must reach a page as text and nothing else.
const hostile = `"'><script src=//evil.example></script><img src=x onerror=alert(1)>{{.}}javascript:` + "\r\rdata: <b>\x00"

// every page, with everything in it that it can have.
func everyPage(hostile string) map[string]struct {
	template string
	model    any
} {
	type shown = struct {
		template string
		model    any
	}
	signIn := &SignInPage{Page: busyPage("sign-in", hostile), Next: "ui/orders" + hostile, Wrong: true, Wait: 4}
	problem := &ProblemPage{Page: busyPage("problem", hostile), Status: 404, Detail: "Order not found" + hostile, TraceID: "4bf9" + hostile}
	return map[string]shown{
		"overview, busy":        {"overview.html", busyOverview(hostile)},
		"overview, in trouble":  {"overview.html", troubledOverview(hostile)},
		"overview, paused":      {"overview.html", pausedOverview()},
		"overview, empty":       {"overview.html", emptyOverview()},
		"overview, away":        {"overview.html", awayOverview()},
		"what moves":            {"live", troubledOverview(hostile)},
		"dead letters":          {"dead-letters.html", deadLettersPage(hostile)},
		"dead letters, dry run": {"dead-letters.html", planPage(hostile)},
		"dead letters, none":    {"dead-letters.html", &DeadLettersPage{Page: busyPage("dead-letters", hostile), Filter: DeadLetterFilter{Text: hostile}}},
		"orders":                {"orders.html", ordersPage(hostile)},
		"orders, none":          {"orders.html", &OrdersPage{Page: busyPage("orders", hostile), Search: OrderSearch{Q: hostile, By: hostile, Status: hostile}}},
		"order":                 {"order.html", orderPage(hostile)},
		"sign in":               {"sign-in.html", signIn},
		"problem":               {"problem.html", problem},
	}
}

func rendered(t *testing.T, name string, model any) string {
	t.Helper()
	var b bytes.Buffer
	if err := pages.ExecuteTemplate(&b, name, model); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// Escaped text has neither < nor >, so what stands between them is an element of the page's own.
var (
	element   = regexp.MustCompile(`<([a-zA-Z0-9]+)([^<>]*)>`)
	attribute = regexp.MustCompile(`([^\s"=]+)(?:="([^"]*)")?`)
	own       = regexp.MustCompile(`^(?:\./|\.\./|#)`)
	elements  = strings.Fields(`html head meta title link script noscript body header footer main nav section div span p h1 h2 h3 small strong code pre b i a
		ul ol li dl dt dd table thead tbody tr th td time figure details summary form label input select option button svg rect circle path`)
)

// The policy forbids scripts and styles within a page: one that a page needs would not work, and one that somebody smuggled in shows that
// text was taken for markup.
func TestPagesHaveNothingInlineAndEscapeWhatPeopleWrite(t *testing.T) {
	t.Parallel()
	for name, page := range everyPage(hostile) {
		text := rendered(t, page.template, page.model)
		for _, found := range element.FindAllStringSubmatch(text, -1) {
			if !slices.Contains(elements, found[1]) {
				t.Errorf("%s has the element %s", name, found[0])
			}
			for _, a := range attribute.FindAllStringSubmatch(found[2], -1) {
				switch key, value := a[1], a[2]; {
				case key == "style" || strings.HasPrefix(key, "on"):
					t.Errorf("%s has an attribute %s", name, found[0])
				case (key == "src" || key == "href" || key == "action") && !own.MatchString(value):
					t.Errorf("%s leads to somebody else: %s", name, found[0])
				}
			}
		}
		if scripts, files := strings.Count(text, "<script"), strings.Count(text, `.js?v=`); scripts != files || strings.Count(text, "defer></script>") != files {
			t.Errorf("%s has %d scripts, of which %d are files", name, scripts, files)
		}
		if strings.ContainsRune(text, 0) {
			t.Errorf("%s has a NUL", name)
		}
	}
}

func TestWhatPeopleWriteCanBeRead(t *testing.T) {
	t.Parallel()
	const name = `Ann & Bob <"quoted">`
	for page, text := range map[string]string{
		"overview": rendered(t, "overview.html", troubledOverview(name)), "orders": rendered(t, "orders.html", ordersPage(name)),
		"order": rendered(t, "order.html", orderPage(name)), "dead letters": rendered(t, "dead-letters.html", deadLettersPage(name)),
	} {
		if !strings.Contains(html.UnescapeString(text), name) {
			t.Errorf("%s: the name cannot be read", page)
		}
	}
}

// Every form that changes something says where it comes from.
func TestEveryFormThatPostsHasTheSessionsToken(t *testing.T) {
	t.Parallel()
	form := regexp.MustCompile(`(?s)<form[^>]*method="post".*?</form>`)
	forms := 0
	for name, page := range everyPage("") {
		for _, f := range form.FindAllString(rendered(t, page.template, page.model), -1) {
			forms++
			if !strings.Contains(f, `<input type="hidden" name="csrf" value="csrf-token">`) && !strings.Contains(name, "empty") && !strings.Contains(name, "away") {
				t.Errorf("%s: a form has no token: %s", name, f)
			}
		}
	}
	if forms < 30 {
		t.Errorf("there are only %d forms", forms)
	}
}

// What is streamed is the same for all viewers: nothing in it is for admins alone.
func TestWhatMovesHasNoForms(t *testing.T) {
	t.Parallel()
	for _, model := range []*OverviewPage{busyOverview(""), troubledOverview(""), pausedOverview(), awayOverview()} {
		if text := rendered(t, "live", model); strings.Contains(text, "<form") || strings.Contains(text, "csrf") {
			t.Error("a form is streamed")
		}
	}
}

func TestWhoMayNotChangeAnythingIsShownNoForms(t *testing.T) {
	t.Parallel()
	visitor := Access{CanSignIn: true}
	overview, letters, order := busyOverview(""), deadLettersPage(""), orderPage("")
	overview.Access, letters.Access, order.Access = visitor, visitor, visitor
	for name, text := range map[string]string{
		"overview": rendered(t, "overview.html", overview), "dead letters": rendered(t, "dead-letters.html", letters), "order": rendered(t, "order.html", order),
	} {
		if strings.Contains(text, `method="post"`) {
			t.Errorf("%s has a form", name)
		}
		if !strings.Contains(text, "ui/sign-in") {
			t.Errorf("%s does not say where to sign in", name)
		}
	}
}

// Each line of the event is one of its data: a carriage return in a name is none that ends a line of the stream.
func TestANameCannotEndAnEvent(t *testing.T) {
	t.Parallel()
	event := string(page([]byte("<p>Ann\r\revent: bye\r\ndata: {}\n\nBob</p>\n")))
	body, ok := strings.CutSuffix(event, "\n\n")
	if !ok || strings.ContainsAny(event, "\r") {
		t.Errorf("%q", event)
	}
	for i, line := range strings.Split(body, "\n") {
		if want := "data: "; i > 0 && !strings.HasPrefix(line, want) {
			t.Errorf("line %d of the event is %q", i, line)
		}
	}
}

func TestFiguresAreWrittenAsTheyAreRead(t *testing.T) {
	t.Parallel()
	var nothing *float64
	for got, want := range map[string]string{
		count(0): "0", count(int64(999)): "999", count(int32(1234567)): "1,234,567", count(int64(-1234)): "-1,234",
		rate(nothing): "–", rate(ptr(0.0)): "0", rate(ptr(0.01)): "<0.1", rate(ptr(3.24)): "3.2", rate(ptr(9.96)): "10", rate(ptr(2013.4)): "2,013",
		span(0): "0 s", span(400 * time.Microsecond): "<1 ms", span(24 * time.Millisecond): "24 ms", span(999600 * time.Microsecond): "1 s",
		span(1840 * time.Millisecond): "1.8 s", span(14200 * time.Millisecond): "14 s", span(384 * time.Second): "6 min 24 s", span(time.Hour): "1 h",
		span(26 * time.Hour): "1 d 2 h", age(1.84): "1.8 s", ago(0.4): "now", ago(14.2): "14 s ago",
	} {
		if got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
	now := time.Date(2026, 11, 26, 20, 4, 5, 0, time.UTC)
	for got, want := range map[string]string{
		clockAt(now, now.Add(-time.Hour)): "19:04:05", clockAt(now, now.Add(-48*time.Hour)): "24 Nov 20:04:05", clockAt(now, now.AddDate(-1, 0, 0)): "26 Nov 2025 20:04",
		clockAt(now, time.Time{}): "–",
	} {
		if got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}

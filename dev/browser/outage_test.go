package browser

import (
	"testing"

	"orderflow.example/dev/browser/internal/chrome"
	"orderflow.example/dev/internal/postgres"
)

// What a browser writes to the console by itself when a server is not there, or goes away.
const (
	lost    = "net::ERR_"                 // nobody answers
	leaving = "503 (Service Unavailable)" // an api answers that is about to stop, and takes no new stream
)

func TestThePageComesBackByItself(t *testing.T) {
	t.Parallel()
	s, err := common()
	if err != nil {
		t.Fatal(err)
	}
	server, err := postgres.Open(t.Context(), postgres.Options{Session: s.session, From: "local"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := server.Close(t.Context()); err != nil {
			t.Error(err)
		}
	})
	b := setup(t, server.URL())
	b.orders(3)
	page := b.tab(chrome.Desktop, "/", lost, leaving)
	page.shows("#pulse", "Live")
	page.until("the orders wait", page.number("Waiting")+" === 3")
	const stale, fresh = `document.documentElement.classList.contains('stale')`, `!document.documentElement.classList.contains('stale')`

	b.must(b.api.Stop(b.ctx))
	page.shows("#pulse", "API away")
	page.until("the figures are grey", stale)
	page.until("and are those of before", page.number("Waiting")+" === 3")
	page.shows("#told", "The API does not answer")
	b.must(b.api.Start(), b.api.WaitReady(b.ctx))
	page.shows("#pulse", "Live")
	page.until("the figures are live", fresh)
	page.shows("#told", "live again")

	b.must(server.Halt(b.ctx))
	page.shows("#pulse", "Database away")
	page.shows("#notices", "The database is away")
	page.until("the figures are grey", stale)
	page.until("and are those of before", page.number("Waiting")+" === 3")
	page.until("their age grows", `/ ([3-9]|\d\d) s old| min old/.test(document.querySelector('#pulse').innerText)`)

	// Who comes now is told so, too.
	late := b.tab(chrome.Desktop, "/", lost)
	late.shows("main", "The database is away")
	late.shows("#pulse", "Database away")

	b.must(server.Start(b.ctx))
	for _, tab := range []tab{page, late} {
		tab.shows("#pulse", "Live")
		tab.until("the notice goes", `document.querySelector('#notices .notice') === null`)
		tab.until("the figures are live", fresh)
		tab.until("the orders wait", tab.number("Waiting")+" === 3")
	}
}

// A page that nobody sees asks for nothing.
func TestAHiddenPageRests(t *testing.T) {
	t.Parallel()
	b := setup(t, "")
	page := b.tab(chrome.Desktop, "/")
	page.shows("#pulse", "Live")
	hide := func(hidden string) {
		t.Helper()
		b.must(page.Evaluate(`(Object.defineProperty(document, 'hidden', { configurable: true, get: () => `+hidden+` }), document.dispatchEvent(new Event('visibilitychange')))`, nil))
	}
	hide("true")
	page.shows("#pulse", "Paused")
	b.orders(2)
	watcher := b.tab(chrome.Desktop, "/") // it has seen the orders, and the hidden one has not
	watcher.until("the orders wait", watcher.number("Waiting")+" === 2")
	page.until("nothing has moved", page.number("Waiting")+" === 0")
	hide("false")
	page.shows("#pulse", "Live")
	page.until("the orders wait", page.number("Waiting")+" === 2")
}

package browser

import (
	"strings"

	"orderflow.example/dev/browser/internal/chrome"
)

// tab is a tab whose failures end the test.
type tab struct {
	*chrome.Tab
	b *bundle
}

func (t tab) open(path string) {
	t.b.t.Helper()
	t.b.must(t.Go(t.b.api.URL() + path))
}

func (t tab) until(what, expression string) {
	t.b.t.Helper()
	t.b.must(t.Until(what, expression))
}

// shows waits until an element has a text in it.
func (t tab) shows(selector, text string) {
	t.b.t.Helper()
	t.until(selector+" shows "+text, `document.querySelector(`+chrome.Quote(selector)+`)?.innerText.includes(`+chrome.Quote(text)+`) ?? false`)
}

func (t tab) click(selector string) {
	t.b.t.Helper()
	t.b.must(t.Click(selector))
}

func (t tab) write(selector, text string) {
	t.b.t.Helper()
	t.b.must(t.Type(selector, text))
}

func (t tab) press(keys string) {
	t.b.t.Helper()
	t.b.must(t.Keys(keys))
}

// number reads a figure of the overview by its name.
func (t tab) number(figure string) string {
	return `Number([...document.querySelectorAll('.figure')].find((f) => f.querySelector('dt').innerText === ` + chrome.Quote(figure) +
		`).querySelector('.value').firstChild.data.replaceAll(',', ''))`
}

// signIn signs in with the admin token, from wherever the tab is.
func (t tab) signIn() {
	t.b.t.Helper()
	t.click(`a[href*="ui/sign-in"]`)
	t.write("#token", adminToken+chrome.Enter)
	t.shows(".session", "Sign out")
}

// quiet judges what pages have complained about, but for lines with one of some words, and whom they have asked.
func (t tab) quiet(allowed ...string) {
	t.b.t.Helper()
complaints:
	for _, complaint := range t.Complaints() {
		for _, words := range allowed {
			if strings.Contains(complaint, words) {
				continue complaints
			}
		}
		t.b.t.Errorf("a page complains: %s", complaint)
	}
	own := strings.TrimPrefix(t.b.api.URL(), "http://")
	for _, host := range t.Hosts() {
		if host != own && strings.Replace(host, chrome.OtherName, "127.0.0.1", 1) != own {
			t.b.t.Errorf("a page asks %s for something", host)
		}
	}
}

package browser

import (
	"testing"

	"orderflow.example/dev/browser/internal/chrome"
)

// cramped are the fields and buttons of what a page has opened that cannot be used: beyond an edge of the window, or too narrow to type into.
const cramped = `[...document.querySelectorAll('.sure[open] form, .plan, .gate')]
	.flatMap((of) => [...of.querySelectorAll('input:not([type=hidden]), button, a.button')])
	.filter((e) => { const r = e.getBoundingClientRect(); return r.width > 0 && (r.left < 0 || r.right > innerWidth || e.tagName === 'INPUT' && r.width < 150) })
	.map((e) => e.outerHTML.slice(0, 100))`

// A note can be written wherever there is a field for one, also in a narrow window.
func TestWhatOpensFitsTheWindow(t *testing.T) {
	t.Parallel()
	b := setup(t, "")
	b.deadLetters()
	for _, width := range []int64{400, 1440} {
		page := b.tab(chrome.View{Width: width, Height: 900, Scheme: "light"}, "/")
		page.signIn()
		fits := func(what string) {
			t.Helper()
			var found []string
			if b.must(page.Evaluate(cramped, &found)); len(found) > 0 {
				t.Errorf("%s, in a window of %d: %v", what, width, found)
			}
		}
		page.open("/")
		page.until("the queue can be paused", `document.querySelector('.gate input')`)
		fits("pausing")
		page.open("/ui/dead-letters")
		page.click(`.letters tbody tr:first-child .sure summary`)
		fits("deleting a dead letter")
		var order string
		b.must(page.Evaluate(`document.querySelector('.letters tbody th a').innerText`, &order))
		page.click("#dry-run")
		page.shows("#plan", "would go back")
		fits("redriving")
		page.open("/ui/orders/" + order)
		page.click(`.title .sure summary`)
		fits("deleting an order's message")
	}
}

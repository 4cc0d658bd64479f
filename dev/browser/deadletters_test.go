package browser

import (
	"testing"

	"orderflow.example/dev/browser/internal/chrome"
)

// deadLetters makes ten orders of which five are given up: those whose messages have an even id fail at their first attempt, which is their
// last. It returns when nobody works any more.
func (b *bundle) deadLetters() {
	b.t.Helper()
	b.orders(10)
	consumer := b.consumer("consumer-1", "SIMULATE_FAILURES=example", "MAX_ATTEMPTS=1")
	page := b.tab(chrome.Desktop, "/")
	page.until("five are given up", page.number("Dead letters")+" === 5")
	page.until("and five completed", `document.querySelector('#figures').innerText.includes('completed 5')`)
	b.must(consumer.Stop(b.ctx))
}

func TestADeadLetterIsRedrivenByClicks(t *testing.T) {
	t.Parallel()
	b := setup(t, "")
	b.deadLetters()
	page := b.tab(chrome.Desktop, "/")
	page.click(`#figures a[href$="ui/dead-letters"]`)
	page.until("all are listed", `document.querySelectorAll('.letters tbody tr').length === 5`)
	page.shows("main", "max_attempts")
	page.until("nobody can change anything yet", `document.querySelector('form[method=post]') === null`)
	page.signIn()
	page.until("it leads back", `location.pathname === '/ui/dead-letters'`)

	// One of them, by itself.
	page.click(`.letters tbody tr:first-child form[action$="/redrive"] button`)
	page.until("it is gone", `document.querySelectorAll('.letters tbody tr').length === 4`)
	page.shows(".notice", "back in the queue")

	// One is deleted, and is asked for twice.
	page.click(`.letters tbody tr:first-child .sure summary`)
	page.click(`.letters tbody tr:first-child .sure form button`)
	page.until("it is gone", `document.querySelectorAll('.letters tbody tr').length === 3`)

	// A search chooses one of the others; the dry run says so, and moves nothing.
	var order string
	b.must(page.Evaluate(`document.querySelector('.letters tbody tr:last-child th a').innerText`, &order))
	page.write("#text", `"order_id": `+order+`,`+chrome.Enter) // the number alone may be in others' messages, too
	page.until("one is found", `document.querySelectorAll('.letters tbody tr').length === 1`)
	page.click("#dry-run")
	page.shows("#plan", "1 dead letter would go back")
	watcher := b.tab(chrome.Desktop, "/")
	watcher.until("nothing has moved", watcher.number("Dead letters")+" === 3 && "+watcher.number("Waiting")+" === 1")
	page.click("#plan a")
	page.click(`.search a`)

	// And then all.
	page.click("#dry-run")
	page.shows("#plan", "3 dead letters would go back")
	page.click("#confirm")
	page.shows(".empty", "None")
	watcher.until("they wait for a consumer", watcher.number("Dead letters")+" === 0 && "+watcher.number("Waiting")+" === 4")

	// Their orders tell their story.
	page.open("/ui/orders/" + order)
	page.shows(".story", "Accepted")
	page.shows(".story", "max_attempts")
	page.shows(".story", "Redriven")
	b.consumer("consumer-2")
	watcher.until("they are worked on", watcher.number("Waiting")+" === 0")
	page.until("and the last is told, too", `(async () => (await (await fetch(location)).text()).includes('class="good"'))()`)
	page.open("/ui/orders/" + order)
	page.shows("h1", "completed")
}

// Whoever has no mouse does the same.
func TestADeadLetterIsRedrivenByKeyboard(t *testing.T) {
	t.Parallel()
	b := setup(t, "")
	b.deadLetters()
	page := b.tab(chrome.Desktop, "/")
	page.press(chrome.TabKey)
	page.until("the way past the head comes first", `document.activeElement.classList.contains('skip') && document.activeElement.getBoundingClientRect().top >= 0`)
	page.press(chrome.Enter)
	page.until("it leads to the content", `document.activeElement.id === 'main'`)
	page.open("/")
	page.reach(`a[href$="ui/dead-letters"]`)
	page.press(chrome.Enter)
	page.shows("h1", "Dead letters")
	page.reach(`a[href*="ui/sign-in"]`)
	page.press(chrome.Enter)
	page.until("the field has the focus", `document.activeElement?.id === 'token'`)
	page.press(adminToken + chrome.Enter)
	page.shows(".session", "Sign out")
	page.reach("#dry-run")
	page.press(chrome.Enter)
	page.shows("#plan", "5 dead letters would go back")
	page.until("the next step has the focus", `document.activeElement?.id === 'confirm'`)
	page.press(chrome.Space)
	page.shows(".empty", "None")
}

// reach presses Tab until an element has the focus. Each one that has it on the way can be seen to have it.
func (t tab) reach(selector string) {
	t.b.t.Helper()
	for range 80 {
		t.press(chrome.TabKey)
		var at struct {
			There, Seen bool
			What        string
		}
		t.b.must(t.Evaluate(`(() => { const a = document.activeElement; const s = getComputedStyle(a); return {
			there: a.matches(`+chrome.Quote(selector)+`), what: a.outerHTML.slice(0, 120),
			seen: a === document.body || s.outlineStyle !== 'none' && parseFloat(s.outlineWidth) >= 2 } })()`, &at))
		if !at.Seen {
			t.b.t.Errorf("the focus cannot be seen on %s", at.What)
		}
		if at.There {
			return
		}
	}
	t.b.t.Fatalf("Tab does not lead to %s", selector)
}

package browser

import (
	"testing"

	"orderflow.example/dev/browser/internal/chrome"
)

// A row of the table of consumers, by the consumer's name.
func row(name string) string {
	return `[...document.querySelectorAll('#consumers tbody tr')].find((r) => r.querySelector('.name').innerText === ` + chrome.Quote(name) + `)`
}

func TestConsumersAppearGreyOutAndVanish(t *testing.T) {
	t.Parallel()
	b := setup(t, "")
	page := b.tab(chrome.Desktop, "/")
	page.shows("#consumers", "None is running")
	b.consumer("consumer-1")
	killed := b.consumer("consumer-2")
	b.load("RATE=50", "DURATION=4m")
	page.until("both are there", row("consumer-1")+" && "+row("consumer-2"))
	page.until("and work", `[...document.querySelectorAll('#consumers tbody tr')].every((r) => parseFloat(r.cells[2].innerText) > 1)`)

	killed.Kill()
	page.until("the killed one is grey", row("consumer-2")+`.classList.contains('gone')`)
	page.until("and called silent", row("consumer-2")+`.innerText.includes('silent')`)
	page.until("the other one is not", `!`+row("consumer-1")+`.classList.contains('gone')`)
	page.until("it vanishes", `!`+row("consumer-2"))
	page.until("the other one does not", `parseFloat(`+row("consumer-1")+`?.cells[2].innerText) > 1`)

	// One that ends of itself is gone at once.
	b.must(b.stack.Nodes("consumer")[0].Stop(b.ctx))
	page.shows("#consumers", "None is running")
}

func TestConsumingIsPausedAndResumed(t *testing.T) {
	t.Parallel()
	b := setup(t, "")
	b.consumer("consumer-1")
	page := b.tab(chrome.Desktop, "/")
	page.shows("#notices", "only simulate work")
	page.signIn()
	page.open("/")
	page.write("#reason", "the <b>warehouse</b> moves")
	page.click(".when-running button")
	page.shows("#notices", "Consuming is paused")
	page.shows("#notices", "the <b>warehouse</b> moves")
	b.orders(6)
	page.until("orders wait", page.number("Waiting")+" === 6")
	page.click(".when-paused button")
	page.until("the notice goes", `!document.querySelector('#notices').innerText.includes('paused')`)
	page.until("they are worked on", page.number("Waiting")+" === 0")

	// Somebody else's command changes what this page offers.
	b.must(b.command("consumer", "pause", "ann"))
	page.shows("#notices", "by ann")
	page.until("and offers to resume", `getComputedStyle(document.querySelector('.when-paused')).display !== 'none'`)
}

package browser

import (
	"testing"

	"orderflow.example/dev/browser/internal/chrome"
)

func TestFiguresMoveUnderLoad(t *testing.T) {
	t.Parallel()
	b := setup(t, "")
	b.consumer("consumer-1")
	page := b.tab(chrome.Desktop, "/")
	page.shows("#pulse", "Live")
	page.shows("#latest", "None yet")
	b.load("RATE=100", "DURATION=2m")
	page.until("orders come in", page.number("Accepted")+" > 10")
	page.until("orders are completed", page.number("Completed")+" > 10")
	page.until("the latest are shown", `document.querySelectorAll('#latest tbody tr').length === 10`)
	before := ""
	b.must(page.Evaluate(`document.querySelector('#latest tbody a').innerText`, &before))
	page.until("and others a moment later", `document.querySelector('#latest tbody a').innerText !== `+chrome.Quote(before))
}

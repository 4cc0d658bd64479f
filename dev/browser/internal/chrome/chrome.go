// Package chrome drives a Chromium without a window: tabs that know nothing of each other, what their pages complain about, and what
// they ask other hosts for.
//
// It must never wait for a time: only for what a page shows, bounded.
package chrome

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"

	"github.com/chromedp/chromedp"
)

// ErrMissing says what to install.
var ErrMissing = errors.New("no Chromium: apt-get install -y chromium, or name one that is there: CHROMIUM=/path/to/chrome")

// OtherName is a name of this machine that the browser does not know to be its own.
const OtherName = "orderflow.example"

// Browser is a running Chromium.
type Browser struct {
	ctx   context.Context
	close func()
}

// Find returns the program: CHROMIUM, or one of the names that distributions give it.
func Find() (string, error) {
	if path := os.Getenv("CHROMIUM"); path != "" {
		return path, nil
	}
	for _, name := range []string{"chromium", "chromium-browser", "google-chrome", "google-chrome-stable"} {
		if path, err := exec.LookPath(name); err == nil {
			return path, nil
		}
	}
	return "", ErrMissing
}

// Open starts the browser. It ends with Close.
func Open(ctx context.Context) (*Browser, error) {
	path, err := Find()
	if err != nil {
		return nil, err
	}
	options := append([]chromedp.ExecAllocatorOption{}, chromedp.DefaultExecAllocatorOptions[:]...)
	options = append(options,
		chromedp.ExecPath(path),
		chromedp.Flag("hide-scrollbars", true),
		chromedp.Flag("font-render-hinting", "none"),
		chromedp.Flag("disable-gpu", true),
		// Nothing of the browser's own may look like a request of a page.
		chromedp.Flag("disable-component-update", true),
		chromedp.Flag("no-proxy-server", true),
		chromedp.Flag("host-resolver-rules", "MAP "+OtherName+" 127.0.0.1"),
	)
	if os.Geteuid() == 0 {
		options = append(options, chromedp.NoSandbox) // root has no sandbox; the pages are our own
	}
	allocated, end := chromedp.NewExecAllocator(ctx, options...)
	first, closeFirst := chromedp.NewContext(allocated)
	if err := chromedp.Do(first); err != nil {
		closeFirst()
		end()
		return nil, fmt.Errorf("start %s: %w", path, err)
	}
	return &Browser{ctx: first, close: func() { closeFirst(); end() }}, nil
}

// Close ends the browser with all of its tabs.
func (b *Browser) Close() { b.close() }

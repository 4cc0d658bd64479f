package chrome

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"
)

// View is how a tab looks at pages.
type View struct {
	Width, Height int64  // CSS pixels
	Scheme        string // light or dark
	NoScript      bool
}

// Desktop is what most tests look at pages with.
var Desktop = View{Width: 1440, Height: 900, Scheme: "light"}

// Tab is a tab with cookies of its own.
type Tab struct {
	ctx   context.Context
	close func()

	mu         sync.Mutex
	complaints []string
	hosts      map[string]bool
}

// Tab opens one.
func (b *Browser) Tab(view View) (*Tab, error) {
	tab := &Tab{hosts: map[string]bool{}}
	tab.ctx, tab.close = chromedp.NewContext(b.ctx, chromedp.WithNewBrowserContext(), chromedp.WithListener(tab.hear))
	if err := chromedp.Do(tab.ctx, chromedp.Func(func(ctx context.Context, t *chromedp.Target) error { return look(ctx, t, view) })); err != nil {
		tab.close()
		return nil, fmt.Errorf("open a tab: %w", err)
	}
	return tab, nil
}

// Close closes the tab and forgets its cookies.
func (t *Tab) Close() { t.close() }

// look sets up how pages are looked at: without animations, so that what is looked at stands still.
func look(ctx context.Context, t *chromedp.Target, view View) error {
	_, err := cdp.Call(ctx, t, emulation.SetDeviceMetricsOverride, emulation.SetDeviceMetricsOverrideParams{Width: view.Width, Height: view.Height, DeviceScaleFactor: 1})
	if err == nil {
		_, err = cdp.Call(ctx, t, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{Features: []*emulation.MediaFeature{
			{Name: "prefers-color-scheme", Value: view.Scheme}, {Name: "prefers-reduced-motion", Value: "reduce"},
		}})
	}
	if err == nil {
		_, err = cdp.Call(ctx, t, emulation.SetScriptExecutionDisabled, emulation.SetScriptExecutionDisabledParams{Value: view.NoScript})
	}
	if err == nil {
		_, err = cdp.Call(ctx, t, network.Enable, network.EnableParams{})
	}
	return err
}

// hear keeps what pages complain about, and whom they ask.
func (t *Tab) hear(event any) {
	complaint := ""
	switch e := event.(type) {
	case *log.EventEntryAdded:
		if e.Entry.Level == log.EntryLevelError || e.Entry.Level == log.EntryLevelWarning {
			complaint = fmt.Sprintf("%s %s: %s (%s)", e.Entry.Source, e.Entry.Level, e.Entry.Text, e.Entry.URL)
		}
	case *runtime.EventExceptionThrown:
		complaint = "exception: " + e.ExceptionDetails.Text
		if e.ExceptionDetails.Exception != nil {
			complaint += " " + e.ExceptionDetails.Exception.Description
		}
	case *runtime.EventConsoleAPICalled:
		if e.Type == runtime.ConsoleAPICalledTypeError || e.Type == runtime.ConsoleAPICalledTypeWarning || e.Type == runtime.ConsoleAPICalledTypeAssert {
			complaint = fmt.Sprintf("console %s", e.Type)
			for _, arg := range e.Args {
				complaint += " " + arg.Description + string(arg.Value)
			}
		}
	case *network.EventRequestWillBeSent:
		t.asked(e.Request.URL)
	case *network.EventWebSocketCreated:
		t.asked(e.URL)
	}
	if complaint == "" {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.complaints = append(t.complaints, complaint)
}

func (t *Tab) asked(address string) {
	host := address
	if u, err := url.Parse(address); err == nil {
		if u.Scheme == "data" || u.Scheme == "blob" || u.Scheme == "about" {
			return
		}
		host = u.Host
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.hosts[host] = true
}

// Complaints are the errors and warnings that pages have written to the console so far.
func (t *Tab) Complaints() []string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return slices.Clone(t.complaints)
}

// Hosts are those that pages have sent requests to.
func (t *Tab) Hosts() []string {
	t.mu.Lock()
	defer t.mu.Unlock()
	var hosts []string
	for host := range t.hosts {
		hosts = append(hosts, host)
	}
	slices.Sort(hosts)
	return hosts
}

// limit bounds every wait. It is against hangs, and judges nothing.
const limit = time.Minute

func (t *Tab) bounded() (context.Context, context.CancelFunc) {
	return context.WithTimeout(t.ctx, limit)
}

// Go opens an address and waits until the page has loaded.
func (t *Tab) Go(address string) error {
	ctx, cancel := t.bounded()
	defer cancel()
	return chromedp.Do(ctx, chromedp.Navigate(address))
}

// Click clicks on an element once it can be seen, with the mouse, and does not wait for what follows.
func (t *Tab) Click(selector string) error {
	ctx, cancel := t.bounded()
	defer cancel()
	if err := chromedp.Do(ctx, chromedp.Click(chromedp.CSS(selector), chromedp.NodeVisible)); err != nil {
		return fmt.Errorf("click %s: %w", selector, err)
	}
	return nil
}

// Type types into an element.
func (t *Tab) Type(selector, text string) error {
	ctx, cancel := t.bounded()
	defer cancel()
	if err := chromedp.Do(ctx, chromedp.SendKeys(chromedp.CSS(selector), text, chromedp.NodeVisible)); err != nil {
		return fmt.Errorf("type into %s: %w", selector, err)
	}
	return nil
}

// Keys presses keys, wherever the focus is. Tab, Enter, Space and ShiftTab are those that move about.
func (t *Tab) Keys(keys string) error {
	ctx, cancel := t.bounded()
	defer cancel()
	return chromedp.Do(ctx, chromedp.KeyEvent(keys))
}

// Keys that move about.
const (
	TabKey = kb.Tab
	Enter  = kb.Enter
	Space  = " "
)

// Evaluate runs an expression in the page, whatever the page's policy is, and reads its value, or that of its promise, as JSON.
func (t *Tab) Evaluate(expression string, into any) error {
	ctx, cancel := t.bounded()
	defer cancel()
	text, err := chromedp.Run(ctx, chromedp.Evaluate[string](`(async () => JSON.stringify(await (`+expression+`)) ?? 'null')()`, chromedp.EvalAwaitPromise))
	if err != nil {
		return err
	}
	if into == nil {
		return nil
	}
	return json.Unmarshal([]byte(text), into)
}

// Text is the text of an element as it is read; empty when there is none.
func (t *Tab) Text(selector string) (string, error) {
	var text string
	err := t.Evaluate(`document.querySelector(`+Quote(selector)+`)?.innerText ?? ''`, &text)
	return text, err
}

// Until waits until an expression is true. A page that is being replaced by another one is waited for.
func (t *Tab) Until(what, expression string) error {
	end := time.NewTimer(limit)
	defer end.Stop()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		ok := false
		err := t.Evaluate(`Promise.resolve(`+expression+`).then(Boolean)`, &ok)
		if ok {
			return nil
		}
		select {
		case <-tick.C:
		case <-end.C:
			shown, _ := t.Text("body")
			return fmt.Errorf("%s: %w\n%s", what, errors.Join(errors.New("it does not come to be that "+expression), err), strings.TrimSpace(shown))
		case <-t.ctx.Done():
			return fmt.Errorf("%s: %w", what, context.Cause(t.ctx))
		}
	}
}

// Inject runs a script in the page, as a person at the developer tools would.
func (t *Tab) Inject(script string) error {
	ctx, cancel := t.bounded()
	defer cancel()
	_, err := chromedp.Run(ctx, chromedp.Evaluate[*runtime.RemoteObject](script+"\n;0"))
	return err
}

// Picture is what the tab shows, as PNG: the whole page, or as much as its window has.
func (t *Tab) Picture(whole bool) ([]byte, error) {
	ctx, cancel := t.bounded()
	defer cancel()
	if whole {
		return chromedp.Run(ctx, chromedp.FullScreenshot(100))
	}
	return chromedp.Run(ctx, chromedp.CaptureScreenshot())
}

// Quote writes a text as JavaScript does.
func Quote(text string) string {
	b, _ := json.Marshal(text) // of a string
	return string(b)
}

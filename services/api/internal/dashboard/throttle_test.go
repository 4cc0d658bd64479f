package dashboard

import (
	"strconv"
	"testing"
	"time"
)

// A client's first five wrong tokens are looked at, and one more each two seconds; of all clients together fifty, and five a second.
func TestWrongTokensAreLookedAtSoOftenAndNoMore(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		client func(try int) string
		tries  int
		pause  time.Duration
	}{
		"one client": {func(int) string { return "192.0.2.1" }, 5, 2 * time.Second},
		"a network":  {func(try int) string { return "2001:db8::" + strconv.Itoa(try) }, 5, 2 * time.Second}, // 2^64 addresses are one client's
		"many":       {func(try int) string { return "198.51.100." + strconv.Itoa(try) }, 50, 200 * time.Millisecond},
	} {
		throttle, now := newThrottle(), time.Unix(1_000_000, 0)
		for try := range test.tries {
			if wait := throttle.wait(test.client(try), now); wait != 0 {
				t.Fatalf("%s: after %d wrong tokens the next is looked at in %s", name, try, wait)
			}
			throttle.wrong(test.client(try), now)
		}
		for try := range 10 {
			next := test.client(100 + try)
			if wait := throttle.wait(next, now); wait != test.pause {
				t.Errorf("%s: another one is looked at in %s, want %s", name, wait, test.pause)
			}
			now = now.Add(test.pause)
			if wait := throttle.wait(next, now); wait != 0 {
				t.Errorf("%s: after the pause there is another, of %s", name, wait)
			}
			throttle.wrong(next, now)
		}
	}
}

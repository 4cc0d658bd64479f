package await_test

import (
	"errors"
	"runtime"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"orderflow.example/kit/await"
)

// failing is a test that may fail.
type failing struct {
	testing.TB
	said string
}

func (f *failing) Helper() {}
func (f *failing) Fatalf(format string, _ ...any) {
	f.said = format
	runtime.Goexit()
}

// fails runs a wait that is in vain, and returns how long that took.
func fails(t *testing.T, wait func(tb testing.TB)) time.Duration {
	t.Helper()
	f, ended, start := &failing{TB: t}, make(chan struct{}), time.Now()
	go func() {
		defer close(ended)
		wait(f)
	}()
	<-ended
	if !strings.Contains(f.said, "still not") {
		t.Errorf("said %q", f.said)
	}
	return time.Since(start)
}

func TestWaitingHasALimit(t *testing.T) {
	for said, limit := range map[string]time.Duration{"": 3 * time.Minute, "20s": 20 * time.Second, "-1s": 3 * time.Minute, "soon": 3 * time.Minute} {
		t.Run(said, func(t *testing.T) {
			t.Setenv("TEST_PATIENCE", said)
			synctest.Test(t, func(t *testing.T) {
				if took := fails(t, func(tb testing.TB) { tb.Helper(); await.True(tb, "never", func() bool { return false }) }); took != limit {
					t.Errorf("a condition: %s", took)
				}
				if took := fails(t, func(tb testing.TB) { tb.Helper(); await.Value(tb, "never", make(chan int)) }); took != limit {
					t.Errorf("a value: %s", took)
				}
			})
		})
	}
}

func TestWhatComesIsWaitedFor(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		start, c := time.Now(), make(chan int, 1)
		await.True(t, "a second is over", func() bool { return time.Since(start) >= time.Second })
		time.AfterFunc(time.Second, func() { c <- 7 })
		if v := await.Value(t, "seven", c); v != 7 {
			t.Error(v)
		}
		close(c)
		await.Value(t, "the end", c)
	})
}

// tests end with a code.
type tests int

func (code tests) Run() int { return int(code) }

func TestWhatTestsHaveStartedEnds(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		code, want int
		left       time.Duration // for how long something is left
	}{
		"nothing is left":    {0, 0, 0},
		"for a while":        {0, 0, await.Limit() / 2},
		"for ever":           {0, 1, 2 * await.Limit()},
		"a test that failed": {2, 2, 2 * await.Limit()},
	} {
		synctest.Test(t, func(t *testing.T) {
			start := time.Now()
			code := await.Ended(tests(test.code), func() error {
				time.Sleep(time.Second) //nolint:forbidigo // the bubble's clock, which nobody waits for
				if time.Since(start) < test.left {
					return errors.New("something is left")
				}
				return nil
			})
			if code != test.want {
				t.Errorf("%s: exit code %d, want %d", name, code, test.want)
			}
		})
	}
}

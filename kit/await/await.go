// Package await is how tests wait for what goroutines, sessions and programs do by themselves. A limit stands only against hangs: what a test
// says of time it says by counts and by order, so that it holds on a machine that is busy with something else.
package await

import (
	"fmt"
	"os"
	"testing"
	"time"
)

// fallback is the limit when TEST_PATIENCE says nothing: what is on its way comes much sooner, on however busy a machine.
const fallback = 3 * time.Minute

// Limit is how long to wait for what must come: TEST_PATIENCE, or three minutes. Whoever expects a test to fail sets it lower.
func Limit() time.Duration {
	if d, err := time.ParseDuration(os.Getenv("TEST_PATIENCE")); err == nil && d > 0 {
		return d
	}
	return fallback
}

// True waits until a condition holds, and fails the test if it never does.
func True(tb testing.TB, what string, holds func() bool) {
	tb.Helper()
	limit := Limit()
	deadline := time.NewTimer(limit)
	defer deadline.Stop()
	again := time.NewTicker(5 * time.Millisecond)
	defer again.Stop()
	for !holds() {
		select {
		case <-again.C:
		case <-deadline.C:
			tb.Fatalf("still not after %s: %s", limit, what)
		}
	}
}

// Value waits for a value from a channel, or for its end, and fails the test if neither comes.
func Value[T any](tb testing.TB, what string, c <-chan T) T {
	tb.Helper()
	limit := Limit()
	deadline := time.NewTimer(limit)
	defer deadline.Stop()
	select {
	case value := <-c:
		return value
	case <-deadline.C:
		tb.Fatalf("still not after %s: %s", limit, what)
		panic("unreachable")
	}
}

// Ended runs a package's tests, waits until nothing of what they have started is left, and returns the exit code. leak looks for that, as
// goleak.Find does for less than half a second. Some of it takes longer to end: a connection that is given up in the midst of a statement asks
// the server to cancel that, and waits for its answer.
func Ended(m interface{ Run() int }, leak func() error) (code int) {
	if code = m.Run(); code != 0 {
		return code
	}
	limit := Limit()
	deadline := time.Now().Add(limit)
	err := leak()
	for err != nil && time.Now().Before(deadline) {
		err = leak()
	}
	if err != nil {
		fmt.Fprintf(os.Stderr, "still not ended after %s: %v\n", limit, err)
		return 1
	}
	return 0
}

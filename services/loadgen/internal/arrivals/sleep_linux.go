package arrivals

import (
	"errors"
	"syscall"
	"time"
)

// sleepExactly sleeps in the kernel. An interruption by a signal ends it early, which at most sends one arrival a moment too soon,
// so it goes on until the time has passed.
func sleepExactly(d time.Duration) {
	rest := syscall.NsecToTimespec(d.Nanoseconds())
	for {
		var left syscall.Timespec
		if err := syscall.Nanosleep(&rest, &left); !errors.Is(err, syscall.EINTR) {
			return
		}
		rest = left
	}
}

//go:build !linux

package arrivals

import "time"

// sleepExactly is as exact as the runtime's timers are here.
func sleepExactly(d time.Duration) {
	<-time.After(d)
}

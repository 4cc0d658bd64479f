package app

import (
	"runtime/debug"
	"testing"
)

func TestWhatTheEnvironmentSaysOfTheCollectorHolds(t *testing.T) {
	before := debug.SetGCPercent(100)
	t.Cleanup(func() { debug.SetGCPercent(before) })
	for gogc, want := range map[string]int{"": collectorPercent, "50": 50, "off": -1} {
		t.Setenv("GOGC", gogc)
		debug.SetGCPercent(map[string]int{"": 100, "50": 50, "off": -1}[gogc]) // as the runtime does when a process begins
		setCollector()
		if got := debug.SetGCPercent(100); got != want {
			t.Errorf("GOGC=%q: %d, want %d", gogc, got, want)
		}
	}
}

package app

import (
	"runtime/debug"
	"testing"

	"orderflow.example/services/consumer/internal/handler"
)

func TestTheCollectorIsAsTheEnvironmentSaysAndElseOurs(t *testing.T) {
	before := debug.SetGCPercent(100)
	t.Cleanup(func() { debug.SetGCPercent(before) })
	var own struct{ handler.Handler }
	for name, c := range map[string]struct {
		handler handler.Handler
		gogc    string
		runtime int // as the Go runtime has set it by GOGC
		want    int
	}{
		"not set":                      {nil, "", 100, collectorPercent},
		"set":                          {nil, "50", 50, 50},
		"off":                          {nil, "off", -1, -1},
		"a program with a handler":     {own, "", 100, 100},
		"one that has it set, as well": {own, "50", 50, 50},
	} {
		t.Setenv("GOGC", c.gogc)
		debug.SetGCPercent(c.runtime)
		(&App{Handler: c.handler}).setCollector()
		if got := debug.SetGCPercent(100); got != c.want {
			t.Errorf("%s: %d, want %d", name, got, c.want)
		}
	}
}

package main

import (
	"log/slog"
	"math"
	"strings"
	"testing"

	"orderflow.example/services/api/internal/config"
)

func TestBoundsFollowTheMemory(t *testing.T) {
	t.Parallel()
	cfg, err := config.Load(environment(nil))
	if err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		memory      int64
		connections int
		bodies      int64
		said        int
	}{
		{math.MaxInt64, 2048, 32 << 20, 0},
		{230 << 20, 2048, 32 << 20, 0}, // what the chart gives
		{57 << 20, 521, 57 << 20 / 7, 2},
		{1 << 20, 16, 2 << 20, 2}, // one batch there must be room for
	} {
		var log strings.Builder
		connections, bodies := within(cfg, test.memory, slog.New(slog.NewTextHandler(&log, nil)))
		if said := strings.Count(log.String(), "the limit of memory"); connections != test.connections || bodies != min(32<<20, test.bodies) || said != test.said {
			t.Errorf("%d bytes of memory: %d connections, %d bytes of bodies, said %d times", test.memory, connections, bodies, said)
		}
	}
}

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
		gomemlimit int64
		want       limits
		said       int
	}{
		{math.MaxInt64, limits{1000, 32 << 20, math.MaxInt64}, 0},
		{230 << 20, limits{1000, 32 << 20, 230<<20 - 1000*60<<10}, 0}, // what the chart gives
		{58 << 20, limits{256, (58<<20 - 256*60<<10) / 5, 58<<20 - 256*60<<10}, 2},
		{1 << 20, limits{16, 2 << 20, 512 << 10}, 2}, // one batch there must be room for
	} {
		var log strings.Builder
		got := within(cfg, test.gomemlimit, slog.New(slog.NewTextHandler(&log, nil)))
		if said := strings.Count(log.String(), "the limit of memory"); got != test.want || said != test.said {
			t.Errorf("%d bytes of memory: %+v, want %+v; said %d times", test.gomemlimit, got, test.want, said)
		}
	}
}

package housekeeping

import (
	"testing"
	"time"
)

func TestStepsGetSmallerAndRarerWhenTheyTakeLong(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		size int
		took time.Duration
		want int
		rest time.Duration
	}{
		"quick":                         {100, 10 * time.Millisecond, 200, 40 * time.Millisecond},
		"quick, and as large as may be": {1000, time.Millisecond, 1000, 4 * time.Millisecond},
		"as long as it should":          {100, 25 * time.Millisecond, 100, 100 * time.Millisecond},
		"slow":                          {100, 60 * time.Millisecond, 50, 240 * time.Millisecond},
		"slow, and as small as may be":  {10, 60 * time.Millisecond, 10, 1140 * time.Millisecond},
		"stuck":                         {10, time.Minute, 10, longestNap},
		"next to nothing":               {10, time.Microsecond, 20, shortestNap},
	} {
		p := pace{size: test.size, least: 10, most: 1000}
		if rest := p.after(test.took); p.size != test.want || rest != test.rest {
			t.Errorf("%s: size %d and rest %v, want %d and %v", name, p.size, rest, test.want, test.rest)
		}
	}
}

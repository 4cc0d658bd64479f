package mutants

import (
	"fmt"
	"io"
)

// Table prints what was not caught, with the reason, and the last line, which is for scripts. It returns whether all were caught.
func Table(out io.Writer, outcomes []Outcome) bool {
	counts := map[Verdict]int{}
	for _, o := range outcomes {
		counts[o.Verdict]++
	}
	for _, o := range outcomes {
		if !o.Verdict.caught() {
			fmt.Fprintf(out, "%s: %s\n  %s\n%s\n", o.Verdict, o.Breaks, o.By, o.Detail)
		}
	}
	fmt.Fprintf(out, "mutants: %d caught=%d caught_by_time=%d survived=%d stale=%d broken=%d\n", len(outcomes), counts[Caught], counts[CaughtByTime], counts[Survived],
		counts[Stale], counts[Unproven])
	return len(outcomes) > 0 && counts[Caught]+counts[CaughtByTime] == len(outcomes)
}

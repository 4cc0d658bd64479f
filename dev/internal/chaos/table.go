package chaos

import (
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"
)

// Table prints the results, what was promised and not kept, and the last line, which is for scripts.
func Table(out io.Writer, results []Result) {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(w, "fault\torders\taccepted\tcompleted\tdead\tlost\tduplicated\tretried\trecovery\tbar\tverdict\t")
	var sum Result
	run := 0
	for _, r := range results {
		if r.Skipped != "" {
			fmt.Fprintf(w, "%s\t\t\t\t\t\t\t\t\t\tnot run\t\n", r.Fault.Name)
			continue
		}
		run++
		sum.Accepted += r.Accepted
		sum.Completed += r.Completed
		sum.Dead += r.Dead
		sum.Lost += r.Lost
		sum.Duplicated += r.Duplicated
		recovery, bar, verdict := "", "", "ok"
		if r.Bar > 0 {
			recovery, bar = seconds(r.Recovery), r.Bar.String()
		}
		if r.Failed() {
			verdict = "FAILED"
		}
		fmt.Fprintf(w, "%s\t%d\t%d\t%d\t%d\t%d\t%d\t%d\t%s\t%s\t%s\t\n", r.Fault.Name, r.Orders, r.Accepted, r.Completed, r.Dead, r.Lost, r.Duplicated,
			r.Retried, recovery, bar, verdict)
	}
	_ = w.Flush() // what it writes to cannot be told anything

	for _, r := range results {
		Details(out, r)
	}
	fmt.Fprintf(out, "chaos: faults=%d accepted=%d completed=%d dead=%d lost=%d duplicated=%d\n", run, sum.Accepted, sum.Completed, sum.Dead, sum.Lost, sum.Duplicated)
}

// Details prints what is worth saying of one fault: each measured promise of the quiet kind, and all that went wrong.
func Details(out io.Writer, r Result) {
	if r.Skipped != "" {
		fmt.Fprintf(out, "%s: not run: %s\n", r.Fault.Name, r.Skipped)
		return
	}
	for _, c := range r.Checks {
		switch {
		case !c.OK:
			fmt.Fprintf(out, "%s: FAILED: %s: %s (%s)\n", r.Fault.Name, c.What, c.Got, c.Want)
		case c.Measured && c.Want == "":
			fmt.Fprintf(out, "%s: %s: %s\n", r.Fault.Name, c.What, c.Got)
		case c.Measured:
			fmt.Fprintf(out, "%s: %s: %s (%s)\n", r.Fault.Name, c.What, c.Got, c.Want)
		}
	}
	if r.Err != nil {
		fmt.Fprintf(out, "%s: FAILED: %v\n", r.Fault.Name, r.Err)
	}
	if r.Failed() && len(r.Log) > 0 {
		fmt.Fprintf(out, "  %s\n", strings.Join(r.Log, "\n  "))
	}
}

func seconds(d time.Duration) string { return fmt.Sprintf("%.2fs", d.Seconds()) }

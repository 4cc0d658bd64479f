package doctor

import (
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
)

// Healthy says whether there is nothing to do.
func Healthy(findings []Finding) bool {
	for _, f := range findings {
		if f.Advice != "" {
			return false
		}
	}
	return true
}

// Write prints the findings as a table, with the advice below each that needs some.
func (f *Figures) Write(w io.Writer, queueName string, findings []Finding) error {
	var b strings.Builder
	fmt.Fprintf(&b, "Queue %s in database %s on PostgreSQL %s, seen as %s\n\n", queueName, f.Database, f.Server, f.Role)
	table := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
	for _, c := range findings {
		state := "ok"
		if c.Advice != "" {
			state = "LOOK"
		}
		fmt.Fprintf(table, "  %s\t%s\t%s\n", state, c.Check, c.Finding)
		if c.Advice != "" {
			fmt.Fprintf(table, "\t\t→ %s\n", c.Advice)
		}
	}
	_ = table.Flush() // a strings.Builder does not fail
	if Healthy(findings) {
		b.WriteString("\nNothing to do.\n")
	}
	_, err := io.WriteString(w, b.String())
	return err
}

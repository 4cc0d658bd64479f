package bench

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"orderflow.example/dev/internal/stack"
)

// Result is one table: a group that was measured.
type Result struct {
	Title, Note string
	Rows        []Row // the first is what the others are compared with
}

// Row is one contender, with what each round found.
type Row struct {
	What   string
	rounds []figures
}

// spread is the least, the middle and the most of a figure.
type spread struct{ low, middle, high float64 }

func spreadOf(values []float64) spread {
	values = slices.Sorted(slices.Values(values))
	if len(values) == 0 {
		return spread{}
	}
	return spread{values[0], values[len(values)/2], values[len(values)-1]}
}

// of is the spread of one figure over the rounds.
func (r Row) of(figure func(figures) float64) spread {
	values := make([]float64, len(r.rounds))
	for i, round := range r.rounds {
		values[i] = figure(round)
	}
	return spreadOf(values)
}

// against is the spread of the rate as a multiple of another's in the same round.
func (r Row) against(other Row) spread {
	var ratios []float64
	for i, round := range r.rounds {
		if i < len(other.rounds) && other.rounds[i].rate > 0 {
			ratios = append(ratios, round.rate/other.rounds[i].rate)
		}
	}
	return spreadOf(ratios)
}

// Write prints the tables as Markdown that is readable as plain text, too.
func Write(out io.Writer, results []Result) {
	for _, result := range results {
		fmt.Fprintf(out, "### %s\n\n", result.Title)
		if result.Note != "" {
			fmt.Fprintf(out, "%s\n\n", result.Note)
		}
		table(out, result.rates())
		if costs := result.costs(); len(costs) > 1 {
			fmt.Fprintln(out)
			table(out, costs)
		}
		fmt.Fprintln(out)
	}
}

// rates are the lines of the main table, its head first.
func (r Result) rates() [][]string {
	lines := [][]string{{"what", "orders/s", "least to most", "ratio", "least to most", "p50", "p99"}}
	for i, row := range r.Rows {
		rate := row.of(func(f figures) float64 { return f.rate })
		ratio, ratios := "1", ""
		if i > 0 {
			s := row.against(r.Rows[0])
			ratio, ratios = fmt.Sprintf("%.2f", s.middle), fmt.Sprintf("%.2f to %.2f", s.low, s.high)
		}
		p50 := row.of(func(f figures) float64 { return float64(f.p50) })
		p99 := row.of(func(f figures) float64 { return float64(f.p99) })
		lines = append(lines, []string{
			row.What, grouped(rate.middle), grouped(rate.low) + " to " + grouped(rate.high), ratio, ratios, duration(p50.middle), duration(p99.middle),
		})
	}
	return lines
}

// costs are the lines of the table of what an order takes; none where nothing was metered.
func (r Result) costs() [][]string {
	lines := [][]string{{
		"what an order takes", "WAL, bytes", "transactions", "dead rows", "CPU ms: api", "consumer", "Postgres", "peak MiB: api", "consumer", "deleted",
	}}
	for _, row := range r.Rows {
		middle := func(figure func(cost) float64) float64 {
			return row.of(func(f figures) float64 { return figure(f.cost) }).middle
		}
		of := func(spent func(cost) map[stack.Service]float64, service stack.Service) float64 {
			return middle(func(c cost) float64 { return spent(c)[service] })
		}
		cpu, memory := func(c cost) map[stack.Service]float64 { return c.cpu }, func(c cost) map[stack.Service]float64 { return c.memory }
		wal := middle(func(c cost) float64 { return c.wal })
		if wal == 0 {
			continue
		}
		lines = append(lines, []string{
			row.What, grouped(wal),
			figure("%.2f", middle(func(c cost) float64 { return c.transactions })), figure("%.2f", middle(func(c cost) float64 { return c.dead })),
			figure("%.3f", of(cpu, stack.API)), figure("%.3f", of(cpu, stack.Consumer)), figure("%.3f", of(cpu, postgresService)),
			figure("%.0f", of(memory, stack.API)), figure("%.0f", of(memory, stack.Consumer)),
			figure("%.2f", middle(func(c cost) float64 { return c.deleted })),
		})
	}
	return lines
}

func table(out io.Writer, lines [][]string) {
	w := tabwriter.NewWriter(out, 0, 0, 1, ' ', 0)
	for i, line := range lines {
		fmt.Fprintf(w, "| %s |\n", strings.Join(line, "\t| "))
		if i == 0 {
			fmt.Fprintf(w, "|%s\n", strings.Repeat(" --- |", len(line)))
		}
	}
	_ = w.Flush() // what it writes to cannot be told anything
}

func figure(format string, value float64) string {
	if value == 0 {
		return "–"
	}
	return fmt.Sprintf(format, value)
}

func duration(nanoseconds float64) string {
	switch d := time.Duration(nanoseconds); {
	case d == 0:
		return "–"
	case d < 10*time.Millisecond:
		return fmt.Sprintf("%.2f ms", d.Seconds()*1000)
	default:
		return fmt.Sprintf("%.0f ms", d.Seconds()*1000)
	}
}

// grouped is a whole number with a comma after every third digit.
func grouped(value float64) string {
	digits := fmt.Sprintf("%.0f", value)
	for i := len(digits) - 3; i > 0; i -= 3 {
		digits = digits[:i] + "," + digits[i:]
	}
	return digits
}

package screen

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/charmbracelet/x/ansi"

	"orderflow.example/dev/internal/logline"
)

func sample() snapshot {
	snap := snapshot{
		titles: [panes]string{"api", "consumers with a title that is longer than a narrow pane can show", "loadgen"},
		status: Status{Phase: "creating orders", Orders: 100, Completed: 42, Dead: 1, Depth: 57, InFlight: 30, Delayed: 9, Retries: 11},
	}
	for i := range 200 {
		for p := range panes {
			snap.entries[p] = append(snap.entries[p], entry{fmt.Sprintf("consumer-%d", i%3+1), logline.Record{
				Time: time.Unix(int64(i), 0), Level: []string{"DEBUG", "INFO", "WARN", "ERROR"}[i%4],
				Message: "Order 订单 processed " + strings.Repeat("long", i%30), Attrs: []logline.Attr{{Key: "n", Value: fmt.Sprint(i)}},
			}})
		}
	}
	return snap
}

// A line too wide or too many would make the terminal scroll and tear the screen.
func TestTheScreenFitsEveryTerminal(t *testing.T) {
	t.Parallel()
	for width := 20; width <= 220; width += 7 {
		for height := 8; height <= 60; height += 5 {
			view := draw(sample(), width, height, time.Second)
			lines := strings.Split(view, "\n")
			if len(lines) > height {
				t.Fatalf("%d×%d: %d lines", width, height, len(lines))
			}
			for i, line := range lines {
				if w := ansi.StringWidth(line); w > width {
					t.Fatalf("%d×%d: line %d is %d wide: %q", width, height, i, w, ansi.Strip(line))
				}
			}
		}
	}
}

func TestTheScreenShowsTheThreePanesBesideEachOtherAndTheQueue(t *testing.T) {
	t.Parallel()
	view := ansi.Strip(draw(sample(), 150, 30, 12300*time.Millisecond))
	lines := strings.Split(view, "\n")
	if first := lines[0]; strings.Index(first, "api") >= strings.Index(first, "consumers") || strings.Index(first, "consumers") >= strings.Index(first, "loadgen") {
		t.Errorf("the titles are not beside each other: %s", first)
	}
	for _, want := range []string{"42/100 completed", "depth 57", "in flight 30", "waiting for a retry 9", "retries 11", "dead 1", "12.3 s", "n=199"} {
		if !strings.Contains(view, want) {
			t.Errorf("the screen lacks %q:\n%s", want, view)
		}
	}
}

func TestWrapLosesNothingOfShortLines(t *testing.T) {
	t.Parallel()
	e := entry{"consumer-1", logline.Record{Message: "one two three four five six seven"}}
	lines := wrap(words(e, false), 14)
	joined := strings.Join(strings.Fields(ansi.Strip(strings.Join(lines, " "))), " ")
	if joined != e.record.Message {
		t.Errorf("%q became %q", e.record.Message, joined)
	}
}

package screen

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/charmbracelet/lipgloss"
	"github.com/charmbracelet/x/ansi"

	"orderflow.example/dev/internal/logline"
)

// Colours of the 16 that every terminal has, so that they fit each person's scheme.
var (
	paneColours    = [panes]lipgloss.Color{"6", "3", "5"}
	processColours = []lipgloss.Color{"3", "2", "4", "6", "5", "1"}

	faint  = lipgloss.NewStyle().Faint(true)
	bold   = lipgloss.NewStyle().Bold(true)
	plain  = lipgloss.NewStyle()
	green  = lipgloss.NewStyle().Foreground(lipgloss.Color("2"))
	yellow = lipgloss.NewStyle().Foreground(lipgloss.Color("3"))
	red    = lipgloss.NewStyle().Foreground(lipgloss.Color("1"))
)

// narrow is the width below which panes beside each other could not be read: they go below each other.
const narrow = 75

const (
	statusLines = 3
	most        = 4 // lines of the screen for one line of a log
)

func draw(snap snapshot, width, height int, elapsed time.Duration) string {
	room := height - statusLines
	var boxes []string
	if width < narrow {
		for i := range panes {
			h := room / int(panes)
			if i == panes-1 {
				h = room - 2*h
			}
			boxes = append(boxes, box(snap, i, width, h))
		}
		return lipgloss.JoinVertical(lipgloss.Left, append(boxes, status(snap.status, width, elapsed))...)
	}
	for i := range panes {
		w := width / int(panes)
		if i == panes-1 {
			w = width - 2*w
		}
		boxes = append(boxes, box(snap, i, w, room))
	}
	return lipgloss.JoinVertical(lipgloss.Left, lipgloss.JoinHorizontal(lipgloss.Top, boxes...), status(snap.status, width, elapsed))
}

// box draws a pane with its title in the frame and the newest lines at the bottom.
func box(snap snapshot, pane Pane, width, height int) string {
	frame := lipgloss.NewStyle().Foreground(paneColours[pane])
	inner, rows := width-4, height-2
	if inner < 4 || rows < 1 {
		return strings.Repeat("\n", max(0, height-1))
	}
	title := ansi.Truncate(" "+snap.titles[pane]+" ", width-4, "… ")
	rest := width - 3 - ansi.StringWidth(title)
	lines := []string{frame.Render("╭─") + frame.Bold(true).Render(title) + frame.Render(strings.Repeat("─", rest)+"╮")}

	body := content(snap.entries[pane], inner, rows)
	side := frame.Render("│")
	for _, line := range body {
		pad := strings.Repeat(" ", max(0, inner-ansi.StringWidth(line)))
		lines = append(lines, side+" "+line+pad+" "+side)
	}
	lines = append(lines, frame.Render("╰"+strings.Repeat("─", width-2)+"╯"))
	return strings.Join(lines, "\n")
}

// content wraps as many of the newest entries as there is room for.
func content(entries []entry, width, rows int) []string {
	several := false
	for _, e := range entries {
		several = several || e.process != entries[0].process
	}
	var blocks [][]string
	used := 0
	for i := len(entries) - 1; i >= 0 && used < rows; i-- {
		block := wrap(words(entries[i], several), width)
		blocks = append(blocks, block)
		used += len(block)
	}
	var lines []string
	for i := len(blocks) - 1; i >= 0; i-- {
		lines = append(lines, blocks[i]...)
	}
	if len(lines) > rows {
		lines = lines[len(lines)-rows:]
	}
	for len(lines) < rows {
		lines = append(lines, "")
	}
	return lines
}

// word is a piece of a line that is not broken unless it is wider than the pane.
type word struct {
	text  string
	style lipgloss.Style
}

func words(e entry, withProcess bool) []word {
	var out []word
	r := e.record
	if !r.Time.IsZero() {
		out = append(out, word{r.Time.Local().Format("15:04:05"), faint})
	}
	if withProcess {
		colour := processColours[number(e.process)%len(processColours)]
		out = append(out, word{e.process, lipgloss.NewStyle().Foreground(colour)})
	}
	style := plain
	switch r.Level {
	case "DEBUG":
		style = faint
	case "WARN":
		style = yellow
	case "ERROR":
		style = red
	}
	if style.GetForeground() != plain.GetForeground() {
		out = append(out, word{r.Level, style.Bold(true)})
	}
	for _, text := range strings.Fields(r.Message) {
		out = append(out, word{text, style})
	}
	for _, a := range r.Attrs {
		if !shown(a, r.Message) {
			continue
		}
		for _, text := range strings.Fields(a.String()) {
			out = append(out, word{text, faint})
		}
	}
	return out
}

// shown says whether a field is worth its place in a narrow pane: not the whole configuration, and not what the message has said.
func shown(a logline.Attr, message string) bool {
	switch a.Key {
	case "config", "settings", "msg_id":
		return false
	case "order_id":
		return !slices.Contains(strings.Fields(message), a.Value)
	}
	return true
}

// number is the number at the end of a process's name, counted from 0.
func number(name string) int {
	n, place := 0, 1
	for i := len(name) - 1; i >= 0 && name[i] >= '0' && name[i] <= '9' && place < 1e6; i-- {
		n += int(name[i]-'0') * place
		place *= 10
	}
	return max(0, n-1)
}

// wrap sets words into lines of a width; the lines after the first are indented. A very long entry ends with "…".
func wrap(ws []word, width int) []string {
	const indent = "  "
	var lines []string
	line, used := "", 0
	flush := func() {
		lines = append(lines, line)
		line, used = indent, len(indent)
	}
	for i, w := range ws {
		if i > 0 && used+1+ansi.StringWidth(w.text) > width && used > len(indent) {
			flush()
		} else if i > 0 && used > len(indent) {
			line, used = line+" ", used+1
		}
		for ansi.StringWidth(w.text) > width-used {
			piece := ansi.Truncate(w.text, width-used, "")
			if piece == "" { // not even one character fits
				break
			}
			line += w.style.Render(piece)
			w.text = w.text[len(piece):]
			flush()
		}
		line += w.style.Render(w.text)
		used += ansi.StringWidth(w.text)
		if len(lines) == most {
			break
		}
	}
	lines = append(lines, line)
	if len(lines) > most {
		lines = lines[:most]
		lines[most-1] = ansi.Truncate(lines[most-1], width-1, "") + "…"
	}
	return lines
}

// status draws what stands below the panes: how far it is, the queue, and the keys.
func status(s Status, width int, elapsed time.Duration) string {
	var first string
	right := fmt.Sprintf(" %s  %5.1f s ", s.Phase, elapsed.Seconds())
	if s.Orders > 0 {
		count := fmt.Sprintf(" %d/%d completed", s.Completed, s.Orders)
		long := max(0, width-ansi.StringWidth(right)-ansi.StringWidth(count)-2)
		first = " " + bar(s.Completed+s.Dead, s.Orders, min(long, 60)) + bold.Render(count)
	} else {
		first = bold.Render(fmt.Sprintf(" %d completed", s.Completed))
	}
	gap := strings.Repeat(" ", max(0, width-ansi.StringWidth(first)-ansi.StringWidth(right)))
	dead := plain
	if s.Dead > 0 {
		dead = red
	}
	second := strings.Join([]string{
		fmt.Sprintf(" queue  depth %d", s.Depth),
		fmt.Sprintf("in flight %d", s.InFlight),
		fmt.Sprintf("waiting for a retry %d", s.Delayed),
		yellow.Render(fmt.Sprintf("retries %d", s.Retries)),
		green.Render(fmt.Sprintf("completed %d", s.Completed)),
		dead.Render(fmt.Sprintf("dead %d", s.Dead)),
	}, faint.Render(" · "))
	return strings.Join([]string{
		ansi.Truncate(first+gap+right, width, ""),
		ansi.Truncate(second, width, "…"),
		ansi.Truncate(faint.Render(" q or Ctrl-C stops everything"), width, ""),
	}, "\n")
}

func bar(done, of int64, width int) string {
	if width < 5 || of <= 0 {
		return ""
	}
	filled := int(min(done, of) * int64(width) / of)
	return green.Render(strings.Repeat("█", filled)) + faint.Render(strings.Repeat("░", width-filled))
}

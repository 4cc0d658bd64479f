package screen

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	tea "github.com/charmbracelet/bubbletea"
	"github.com/charmbracelet/lipgloss"

	"orderflow.example/services/loadgen/internal/thresholds"
)

const (
	refresh  = 200 * time.Millisecond
	sparkFor = time.Second // one step of the rate's curve
)

// live draws the screen until the context ends, and then takes it away: the final table says it all. It never reads the keyboard, so that
// Ctrl-C stays a signal.
func live(ctx context.Context, v *View, o Options) {
	m := &model{view: v, width: 80, terminal: o.Terminal}
	m.now = v.look(time.Now(), nil)
	m.before = m.now
	p := tea.NewProgram(m, tea.WithInput(nil), tea.WithOutput(o.Terminal.Out), tea.WithoutSignalHandler(), tea.WithFPS(30))
	o.Terminal.attach(p)
	defer o.Terminal.attach(nil)
	stop := context.AfterFunc(ctx, func() { p.Send(end{}) })
	defer stop()
	_, _ = p.Run() // its only faults are the terminal's, and a run goes on without being watched
}

type model struct {
	view     *View
	terminal *Terminal
	width    int
	now      state
	before   state // at the last step of the curve
	rates    []float64
	over     bool
}

type (
	tick time.Time
	end  struct{}
)

func next() tea.Cmd { return tea.Tick(refresh, func(t time.Time) tea.Msg { return tick(t) }) }

// Init starts the clock.
func (m *model) Init() tea.Cmd { return next() }

// Update takes in a tick of the clock or a new size of the terminal.
func (m *model) Update(msg tea.Msg) (tea.Model, tea.Cmd) {
	switch msg := msg.(type) {
	case tea.WindowSizeMsg:
		m.terminal.resize(msg.Width)
		narrower := msg.Width < m.width
		if m.width = msg.Width; narrower {
			return m, tea.ClearScreen // the terminal has folded the lines that stood there: they cannot be drawn over one by one
		}
	case end:
		m.over = true
		return m, tea.Quit
	case tick:
		m.look(time.Time(msg))
		return m, next()
	}
	return m, nil
}

func (m *model) look(now time.Time) {
	rate := m.now.rate
	m.now = m.view.look(now, &m.before)
	if m.now.Elapsed-m.before.Elapsed >= sparkFor {
		m.rates = append(m.rates, m.now.rate)
		m.rates = m.rates[max(0, len(m.rates)-40):]
		m.before = m.now
	} else if len(m.rates) > 0 {
		m.now.rate = rate // over less than a second it would only flicker
	}
}

var (
	bold   = lipgloss.NewStyle().Bold(true)
	faint  = lipgloss.NewStyle().Faint(true)
	good   = lipgloss.NewStyle().Foreground(lipgloss.Color("2"))
	warn   = lipgloss.NewStyle().Foreground(lipgloss.Color("3"))
	bad    = lipgloss.NewStyle().Foreground(lipgloss.Color("1"))
	accent = lipgloss.NewStyle().Foreground(lipgloss.Color("6"))
)

// View is the screen.
func (m *model) View() string {
	if m.over {
		return ""
	}
	s, t := &m.now, &m.now.Totals
	var b strings.Builder
	line := func(name, text string) { fmt.Fprintf(&b, "  %s %s\n", faint.Render(fmt.Sprintf("%-10s", name)), text) }
	fmt.Fprintf(&b, "\n  %s %s\n", bold.Render(strings.TrimSpace("loadgen "+m.view.Title)), faint.Render(m.view.Run+" → "+m.view.API))
	line(m.progress())
	rate := bold.Render(number(s.rate)) + "/s"
	if intended := m.view.Profile.Rate(s.Elapsed); intended > 0 && !s.auditing {
		rate += faint.Render(" of " + number(intended) + "/s")
	}
	line("rate", rate+"  "+accent.Render(spark(m.rates)))
	line("latency", fmt.Sprintf("p50 %s  p99 %s  max %s", bold.Render(thresholds.Duration(s.P50)), bold.Render(thresholds.Duration(s.P99)), thresholds.Duration(s.Max)))
	flight := strconv.FormatInt(s.InFlight, 10)
	if t.Late > 0 {
		flight += warn.Render(fmt.Sprintf("  late %d", t.Late))
	}
	if t.Dropped > 0 {
		flight += bad.Render(fmt.Sprintf("  dropped %d", t.Dropped))
	}
	line("in flight", flight)
	if q := s.Queue; q != nil {
		line("backlog", fmt.Sprintf("%s  %s", bold.Render(strconv.Itoa(q.Depth)),
			faint.Render(fmt.Sprintf("in flight %d  delayed %d  dead letters %d", q.InFlight, q.Delayed, q.DeadLetters))))
	}
	line("errors", m.errors())
	if n := len(s.Stalls); n > 0 {
		line("stalls", warn.Render(fmt.Sprintf("%d, the last %s", n, thresholds.Duration(s.Stalls[n-1].For))))
	}
	return b.String()
}

// progress is the bar: of the sending, and then of the audit.
func (m *model) progress() (name, text string) {
	s := &m.now
	name = "sending"
	text = fmt.Sprintf("%d orders accepted", s.Totals.Accepted)
	if m.view.Total > 0 {
		text = fmt.Sprintf("%d of %d orders", s.Totals.Accepted, m.view.Total)
	}
	if s.auditing {
		name = "audit"
		p := s.progress
		about := ""
		if p.Estimated {
			about = "about "
		}
		text = fmt.Sprintf("%s%d of %d settled", about, p.Completed+p.Dead, p.Accepted)
		if p.Missing > 0 {
			text += bad.Render(fmt.Sprintf("  %d missing", p.Missing))
		}
	}
	const percent = 5
	width := min(40, max(10, m.width-14-percent-lipgloss.Width(text)-3-8))
	full := int(s.done * float64(width))
	bar := good.Render(strings.Repeat("█", full)) + faint.Render(strings.Repeat("░", width-full))
	return name, fmt.Sprintf("%s %3.0f%%  %s  %s", bar, s.done*100, text, faint.Render(s.Elapsed.Truncate(time.Second).String()))
}

func (m *model) errors() string {
	t := &m.now.Totals
	if t.Failed == 0 && t.Retries == 0 {
		return good.Render("none")
	}
	var parts []string
	for _, code := range slices.Sorted(maps.Keys(t.Status)) {
		if code >= 500 || code == 429 {
			parts = append(parts, fmt.Sprintf("%d × %d", t.Status[code], code))
		}
	}
	for _, name := range slices.Sorted(maps.Keys(t.Failures)) {
		parts = append(parts, fmt.Sprintf("%d × %s", t.Failures[name], name))
	}
	text := fmt.Sprintf("%d (%s)  retries %d", t.Failed, strings.Join(parts, ", "), t.Retries)
	if t.Unknown > 0 {
		text += fmt.Sprintf("  given up %d", t.Unknown)
	}
	return bad.Render(text)
}

// spark draws values as a row of bars.
func spark(values []float64) string {
	bars := []rune("▁▂▃▄▅▆▇█")
	top := 0.0
	for _, v := range values {
		top = max(top, v)
	}
	out := make([]rune, len(values))
	for i, v := range values {
		if top > 0 {
			out[i] = bars[int(v/top*float64(len(bars)-1)+0.5)]
		} else {
			out[i] = bars[0]
		}
	}
	return string(out)
}

func number(f float64) string {
	if f < 100 {
		return strconv.FormatFloat(f, 'f', 1, 64)
	}
	return strconv.FormatFloat(f, 'f', 0, 64)
}

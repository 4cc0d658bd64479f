// Package screen is the demo's live screen: three panes side by side for the api, the consumers and the load generator, and below
// them how far the orders are. It shows what it is given and decides nothing; whoever feeds it never waits for it.
package screen

import (
	"context"
	"errors"
	"io"
	"sync"
	"time"

	tea "github.com/charmbracelet/bubbletea"

	"orderflow.example/dev/internal/logline"
)

// Pane is one of the three parts of the screen.
type Pane int

// The panes, from left to right.
const (
	API Pane = iota
	Consumers
	Loadgen
	panes
)

// Status is what the lines below the panes say.
type Status struct {
	Phase     string // what is going on, in a few words
	Orders    int64  // how many are wanted; 0 when that is not known
	Completed int64
	Dead      int64
	Depth     int64 // messages in the queue
	InFlight  int64 // being worked on
	Delayed   int64 // waiting for their next attempt
	Retries   int64 // attempts that failed and are made again
}

// entry is one line of a pane.
type entry struct {
	process string
	record  logline.Record
}

// kept is how many lines a pane remembers: more than any terminal is high.
const kept = 300

// Screen is the running screen.
type Screen struct {
	program *tea.Program

	mu      sync.Mutex
	titles  [panes]string
	entries [panes][]entry
	status  Status
	changed bool
	quit    bool // by the person
}

// ErrQuit is returned by Run when the person wants to stop.
var ErrQuit = errors.New("stopped from the keyboard")

// New makes a screen on a terminal.
func New(in io.Reader, out io.Writer) *Screen {
	s := &Screen{titles: [panes]string{"api", "consumers", "loadgen"}}
	s.program = tea.NewProgram(&model{screen: s, started: time.Now()},
		tea.WithInput(in), tea.WithOutput(out), tea.WithAltScreen(), tea.WithoutSignalHandler(), tea.WithFPS(30))
	return s
}

// Run shows the screen until Close is called or the context ends (nil), or the person presses q or Ctrl-C (ErrQuit). The terminal
// is restored in each case.
func (s *Screen) Run(ctx context.Context) error {
	stop := context.AfterFunc(ctx, s.program.Quit)
	defer stop()
	_, err := s.program.Run()
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.quit {
		return ErrQuit
	}
	return err
}

// Close ends Run.
func (s *Screen) Close() { s.program.Quit() }

// Title sets what stands above a pane.
func (s *Screen) Title(pane Pane, title string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.titles[pane], s.changed = title, true
}

// Line adds a line to a pane.
func (s *Screen) Line(pane Pane, process string, r logline.Record) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.entries[pane]) >= 2*kept { // now and then, not with each line
		s.entries[pane] = append([]entry(nil), s.entries[pane][kept:]...)
	}
	s.entries[pane], s.changed = append(s.entries[pane], entry{process, r}), true
}

// Status sets what the lines below the panes say.
func (s *Screen) Status(status Status) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.status, s.changed = status, true
}

// snapshot is what there is to show now.
type snapshot struct {
	titles  [panes]string
	entries [panes][]entry
	status  Status
}

func (s *Screen) snapshot(lines int) snapshot {
	s.mu.Lock()
	defer s.mu.Unlock()
	snap := snapshot{titles: s.titles, status: s.status}
	for i, all := range s.entries {
		snap.entries[i] = append([]entry(nil), all[max(0, len(all)-lines):]...)
	}
	return snap
}

// model is the screen as bubbletea wants it. Lines do not come as messages: a burst of them would make each process wait for the
// screen. It looks at what there is, some twenty times a second.
type model struct {
	screen        *Screen
	started       time.Time
	width, height int
	stopping      bool
}

type tick struct{}

func nextTick() tea.Cmd {
	return tea.Tick(50*time.Millisecond, func(time.Time) tea.Msg { return tick{} })
}

// Init starts the ticks.
func (m *model) Init() tea.Cmd { return nextTick() }

// Update takes keys, the size of the terminal and ticks.
func (m *model) Update(msg tea.Msg) (tea.Model, tea.Cmd) {
	switch msg := msg.(type) {
	case tick:
		return m, nextTick()
	case tea.WindowSizeMsg:
		m.width, m.height = msg.Width, msg.Height
	case tea.KeyMsg:
		switch msg.String() {
		case "q", "Q", "ctrl+c":
			m.screen.mu.Lock()
			m.screen.quit = true
			m.screen.mu.Unlock()
			m.stopping = true
			return m, tea.Quit
		}
	}
	return m, nil
}

// View draws the whole screen.
func (m *model) View() string {
	if m.width < 20 || m.height < 8 {
		return ""
	}
	return draw(m.screen.snapshot(m.height), m.width, m.height, time.Since(m.started))
}

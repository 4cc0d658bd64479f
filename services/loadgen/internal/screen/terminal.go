package screen

import (
	"io"
	"strings"
	"sync"

	tea "github.com/charmbracelet/bubbletea"
	"github.com/charmbracelet/x/ansi"

	"orderflow.example/kit/logging"
)

// Terminal is where logs and the live screen both go. While the screen is on, a log line is printed above it instead of through it.
type Terminal struct {
	Out io.Writer

	mu      sync.Mutex
	program *tea.Program
	width   int // of the screen; 0 = not known
}

// Write prints a log line.
func (t *Terminal) Write(b []byte) (int, error) {
	t.mu.Lock()
	program, width := t.program, t.width
	t.mu.Unlock()
	if program == nil {
		return t.Out.Write(b)
	}
	text := strings.TrimRight(string(b), "\n")
	if width > 0 {
		text = ansi.Hardwrap(text, width, true) // the screen cuts longer lines off
	}
	program.Println(text)
	return len(b), nil
}

// Terminal tells whether a person reads what is written, for the log's format.
func (t *Terminal) Terminal() bool { return logging.IsTerminal(t.Out) }

func (t *Terminal) resize(width int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.width = width
}

func (t *Terminal) attach(p *tea.Program) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.program = p
}

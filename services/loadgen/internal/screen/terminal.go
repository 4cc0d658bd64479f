package screen

import (
	"io"
	"strings"
	"sync"

	tea "github.com/charmbracelet/bubbletea"
)

// Terminal is where logs and the live screen both go. While the screen is on, a log line is printed above it instead of through it.
type Terminal struct {
	Out io.Writer

	mu      sync.Mutex
	program *tea.Program
}

// Write prints a log line.
func (t *Terminal) Write(b []byte) (int, error) {
	t.mu.Lock()
	program := t.program
	t.mu.Unlock()
	if program == nil {
		return t.Out.Write(b)
	}
	program.Println(strings.TrimRight(string(b), "\n"))
	return len(b), nil
}

func (t *Terminal) attach(p *tea.Program) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.program = p
}

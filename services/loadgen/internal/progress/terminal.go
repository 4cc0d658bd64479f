package progress

import (
	"io"
	"sync"

	"orderflow.example/kit/logging"
)

// Terminal is where logs go, and on a terminal a line of progress below them. It is safe for concurrent use.
type Terminal struct {
	Out io.Writer

	mu   sync.Mutex
	line string // what stands below the log; "" = nothing
}

// A line is cleared before something else is written over it, and cut off at the terminal's edge rather than folded: of a folded one only the
// last part could be cleared.
const (
	clearLine = "\r\x1b[K"
	cutOff    = "\x1b[?7l"
	fold      = "\x1b[?7h"
)

// Write writes a piece of the log above the line of progress.
func (t *Terminal) Write(b []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.line == "" {
		return t.Out.Write(b)
	}
	_, err := io.WriteString(t.Out, clearLine+string(b)+cutOff+t.line+fold)
	return len(b), err
}

// draw puts another line of progress in the place of the last one; "" takes it away.
func (t *Terminal) draw(line string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.line = line
	_, _ = io.WriteString(t.Out, clearLine+cutOff+line+fold) // a run goes on without being watched
}

// Terminal tells whether a person reads what is written, for the log's format.
func (t *Terminal) Terminal() bool { return logging.IsTerminal(t.Out) }

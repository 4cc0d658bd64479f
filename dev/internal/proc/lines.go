package proc

import (
	"bytes"
	"sync"
)

// maxLine bounds what is kept of one line of output, so that a process that never ends its line cannot fill our memory.
const maxLine = 16 << 10

// Stream says where a line was written to.
type Stream int

const (
	// Stdout is the standard output: a program's results.
	Stdout Stream = iota
	// Stderr is the standard error: its log.
	Stderr
)

// Line is one line of a process's output, without its end. What went beyond maxLine bytes is replaced by "…".
type Line struct {
	Process string
	Stream  Stream
	Text    string
}

// lineWriter cuts what is written to it into lines. It is used by one goroutine at a time, as os/exec does.
type lineWriter struct {
	emit func(text string)
	part []byte
	cut  bool
}

func (w *lineWriter) Write(p []byte) (int, error) {
	n := len(p)
	for {
		end := bytes.IndexByte(p, '\n')
		if end < 0 {
			w.add(p)
			return n, nil
		}
		w.add(p[:end])
		w.flush()
		p = p[end+1:]
	}
}

func (w *lineWriter) add(p []byte) {
	if room := maxLine - len(w.part); len(p) > room {
		p, w.cut = p[:room], true
	}
	w.part = append(w.part, p...)
}

func (w *lineWriter) flush() {
	text := string(bytes.TrimSuffix(w.part, []byte{'\r'}))
	if w.cut {
		text += "…"
	}
	w.part, w.cut = w.part[:0], false
	w.emit(text)
}

// close emits what was left without an end of line.
func (w *lineWriter) close() {
	if len(w.part) > 0 {
		w.flush()
	}
}

// tail keeps the last lines of a process, to show them when it ended unexpectedly.
type tail struct {
	mu    sync.Mutex
	lines []string
}

const tailLines = 15

func (t *tail) add(text string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.lines) == tailLines {
		t.lines = append(t.lines[:0], t.lines[1:]...)
	}
	t.lines = append(t.lines, text)
}

func (t *tail) get() []string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return append([]string(nil), t.lines...)
}

package logging

import (
	"io"
	"sync"
	"time"
)

// bufferSize is how much of a log waits for whoever takes it, in bytes: some seconds of a busy program's.
const bufferSize = 1 << 20

// Buffer stands between a log and where it goes: a pipe that nobody reads, or a disk that hangs, would hold up whoever writes a line. Lines
// that find the buffer full are lost, and counted.
type Buffer struct {
	out  io.Writer
	lost func(lines int)

	mu      sync.Mutex
	waiting []byte
	dropped int
	closed  bool
	more    chan struct{} // of capacity 1: there is something to write
	done    chan struct{}
}

// NewBuffer starts to write to out. lost is called when lines have been lost and out takes some again; what it logs must not go through
// the buffer. The caller ends it with [Buffer.Close].
func NewBuffer(out io.Writer, lost func(lines int)) *Buffer {
	b := &Buffer{out: out, lost: lost, more: make(chan struct{}, 1), done: make(chan struct{})}
	go b.run() // until Close
	return b
}

// Write takes a line. It never waits, and never fails. After Close it writes to where the log goes itself.
func (b *Buffer) Write(line []byte) (int, error) {
	b.mu.Lock()
	if b.closed {
		b.mu.Unlock()
		return b.out.Write(line)
	}
	defer b.mu.Unlock()
	if len(b.waiting)+len(line) > bufferSize {
		b.dropped++
	} else {
		b.waiting = append(b.waiting, line...)
	}
	select {
	case b.more <- struct{}{}: // under the lock: Close must not come in between
	default: // it has been told
	}
	return len(line), nil
}

// Close writes what is waiting, for as long as patience allows.
func (b *Buffer) Close(patience time.Duration) {
	b.mu.Lock()
	if !b.closed {
		b.closed = true
		close(b.more)
	}
	b.mu.Unlock()
	timer := time.NewTimer(patience)
	defer timer.Stop()
	select {
	case <-b.done:
	case <-timer.C:
	}
}

// Terminal tells whether the log ends on a terminal.
func (b *Buffer) Terminal() bool { return IsTerminal(b.out) }

func (b *Buffer) run() {
	defer close(b.done)
	var spare []byte
	for open := true; open; {
		_, open = <-b.more
		b.mu.Lock()
		lines, dropped := b.waiting, b.dropped
		b.waiting, b.dropped = spare[:0], 0
		b.mu.Unlock()
		if len(lines) > 0 {
			_, _ = b.out.Write(lines) // a log that cannot be written ends nothing
		}
		if dropped > 0 {
			b.lost(dropped)
		}
		spare = lines
	}
}

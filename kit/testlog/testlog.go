// Package testlog keeps what a program under test writes. It is imported by tests only.
package testlog

import (
	"bytes"
	"strings"
	"sync"
)

// Buffer collects what is written to it and can be read meanwhile. The zero value is empty and ready.
type Buffer struct {
	mu   sync.Mutex
	text bytes.Buffer
}

// Write adds to the buffer. It never fails.
func (b *Buffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.Write(p)
}

// String is all that has been written.
func (b *Buffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.String()
}

// Count is how often a text has been written.
func (b *Buffer) Count(text string) int { return strings.Count(b.String(), text) }

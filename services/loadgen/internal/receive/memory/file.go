package memory

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
)

// heading is the file's first line: what it is, and in which form.
const heading = "orderflow loadgen receive 1\n"

// A record in the file: the key, the order, the data and a checksum. Records of one length can be found behind a damaged one.
const (
	recordSize = 16 + 16 + 16
	lineSize   = recordSize + crc32.Size
)

// file is written at its end only. All that wait for the disk at the same time share one write and one fsync.
type file struct {
	f        *os.File
	sync     func() error // of f
	failed   chan struct{}
	wake     chan struct{} // there is something to write; holds one
	finished chan struct{} // the writer has ended

	mu      sync.Mutex
	buffer  []byte // to be written next
	writing *writing
	err     error // why it has failed
	closed  bool
}

// writing is one write under way, or to come.
type writing struct {
	done chan struct{}
	err  error // set before done is closed
}

func (w *writing) wait() error {
	<-w.done
	return w.err
}

// openFile reads a file's records, makes it when there is none, and begins to write it.
func openFile(path string, recall func(record), log *slog.Logger) (*file, error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600) //nolint:gosec // the operator names it
	if err != nil {
		return nil, err
	}
	if err := prepare(f, recall, log); err != nil {
		return nil, errors.Join(fmt.Errorf("%s: %w", path, err), f.Close())
	}
	w := &file{f: f, sync: f.Sync, failed: make(chan struct{}), wake: make(chan struct{}, 1), finished: make(chan struct{}), writing: &writing{done: make(chan struct{})}}
	go w.write() // close waits for it
	return w, nil
}

func prepare(f *os.File, recall func(record), log *slog.Logger) error {
	if err := lock(f); err != nil {
		return fmt.Errorf("another receiver writes it: %w", err)
	}
	end, dropped, err := read(f, recall)
	if err != nil {
		return err
	}
	if dropped > 0 {
		log.Warn("the end of the state file had not been written completely: nobody was answered for it", slog.String("file", f.Name()), slog.Int64("bytes", dropped))
		if err := f.Truncate(end); err != nil {
			return err
		}
	}
	if _, err := f.Seek(end, io.SeekStart); err != nil {
		return err
	}
	if end > 0 {
		return nil
	}
	if _, err := f.WriteString(heading); err != nil {
		return err
	}
	if err := f.Sync(); err != nil {
		return err
	}
	return syncDirectory(filepath.Dir(f.Name())) // a file without its name is found by nobody
}

// read hands each record to recall, and returns where the sound ones end and how many bytes follow. A crash leaves damage at the end
// only. Damage with something sound behind it is another fault, which nobody may write over.
func read(f *os.File, recall func(record)) (end, dropped int64, err error) {
	in := bufio.NewReaderSize(f, 1<<20)
	start := make([]byte, len(heading))
	n, err := io.ReadFull(in, start)
	switch {
	case errors.Is(err, io.EOF):
		return 0, 0, nil
	case errors.Is(err, io.ErrUnexpectedEOF) && bytes.HasPrefix([]byte(heading), start[:n]):
		return 0, int64(n), nil
	case err != nil && !errors.Is(err, io.ErrUnexpectedEOF):
		return 0, 0, err
	case string(start) != heading:
		return 0, 0, errors.New("it is no state file of loadgen receive")
	}
	end = int64(len(heading))
	line := make([]byte, lineSize)
	for {
		n, err := io.ReadFull(in, line)
		switch {
		case errors.Is(err, io.EOF):
			return end, dropped, nil
		case errors.Is(err, io.ErrUnexpectedEOF):
			return end, dropped + int64(n), nil
		case err != nil:
			return 0, 0, err
		case crc32.ChecksumIEEE(line[:recordSize]) != binary.LittleEndian.Uint32(line[recordSize:]):
			dropped += lineSize
		case dropped > 0:
			return 0, 0, fmt.Errorf("it is damaged at byte %d, and goes on behind that: restore it, or begin with a new one", end)
		default:
			recall(parseRecord(line))
			end += lineSize
		}
	}
}

// add puts a record behind the others. What it returns ends when the record is on disk, or cannot be written.
func (w *file) add(r record) *writing {
	w.mu.Lock()
	defer w.mu.Unlock()
	err := w.err
	if w.closed {
		err = os.ErrClosed
	}
	if err != nil {
		failed := &writing{done: make(chan struct{}), err: err}
		close(failed.done)
		return failed
	}
	start := len(w.buffer)
	w.buffer = r.append(w.buffer)
	w.buffer = binary.LittleEndian.AppendUint32(w.buffer, crc32.ChecksumIEEE(w.buffer[start:]))
	w.signal()
	return w.writing
}

func (w *file) signal() {
	select {
	case w.wake <- struct{}{}:
	default: // the writer has not yet seen the last one
	}
}

// write writes whatever has gathered while the write before was under way. A write or fsync that failed is the last: what is on disk
// then nobody knows, not even after another fsync that succeeds.
func (w *file) write() {
	defer close(w.finished)
	var batch []byte
	for range w.wake {
		w.mu.Lock()
		batch, w.buffer = w.buffer, batch[:0]
		current := w.writing
		w.writing = &writing{done: make(chan struct{})}
		closed := w.closed
		w.mu.Unlock()
		if len(batch) > 0 {
			_, err := w.f.Write(batch)
			if err == nil {
				err = w.sync()
			}
			if err != nil {
				w.fail(current, err)
				return
			}
		}
		close(current.done)
		if closed {
			return
		}
	}
}

// fail refuses all who wait, and all who will come.
func (w *file) fail(current *writing, err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.err = fmt.Errorf("write the state file: %w", err)
	for _, x := range []*writing{current, w.writing} {
		x.err = w.err
		close(x.done)
	}
	close(w.failed)
}

func (w *file) close() error {
	w.mu.Lock()
	w.closed = true
	w.signal()
	w.mu.Unlock()
	<-w.finished
	w.mu.Lock()
	defer w.mu.Unlock()
	return errors.Join(w.err, w.f.Close())
}

func syncDirectory(path string) error {
	dir, err := os.Open(path) //nolint:gosec // where the operator's file is
	if err != nil {
		return err
	}
	return errors.Join(dir.Sync(), dir.Close())
}

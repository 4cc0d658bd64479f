package dashboard

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"sync"
	"time"
)

// event is a kind of what is streamed. Of each kind a viewer is owed the latest only: who is slow misses what is out of date.
type event int

const (
	eventAway event = iota
	eventSnapshot
	eventPage
	eventSeries
	eventBye
	events
)

// feed hands what was looked up to the viewers. Each frame is made once, however many they are.
type feed struct {
	most int
	wake chan struct{} // there is a new viewer

	mu      sync.Mutex
	latest  [events][]byte
	viewers map[*viewer]struct{}
	closed  bool
}

func newFeed(most int) *feed {
	return &feed{most: most, wake: make(chan struct{}, 1), viewers: make(map[*viewer]struct{})}
}

// frame is an event as it goes over the wire (WHATWG HTML, section 9.2). JSON has no line breaks.
func frame(name string, data any) ([]byte, error) {
	var b bytes.Buffer
	b.WriteString("event: " + name + "\ndata: ")
	if err := json.NewEncoder(&b).Encode(data); err != nil {
		return nil, fmt.Errorf("write the event %s: %w", name, err)
	}
	b.WriteByte('\n')
	return b.Bytes(), nil
}

// page is an event whose data are HTML, line by line. A carriage return ends a line of the stream, too: one in somebody's name must not.
func page(html []byte) []byte {
	var b bytes.Buffer
	b.WriteString("event: page\n")
	for line := range bytes.SplitSeq(bytes.ReplaceAll(html, []byte("\r"), []byte("\n")), []byte("\n")) {
		b.WriteString("data: ")
		b.Write(line)
		b.WriteByte('\n')
	}
	b.WriteByte('\n')
	return b.Bytes()
}

// watched tells whether there are viewers.
func (f *feed) watched() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return len(f.viewers) > 0
}

// send gives a frame to all viewers. A snapshot ends what was said of the database being away, and the other way round.
func (f *feed) send(e event, data []byte) {
	f.mu.Lock()
	defer f.mu.Unlock()
	switch e {
	case eventSnapshot:
		f.latest[eventAway] = nil
	case eventAway:
		f.latest[eventSnapshot] = nil
	}
	if e == eventSeries && bytes.Equal(f.latest[e], data) {
		return
	}
	f.latest[e] = data
	for v := range f.viewers {
		v.owed[e] = true
		v.nudge()
	}
}

// close ends all streams, and lets no more begin.
func (f *feed) close() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.closed = true
	f.latest[eventBye] = []byte("event: bye\ndata: {}\nretry: 1000\n\n")
	for v := range f.viewers {
		v.owed[eventBye] = true
		v.nudge()
	}
}

// conn is a client's connection, which is not closed for others' while a stream is written to it ([http1.Conn.Stream]): there are only so many
// viewers, and the slow ones are let go.
type conn interface {
	net.Conn
	Stream()
}

// join adds a viewer, who is told at once what is known. Nil: there are too many, or the streams have ended.
func (f *feed) join(to conn) *viewer {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.closed || len(f.viewers) >= f.most {
		return nil
	}
	to.Stream()
	v := &viewer{feed: f, conn: to, more: make(chan struct{}, 1), rest: []byte("retry: 2000\n\n")}
	for e := range events {
		v.owed[e] = true
	}
	f.viewers[v] = struct{}{}
	select {
	case f.wake <- struct{}{}:
	default:
	}
	return v
}

// slowest is how long a viewer may take for what it is sent.
const slowest = 10 * time.Second

// viewer is one stream: the body of an answer, which the server's goroutine reads until it ends or the client is gone.
type viewer struct {
	feed *feed
	conn net.Conn
	more chan struct{}

	owed [events]bool // guarded by feed.mu

	rest []byte // of the frame that is being read
	last bool
}

func (v *viewer) nudge() {
	select {
	case v.more <- struct{}{}:
	default:
	}
}

// Read waits for something to send.
func (v *viewer) Read(p []byte) (int, error) {
	for len(v.rest) == 0 {
		if v.last {
			return 0, io.EOF
		}
		if v.next() {
			continue
		}
		<-v.more // ends with the feed, which says bye
	}
	if err := v.conn.SetWriteDeadline(time.Now().Add(slowest)); err != nil {
		return 0, err
	}
	n := copy(p, v.rest)
	v.rest = v.rest[n:]
	return n, nil
}

// next takes the next frame that the viewer is owed.
func (v *viewer) next() bool {
	v.feed.mu.Lock()
	defer v.feed.mu.Unlock()
	for e := range events {
		if v.owed[e] && len(v.feed.latest[e]) > 0 {
			v.owed[e] = false
			v.rest = v.feed.latest[e]
			v.last = e == eventBye
			return true
		}
	}
	return false
}

// Close ends the stream: the client is gone, or has taken all.
func (v *viewer) Close() error {
	v.feed.mu.Lock()
	defer v.feed.mu.Unlock()
	delete(v.feed.viewers, v)
	if len(v.feed.viewers) == 0 && !v.feed.closed { // who comes next is not to be shown what was
		clear(v.feed.latest[:])
	}
	return nil
}

package pooling

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"maps"
	"sync"
)

// The messages of the protocol that matter here, by their first byte. See
// https://www.postgresql.org/docs/current/protocol-message-formats.html.
const (
	parse    = 'P'
	bind     = 'B'
	describe = 'D'
	execute  = 'E'
	closing  = 'C'
	query    = 'Q'
	synced   = 'S'

	parseComplete   = '1'
	bindComplete    = '2'
	closeComplete   = '3'
	commandComplete = 'C'
	emptyQuery      = 'I'
	suspended       = 's'
	rowDescription  = 'T'
	noData          = 'n'
	failed          = 'E'
	readyForQuery   = 'Z'
	notice          = 'N'
	parameterStatus = 'S'
	notification    = 'A'

	settle = 'q' // not in the protocol: one statement of a Query, the settings or the BEGIN in front of them

	none = "\x00" // is no statement's name

	header = 5 // a message's first byte and its length, which counts itself and what follows
)

// errPipelined refuses what this cannot do: without the answer to one transaction it is not known whether the next one begins.
var errPipelined = errors.New("through a pooler in transaction mode, transactions can only be sent one after the other")

// filter stands between pgx and a connection. What pgx writes goes through translate, which adds messages; what the server answers to
// those is taken out of what pgx reads.
type filter struct {
	w io.Writer
	r io.Reader
	b *bufio.Reader // of r, once on

	mu       sync.Mutex // a message may be read while another one is written
	on       bool
	settings map[string]string
	sql      string // the prologue

	statements map[string][]byte // what has been prepared, by its name: a Parse message's body after the name
	current    string            // which of them the server's statement without a name is, or none

	ready    bool // no transaction is open, and nothing is under way
	awaiting []awaited

	left int  // of the message that is being read
	drop bool // it is not passed on
}

// awaited is an answer that is to come: to the message of this kind. What it consists of is passed on, or not.
type awaited struct {
	to   byte
	drop bool
}

func newFilter(r io.Reader, w io.Writer) *filter { return &filter{r: r, w: w} }

func (f *filter) active() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.on
}

func (f *filter) begin() {
	f.mu.Lock()
	defer f.mu.Unlock()
	if !f.on {
		f.on, f.ready, f.b = true, true, bufio.NewReaderSize(f.r, 1<<16)
		f.statements, f.settings = make(map[string][]byte), make(map[string]string)
	}
}

func (f *filter) set(settings map[string]string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	maps.Copy(f.settings, settings)
	f.sql = prologue(f.settings)
}

// Write takes whole messages, which is how pgx writes them.
func (f *filter) Write(p []byte) (int, error) {
	f.mu.Lock()
	if !f.on {
		f.mu.Unlock()
		return f.w.Write(p)
	}
	out, err := f.translate(p)
	f.mu.Unlock()
	if err != nil {
		return 0, err
	}
	if _, err := f.w.Write(out); err != nil {
		return 0, err
	}
	return len(p), nil
}

func (f *filter) translate(in []byte) ([]byte, error) {
	out := make([]byte, 0, len(in)+2*len(f.sql)+64)
	for len(in) > 0 {
		if len(in) < header {
			return nil, io.ErrShortWrite
		}
		size := 1 + int(binary.BigEndian.Uint32(in[1:]))
		if size < header || size > len(in) {
			return nil, io.ErrShortWrite
		}
		kind, body := in[0], in[header:size]
		switch kind {
		case parse, bind, query, describe, execute:
			var err error
			if out, err = f.open(out, kind); err != nil {
				return nil, err
			}
		}
		out = f.message(out, kind, body, in[:size])
		in = in[size:]
	}
	return out, nil
}

// open puts the settings in front of what begins a transaction. What has to be one Query message gets them inside: see message.
func (f *filter) open(out []byte, kind byte) ([]byte, error) {
	if !f.ready {
		for _, a := range f.awaiting {
			if a.to == synced || a.to == query {
				return nil, errPipelined
			}
		}
		return out, nil // in a transaction, or one has begun with the message before
	}
	if kind == query || f.sql == "" {
		return out, nil
	}
	f.ready = false
	// Until the Sync that is to come all is one transaction, also without a BEGIN, and a BEGIN makes this a part of its own.
	out = appendMessage(out, parse, []byte{0}, []byte(f.sql), []byte{0, 0, 0})
	out = appendMessage(out, bind, []byte{0, 0, 0, 0, 0, 0, 0, 0})
	out = appendMessage(out, execute, []byte{0, 0, 0, 0, 0})
	f.awaiting = append(f.awaiting, awaited{parse, true}, awaited{bind, true}, awaited{execute, true})
	f.current = none
	return out, nil
}

func (f *filter) message(out []byte, kind byte, body, whole []byte) []byte {
	switch kind {
	case parse:
		name, rest := text(body)
		f.statements[name] = bytes.Clone(rest)
		f.current = name
		out = appendMessage(out, parse, []byte{0}, rest)
	case bind:
		portal, rest := text(body)
		name, rest := text(rest)
		out, name = f.recall(out, name)
		out = appendMessage(out, bind, []byte(portal), []byte{0}, []byte(name), []byte{0}, rest)
	case describe, closing:
		if len(body) == 0 || body[0] != 'S' {
			out = append(out, whole...)
			break
		}
		name, _ := text(body[1:])
		if kind == describe {
			out, name = f.recall(out, name)
		} else {
			delete(f.statements, name)
			name, f.current = "", none
		}
		out = appendMessage(out, kind, []byte{'S'}, []byte(name), []byte{0})
	case query:
		if statement := bytes.TrimSuffix(body, []byte{0}); f.ready && f.sql != "" && begins(statement) {
			// BEGIN may say how the transaction is isolated, which has to be said before anything is asked.
			out = appendMessage(out, query, statement, []byte("; "), []byte(f.sql), []byte{0})
			f.awaiting = append(f.awaiting, awaited{settle, false}, awaited{settle, true})
		} else if f.ready && f.sql != "" {
			// An error in the settings would have the server pass over a Query that follows them, and wait for a Sync. In one message
			// they are one transaction as well.
			out = appendMessage(out, query, []byte(f.sql), []byte("; "), body)
			f.awaiting = append(f.awaiting, awaited{settle, true})
		} else {
			out = append(out, whole...)
		}
		f.current = none
		f.ready = false
	case execute:
		out = append(out, whole...)
	case synced:
		out = append(out, whole...)
		f.current = none
		f.ready = false
	default:
		return append(out, whole...)
	}
	f.awaiting = append(f.awaiting, awaited{to: kind})
	return out
}

// begins tells whether a Query is a BEGIN, and nothing else.
func begins(statement []byte) bool {
	words := bytes.Fields(statement)
	return len(words) > 0 && (bytes.EqualFold(words[0], []byte("begin")) || bytes.EqualFold(words[0], []byte("start"))) && !bytes.ContainsRune(statement, ';')
}

// recall makes a statement that has been prepared the one without a name, and returns the name by which to use it.
func (f *filter) recall(out []byte, name string) ([]byte, string) {
	if f.current == name {
		return out, ""
	}
	statement, known := f.statements[name]
	if !known {
		return out, name // the server will say so
	}
	f.current = name
	f.awaiting = append(f.awaiting, awaited{parse, true})
	return appendMessage(out, parse, []byte{0}, statement), ""
}

// Read passes on what pgx is to see.
func (f *filter) Read(p []byte) (int, error) {
	f.mu.Lock()
	on := f.on
	f.mu.Unlock()
	if !on {
		return f.r.Read(p)
	}
	for {
		if f.left == 0 {
			if err := f.next(); err != nil {
				return 0, err
			}
		}
		if f.drop {
			n, err := f.b.Discard(f.left)
			if f.left -= n; err != nil {
				return 0, err
			}
			continue
		}
		n, err := f.b.Read(p[:min(len(p), f.left)])
		f.left -= n
		return n, err
	}
}

// next looks at the message that begins. A time limit that passes meanwhile leaves everything as it is.
func (f *filter) next() error {
	head, err := f.b.Peek(header)
	if err != nil {
		return err
	}
	size := 1 + int(binary.BigEndian.Uint32(head[1:]))
	if size < header {
		return errors.New("a message of the server's has an impossible length")
	}
	kind, status := head[0], byte(0)
	if kind == readyForQuery {
		if head, err = f.b.Peek(header + 1); err != nil {
			return err
		}
		status = head[header]
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.left, f.drop = size, f.answered(kind, status)
	return nil
}

// answered notes a message of the server's, and says whether it is to be dropped.
func (f *filter) answered(kind, status byte) (drop bool) {
	switch kind {
	case notice, parameterStatus, notification:
		return false
	case failed: // whatever else was asked for until then has no answer
		for len(f.awaiting) > 0 && f.awaiting[0].to != synced && f.awaiting[0].to != query {
			f.awaiting = f.awaiting[1:]
		}
		return false
	case readyForQuery:
		f.ready = status == 'I'
	}
	if len(f.awaiting) == 0 {
		return false
	}
	first := f.awaiting[0]
	if ends(first.to, kind) {
		f.awaiting = f.awaiting[1:]
	}
	return first.drop
}

// ends says whether a message of the server's is the last one of the answer to what was sent.
func ends(sent, answer byte) bool {
	switch sent {
	case parse:
		return answer == parseComplete
	case bind:
		return answer == bindComplete
	case closing:
		return answer == closeComplete
	case describe:
		return answer == rowDescription || answer == noData
	case execute:
		return answer == commandComplete || answer == emptyQuery || answer == suspended
	case settle:
		return answer == commandComplete
	}
	return answer == readyForQuery
}

// text takes a string off the front of a message's body.
func text(body []byte) (s string, rest []byte) {
	before, after, _ := bytes.Cut(body, []byte{0})
	return string(before), after
}

func appendMessage(out []byte, kind byte, parts ...[]byte) []byte {
	size := 4
	for _, part := range parts {
		size += len(part)
	}
	out = append(out, kind)
	out = binary.BigEndian.AppendUint32(out, uint32(size)) //nolint:gosec // no larger than what pgx sends, and settings
	for _, part := range parts {
		out = append(out, part...)
	}
	return out
}

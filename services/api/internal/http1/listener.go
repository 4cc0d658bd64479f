// Package http1 stands between the clients' connections and the HTTP server. It reads each request off its connection by the
// letter of RFC 9112, hands on one request at a time, to its end and not a byte further, and refuses the rest. So whatever the
// server behind makes of a request, it cannot take a part of one for another.
//
// A connection is the client's until its request has been read, the server's from [Conn.Begin] until its answer is written, and the
// client's again while it takes the answer. While it is the client's, it may be closed to make room for others (kit/listen).
//
// What is hostile costs little here: an idle connection has a small buffer, a large body needs room in a budget before it is
// read, and every wait for the client has its deadline.
//
// It must never hand on a request that it has not understood as a whole, nor anything that follows a refused one.
package http1

import (
	"errors"
	"net"
	"net/http"
	"time"

	"orderflow.example/kit/listen"
)

// Config is what all connections have in common.
type Config struct {
	MaxHead int                               // bytes of a request's head
	Limit   func(method, target []byte) int64 // bytes of a request's body
	Free    int64                             // bytes of a body that need no room in the budget
	// Known tells whether the sender of a request may have room in the budget; authorization is the value of that field, nil when it
	// is not given once. A sender that is not known is refused before its body is read.
	Known  func(target, authorization []byte) bool
	Budget *Budget

	// How long a client may take: to begin its next request, to send its head, and its body.
	IdleTimeout, HeadTimeout, BodyTimeout time.Duration
}

// Listener hands out connections that are read as the package says.
type Listener struct {
	*listen.Listener
	cfg *Config
}

// What the kernel may keep of what a client sends, and does not read, in bytes. Its own choice would be megabytes. What it takes for
// them is twice as much, and counts towards the memory of a container, where the collector does not see it. A large batch still
// arrives in time over half the world: a round trip brings 16 KiB.
const (
	receiveBuffer = 16 << 10
	sendBuffer    = 12 << 10
	socket        = 4 << 10 // what belongs to a connection itself

	// While a large answer is sent, which would take forty times as long otherwise. It has room in the budget.
	answerBuffer = 64 << 10
)

// KernelMemory is what one connection takes of the kernel's memory at its worst, in bytes.
const KernelMemory = 2*(receiveBuffer+sendBuffer) + socket

// NewListener wraps a listener. From now on its connections have small buffers: from their first packet, so that no client sends
// more than there is room for.
func NewListener(ln *listen.Listener, cfg *Config) (*Listener, error) {
	if err := ln.SetBuffers(receiveBuffer, sendBuffer); err != nil {
		return nil, err
	}
	return &Listener{ln, cfg}, nil
}

// Accept waits for a connection.
func (l *Listener) Accept() (net.Conn, error) {
	conn, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	client, ok := conn.(*listen.Conn)
	if !ok {
		return nil, errors.New("the listener's connections are not its own")
	}
	c := &Conn{Conn: client, client: client, cfg: l.cfg}
	c.buf = c.small[:]
	return c, nil
}

// RefusedError is why a request is not handed on. It is answered, and its connection ends: what follows it cannot be told from it.
type RefusedError struct {
	Status int
	Detail string
}

func (r *RefusedError) Error() string { return r.Detail }

func refuse(status int, detail string) *RefusedError { return &RefusedError{status, detail} }

func malformed(detail string) *RefusedError {
	return refuse(http.StatusBadRequest, "the request is not HTTP/1.1 as RFC 9112 has it: "+detail)
}

var (
	errBrokeOff    = refuse(http.StatusBadRequest, "the request broke off")
	errTooSlow     = refuse(http.StatusRequestTimeout, "the request took too long to arrive")
	errHeadTooLong = refuse(http.StatusRequestHeaderFieldsTooLarge, "the headers are too large")
	errBodyTooLong = refuse(http.StatusRequestEntityTooLarge, "the body is too large")
	errUnknown     = refuse(http.StatusUnauthorized, "bodies above ORDER_BODY_LIMIT need a valid token")
	errNoRoom      = refuse(http.StatusServiceUnavailable, "nothing was written: too many large bodies are under way")
)

package httpapi

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"testing"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/valyala/fasthttp"

	"orderflow.example/services/api/internal/database"
)

type alwaysDown struct{}

func (alwaysDown) Up() bool { return false }
func (alwaysDown) LookNow() {}
func (alwaysDown) State() (database.State, <-chan struct{}) {
	return database.State{Reason: "it is away by hand"}, nil
}

// looking is a monitor that counts how often it is told to look at once.
type looking struct {
	alwaysUp
	looks int
}

func (l *looking) LookNow() { l.looks++ }

// call has a server answer a request whose call is registered as all others are.
func call(s *Server, method string, handle func(context.Context) error) *fasthttp.Response {
	type output struct{ Body struct{} }
	op := huma.Operation{OperationID: "test-" + method, Method: method, Path: "/test"}
	register(s, op, func(ctx context.Context, _ *struct{}) (*output, error) { return &output{}, handle(ctx) })
	conn, other := net.Pipe()
	defer func() { _, _ = conn.Close(), other.Close() }()
	var ctx fasthttp.RequestCtx
	ctx.Init2(conn, nil, false)
	ctx.Request.Header.SetMethod(method)
	ctx.Request.SetRequestURI("/test")
	s.app.Handler()(&ctx)
	return &ctx.Response
}

// asked is a server with a monitor and a time for requests.
func asked(m Monitor, timeout time.Duration) *Server {
	s := newServer()
	s.cfg.Monitor, s.cfg.RequestTimeout = m, timeout
	return s
}

// Whoever asks while the database is known to be away is told so at once: otherwise each would wait for a connection until its time is over.
func TestAKnownOutageIsAnsweredAtOnce(t *testing.T) {
	t.Parallel()
	for _, method := range []string{http.MethodGet, http.MethodPost} {
		resp := call(asked(alwaysDown{}, time.Second), method, func(context.Context) error {
			t.Errorf("%s: the database is asked", method)
			return nil
		})
		if resp.StatusCode() != http.StatusServiceUnavailable || len(resp.Header.Peek("Retry-After")) == 0 {
			t.Errorf("%s: %s", method, resp)
		}
	}
}

// Who reads waits no longer than a request may. What admins change may move thousands of messages, and has more time.
func TestHowLongACallMayTake(t *testing.T) {
	t.Parallel()
	const timeout = 2 * time.Second
	for method, limit := range map[string]time.Duration{http.MethodGet: timeout, http.MethodPost: adminTimeout, http.MethodDelete: adminTimeout} {
		begun, calls := time.Now(), 0
		resp := call(asked(alwaysUp{}, timeout), method, func(ctx context.Context) error {
			calls++
			if end, limited := ctx.Deadline(); !limited || end.Before(begun.Add(limit)) || end.After(time.Now().Add(limit)) {
				t.Errorf("%s: it was begun at %v and has until %v", method, begun, end)
			}
			return nil
		})
		if calls != 1 || resp.StatusCode() >= http.StatusBadRequest {
			t.Errorf("%s: called %d times, and answered %s", method, calls, resp)
		}
	}
}

// A connection turns out to be lost: who reads is answered from another one. What changes something may have done so, and is not done twice.
func TestOnlyWhatReadsIsTriedAgain(t *testing.T) {
	t.Parallel()
	for method, want := range map[string]struct{ calls, status int }{
		http.MethodGet: {2, http.StatusOK}, http.MethodPost: {1, http.StatusServiceUnavailable}, http.MethodDelete: {1, http.StatusServiceUnavailable},
	} {
		calls := 0
		monitor := &looking{}
		resp := call(asked(monitor, time.Minute), method, func(context.Context) error {
			if calls++; calls == 1 {
				return fmt.Errorf("read: %w", database.ErrLost)
			}
			return nil
		})
		if calls != want.calls || resp.StatusCode() != want.status {
			t.Errorf("%s: called %d times, and answered %s", method, calls, resp)
		}
		if looks := monitor.looks; looks == 0 && want.status == http.StatusServiceUnavailable {
			t.Errorf("%s: nobody looks whether the database is away", method)
		}
	}
}

// A fault of ours is one request's. It ends nobody else's, and what is in the log of it is not for whoever has asked.
func TestAPanicIsAnswered(t *testing.T) {
	t.Parallel()
	s := asked(alwaysUp{}, time.Minute)
	var log bytes.Buffer
	s.cfg.Log = slog.New(slog.NewTextHandler(&log, nil))
	resp := call(s, http.MethodGet, func(context.Context) error { panic("what only we know") })
	if resp.StatusCode() != http.StatusInternalServerError || bytes.Contains(resp.Body(), []byte("only we know")) || !bytes.Contains(resp.Body(), []byte("trace id")) {
		t.Errorf("answered %s", resp)
	}
	if text := log.String(); !bytes.Contains(log.Bytes(), []byte("only we know")) || !bytes.Contains(log.Bytes(), []byte("trace_id")) {
		t.Errorf("the log says\n%s", text)
	}
}

package listen_test

import (
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"

	"orderflow.example/kit/listen"
	"orderflow.example/kit/testlog"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// failing is a real listener on which accept fails as the kernel lets it, before it works.
type failing struct {
	net.Listener
	errors chan error
}

func (f *failing) Accept() (net.Conn, error) {
	select {
	case err := <-f.errors:
		return nil, &net.OpError{Op: "accept", Net: "tcp", Err: err}
	default:
		return f.Listener.Accept()
	}
}

func bound(t *testing.T, most int, errs ...error) (*listen.Listener, *testlog.Buffer) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	f := &failing{ln, make(chan error, len(errs))}
	for _, err := range errs {
		f.errors <- err
	}
	var log testlog.Buffer
	l := listen.New(f, most, slog.New(slog.NewTextHandler(&log, nil)))
	t.Cleanup(func() { _ = l.Close() })
	return l, &log
}

// connect makes a connection and returns both of its ends.
func connect(t *testing.T, l *listen.Listener) (client net.Conn, server *listen.Conn) {
	t.Helper()
	client = dial(t, l)
	return client, accept(t, l)
}

func dial(t *testing.T, l *listen.Listener) net.Conn {
	t.Helper()
	client, err := new(net.Dialer).DialContext(t.Context(), "tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = client.Close() })
	return client
}

func accept(t *testing.T, l *listen.Listener) *listen.Conn {
	t.Helper()
	conn, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	return conn.(*listen.Conn)
}

// gone tells whether the other end has been closed.
func gone(t *testing.T, client net.Conn) bool {
	t.Helper()
	if err := client.SetReadDeadline(time.Now().Add(50 * time.Millisecond)); err != nil {
		t.Fatal(err)
	}
	_, err := client.Read(make([]byte, 1))
	return errors.Is(err, io.EOF) || errors.Is(err, syscall.ECONNRESET)
}

func TestPassingErrorsAreWaitedOutAndSaidOnce(t *testing.T) {
	t.Parallel()
	for _, err := range []error{syscall.EMFILE, syscall.ENFILE, syscall.ENOMEM, syscall.ENOBUFS, syscall.ECONNABORTED, syscall.EPROTO, syscall.EPERM} {
		l, log := bound(t, 10, err, err, err)
		_, server := connect(t, l)
		if server == nil || log.Count("cannot be accepted") != 1 || log.Count("are accepted again") != 1 || log.Count("failed=3") != 1 {
			t.Errorf("%v: the log is %s", err, log)
		}
	}
}

func TestErrorsOfTheListenerItselfEndIt(t *testing.T) {
	t.Parallel()
	for _, err := range []error{syscall.EBADF, syscall.EINVAL, net.ErrClosed} {
		l, _ := bound(t, 10, err)
		if _, got := l.Accept(); !errors.Is(got, err) {
			t.Errorf("got %v, want %v", got, err)
		}
	}
}

func TestAClosedListenerWaitsForNothing(t *testing.T) {
	t.Parallel()
	short, _ := bound(t, 10, syscall.EMFILE, syscall.EMFILE, syscall.EMFILE, syscall.EMFILE, syscall.EMFILE, syscall.EMFILE, syscall.EMFILE, syscall.EMFILE, syscall.EMFILE, syscall.EMFILE)
	full, _ := bound(t, 1)
	_, server := connect(t, full)
	server.Busy()
	dial(t, full)
	for _, l := range []*listen.Listener{short, full} {
		ended := make(chan error, 1)
		go func() {
			_, err := l.Accept()
			ended <- err
		}()
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
		if err := <-ended; !errors.Is(err, net.ErrClosed) {
			t.Errorf("got %v", err)
		}
	}
}

func TestTheLongestWaitingMakeRoom(t *testing.T) {
	t.Parallel()
	l, log := bound(t, 3)
	working, w := connect(t, l)
	oldest, o := connect(t, l)
	older, _ := connect(t, l)
	w.Busy()
	newcomer, _ := connect(t, l)
	if !gone(t, oldest) || gone(t, older) || gone(t, working) || gone(t, newcomer) {
		t.Errorf("closed: oldest %v, older %v, working %v, newcomer %v", gone(t, oldest), gone(t, older), gone(t, working), gone(t, newcomer))
	}
	if o.Busy() || o.Idle() || o.Waiting() {
		t.Error("a request of a connection that was given up may be worked on")
	}
	connect(t, l)
	if log.Count("connection limit reached") != 1 || l.Len() != 3 {
		t.Errorf("%d connections, and the log is %s", l.Len(), log)
	}
}

// Clients that have had an answer lately and clients that have had none make room for their own kind, as long as either has its
// half: a crowd that says nothing closes nobody who is at work, and a crowd that has had an answer each keeps nobody out.
func TestACrowdMakesRoomForItself(t *testing.T) {
	t.Parallel()
	l, _ := bound(t, 4)
	l.Rest(time.Hour)
	l.Age()
	working, w := connect(t, l)
	another, a := connect(t, l)
	for _, c := range []*listen.Conn{w, a} {
		if !c.Busy() || !c.Idle() {
			t.Fatal("it is closed")
		}
	}
	silent, _ := connect(t, l)
	newer, _ := connect(t, l)
	newest, _ := connect(t, l)
	if !gone(t, silent) || gone(t, working) || gone(t, another) || gone(t, newer) || gone(t, newest) {
		t.Errorf("closed: silent %v, newer %v, newest %v; working %v, another %v", gone(t, silent), gone(t, newer), gone(t, newest), gone(t, working), gone(t, another))
	}

	l, _ = bound(t, 4)
	l.Rest(time.Hour)
	l.Age()
	newcomer, _ := connect(t, l)
	crowd := make([]net.Conn, 3)
	for i := range crowd {
		var n *listen.Conn
		crowd[i], n = connect(t, l)
		if !n.Busy() || !n.Idle() {
			t.Fatal("it is closed")
		}
	}
	connect(t, l)
	if gone(t, newcomer) || !gone(t, crowd[0]) || gone(t, crowd[1]) || gone(t, crowd[2]) {
		t.Errorf("closed: newcomer %v, crowd %v %v %v", gone(t, newcomer), gone(t, crowd[0]), gone(t, crowd[1]), gone(t, crowd[2]))
	}
}

// The kernel keeps nothing of a connection that is closed for another one: a client that does not read what it is sent would hold
// that for minutes otherwise.
func TestNothingIsLeftOfAConnectionThatMadeRoom(t *testing.T) {
	t.Parallel()
	l, _ := bound(t, 1)
	slow, server := connect(t, l)
	if _, err := server.Write(make([]byte, 1000)); err != nil {
		t.Fatal(err)
	}
	connect(t, l)
	if _, err := io.Copy(io.Discard, slow); !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("got %v, want a reset", err)
	}
}

func TestNobodyWhoIsWorkedForIsClosed(t *testing.T) {
	t.Parallel()
	l, _ := bound(t, 2)
	one, o := connect(t, l)
	two, w := connect(t, l)
	o.Busy()
	w.Busy()
	dial(t, l)
	accepted := make(chan *listen.Conn)
	go func() { accepted <- accept(t, l) }()
	if gone(t, one) || gone(t, two) {
		t.Error("one was closed")
	}
	w.Idle() // its answer is there
	<-accepted
	if gone(t, one) || !gone(t, two) {
		t.Errorf("closed: one %v, two %v", gone(t, one), gone(t, two))
	}
}

// A server of net/http on such a listener goes on to answer while a crowd says nothing, and has its connections back after it.
func TestServerOfTheSecondPort(t *testing.T) {
	t.Parallel()
	l, log := bound(t, 8)
	server := &http.Server{
		Handler:           http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNoContent) }),
		ConnState:         listen.Track,
		ReadHeaderTimeout: time.Minute,
	}
	var serving sync.WaitGroup
	serving.Go(func() { _ = server.Serve(l) })
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	get := func() {
		t.Helper()
		resp, err := client.Get("http://" + l.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		_ = resp.Body.Close()
	}
	crowd := make([]net.Conn, 50)
	for i := range crowd {
		crowd[i] = dial(t, l)
		if i%10 == 0 {
			get()
		}
	}
	get()
	for _, conn := range crowd {
		_ = conn.Close()
	}
	for l.Len() > 1 {
		get() // the server notices as it reads
	}
	get()
	if log.Count("there is room") != 1 {
		t.Errorf("the log is %s", log)
	}
	_ = server.Close()
	serving.Wait()
}

package listen_test

import (
	"bufio"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"slices"
	"sync"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"

	"orderflow.example/kit/await"
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
	f := &failing{errors: make(chan error, len(errs))}
	for _, err := range errs {
		f.errors <- err
	}
	return boundOn(t, f, most)
}

func boundOn(t *testing.T, f *failing, most int) (*listen.Listener, *testlog.Buffer) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	f.Listener = ln
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
		connect(t, l) // which is no news
		if server == nil || log.Count("cannot be accepted") != 1 || log.Count("are accepted again") != 1 || log.Count("failed=3") != 1 || l.Stats().Failed != 3 {
			t.Errorf("%v: the log is %s", err, log)
		}
	}
}

// While a shortage lasts there is a try each second, so that who comes after it is not kept waiting; the next one begins with short waits again.
func TestAShortageIsLookedAtEachSecond(t *testing.T) {
	t.Parallel()
	var shortage listen.Shortage
	for range 2 {
		var waits []time.Duration
		for range 12 {
			waits = append(waits, shortage.Begins(slog.New(slog.DiscardHandler), syscall.EMFILE)/time.Millisecond)
		}
		if want := []time.Duration{5, 10, 20, 40, 80, 160, 320, 640, 1000, 1000, 1000, 1000}; !slices.Equal(waits, want) {
			t.Errorf("the waits are %d ms, want %d", waits, want)
		}
		shortage.Ends(slog.New(slog.DiscardHandler))
	}
}

func TestErrorsOfTheListenerItselfEndIt(t *testing.T) {
	t.Parallel()
	for _, err := range []error{syscall.EBADF, syscall.EINVAL, syscall.ENOTSOCK, net.ErrClosed} {
		l, _ := bound(t, 10, err)
		if _, got := l.Accept(); !errors.Is(got, err) {
			t.Errorf("got %v, want %v", got, err)
		}
	}
}

func TestAClosedListenerWaitsForNothing(t *testing.T) {
	t.Parallel()
	var errs []error
	for range 1000 { // many seconds, up to one for each
		errs = append(errs, syscall.EMFILE)
	}
	short, shortLog := bound(t, 10, errs...)
	full, fullLog := bound(t, 1)
	_, server := connect(t, full)
	server.Busy()
	newcomer := dial(t, full)
	for _, test := range []struct {
		l     *listen.Listener
		log   *testlog.Buffer
		waits string
	}{{short, shortLog, "cannot be accepted"}, {full, fullLog, "connection limit reached"}} {
		ended := make(chan error, 1)
		go func() {
			_, err := test.l.Accept()
			ended <- err
		}()
		tick := time.NewTicker(time.Millisecond)
		for test.log.Count(test.waits) == 0 {
			<-tick.C
		}
		tick.Stop()
		if err := test.l.Close(); err != nil {
			t.Fatal(err)
		}
		if err := <-ended; !errors.Is(err, net.ErrClosed) {
			t.Errorf("got %v", err)
		}
		if err := test.l.Close(); err == nil {
			t.Error("it was closed twice")
		}
	}
	if _, err := newcomer.Read(make([]byte, 1)); err == nil {
		t.Error("who waited for room is told something")
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
	if log.Count("connection limit reached") != 1 || l.Stats() != (listen.Stats{Open: 3, Most: 3, Evicted: 2}) {
		t.Errorf("%+v, and the log is %s", l.Stats(), log)
	}
}

// Clients that have had an answer lately and clients that have had none make room for their own kind, as long as either has its
// half: a crowd that says nothing closes nobody who is at work, and a crowd that has had an answer each keeps nobody out.
func TestACrowdMakesRoomForItself(t *testing.T) {
	t.Parallel()
	l, _ := bound(t, 4)
	l.Rest(time.Hour)
	l.Fresh(0)
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
	l.Fresh(0)
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

// Most requests are read and answered in a moment: who has just come is left alone for so long, and a newcomer waits.
func TestWhoHasJustComeStays(t *testing.T) {
	t.Parallel()
	l, log := bound(t, 2)
	l.Fresh(time.Hour)
	one, first := connect(t, l)
	two, _ := connect(t, l)
	dial(t, l)
	accepted := make(chan *listen.Conn)
	go func() { accepted <- accept(t, l) }()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for log.Count("connection limit reached") == 0 {
		<-tick.C
	}
	if gone(t, one) || gone(t, two) {
		t.Error("one was closed")
	}
	if err := first.Close(); err != nil {
		t.Fatal(err)
	}
	<-accepted
	if gone(t, two) {
		t.Error("the other was closed")
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
	asked := make(chan struct{})
	go func() {
		defer close(asked)
		_, _ = server.Read(make([]byte, 1))
	}()
	defer func() { <-asked }()
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

// Its state may have changed since it was chosen.
func TestWhoIsWorkedForMeanwhileStays(t *testing.T) {
	t.Parallel()
	l, _ := bound(t, 2)
	client, server := connect(t, l)
	evict := server.Chosen()
	server.Busy()
	if evict() || gone(t, client) {
		t.Error("it was closed while its request is worked on")
	}
}

// A server that got no processor for a while does not take it for its clients' silence: who has sent something that it has not read yet
// stays, and so does who has been read, until the server asks for more. Then goes who says nothing.
func TestWhomTheServerKeepsWaitingStays(t *testing.T) {
	t.Parallel()
	l, _ := bound(t, 2)
	l.Fresh(0)
	heard, h := connect(t, l)
	say(t, heard, h, "GET /")
	if n, err := h.Read(make([]byte, 100)); n != 5 || err != nil {
		t.Fatalf("read %d, %v", n, err)
	}
	unheard, u := connect(t, l)
	say(t, unheard, u, "GET / HTTP/1.1")
	if !u.Waiting() || !h.Waiting() || u.Evict(-time.Second) || h.Evict(-time.Second) || gone(t, unheard) || gone(t, heard) {
		t.Error("one was closed whom the server keeps waiting")
	}
	// Nor do they make room for a newcomer, as long as there is somebody else.
	if !h.Idle() {
		t.Fatal("it is closed")
	}
	dial(t, l)
	accepted := make(chan error, 1)
	go func() {
		_, err := l.Accept()
		accepted <- err
	}()
	if _, err := h.Write([]byte("done")); err != nil {
		t.Fatal(err)
	}
	if err := heard.SetReadDeadline(time.Time{}); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(heard, make([]byte, 4)); err != nil {
		t.Fatal(err)
	}
	asked := make(chan struct{})
	go func() {
		defer close(asked)
		_, _ = h.Read(make([]byte, 100))
	}()
	if err := <-accepted; err != nil || !gone(t, heard) {
		t.Errorf("who is asked for more, and says nothing, stays, %v", err)
	}
	_ = heard.Close()
	<-asked
	if n, err := u.Read(make([]byte, 100)); n != 14 || err != nil {
		t.Errorf("read %d, %v", n, err)
	}
}

// slowToRead is a connection whose Read begins when it is let go on.
type slowToRead struct {
	*net.TCPConn
	begun, goOn chan struct{}
}

func (s slowToRead) Read(b []byte) (int, error) {
	s.begun <- struct{}{}
	<-s.goOn
	return s.TCPConn.Read(b)
}

// The same while the server is in Read: the system has woken it, and it has not run yet.
func TestWhomTheServerIsAboutToHearStays(t *testing.T) {
	t.Parallel()
	l, _ := bound(t, 1)
	l.Fresh(0)
	client, server := connect(t, l)
	say(t, client, server, "GET /")
	if n, err := server.Read(make([]byte, 100)); n != 5 || err != nil {
		t.Fatalf("read %d, %v", n, err)
	}
	slow := slowToRead{TCPConn: server.Conn.(*net.TCPConn), begun: make(chan struct{}), goOn: make(chan struct{})}
	server.Conn = slow
	read := make(chan int)
	go func() {
		n, _ := server.Read(make([]byte, 100))
		read <- n
	}()
	<-slow.begun
	say(t, client, server, " HTTP/1.1")
	if !server.Waiting() || server.Evict(-time.Second) || gone(t, client) {
		t.Error("it was closed")
	}
	close(slow.goOn)
	if n := <-read; n != 9 {
		t.Errorf("read %d", n)
	}
	go func() {
		n, _ := server.Read(make([]byte, 100))
		read <- n
	}()
	<-slow.begun
	if !server.Evict(-time.Second) {
		t.Error("who says nothing more stays")
	}
	_ = client.Close()
	<-read
}

// slowToWrite is a connection whose Write ends when it is let go on.
type slowToWrite struct {
	*net.TCPConn
	goOn chan struct{}
}

func (s slowToWrite) Write(b []byte) (int, error) {
	n, err := s.TCPConn.Write(b)
	<-s.goOn
	return n, err
}

// A client that takes its answer is not late, however long the server needs to notice it. One that does not take it is.
func TestOnlyWhoTakesNothingIsLateForAnAnswer(t *testing.T) {
	t.Parallel()
	l, _ := bound(t, 2)
	client, server := connect(t, l)
	conn := server.Conn
	slow := slowToWrite{TCPConn: conn.(*net.TCPConn), goOn: make(chan struct{})}
	server.Conn = slow
	wrote := make(chan error)
	write := func(b []byte) {
		_, err := server.Write(b)
		wrote <- err
	}
	go write([]byte("done"))
	if _, err := io.ReadFull(client, make([]byte, 4)); err != nil {
		t.Fatal(err)
	}
	if !server.Waiting() || server.Evict(-time.Second) || gone(t, client) {
		t.Error("it was closed")
	}
	close(slow.goOn)
	if err := <-wrote; err != nil || server.Evict(-time.Second) {
		t.Errorf("it was closed, %v", err)
	}
	server.Conn = conn
	go write(make([]byte, 64<<20))
	await.True(t, "the server to wait for its client", func() bool { return server.Writing() && server.Evict(-time.Second) })
	if err := <-wrote; err == nil {
		t.Error("it was written to a client that takes nothing")
	}
}

// say sends something and returns when the other end could read it.
func say(t *testing.T, client net.Conn, server *listen.Conn, text string) {
	t.Helper()
	if _, err := io.WriteString(client, text); err != nil {
		t.Fatal(err)
	}
	await.True(t, "what was said to arrive", server.Unread)
}

func TestOnlyWhoIsWaitedForLongEnoughIsEvicted(t *testing.T) {
	t.Parallel()
	l, _ := bound(t, 2)
	client, server := connect(t, l)
	if server.Evict(time.Hour) {
		t.Error("it has not been waiting for an hour")
	}
	for _, state := range []func() bool{server.Busy, server.Idle} {
		if !state() || server.Evict(-time.Hour) {
			t.Error("nobody waits for its client")
		}
	}
	if !server.Waiting() || !server.Evict(-time.Second) || !gone(t, client) {
		t.Error("it is there")
	}
}

// With many connections several make room at a time: looking for them costs as much for one. The log says once that the limit has
// been reached, however often that happens, until there is ample room.
func TestSeveralMakeRoomAtATime(t *testing.T) {
	t.Parallel()
	const most = 128
	l, log := bound(t, most)
	l.Rest(0)
	l.Fresh(0)
	clients, servers := make([]net.Conn, most), make([]*listen.Conn, most)
	for i := range clients {
		clients[i], servers[i] = connect(t, l)
	}
	connect(t, l)
	if l.Len() != most-1 || !gone(t, clients[0]) || !gone(t, clients[1]) || gone(t, clients[2]) {
		t.Errorf("%d connections are left", l.Len())
	}
	connect(t, l)
	// An idle one goes alone: those that are under way stay as long as there is one.
	if !servers[9].Busy() || !servers[9].Idle() {
		t.Fatal("it is closed")
	}
	connect(t, l)
	if l.Len() != most || !gone(t, clients[9]) || gone(t, clients[2]) {
		t.Errorf("%d connections are left", l.Len())
	}
	if log.Count("connection limit reached") != 1 || log.Count("there is room") != 0 {
		t.Errorf("the log is %s", log)
	}
}

// When descriptors run short, those that idle connections have are given back.
func TestAShortageEndsIdleConnections(t *testing.T) {
	t.Parallel()
	f := &failing{errors: make(chan error, 1)}
	l, _ := boundOn(t, f, 10)
	l.Rest(0)
	l.Fresh(0)
	client, server := connect(t, l)
	if !server.Busy() || !server.Idle() {
		t.Fatal("it is closed")
	}
	f.errors <- syscall.EMFILE
	connect(t, l)
	if !gone(t, client) {
		t.Error("it keeps its descriptor")
	}
}

func TestTheLimitOfOpenFilesBoundsConnections(t *testing.T) {
	t.Parallel()
	limit := listen.Descriptors()
	for _, test := range []struct{ most, reserved, want, said int }{
		{limit - 10, 10, limit - 10, 0}, {limit - 9, 10, limit - 10, 1}, {limit, 0, limit, 0}, {7, limit + 5, 1, 1},
	} {
		var log testlog.Buffer
		if got := listen.Below(test.most, test.reserved, slog.New(slog.NewTextHandler(&log, nil))); got != test.want || log.Count("allows fewer connections") != test.said {
			t.Errorf("%+v of %d: got %d, and the log is %q", test, limit, got, &log)
		}
	}
}

// A server of net/http says by its states who is worked for, and who is idle.
func TestStatesOfAServer(t *testing.T) {
	t.Parallel()
	l, _ := bound(t, 3)
	l.Rest(0)
	l.Fresh(0)
	working, release, idles := make(chan bool), make(chan bool), make(chan bool, 10)
	server := &http.Server{
		Handler: http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
			if r.URL.Path == "/slow" {
				working <- true
				<-release
			}
		}),
		ConnState: func(conn net.Conn, state http.ConnState) {
			listen.Track(conn, state)
			if state == http.StateIdle {
				idles <- true
			}
		},
		ReadHeaderTimeout: time.Minute,
	}
	var serving sync.WaitGroup
	serving.Go(func() { _ = server.Serve(l) })
	defer serving.Wait()
	defer server.Close()
	request := func(conn net.Conn, path string) *bufio.Reader {
		t.Helper()
		if _, err := io.WriteString(conn, "GET "+path+" HTTP/1.1\r\nHost: x\r\n\r\n"); err != nil {
			t.Fatal(err)
		}
		return bufio.NewReader(conn)
	}
	answered := func(r *bufio.Reader) {
		t.Helper()
		resp, err := http.ReadResponse(r, nil)
		if err != nil {
			t.Fatal(err)
		}
		_ = resp.Body.Close()
		<-idles
	}
	slow := dial(t, l)
	slowly := request(slow, "/slow")
	<-working
	first, silent := dial(t, l), dial(t, l)
	idle := dial(t, l)
	answered(request(idle, "/"))
	if !gone(t, first) || gone(t, slow) || gone(t, silent) {
		t.Errorf("closed: first %v, slow %v, silent %v", gone(t, first), gone(t, slow), gone(t, silent))
	}
	answered(request(dial(t, l), "/"))
	if !gone(t, idle) || gone(t, slow) || gone(t, silent) {
		t.Errorf("closed: idle %v, slow %v, silent %v", gone(t, idle), gone(t, slow), gone(t, silent))
	}
	close(release)
	if err := slow.SetReadDeadline(time.Time{}); err != nil {
		t.Fatal(err)
	}
	answered(slowly)
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

package http1

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	"orderflow.example/kit/await"
	"orderflow.example/kit/listen"
)

// pair is a client's connection and what the server sees of it.
func pair(tb testing.TB, cfg Config) (client net.Conn, server *Conn) {
	tb.Helper()
	ln, err := listen.TCP(tb.Context(), "127.0.0.1:0", 100, slog.New(slog.DiscardHandler))
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { _ = ln.Close() })
	return joined(tb, strict(tb, ln, complete(cfg)))
}

func strict(tb testing.TB, ln *listen.Listener, cfg *Config) *Listener {
	tb.Helper()
	strict, err := NewListener(ln, cfg)
	if err != nil {
		tb.Fatal(err)
	}
	return strict
}

func complete(cfg Config) *Config {
	if cfg.Known == nil {
		cfg.Known = func(_, _ []byte) bool { return true }
	}
	if cfg.MaxHead == 0 {
		cfg.MaxHead = 8 << 10
	}
	if cfg.Limit == nil {
		cfg.Limit = func(_, _ []byte) int64 { return 1 << 20 }
	}
	if cfg.Budget == nil {
		cfg.Budget = NewBudget(1 << 20)
	}
	if cfg.Free == 0 {
		cfg.Free = 100
	}
	for _, timeout := range []*time.Duration{&cfg.IdleTimeout, &cfg.HeadTimeout, &cfg.BodyTimeout} {
		if *timeout == 0 {
			*timeout = time.Minute
		}
	}
	return &cfg
}

func joined(tb testing.TB, ln *Listener) (client net.Conn, server *Conn) {
	tb.Helper()
	client, err := new(net.Dialer).DialContext(tb.Context(), "tcp", ln.Addr().String())
	if err != nil {
		tb.Fatal(err)
	}
	conn, err := ln.Accept()
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { _, _ = client.Close(), conn.Close() })
	return client, conn.(*Conn)
}

func say(tb testing.TB, client io.Writer, text string) {
	tb.Helper()
	if _, err := io.WriteString(client, text); err != nil {
		tb.Fatal(err)
	}
}

// read reads one request as a server does: the first byte, and then all that there is.
func read(c *Conn) (*http.Request, []byte, error) {
	first := make([]byte, 1)
	if _, err := io.ReadFull(c, first); err != nil {
		return nil, nil, err
	}
	r, err := http.ReadRequest(bufio.NewReader(io.MultiReader(bytes.NewReader(first), c)))
	if err != nil {
		return nil, nil, err
	}
	body, err := io.ReadAll(r.Body)
	return r, body, err
}

const postHead = "POST /orders HTTP/1.1\r\nHost: x\r\n"

// Each wait has its own deadline: the others are far away here.
func TestDeadlinesOfTheClient(t *testing.T) {
	t.Parallel()
	const soon = time.Second // in which what was sent before is read: once a deadline is over nothing is
	head := Config{HeadTimeout: soon, BodyTimeout: time.Hour, IdleTimeout: time.Hour}
	body := Config{HeadTimeout: time.Hour, BodyTimeout: soon, IdleTimeout: time.Hour}
	for name, test := range map[string]struct {
		cfg  Config
		sent string
		want *RefusedError // nil: the connection ends without an answer
	}{
		"head":          {head, "POST /orders HT", errTooSlow},
		"body":          {body, postHead + "Content-Length: 5\r\n\r\n1234", errTooSlow},
		"chunk":         {body, postHead + "Transfer-Encoding: chunked\r\n\r\n5\r\n1234", errTooSlow},
		"chunk's size":  {body, postHead + "Transfer-Encoding: chunked\r\n\r\n5", errTooSlow},
		"trailer":       {body, postHead + "Transfer-Encoding: chunked\r\n\r\n0\r\nX: 1\r\n", errTooSlow},
		"nothing":       {head, "", nil},
		"an empty line": {head, "\r\n", nil},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			client, server := pair(t, test.cfg)
			hangs := time.AfterFunc(30*time.Second, func() { _ = client.Close() }) // which is seen as a client that breaks off
			defer hangs.Stop()
			say(t, client, test.sent)
			_, _, err := read(server)
			if refusal := server.Refusal(); refusal != test.want || test.want == nil && !errors.Is(err, io.EOF) || !hangs.Stop() {
				t.Errorf("%v, %v", refusal, err)
			}
		})
	}
}

// A head has its time as a whole: who sends it byte by byte gains nothing.
func TestAHeadThatTricklesHasNoMoreTime(t *testing.T) {
	t.Parallel()
	client, server := pair(t, Config{HeadTimeout: time.Second})
	say(t, client, "x") // the head has begun
	done := make(chan struct{})
	go func() {
		defer close(done)
		defer client.Close() // which the server sees as a client that breaks off
		each := time.NewTicker(50 * time.Millisecond)
		defer each.Stop()
		for range 300 {
			if _, err := io.WriteString(client, "x"); err != nil {
				return
			}
			<-each.C
		}
	}()
	_, _, err := read(server)
	if server.Refusal() != errTooSlow {
		t.Errorf("%v, %v", server.Refusal(), err)
	}
	_ = server.Close()
	<-done
}

// A client that waits for word that it may send its body gets it when the body is wanted, and not when HTTP/1.0 does not know of such
// a word, or the request is refused. The server behind sees one length, and no expectation.
func TestGoOnIsSaidWhenTheBodyIsWanted(t *testing.T) {
	t.Parallel()
	const expecting = "Expect: 100-continue\r\nContent-Length: 5\r\n\r\n"
	for name, test := range map[string]struct {
		head string
		cfg  Config
		want string
	}{
		"HTTP/1.1":    {postHead + expecting, Config{}, "HTTP/1.1 100 Continue\r\n\r\n"},
		"HTTP/1.0":    {"POST /orders HTTP/1.0\r\n" + expecting, Config{}, ""},
		"a long body": {postHead + expecting, Config{Limit: func(_, _ []byte) int64 { return 4 }}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			client, server := pair(t, test.cfg)
			say(t, client, test.head)
			first := make([]byte, 1<<10)
			n, err := server.Read(first)
			if err != nil {
				t.Fatal(err)
			}
			if head := string(first[:n]); server.Refusal() == nil && (strings.Count(head, "Content-Length") != 1 || strings.Contains(head, "Expect")) {
				t.Errorf("the server sees %q", head)
			}
			said := make(chan string, 1)
			go func() { // it ends with the connection
				interim := make([]byte, len(test.want))
				_, _ = io.ReadFull(client, interim)
				if len(interim) > 0 {
					_, _ = io.WriteString(client, "12345") // it has waited for that
				}
				rest, _ := io.ReadAll(client)
				said <- string(interim) + string(rest)
			}()
			done := make(chan struct{})
			go func() { // likewise
				defer close(done)
				_, _ = server.Read(first) // asks for the body, which is not there yet
				_ = server.Close()
			}()
			if test.want == "" {
				say(t, client, "12345")
			}
			<-done
			if got := <-said; got != test.want {
				t.Errorf("the client is told %q", got)
			}
		})
	}
}

// On a connection whose last answer is long ago, the server's deadline for it is over. What is said of the next request has time of its own.
func TestTheDeadlineOfAnAnswerEndsWithIt(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		cfg        Config
		sent, want string
	}{
		"to go on":       {Config{}, postHead + "Expect: 100-continue\r\nContent-Length: 5\r\n\r\n", "HTTP/1.1 100 Continue\r\n\r\n"},
		"what is wrong":  {Config{}, "POST /orders HTTP/2\r\n\r\n", "refused"},
		"of a slow head": {Config{HeadTimeout: time.Second}, "POST /orders HT", "refused"},
		"of a slow body": {Config{BodyTimeout: 50 * time.Millisecond}, postHead + "Content-Length: 5\r\n\r\n", "refused"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			client, server := pair(t, test.cfg)
			say(t, client, test.sent)
			long := time.Unix(1, 0)
			if err := server.SetWriteDeadline(long); err != nil {
				t.Fatal(err)
			}
			done := make(chan struct{})
			go func() {
				defer close(done)
				defer server.Close()
				if _, err := server.Read(make([]byte, 1<<10)); err != nil {
					t.Error(err)
					return
				}
				if test.cfg.BodyTimeout > 0 { // the server waited for it for longer than there was time
					_ = server.SetWriteDeadline(long)
				}
				if _, _ = server.Read(make([]byte, 1<<10)); server.Refusal() != nil { // asks for the rest
					_, _ = io.WriteString(server, "refused")
				}
			}()
			hangs := time.AfterFunc(30*time.Second, func() { _ = client.Close() })
			defer hangs.Stop()
			said := make([]byte, len(test.want))
			if _, err := io.ReadFull(client, said); err != nil || string(said) != test.want {
				t.Errorf("the client is told %q, %v", said, err)
			}
			_ = client.Close()
			<-done
		})
	}
}

// The limit is one of the whole body, however it is cut into chunks.
func TestChunksTogetherHaveTheLimit(t *testing.T) {
	t.Parallel()
	for body, want := range map[string]*RefusedError{"6\r\n123456\r\n4\r\n7890\r\n": nil, "6\r\n123456\r\n5\r\n7890x\r\n": errBodyTooLong} {
		client, server := pair(t, Config{Limit: func(_, _ []byte) int64 { return 10 }})
		say(t, client, postHead+"Transfer-Encoding: chunked\r\n\r\n"+body+"0\r\n\r\n")
		if _, _, err := read(server); server.Refusal() != want || (err == nil) != (want == nil) {
			t.Errorf("%q: %v, %v", body, err, server.Refusal())
		}
	}
}

// Of two tokens, which counts differs between programs: then none opens the room for a large body.
func TestOfTwoTokensNoneIsKnown(t *testing.T) {
	t.Parallel()
	known := func(_, authorization []byte) bool { return string(authorization) == "Bearer right" }
	const right, wrong = "Authorization: Bearer right\r\n", "Authorization: Bearer wrong\r\n"
	for tokens, want := range map[string]*RefusedError{right: nil, wrong: errUnknown, "": errUnknown, right + wrong: errUnknown, wrong + right: errUnknown, right + right: errUnknown} {
		client, server := pair(t, Config{Known: known})
		say(t, client, postHead+tokens+"Content-Length: 101\r\n\r\n"+strings.Repeat("x", 101))
		if _, _, err := read(server); server.Refusal() != want || (err == nil) != (want == nil) {
			t.Errorf("%q: %v, %v", tokens, err, server.Refusal())
		}
	}
}

// A server that asks for more than a request has, or for less, never gets a part of one for another.
func TestServerOutOfStep(t *testing.T) {
	t.Parallel()
	request := postHead + "Content-Length: 5\r\n\r\n12345"
	t.Run("more", func(t *testing.T) {
		t.Parallel()
		client, server := pair(t, Config{})
		say(t, client, request+request)
		if _, _, err := read(server); err != nil {
			t.Fatal(err)
		}
		if n, err := server.Read(make([]byte, 100)); n != 0 || !errors.Is(err, ErrOutOfStep) {
			t.Errorf("got %d bytes more, %v", n, err)
		}
	})
	t.Run("less", func(t *testing.T) {
		t.Parallel()
		client, server := pair(t, Config{})
		say(t, client, request+request)
		if _, err := io.ReadFull(server, make([]byte, len(request)-1)); err != nil {
			t.Fatal(err)
		}
		if err := server.Begin(); err != nil {
			t.Fatal(err)
		}
		if n, err := server.Read(make([]byte, 100)); n != 0 || !errors.Is(err, io.EOF) {
			t.Errorf("got %d bytes more, %v", n, err)
		}
	})
	t.Run("less, while the body is still coming", func(t *testing.T) {
		t.Parallel()
		client, server := pair(t, Config{})
		cut := len(request) - 3
		say(t, client, request[:cut])
		if _, err := io.ReadFull(server, make([]byte, cut)); err != nil {
			t.Fatal(err)
		}
		if err := server.Begin(); err != nil {
			t.Fatal(err)
		}
		say(t, client, request[cut:]+request)
		if n, err := server.Read(make([]byte, 100)); n != 0 || !errors.Is(err, io.EOF) {
			t.Errorf("got %d bytes more, %v", n, err)
		}
	})
	t.Run("twice", func(t *testing.T) {
		t.Parallel()
		client, server := pair(t, Config{})
		say(t, client, request)
		if _, _, err := read(server); err != nil {
			t.Fatal(err)
		}
		if once, twice := server.Begin(), server.Begin(); once != nil || !errors.Is(twice, ErrOutOfStep) {
			t.Errorf("once: %v; twice: %v", once, twice)
		}
	})
}

func TestBudget(t *testing.T) {
	t.Parallel()
	const buffer = 2 * answerBuffer // what a large answer takes besides itself
	budget := NewBudget(1000 + 2*buffer)
	budget.slow = time.Hour
	large := postHead + "Content-Length: " + strconv.Itoa(600+buffer) + "\r\n\r\n"
	first, one := pair(t, Config{Budget: budget})
	sent := make(chan error, 1)
	go func() { // while it is read
		_, err := io.WriteString(first, large+strings.Repeat("x", 600+buffer))
		sent <- err
	}()
	if _, _, err := read(one); err != nil {
		t.Fatal(err)
	}
	if err := <-sent; err != nil {
		t.Fatal(err)
	}
	if err := one.Begin(); err != nil {
		t.Fatal(err)
	}

	second, two := pair(t, Config{Budget: budget})
	say(t, second, large)
	if _, _, err := read(two); err == nil || two.Refusal() != errNoRoom {
		t.Errorf("the second: %v, %v", err, two.Refusal())
	}
	third, three := pair(t, Config{Budget: budget})
	say(t, third, postHead+"Content-Length: 100\r\n\r\n"+strings.Repeat("x", 100))
	if _, _, err := read(three); err != nil {
		t.Errorf("a small one: %v", err)
	}
	if three.Reserve(401) || !three.Reserve(300) || !three.Reserve(400) || !three.Reserve(400) || budget.Stats().Used != 1000+2*buffer {
		t.Errorf("answers: %d bytes are used", budget.Stats().Used)
	}
	if err := three.Close(); err != nil {
		t.Fatal(err)
	}
	if refused := budget.Stats().Refused; refused != 2 {
		t.Errorf("%d are counted as refused", refused)
	}
	say(t, first, postHead+"\r\n") // asking for the next request ends the first one's use
	if _, _, err := read(one); err != nil || budget.Stats().Used != 0 {
		t.Errorf("%d bytes are used, %v", budget.Stats().Used, err)
	}
}

// asking tells when its reader asks for more.
type asking struct {
	*net.TCPConn
	begun chan struct{}
}

func (a asking) Read(b []byte) (int, error) {
	close(a.begun)
	return a.TCPConn.Read(b)
}

// Whoever keeps others waiting for the room that he has loses it; whoever is worked for does not.
func TestBudgetIsTakenFromTheSlow(t *testing.T) {
	t.Parallel()
	budget := NewBudget(1200)
	budget.slow = 0
	large := postHead + "Content-Length: 600\r\n\r\n" + strings.Repeat("x", 599)
	ended := make(chan error, 1)
	for i, sent := range []string{large + "x", large, large + "x"} {
		client, server := pair(t, Config{Budget: budget})
		say(t, client, sent)
		if i == 1 {
			if _, err := io.ReadFull(server, make([]byte, len(large))); err != nil {
				t.Fatal(err)
			}
			asks := asking{server.client.Conn.(*net.TCPConn), make(chan struct{})}
			server.client.Conn = asks
			go func() {
				_, err := server.Read(make([]byte, 1))
				ended <- err
			}()
			<-asks.begun
		} else if _, _, err := read(server); err != nil || server.Begin() != nil {
			t.Fatalf("request %d: %v", i, err)
		}
	}
	if err := <-ended; !errors.Is(err, net.ErrClosed) || budget.Stats().Used != 1200 {
		t.Errorf("the slow one: %v, %d bytes are used", err, budget.Stats().Used)
	}
}

// A stream is written for as long as its client likes, so that it would always be the slowest. Who writes it bounds how long a client may take.
func TestAStreamIsNotClosedForOthersWhileItIsWritten(t *testing.T) {
	t.Parallel()
	write := func(stream bool) (client net.Conn, server *Conn, ended <-chan error) {
		client, server = pair(t, Config{})
		say(t, client, "GET /events HTTP/1.1\r\nHost: x\r\n\r\n")
		if _, _, err := read(server); err != nil || server.Begin() != nil {
			t.Fatal(err)
		}
		if stream {
			server.Stream()
		}
		end := make(chan error, 1)
		go func() {
			_, err := server.Write(make([]byte, 8<<20)) // much more than the kernel takes
			end <- err
		}()
		if _, err := io.ReadFull(client, make([]byte, 1)); err != nil { // and the client takes no more than that
			t.Fatal(err)
		}
		return client, server, end
	}
	watcher, stream, streamEnded := write(true)
	reader, answer, answerEnded := write(false)
	// Nobody is closed before the kernel has taken what it can. The stream has begun first: it is asked until the answer's time has come.
	await.True(t, "an answer that its client does not take is closed for others", func() bool {
		if stream.client.Evict(0) {
			t.Error("a stream is closed for others")
		}
		return answer.client.Evict(0)
	})
	_, _ = watcher.Close(), reader.Close()
	for what, ended := range map[string]<-chan error{"a stream": streamEnded, "an answer": answerEnded} {
		if err := await.Value(t, what+" ends", ended); err == nil {
			t.Errorf("%s was taken by nobody, and written", what)
		}
	}
}

// Of several that are slow, the one that has had its room for longest loses it, also when it has taken more since.
func TestBudgetIsTakenFromTheSlowestFirst(t *testing.T) {
	t.Parallel()
	budget := NewBudget(1200)
	budget.slow = 0
	conns := make([]*Conn, 3)
	for i := range conns {
		_, conns[i] = pair(t, Config{Budget: budget})
	}
	if !budget.take(conns[0], 400) || !budget.take(conns[1], 500) || !budget.take(conns[0], 100) || !budget.take(conns[2], 600) {
		t.Fatal("there was no room")
	}
	if first, second := conns[0].client.Waiting(), conns[1].client.Waiting(); first || !second || budget.Stats().Used != 1100 {
		t.Errorf("the first is left: %v, the second: %v, %d bytes are used", first, second, budget.Stats().Used)
	}
}

// Whatever a client sends, and however it is cut into packets: what is handed on is what net/http, too, finds to be the request, the
// next one begins where it does for net/http, and nothing follows what is refused.
func FuzzStream(f *testing.F) {
	for _, seed := range []string{
		postHead + "Content-Length: 5\r\n\r\n12345" + postHead + "\r\n",
		postHead + "Transfer-Encoding: chunked\r\n\r\n2;a=b\r\n12\r\n1\r\n3\r\n0\r\nX: 1\r\n\r\n" + postHead + "\r\n",
		postHead + "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
		"\r\n\r\nGET http://x/orders?a=b HTTP/1.0\r\n\r\nGET / HTTP/1.1\r\nHost:x\r\nExpect: 100-continue\r\nContent-Length:3\r\n\r\nabcGET",
		postHead + "X: 1\r\n 2\r\n\r\n", postHead + "X : 1\r\n\r\n", "GET / HTTP/1.1\nHost: x\n\n", "OPTIONS * HTTP/1.1\r\nHost: x\r\n\r\n",
	} {
		f.Add([]byte(seed), uint8(3))
	}
	ln, err := listen.TCP(f.Context(), "127.0.0.1:0", 100, slog.New(slog.DiscardHandler))
	if err != nil {
		f.Fatal(err)
	}
	f.Cleanup(func() { _ = ln.Close() })
	listener := strict(f, ln, complete(Config{}))
	f.Fuzz(func(t *testing.T, stream []byte, packet uint8) {
		client, server := joined(t, listener)
		go func() { // it ends when all is sent, or the connection does
			for rest := stream; len(rest) > 0; {
				n := min(len(rest), int(packet)+1)
				if _, err := client.Write(rest[:n]); err != nil {
					return
				}
				rest = rest[n:]
			}
			_ = client.(*net.TCPConn).CloseWrite()
		}()
		oracle := bufio.NewReader(bytes.NewReader(stream))
		for {
			got, body, err := read(server)
			if err != nil {
				return
			}
			if err := server.Begin(); err != nil {
				t.Fatal(err)
			}
			for next, _ := oracle.Peek(2); string(next) == "\r\n"; next, _ = oracle.Peek(2) {
				_, _ = oracle.Discard(2)
			}
			want, err := http.ReadRequest(oracle)
			if err != nil {
				t.Fatalf("net/http refuses %q: %v", stream, err)
			}
			wantBody, err := io.ReadAll(want.Body)
			if err != nil {
				t.Fatalf("net/http refuses the body of %q: %v", stream, err)
			}
			if got.Method != want.Method || got.RequestURI != want.RequestURI || got.Host != want.Host || !bytes.Equal(body, wantBody) {
				t.Fatalf("%q: got %s %s %s %q, net/http %s %s %s %q", stream, got.Method, got.RequestURI, got.Host, body, want.Method, want.RequestURI, want.Host, wantBody)
			}
		}
	})
}

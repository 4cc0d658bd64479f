package client_test

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"orderflow.example/services/loadgen/internal/client"
	"orderflow.example/services/loadgen/internal/orders"
)

func TestMain(m *testing.M) {
	// fasthttp's cleaner of idle connections sleeps for as long as they may live before it sees that there are none left.
	goleak.VerifyTestMain(m, goleak.IgnoreAnyFunction("github.com/valyala/fasthttp.(*HostClient).connsCleaner"))
}

// patient is for tests that are about something else than time.
const patient = 2 * time.Minute

func dial(t *testing.T, url string, timeout time.Duration) *client.Client {
	t.Helper()
	c, err := client.New(client.Options{URL: url, Timeout: timeout, MaxConns: 8, UserAgent: "test"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

func serve(t *testing.T, f http.HandlerFunc) string {
	t.Helper()
	s := httptest.NewServer(f)
	t.Cleanup(s.Close)
	return s.URL
}

func TestEveryRequestBearsTheToken(t *testing.T) {
	t.Parallel()
	asked := make(chan string, 10)
	url := serve(t, func(w http.ResponseWriter, r *http.Request) {
		asked <- r.Method + " " + r.URL.Path + " " + r.Header.Get("Authorization")
		w.WriteHeader(http.StatusCreated)
		_, _ = io.WriteString(w, `{}`)
	})
	c, err := client.New(client.Options{URL: url, Token: "t0ken", Timeout: patient, MaxConns: 8})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	p := c.NewPoster(false)
	defer p.Release()
	p.Post([]byte("k"), []byte(`{}`))
	if _, err := c.Queue(t.Context()); err != nil {
		t.Error(err)
	}
	for _, want := range []string{"POST /orders Bearer t0ken", "GET /queue Bearer t0ken"} {
		if got := <-asked; got != want {
			t.Errorf("asked %q, want %q", got, want)
		}
	}
}

func TestPostSendsTheOrderUnderItsKey(t *testing.T) {
	t.Parallel()
	url := serve(t, func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		if r.Method != http.MethodPost || r.URL.Path != "/base/orders" || r.Header.Get("Idempotency-Key") != "k1" || string(body) != `{"a":1}` ||
			r.Header.Get("Content-Type") != "application/json" || r.UserAgent() != "test" {
			t.Errorf("%s %s %v %s", r.Method, r.URL, r.Header, body)
		}
		w.Header().Set("Idempotency-Replayed", "true")
		w.WriteHeader(http.StatusCreated)
		_, _ = io.WriteString(w, `{"customer_name":"id","id":42,"nested":{"id":7}}`)
	})
	p := dial(t, url+"/base/", patient).NewPoster(false)
	defer p.Release()
	a := p.Post([]byte("k1"), []byte(`{"a":1}`))
	if !a.Accepted() || !a.Replayed || len(a.Orders) != 1 || a.Orders[0].ID != 42 {
		t.Fatalf("%+v", a)
	}
}

// An answer names the orders with their data; one that cannot be read names none.
func TestAnswersNameEveryOrder(t *testing.T) {
	t.Parallel()
	const rows = `{"id":1,"customer_name":"Customer 7","product_name":"Product 7","quantity":8,"price":17.00,"status":"pending"},{"id":2,"x":{"id":9}}`
	both := []client.Receipt{{ID: 1, Data: orders.Of(7)}, {ID: 2}}
	for _, test := range []struct {
		bulk       bool
		path, body string
		want       []client.Receipt
	}{
		{true, "/orders/batch", `{"orders":[` + rows + `]}`, both},
		{true, "/orders/batch", `[` + rows + `]`, nil},
		{true, "/orders/batch", `{"orders":[]}`, nil},
		{false, "/orders", rows[:strings.Index(rows, "},")+1], both[:1]},
		{false, "/orders", `{"id":"1"}`, nil},
		{false, "/orders", `<html>`, nil},
		{false, "/orders", ``, nil},
	} {
		url := serve(t, func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path != test.path {
				t.Errorf("posted to %s", r.URL)
			}
			w.WriteHeader(http.StatusCreated)
			_, _ = io.WriteString(w, test.body)
		})
		p := dial(t, url, patient).NewPoster(test.bulk)
		if a := p.Post([]byte("k"), []byte(`{}`)); !a.Accepted() || !slices.Equal(a.Orders, test.want) {
			t.Errorf("%s: %+v", test.body, a)
		}
		p.Release()
	}
}

func TestAnEndlessAnswerIsCutOff(t *testing.T) {
	t.Parallel()
	url := serve(t, func(w http.ResponseWriter, r *http.Request) {
		w.WriteHeader(http.StatusCreated)
		for chunk := make([]byte, 1<<20); r.Context().Err() == nil; {
			if _, err := w.Write(chunk); err != nil {
				return
			}
		}
	})
	p := dial(t, url, patient).NewPoster(false)
	defer p.Release()
	if a := p.Post([]byte("k"), []byte(`{}`)); a.Failure != client.Broken {
		t.Errorf("%v (%v)", a.Failure, a.Err)
	}
}

func TestLongHeadersAreRead(t *testing.T) {
	t.Parallel()
	url := serve(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("X-Long", strings.Repeat("a", 20<<10))
		w.WriteHeader(http.StatusCreated)
		_, _ = io.WriteString(w, `{"id":1}`)
	})
	p := dial(t, url, patient).NewPoster(false)
	defer p.Release()
	if a := p.Post([]byte("k"), []byte(`{}`)); len(a.Orders) != 1 {
		t.Errorf("%+v", a)
	}
}

func TestAUserInTheURLIsBasicAuthentication(t *testing.T) {
	t.Parallel()
	url := serve(t, func(w http.ResponseWriter, r *http.Request) {
		if user, password, ok := r.BasicAuth(); !ok || user != "me" || password != "se:cret" {
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		_, _ = io.WriteString(w, `{"id":1}`)
	})
	c := dial(t, strings.Replace(url, "http://", "http://me:se%3Acret@", 1), patient)
	p := c.NewPoster(false)
	defer p.Release()
	if a := p.Post([]byte("k"), []byte(`{}`)); a.Status != 200 {
		t.Errorf("%+v", a)
	}
	if err := c.Ready(t.Context()); err != nil {
		t.Error(err)
	}
}

// Who reads and does not want to any more need not wait for a server that hangs.
func TestAReadEndsWithItsContext(t *testing.T) {
	t.Parallel()
	release := make(chan struct{})
	asked := make(chan struct{})
	url := serve(t, func(http.ResponseWriter, *http.Request) { close(asked); <-release })
	t.Cleanup(func() { close(release) }) // before the server's own
	ctx, cancel := context.WithCancel(context.Background())
	go func() { <-asked; cancel() }()
	if _, err := dial(t, url, time.Hour).Queue(ctx); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}

func TestFailuresAreTold(t *testing.T) {
	t.Parallel()
	cases := map[string]struct {
		handle http.HandlerFunc
		want   client.Failure
	}{
		"reset": {func(w http.ResponseWriter, _ *http.Request) {
			conn, _, _ := http.NewResponseController(w).Hijack()
			_ = conn.(*net.TCPConn).SetLinger(0)
			_ = conn.Close()
		}, client.Reset},
		"closed": {func(w http.ResponseWriter, _ *http.Request) {
			conn, _, _ := http.NewResponseController(w).Hijack()
			_ = conn.Close()
		}, client.Reset},
		"cut off": {func(w http.ResponseWriter, _ *http.Request) {
			conn, _, _ := http.NewResponseController(w).Hijack()
			_, _ = io.WriteString(conn, "HTTP/1.1 201 Created\r\nContent-Length: 100\r\n\r\n{\"id\"")
			_ = conn.Close()
		}, client.Reset},
		"not http": {func(w http.ResponseWriter, _ *http.Request) {
			conn, _, _ := http.NewResponseController(w).Hijack()
			_, _ = io.WriteString(conn, "what?\r\n\r\n")
			_ = conn.Close()
		}, client.Broken},
	}
	for name, c := range cases {
		s := httptest.NewServer(c.handle)
		p := dial(t, s.URL, patient).NewPoster(false)
		if a := p.Post([]byte("k"), []byte(`{}`)); a.Failure != c.want || a.Accepted() || a.Err == nil {
			t.Errorf("%s: %v (%v)", name, a.Failure, a.Err)
		}
		p.Release()
		t.Cleanup(s.Close)
	}
	gone := httptest.NewServer(http.NotFoundHandler())
	gone.Close()
	p := dial(t, gone.URL, patient).NewPoster(false)
	defer p.Release()
	if a := p.Post([]byte("k"), []byte(`{}`)); a.Failure != client.Connect {
		t.Errorf("nobody there: %v (%v)", a.Failure, a.Err)
	}
}

// A server that takes the request and says nothing is given up. That it was reached is seen from the answer before.
func TestSilenceIsATimeout(t *testing.T) {
	t.Parallel()
	var silent atomic.Bool
	url := serve(t, func(_ http.ResponseWriter, r *http.Request) {
		_, _ = io.ReadAll(r.Body) // only then does the server notice that the client has gone
		if silent.Load() {
			<-r.Context().Done()
		}
	})
	p := dial(t, url, 300*time.Millisecond).NewPoster(false)
	defer p.Release()
	for a := p.Post([]byte("k"), []byte(`{}`)); a.Status != 200; a = p.Post([]byte("k"), []byte(`{}`)) {
		if a.Failure != client.Timeout && a.Failure != client.Connect { // a machine that is that busy
			t.Fatalf("%+v", a)
		}
	}
	silent.Store(true)
	if a := p.Post([]byte("k"), []byte(`{}`)); a.Failure != client.Timeout || a.Accepted() || a.Err == nil {
		t.Errorf("%v (%v)", a.Failure, a.Err)
	}
}

func TestRetryAfterIsRead(t *testing.T) {
	t.Parallel()
	for header, most := range map[string]time.Duration{
		"3": 3 * time.Second, "0.5": 500 * time.Millisecond, "": 0, "soon": 0, "-5": 0, "1e99": 0,
		time.Now().Add(time.Hour).UTC().Format(http.TimeFormat): time.Hour, // less what the test takes
	} {
		url := serve(t, func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Retry-After", header)
			w.WriteHeader(http.StatusServiceUnavailable)
			_, _ = io.WriteString(w, `{"detail":"busy"}`)
		})
		p := dial(t, url, patient).NewPoster(false)
		a := p.Post([]byte("k"), []byte(`{}`))
		if a.Status != 503 || a.RetryAfter > most || (a.RetryAfter != most && (most != time.Hour || a.RetryAfter < most/2)) || !strings.Contains(string(a.Body), "busy") {
			t.Errorf("%q: %+v", header, a)
		}
		p.Release()
	}
}

func TestAPageIsRead(t *testing.T) {
	t.Parallel()
	const row = `{"id":7,"customer_name":"Customer 3","product_name":"Product 3","quantity":4,"price":13.00,"created_at":"2026-01-07T19:48:03.123456+00:00","message_id":null,
		"status":"completed","attempts":2,"effects":1,"last_error":null,"completed_at":"2026-01-07T19:48:04.123456+00:00","processed_by":"c-1","idempotency_key":"k"}`
	for body, next := range map[string]string{`{"orders":[` + row + `],"next_cursor":"c2"}`: "c2", `{"orders":[` + row + `],"next_cursor":null}`: ""} {
		url := serve(t, func(w http.ResponseWriter, r *http.Request) {
			if q := r.URL.Query(); q.Get("idempotency_key_prefix") != "run-0-" || q.Get("limit") != "100" || q.Get("cursor") != "c1" {
				t.Errorf("%s", r.URL)
			}
			_, _ = io.WriteString(w, body)
		})
		page, err := dial(t, url, patient).List(t.Context(), "run-0-", "c1", 100)
		if err != nil || len(page.Orders) != 1 || page.Next != next {
			t.Errorf("%s: %+v %v", body, page, err)
			continue
		}
		o := page.Orders[0]
		if o.ID != 7 || o.Data != orders.Of(3) || o.Key != "k" || o.Effects != 1 || o.Attempts != 2 || o.CompletedAt.Sub(o.CreatedAt) != time.Second {
			t.Errorf("%s: %+v", body, o)
		}
	}
	for _, body := range []string{``, `"orders"`, `{"detail":"no"}`, `{"orders":{}}`, `[` + row + `]`} {
		url := serve(t, func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, body) })
		if page, err := dial(t, url, patient).List(t.Context(), "", "", 10); err == nil {
			t.Errorf("%q was read as %+v", body, page)
		}
	}
}

func TestNotReadyIsAFaultThatPasses(t *testing.T) {
	t.Parallel()
	url := serve(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/readyz" {
			w.WriteHeader(http.StatusServiceUnavailable)
		}
	})
	var e *client.Error
	if err := dial(t, url, patient).Ready(t.Context()); !errors.As(err, &e) || e.Status != 503 || !e.Passing() {
		t.Errorf("%v", err)
	}
}

func TestAnOrderThatIsNotThereIsNoError(t *testing.T) {
	t.Parallel()
	url := serve(t, func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/orders/1":
			_, _ = io.WriteString(w, `{"id":1,"status":"dead"}`)
		case "/orders/2":
			http.NotFound(w, r)
		case "/orders/3":
			w.WriteHeader(http.StatusInternalServerError)
		case "/orders/4":
			_, _ = io.WriteString(w, `[]`)
		case "/orders/5":
			_, _ = io.WriteString(w, `{"id":6,"status":"dead"}`)
		}
	})
	c := dial(t, url, patient)
	if o, found, err := c.Order(context.Background(), 1); err != nil || !found || o.Status != "dead" {
		t.Errorf("1: %+v %v %v", o, found, err)
	}
	if _, found, err := c.Order(context.Background(), 2); err != nil || found {
		t.Errorf("2: %v %v", found, err)
	}
	for _, id := range []int64{3, 4, 5} {
		if _, found, err := c.Order(context.Background(), id); err == nil || found {
			t.Errorf("%d: %v %v", id, found, err)
		}
	}
}

package client_test

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"orderflow.example/services/loadgen/internal/client"
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
	p.PostLarge([]byte("k"), []byte(`{}`))
	if _, err := c.Get(t.Context(), "/queue"); err != nil {
		t.Error(err)
	}
	for _, want := range []string{"POST /orders Bearer t0ken", "POST /orders Bearer t0ken", "GET /queue Bearer t0ken"} {
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
	if !a.Accepted() || !a.Replayed || len(a.IDs) != 1 || a.IDs[0] != 42 {
		t.Fatalf("%+v", a)
	}
}

func TestBatchAnswersNameEveryOrder(t *testing.T) {
	t.Parallel()
	for _, body := range []string{`{"orders":[{"id":1},{"id":2,"x":{"id":9}},{"id":"3"}]}`, `[{"id":1},{"a":[{"id":9}],"id":2},{"id":3}]`} {
		url := serve(t, func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path != "/orders/batch" {
				t.Errorf("posted to %s", r.URL)
			}
			w.WriteHeader(http.StatusCreated)
			_, _ = io.WriteString(w, body)
		})
		p := dial(t, url, patient).NewPoster(true)
		a := p.Post([]byte("k"), []byte(`{}`))
		if len(a.IDs) != 3 || a.IDs[0] != 1 || a.IDs[1] != 2 || a.IDs[2] != 3 {
			t.Errorf("%s: %+v", body, a)
		}
		p.Release()
	}
}

// Whatever an answer leaves out or writes another way, only other data than were sent are a deviation.
func TestTheAnswersDataAreHeldAgainstWhatWasSent(t *testing.T) {
	t.Parallel()
	const sent = `{"customer_name":"Customer 7","product_name":"Product 7","quantity":8,"price":17.0}`
	for answer, want := range map[string]string{
		`{"id":1,"customer_name":"Customer 7","product_name":"Product 7","quantity":8,"price":17.00}`: "",
		`{"id":1,"quantity":"8","price":"17"}`:                                                        "", `{"id":1}`: "", `<html>`: "", ``: "", `{"id":1,"customer_name":"Custom\u0065r 7"}`: "",
		`{"id":1,"quantity":77,"price":17.0}`:            "quantity 77 instead of 8",
		`{"price":99017.0,"id":1}`:                       "price 99017 instead of 17",
		`{"customer_name":"Customer 8"}`:                 `customer_name "Customer 8" instead of "Customer 7"`,
		`{"id":1,"product_name":"Product","quantity":8}`: `product_name "Product" instead of "Product 7"`,
	} {
		url := serve(t, func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(http.StatusCreated)
			_, _ = io.WriteString(w, answer)
		})
		p := dial(t, url, patient).NewPoster(false)
		if a := p.Post([]byte("k"), []byte(sent)); a.Deviation != want || (a.Altered == 1) != (want != "") {
			t.Errorf("%s: %d %q", answer, a.Altered, a.Deviation)
		}
		p.Release()
	}
	url := serve(t, func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusCreated)
		_, _ = io.WriteString(w, `{"orders":[{"id":1,"quantity":8},{"id":2,"quantity":9},{"id":3,"quantity":10}]}`)
	})
	p := dial(t, url, patient).NewPoster(true)
	defer p.Release()
	if a := p.Post([]byte("k"), []byte(`{"orders":[`+sent+","+sent+","+sent+`]}`)); a.Altered != 2 || a.Deviation != "quantity 9 instead of 8" || len(a.IDs) != 3 {
		t.Errorf("%+v", a)
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
	if a := p.Post([]byte("k"), []byte(`{}`)); len(a.IDs) != 1 {
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
	if a := p.PostLarge([]byte("k"), []byte(`{}`)); a.Status != 200 {
		t.Errorf("%+v", a)
	}
	if _, err := c.Get(context.Background(), "/"); err != nil {
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
	if _, err := dial(t, url, time.Hour).Get(ctx, "/"); !errors.Is(err, context.Canceled) {
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

func TestAnOversizedBodyIsRefusedAndHeard(t *testing.T) {
	t.Parallel()
	url := serve(t, func(w http.ResponseWriter, r *http.Request) {
		if _, err := io.ReadAll(http.MaxBytesReader(w, r.Body, 1<<10)); err != nil {
			w.WriteHeader(http.StatusRequestEntityTooLarge)
		}
	})
	p := dial(t, url, patient).NewPoster(false)
	defer p.Release()
	a := p.PostLarge([]byte("k"), make([]byte, 8<<20))
	// net/http ends the connection after such an answer; whether it is still heard depends on the moment.
	if a.Status != http.StatusRequestEntityTooLarge && a.Failure != client.Reset {
		t.Fatalf("%+v", a)
	}
}

func TestListingsOfSeveralShapesAreRead(t *testing.T) {
	t.Parallel()
	const row = `{"id":7,"customer_name":"Customer 3","quantity":4,"price":"13.00","status":"completed","attempts":2,"effects":1,"idempotency_key":"k",
		"created_at":"2026-01-07T19:48:03.123456+00:00","completed_at":"2026-01-07T19:48:04.123456","processed_by":{"odd":true},"last_error":null}`
	for _, body := range []string{
		`{"orders":[` + row + `],"next_cursor":"c2"}`, `{"orders":[` + row + `],"next_cursor":17,"total":3}`, `{"items":[` + row + `],"next":"c2"}`,
		`{"data":[` + row + `],"nextCursor":"c2"}`, `[` + row + `]`, `{"orders":[` + row + `]}`,
	} {
		url := serve(t, func(w http.ResponseWriter, r *http.Request) {
			if q := r.URL.Query(); q.Get("idempotency_key_prefix") != "run-0-" || q.Get("limit") != "100" || q.Get("cursor") != "c1" {
				t.Errorf("%s", r.URL)
			}
			_, _ = io.WriteString(w, body)
		})
		page, err := dial(t, url, patient).List(context.Background(), "run-0-", "c1", 100)
		if err != nil || len(page.Orders) != 1 || (strings.Contains(body, "c2") && page.Next != "c2") || (strings.Contains(body, "17") && page.Next != "17") {
			t.Errorf("%s: %+v %v", body, page, err)
			continue
		}
		o := page.Orders[0]
		if o.ID != 7 || *o.Price != 13 || *o.Key != "k" || *o.Effects != 1 || o.Attempts != 2 || o.CompletedAt.Sub(o.CreatedAt.Time) != time.Second {
			t.Errorf("%s: %+v", body, o)
		}
	}
	for _, body := range []string{``, `"orders"`, `{"detail":"no"}`, `{"orders":{}}`} {
		url := serve(t, func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, body) })
		if page, err := dial(t, url, patient).List(context.Background(), "", "", 10); err == nil {
			t.Errorf("%q was read as %+v", body, page)
		}
	}
}

func TestReadinessFallsBackToHealth(t *testing.T) {
	t.Parallel()
	for path, want := range map[string]bool{"/readyz": true, "/health": true, "/orders": true, "/other": false} {
		url := serve(t, func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path != path {
				http.NotFound(w, r)
			}
		})
		if err := dial(t, url, patient).Ready(context.Background()); (err == nil) != want {
			t.Errorf("an api with %s: %v", path, err)
		}
	}
	// Not ready is not ready, whatever /health says.
	url := serve(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/readyz" {
			w.WriteHeader(http.StatusServiceUnavailable)
		}
	})
	var e *client.Error
	if err := dial(t, url, patient).Ready(context.Background()); !errors.As(err, &e) || e.Status != 503 || !e.Passing() {
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
		}
	})
	c := dial(t, url, patient)
	if o, found, err := c.Order(context.Background(), 1); err != nil || !found || o.Status != "dead" {
		t.Errorf("1: %+v %v %v", o, found, err)
	}
	if _, found, err := c.Order(context.Background(), 2); err != nil || found {
		t.Errorf("2: %v %v", found, err)
	}
	for _, id := range []int64{3, 4} {
		if _, found, err := c.Order(context.Background(), id); err == nil || found {
			t.Errorf("%d: %v %v", id, found, err)
		}
	}
}

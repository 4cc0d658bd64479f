package main

import (
	"bufio"
	"context"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"orderflow.example/kit/testdb"
	"orderflow.example/services/api/internal/cursor"
)

// Whatever a client can send ends in an answer below 500: every call of the OpenAPI document, with everything that can be wrong
// in each of its parameters, in its path, in its headers and in its body, on a database with rows that match.

// hostile is a running service, and what to send to it.
type hostile struct {
	*service
	address string
	calls   []hostileCall
	cursors []string
	read    int // lines of the log
}

// hostileCall is a call of the document.
type hostileCall struct {
	method, path string // with {id} in it
	query        []string
	body         bool
}

// hostileHeaders are those that the api reads, or that a server could read.
var hostileHeaders = []string{
	"Idempotency-Key", "traceparent", "Authorization", "Content-Type", "Content-Encoding", "Accept", "Accept-Encoding", "Expect", "Range", "If-None-Match", "If-Modified-Since",
	"Cookie", "Forwarded", "X-Forwarded-For", "X-Forwarded-Host", "X-Http-Method-Override", "X-Original-Url", "Origin", "Referer", "Upgrade", "Te", "Host", "User-Agent", "Date", "Max-Forwards",
}

// hostileValues are for a place where a value is expected.
var hostileValues = []string{
	"", " ", "0", "-1", "1", "7", "1.5", "1e3", "0x10", "+1", "01", "2147483648", "9223372036854775807", "9223372036854775808", "-9223372036854775809", strings.Repeat("9", 400),
	"null", "true", "NaN", "infinity", "-infinity", "'", `"`, "\\", `\u0000`, "';drop table orders;--", "%", "%%", "%s%n", "{id}", "$1", "..", "../../etc/passwd", "/", "//", "?", "#", "&", "=", ";", ",",
	"\x00", "a\x00b", "\x01", "\x1f", "\x7f", "\n", "\r\nX: y", "\xff", "\xc0\xaf", "\xed\xa0\x80", "\xf4\x90\x80\x80", "é", "日本語", "🍣", "\u200b", "\ufeff", "\u202e", "a\u0301",
	"pending", "dead", "completed", "max_attempts", "run-", "run-\x1f", "~", "Customer 1", strings.Repeat("x", 199), strings.Repeat("ü", 200), strings.Repeat("x", 1023), strings.Repeat("x", 3000),
	"application/json", "text/plain", "gzip", "identity", "100-continue", "bytes=0-1", "chunked", "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01", "0001-01-01T00:00:00Z",
}

// hostileBodies are for a place where JSON is expected; %s takes a value as it is.
var hostileBodies = []string{
	"", "{", "[", "null", "0", `"x"`, "{}", "[]", `{"":0}`, "{\"\x00\":1}", "\xff\xfe{\x00}\x00", "\ufeff{}", strings.Repeat("[", 5000), strings.Repeat(`{"a":`, 5000), `{"a":1}{"b":2}`,
	`{"customer_name":%s,"product_name":"p","quantity":1,"price":1}`, `{"customer_name":"c","product_name":%s,"quantity":1,"price":1}`,
	`{"customer_name":"c","product_name":"p","quantity":%s,"price":1}`, `{"customer_name":"c","product_name":"p","quantity":1,"price":%s}`,
	`{"customer_name":"c","product_name":"p","quantity":1,"price":1,%s:1}`, `{"orders":%s}`, `{"orders":[%s]}`, `{"orders":[{"customer_name":%s,"product_name":"p","quantity":1,"price":"1"}]}`,
	`{"msg_ids":[%s]}`, `{"msg_ids":%s}`, `{"reason":%s}`, `{"all":%s}`, `{"all":true,"limit":%s}`, `{"all":true,"dry_run":%s}`, `{"all":true,"dry_run":true}`, `{"msg_ids":[1,1,2,9223372036854775807],"dry_run":true}`,
}

// hostileJSON are for %s.
var hostileJSON = []string{
	`"x"`, `""`, `"\u0000"`, `"\ud800"`, "\"\xff\"", "\"\x00\"", `"\u200b"`, `"日本語 🍣"`, `"` + strings.Repeat("x", 3000) + `"`, "0", "-0", "1", "-1", "1.5", "0.30000000000000004", "3.3333333333333335", "1e400", "-1e400",
	"1e-400", "1E+2", "9999999999.99", "9999999999.995", "10000000000", "2147483648", "9223372036854775807", "9223372036854775808", strings.Repeat("9", 3000), "0." + strings.Repeat("0", 3000) + "1", "NaN", "Infinity",
	"true", "false", "null", "{}", "[]", `["x"]`, `"1"`, `" 1 "`, `"NaN"`, `"1e400"`, "01", ".5", "1.", "--1", "", "'x'",
}

func startHostile(tb testing.TB, env map[string]string) *hostile {
	tb.Helper()
	all := map[string]string{"ADMIN_TOKEN": "sesame"}
	for name, value := range env {
		all[name] = value
	}
	s := started(tb, all)
	h := &hostile{service: s, address: strings.TrimPrefix(s.url, "http://")}
	for i := range 3 {
		s.post(tb, "/orders", orderJSON(i), "Idempotency-Key", "run-"+strconv.Itoa(i))
	}
	s.post(tb, "/orders/batch", `{"orders":[`+orderJSON(1)+`,`+orderJSON(2)+`]}`, "Idempotency-Key", "run-b")
	if _, err := testdb.Connect(tb, all["DATABASE_URL"]).Exec(tb.Context(), die, []int64{1, 2}, "max_attempts"); err != nil {
		tb.Fatal(err)
	}
	for _, list := range [][]string{{"orders", "", "", ""}, {"orders", "pending", "", ""}, {"orders", "", "", "run-"}, {"orders", "pending", "Customer 1", "run-"}, {"dead_letters", ""}, {"dead_letters", "max_attempts"}} {
		for _, position := range hostileValues {
			h.cursors = append(h.cursors, cursor.Make("run-"+position, list...), cursor.Make(position, list...))
		}
	}
	for path, methods := range s.get(tb, "/openapi.json").json(tb)["paths"].(map[string]any) {
		for method, op := range methods.(map[string]any) {
			call := hostileCall{method: strings.ToUpper(method), path: path, body: op.(map[string]any)["requestBody"] != nil}
			parameters, _ := op.(map[string]any)["parameters"].([]any)
			for _, p := range parameters {
				if p := p.(map[string]any); p["in"] == "query" {
					call.query = append(call.query, p["name"].(string))
				}
			}
			h.calls = append(h.calls, call)
		}
	}
	for _, path := range []string{"/", "/docs", "/redoc", "/openapi.json", "/nothing/{id}"} {
		h.calls = append(h.calls, hostileCall{method: http.MethodGet, path: path})
	}
	slices.SortFunc(h.calls, func(a, b hostileCall) int { return strings.Compare(a.path+a.method, b.path+b.method) })
	if len(h.calls) < 15 {
		tb.Fatalf("the document has few calls: %v", h.calls)
	}
	return h
}

// hostileRequest is one request, not yet written.
type hostileRequest struct {
	method, path  string
	query         []string // name=value
	header, value string
	body          string
}

// raw is the request as bytes: what the path and the query hold is escaped, what the header holds is not.
func (r *hostileRequest) raw() string {
	var b strings.Builder
	b.WriteString(r.method + " " + r.path)
	if len(r.query) > 0 {
		b.WriteString("?" + strings.Join(r.query, "&"))
	}
	b.WriteString(" HTTP/1.1\r\nConnection: close\r\n")
	for name, value := range map[string]string{"Host": "x", "Authorization": "Bearer sesame", "Content-Type": "application/json"} {
		if r.header != name {
			b.WriteString(name + ": " + value + "\r\n")
		}
	}
	if r.header != "" {
		b.WriteString(r.header + ": " + r.value + "\r\n")
	}
	if r.body != "" || r.method == http.MethodPost {
		b.WriteString("Content-Length: " + strconv.Itoa(len(r.body)) + "\r\n")
	}
	b.WriteString("\r\n" + r.body)
	return b.String()
}

// send sends bytes, and then the end of all if it is to, and returns the answer's status; 0 when there is none.
func (h *hostile) send(ctx context.Context, request string, end bool) (status int, answer string, err error) {
	conn, err := new(net.Dialer).DialContext(ctx, "tcp", h.address)
	if err != nil {
		return 0, "", err
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(90 * time.Second)); err != nil {
		return 0, "", err
	}
	_, _ = io.WriteString(conn, request) // what is refused before it was read to its end may break off
	if end {
		_ = conn.(*net.TCPConn).CloseWrite() // or what is only the beginning of a request is waited for
	}
	in := bufio.NewReader(conn)
	for {
		resp, err := http.ReadResponse(in, &http.Request{Method: strings.SplitN(request, " ", 2)[0]})
		if err != nil {
			return 0, "", err
		}
		body, _ := io.ReadAll(resp.Body)
		_ = resp.Body.Close()
		if resp.StatusCode != http.StatusContinue {
			return resp.StatusCode, string(body), nil
		}
	}
}

// check sends a request and reports an answer of 500 or above, or none.
func (h *hostile) check(tb testing.TB, request string) {
	tb.Helper()
	status, answer, err := h.send(tb.Context(), request, false)
	if err != nil || status < 200 || status >= 500 {
		tb.Errorf("%d, %v: %.400q\nto %.600q", status, err, answer, request)
	}
}

// alive checks that the service is well, and that nothing has been logged as a fault of its own.
func (h *hostile) alive(tb testing.TB) {
	tb.Helper()
	if a := h.get(tb, "/readyz"); a.status != http.StatusOK {
		tb.Errorf("afterwards it is not ready: %d %s", a.status, a.body)
	}
	h.log.mu.Lock()
	defer h.log.mu.Unlock()
	for _, line := range h.log.all[h.read:] {
		if line["level"] == "ERROR" {
			tb.Errorf("the log has an error: %.600v", line)
		}
	}
	h.read = len(h.log.all)
}

// everything is each call with each value in each place.
func (h *hostile) everything() (requests []string) {
	add := func(r hostileRequest) { requests = append(requests, r.raw()) }
	for _, c := range h.calls {
		path := strings.ReplaceAll(c.path, "{id}", "999")
		for _, v := range hostileValues {
			if path != c.path {
				add(hostileRequest{method: c.method, path: strings.ReplaceAll(c.path, "{id}", url.PathEscape(v))})
			}
			for _, name := range append(slices.Clone(c.query), "x") {
				add(hostileRequest{method: c.method, path: path, query: []string{name + "=" + url.QueryEscape(v)}})
			}
		}
		for _, header := range hostileHeaders {
			for _, v := range []string{"", "x", "\x00", "\xff", "é", strings.Repeat("x", 3000), "100-continue", "gzip", "Bearer", "application/json; charset=\xff", "GET", "/queue"} {
				if header != "Host" && header != "Upgrade" || v != "" {
					add(hostileRequest{method: c.method, path: path, header: header, value: v})
				}
			}
		}
		if slices.Contains(c.query, "cursor") {
			for _, made := range h.cursors {
				add(hostileRequest{method: c.method, path: path, query: []string{"cursor=" + made, "idempotency_key_prefix=run-"}})
				add(hostileRequest{method: c.method, path: path, query: []string{"cursor=" + made}})
			}
		}
		if c.body || c.method == http.MethodDelete {
			for _, body := range hostileBodies {
				if !strings.Contains(body, "%s") {
					add(hostileRequest{method: c.method, path: path, body: body})
					continue
				}
				for _, v := range hostileJSON {
					add(hostileRequest{method: c.method, path: path, body: strings.Replace(body, "%s", v, 1)})
				}
			}
		}
	}
	return requests
}

// anything is a request that a seed makes: several things wrong with it at once.
func (h *hostile) anything(random *rand.Rand) string {
	pick := func(from []string) string { return from[random.IntN(len(from))] }
	c := h.calls[random.IntN(len(h.calls))]
	r := hostileRequest{method: c.method, path: strings.ReplaceAll(c.path, "{id}", url.PathEscape(pick(hostileValues)))}
	if random.IntN(8) == 0 {
		r.method = pick([]string{"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "CONNECT", "get", "X"})
	}
	for _, name := range c.query {
		if random.IntN(2) == 0 {
			value := pick(hostileValues)
			if name == "cursor" && random.IntN(2) == 0 {
				value = pick(h.cursors)
			}
			if value = url.QueryEscape(value); random.IntN(10) == 0 {
				value = strings.NewReplacer(" ", "", "\r", "", "\n", "").Replace(pick(hostileValues)) // not escaped
			}
			r.query = append(r.query, name+"="+value)
		}
	}
	if random.IntN(2) == 0 {
		r.header, r.value = pick(hostileHeaders), strings.NewReplacer("\r", "", "\n", "").Replace(pick(hostileValues))
	}
	if c.body || random.IntN(10) == 0 {
		r.body = strings.Replace(pick(hostileBodies), "%s", pick(hostileJSON), 1)
		if bytes := []byte(r.body); len(bytes) > 0 && random.IntN(3) == 0 {
			bytes[random.IntN(len(bytes))] = byte(random.IntN(256))
			r.body = string(bytes)
		}
	}
	return r.raw()
}

func TestNothingThatAClientSendsIsAFaultOfOurs(t *testing.T) {
	t.Parallel()
	for name, env := range map[string]map[string]string{
		"strict":  {"DATABASE_URL": testdb.New(t)},
		"example": {"DATABASE_URL": testdb.New(t), "INPUT": "example"},
		"LATIN1":  {"DATABASE_URL": encoded(t, "LATIN1")},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := startHostile(t, env)
			requests := h.everything()
			if len(requests) < 5000 {
				t.Errorf("%d requests are too few to be everything", len(requests))
			}
			// A part of it each time would leave something out each time: all of it with one configuration, a sample with the others.
			random := rand.New(rand.NewPCG(1, 2))
			if name != "strict" {
				random.Shuffle(len(requests), func(i, j int) { requests[i], requests[j] = requests[j], requests[i] })
				requests = requests[:1500]
			}
			for range 500 {
				requests = append(requests, h.anything(random))
			}
			head := " /orders HTTP/1.1\r\nHost: x\r\nConnection: close\r\n"
			requests = append(requests, "0000\r\n\r\n", "GET / HTTP/2.0\r\nHost: x\r\n\r\n", "GET / HTTP/0.9\r\n\r\n", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
				"POST"+head+"Transfer-Encoding: gzip\r\n\r\n", "POST"+head+"Transfer-Encoding: chunked\r\n\r\nxyz\r\n", "GET"+head+"Content-Length: -1\r\n\r\n")
			for _, request := range requests {
				if h.check(t, request); t.Failed() {
					break // one is enough to begin with
				}
			}
			h.alive(t)
		})
	}
}

// FuzzAPI goes on where the table ends: bytes as they come, and requests made from a seed. go test -fuzz FuzzAPI .
func FuzzAPI(f *testing.F) {
	h := startHostile(f, map[string]string{"DATABASE_URL": testdb.New(f)})
	f.Add(uint64(1), "GET /orders/1?limit=1 HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
	f.Add(uint64(2), "POST /orders HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 2\r\nConnection: close\r\n\r\n{}")
	for i := range uint64(20) {
		f.Add(i, h.anything(rand.New(rand.NewPCG(i, 0))))
	}
	f.Fuzz(func(t *testing.T, seed uint64, raw string) {
		h.check(t, h.anything(rand.New(rand.NewPCG(seed, seed))))
		// Bytes may be no request at all, or the beginning of one: then no answer is owed.
		if status, answer, _ := h.send(t.Context(), raw, true); status >= 500 {
			t.Errorf("%d %.400q\nto %.600q", status, answer, raw)
		}
		h.alive(t)
	})
}

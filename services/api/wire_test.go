package main

import (
	"bufio"
	"io"
	"net"
	"net/http"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"orderflow.example/kit/await"
	"orderflow.example/kit/testdb"
)

// raw sends bytes that no HTTP client would and returns the answer.
func (s *service) raw(t *testing.T, request string) answer {
	t.Helper()
	conn, err := net.Dial("tcp", strings.TrimPrefix(s.url, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if _, err := io.WriteString(conn, request); err != nil {
		t.Fatal(err)
	}
	resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		t.Fatalf("%.60q: %v", request, err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return answer{resp.StatusCode, resp.Header, string(body)}
}

// What cannot be read is answered in the one form, quotes nothing of what was sent, and is counted.
func TestRequestsThatCannotBeRead(t *testing.T) {
	t.Parallel()
	s := started(t, map[string]string{"DATABASE_URL": testdb.New(t)})
	const secret = "Authorization: Bearer s3cret\r\n"
	for name, test := range map[string]struct {
		request string
		status  int
	}{
		"header without a colon":  {"GET /orders HTTP/1.1\r\nHost: x\r\n" + secret + "nonsense\r\n\r\n", 400},
		"length that is none":     {"POST /orders HTTP/1.1\r\nHost: x\r\n" + secret + "Content-Length: abc\r\n\r\n", 400},
		"not HTTP":                {"\x16\x03\x01s3cret\r\n\r\n", 400},
		"method that is none":     {"FOO /orders HTTP/1.1\r\nHost: x\r\n" + secret + "\r\n", 400},
		"headers that are larger": {"GET /orders HTTP/1.1\r\nHost: x\r\n" + secret + "X: " + strings.Repeat("x", 20_000) + "\r\n\r\n", 431},
		"body that is larger":     {"POST /orders HTTP/1.1\r\nHost: x\r\n" + secret + "Content-Length: 9999999\r\n\r\n", 413},
	} {
		before := counted(t, s, test.status)
		a := s.raw(t, test.request)
		if a.status != test.status || a.header.Get("Content-Type") != "application/problem+json" || strings.Contains(a.body, "s3cret") {
			t.Errorf("%s: got %d %s %.300s", name, a.status, a.header.Get("Content-Type"), a.body)
		}
		await.True(t, name+" to be counted", func() bool { return counted(t, s, test.status) == before+1 })
	}
}

// counted is the number of requests that were counted as answered with a status, whatever they were for.
func counted(t *testing.T, s *service, status int) int {
	t.Helper()
	metrics := (&service{url: s.metrics}).get(t, "/metrics").body
	n := 0
	for _, line := range regexp.MustCompile(`orderflow_api_requests_total\{[^}]*status="`+strconv.Itoa(status)+`"\} (\d+)`).FindAllStringSubmatch(metrics, -1) {
		more, err := strconv.Atoi(line[1])
		if err != nil {
			t.Fatal(err)
		}
		n += more
	}
	return n
}

func TestIdempotencyKeyIsOne(t *testing.T) {
	t.Parallel()
	s := started(t, map[string]string{"DATABASE_URL": testdb.New(t)})
	body := orderJSON(1)
	head := "POST /orders HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: " + strconv.Itoa(len(body)) + "\r\n"
	for name, keys := range map[string]string{"empty": "Idempotency-Key: \r\n", "two": "Idempotency-Key: a\r\nidempotency-key: a\r\n"} {
		if a := s.raw(t, head+keys+"\r\n"+body); a.status != http.StatusUnprocessableEntity || !strings.Contains(a.body, "header.Idempotency-Key") {
			t.Errorf("%s: got %d %s", name, a.status, a.body)
		}
	}
}

// What a foreign web page can send without being asked (a form, text, no type at all) is never an order.
func TestBodyIsSaidToBeJSON(t *testing.T) {
	t.Parallel()
	s := started(t, map[string]string{"DATABASE_URL": testdb.New(t)})
	for kind, status := range map[string]int{
		"":                             415,
		"Content-Type: \r\n":           415,
		"Content-Type: text/plain\r\n": 415,
		"Content-Type: text/plain; a=application/json\r\n":    415,
		"Content-Type: application/x-www-form-urlencoded\r\n": 415,
		"Content-Type: multipart/form-data; boundary=X\r\n":   415,
		"Content-Type: text/json\r\n":                         415,
		"Content-Type: application/jsonx\r\n":                 415,
		"Content-Type: application/+json\r\n":                 415,
		"Content-Type: application/json, text/plain\r\n":      415,
		"Content-Type: application/json\r\n":                  201,
		"Content-Type: Application/JSON ; charset=utf-8\r\n":  201,
		"Content-Type: application/vnd.api+json\r\n":          201,
		"Content-Type: application/problem+JSON;a=b\r\n":      201,
	} {
		for path, body := range map[string]string{"/orders": orderJSON(1), "/orders/batch": `{"orders":[` + orderJSON(1) + `]}`} {
			head := "POST " + path + " HTTP/1.1\r\nHost: x\r\nConnection: close\r\n" + kind + "Content-Length: " + strconv.Itoa(len(body)) + "\r\n\r\n"
			if a := s.raw(t, head+body); a.status != status {
				t.Errorf("%s %q: got %d %s, want %d", path, kind, a.status, a.body, status)
			}
		}
	}
}

// A path is what it says once its escapes are read: /orders/%31 is /orders/1, and an escaped slash separates nothing.
func TestPathIsPercentDecoded(t *testing.T) {
	t.Parallel()
	s := started(t, map[string]string{"DATABASE_URL": testdb.New(t)})
	s.place(t, "/orders", orderJSON(1))
	for path, status := range map[string]int{
		"/orders/%31": 200, "/%6frders/1": 200, "/orders?%6cimit=1": 200, "/he%61lth": 200,
		"/orders%2F1": 404, "/orders/%2e%2e/queue": 404, "/orders/%00": 422, "/orders/%zz": 422, "/orders/1%": 422, "/orders/%31%": 422,
		"/dead-letters/1%2Fredrive": 405,
	} {
		if a := s.raw(t, "GET "+path+" HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"); a.status != status {
			t.Errorf("%s: got %d %s, want %d", path, a.status, a.body, status)
		}
	}
}

package http1

import (
	"bufio"
	"bytes"
	"cmp"
	"net/http"
	"strings"
	"testing"

	"github.com/valyala/fasthttp"
)

// What two programs might read in two ways is refused, each for what it is; what is next to it is not.
func TestWhatIsNoRequestIsRefused(t *testing.T) {
	t.Parallel()
	const chunked = "Transfer-Encoding: chunked\r\n"
	chunks := func(body string) string { return postHead + chunked + "\r\n" + body }
	for name, test := range map[string]struct {
		sent   string
		status int // 0: it is handed on
		detail string
	}{
		"no host":                     {"GET / HTTP/1.1\r\n\r\n", 400, "no Host"},
		"no host, in HTTP/1.0":        {"GET / HTTP/1.0\r\n\r\n", 0, ""},
		"two hosts":                   {"GET / HTTP/1.1\r\nHost: x\r\nhost: x\r\n\r\n", 400, "more than once"},
		"two lengths":                 {postHead + "Content-Length: 1\r\nContent-Length: 1\r\n\r\nx", 400, "more than once"},
		"two content types":           {postHead + "Content-Type: a\r\nContent-Type: a\r\n\r\n", 400, "more than once"},
		"two codings":                 {postHead + chunked + chunked + "\r\n0\r\n\r\n", 400, "more than once"},
		"a length and chunks":         {postHead + chunked + "Content-Length: 1\r\n\r\n0\r\n\r\n", 400, "does not go with"},
		"chunks in HTTP/1.0":          {"POST / HTTP/1.0\r\n" + chunked + "\r\n0\r\n\r\n", 400, "does not go with"},
		"another coding":              {postHead + "Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n", 400, "chunked"},
		"another version":             {"GET / HTTP/2.0\r\nHost: x\r\n\r\n", 400, "HTTP/1.1 or HTTP/1.0"},
		"another expectation":         {postHead + "Expect: 200-ok\r\n\r\n", 417, "100-continue"},
		"a fragment":                  {"GET /a#b HTTP/1.1\r\nHost: x\r\n\r\n", 400, "percent-encoded"},
		"no path":                     {"GET orders HTTP/1.1\r\nHost: x\r\n\r\n", 400, "slash"},
		"a URL without a host":        {"GET http:///orders HTTP/1.1\r\nHost: x\r\n\r\n", 400, "host"},
		"a host and a path":           {"GET //x/orders HTTP/1.1\r\nHost: x\r\n\r\n", 400, "one slash"},
		"a path with two slashes":     {"GET /x//orders HTTP/1.1\r\nHost: x\r\n\r\n", 0, ""},
		"a URL":                       {"GET http://x/orders HTTP/1.1\r\nHost: x\r\n\r\n", 0, ""},
		"the asterisk":                {"GET * HTTP/1.1\r\nHost: x\r\n\r\n", 400, "slash"},
		"the asterisk of OPTIONS":     {"OPTIONS * HTTP/1.1\r\nHost: x\r\n\r\n", 0, ""},
		"white space before a colon":  {postHead + "Idempotency-Key : k\r\n\r\n", 400, "colon"},
		"a folded line":               {postHead + "X: 1\r\n 2\r\n\r\n", 400, "colon"},
		"a control character":         {postHead + "X: a\x7fb\r\n\r\n", 400, "control"},
		"a null":                      {postHead + "X: a\x00b\r\n\r\n", 400, "control"},
		"a tab":                       {postHead + "X: a\tb\r\n\r\n", 0, ""},
		"a line that ends with LF":    {"POST / HTTP/1.1\nHost: x\r\n\r\n", 400, "CRLF"},
		"a length with a sign":        {postHead + "Content-Length: +1\r\n\r\nx", 400, "not a number"},
		"a length of 19 digits":       {postHead + "Content-Length: 0000000000000000001\r\n\r\nx", 400, "not a number"},
		"a length of 18 digits":       {postHead + "Content-Length: 000000000000000001\r\n\r\nx", 0, ""},
		"a chunk's size of 9 digits":  {chunks("000000001\r\nx\r\n0\r\n\r\n"), 400, "chunk"},
		"a chunk's size of 8 digits":  {chunks("00000001\r\nx\r\n0\r\n\r\n"), 0, ""},
		"a chunk's size of no digits": {chunks(";a\r\nx\r\n0\r\n\r\n"), 400, "chunk"},
		"a chunk's size with a sign":  {chunks("-1\r\nx\r\n0\r\n\r\n"), 400, "chunk"},
		"a longer chunk than it says": {chunks("1\r\nxy\r\n0\r\n\r\n"), 400, "chunk"},
		"an extension":                {chunks("1 ;a=b\r\nx\r\n0\r\n\r\n"), 0, ""},
		"an extension with a null":    {chunks("1;a\x00\r\nx\r\n0\r\n\r\n"), 400, "chunk"},
		"a trailer":                   {chunks("0\r\nX: 1\r\n\r\n"), 0, ""},
		"a key in a trailer":          {chunks("0\r\nidempotency-key: k\r\n\r\n"), 400, "in the head"},
		"a trace in a trailer":        {chunks("0\r\nTraceparent: k\r\n\r\n"), 400, "in the head"},
		"trailers without end":        {chunks("0\r\n" + strings.Repeat("X: "+strings.Repeat("x", 1000)+"\r\n", 9) + "\r\n"), 431, "too large"},
		"a head without end":          {postHead + "X: " + strings.Repeat("x", 9<<10), 431, "too large"},
	} {
		client, server := pair(t, Config{})
		say(t, client, test.sent)
		_, _, err := read(server)
		switch refusal := server.Refusal(); {
		case test.status == 0 && (err != nil || refusal != nil):
			t.Errorf("%s: %v, %v", name, err, refusal)
		case test.status != 0 && (refusal == nil || refusal.Status != test.status || !strings.Contains(refusal.Detail, test.detail)):
			t.Errorf("%s: got %+v, want %d %s", name, refusal, test.status, test.detail)
		}
	}
}

// What was about how the body was sent is not for the server, who gets it whole.
func TestHowABodyWasSentIsNotHandedOn(t *testing.T) {
	t.Parallel()
	client, server := pair(t, Config{})
	say(t, client, postHead+"Trailer: X\r\nTransfer-Encoding: chunked\r\nX-Kept: 1\r\n\r\n2\r\n12\r\n1\r\n3\r\n0\r\nX: 1\r\n\r\n"+
		postHead+"Trailer: X\r\nContent-Length: 3\r\n\r\n123")
	for range 2 {
		r, body, err := read(server)
		if err != nil || server.Begin() != nil {
			t.Fatal(err)
		}
		if string(body) != "123" || r.ContentLength != 3 || len(r.TransferEncoding) > 0 || len(r.Trailer) > 0 || r.Header.Get("Trailer") != "" || r.Method != http.MethodPost {
			t.Errorf("the server has %q, %+v", body, r)
		}
	}
}

func TestPathOfATarget(t *testing.T) {
	t.Parallel()
	for target, want := range map[string]string{"/a?b": "/a", "/a": "/a", "http://x/a?b=/c": "/a", "HTTPS://x": "/", "http://x?a=/b": "/", "http://x//b": "//b", "*": "*"} {
		if got := Path([]byte(target)); !bytes.Equal(got, []byte(want)) {
			t.Errorf("%s: got %q, want %q", target, got, want)
		}
	}
}

// Whatever target is taken, the HTTP server behind finds the path in it that is found here.
func FuzzPathIsTheServers(f *testing.F) {
	for _, target := range []string{
		"/", "/orders?a=b", "/orders?a=://b", "/a//b", "/a://b", "/\\a/b?c=://", "/%2F/a?b=://", "//a/b?c=://", "//a/b", "///a/b?c=://", "*", "/a#b?c", "/\t/a://b",
		"http://a", "http://a?b", "HTTP://a/b", "https://a:1//b?c=://", "http://a@b/c", "http://a?@b/c", "http://[::1]/a", "http://a\\b/c", "a://b/c", "://a/b", "http:/a", "",
	} {
		f.Add(target, true)
		f.Add(target, false)
	}
	f.Fuzz(func(t *testing.T, target string, http10 bool) {
		method, version := http.MethodGet, "HTTP/1.1\r\nHost: x"
		if http10 {
			version = "HTTP/1.0"
		}
		if target == "*" {
			method = http.MethodOptions
		}
		raw := method + " " + target + " " + version + "\r\n\r\n"
		h, refusal := parseHead([]byte(raw))
		if refusal != nil {
			return
		}
		var server fasthttp.RequestHeader
		if err := server.Read(bufio.NewReader(strings.NewReader(raw))); err != nil {
			return // the server refuses it
		}
		var uri fasthttp.URI
		if err := uri.Parse(server.Host(), server.RequestURI()); err != nil {
			return
		}
		if path := cmp.Or(string(uri.PathOriginal()), "/"); path != string(Path(h.target)) {
			t.Errorf("%s: the server finds %s, and not %s", target, path, Path(h.target))
		}
	})
}

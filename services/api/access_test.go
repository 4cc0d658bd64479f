package main

import (
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"orderflow.example/kit/testdb"
)

const (
	callerToken  = "caller-token-0123456789"
	callerToken2 = "caller-token-abcdefghij"
	adminToken   = "admin-token-0123456789"
	adminToken2  = "admin-token-abcdefghij"
)

func withTokens(t *testing.T, more ...string) *service {
	t.Helper()
	env := map[string]string{
		"DATABASE_URL": testdb.New(t), "API_TOKENS": callerToken + ",\n" + callerToken2, "ADMIN_TOKEN": adminToken + "," + adminToken2, "LOG_LEVEL": "debug",
	}
	for i := 0; i+1 < len(more); i += 2 {
		env[more[i]] = more[i+1]
	}
	return started(t, env)
}

func bearer(token string) []string { return []string{"Authorization", "Bearer " + token} }

// everyCall is each call of the OpenAPI document, with something in the place of a parameter.
func (s *service) everyCall(t *testing.T) (calls [][2]string) {
	t.Helper()
	for path, methods := range s.do(t, http.MethodGet, "/openapi.json", "", bearer(adminToken)).json(t)["paths"].(map[string]any) {
		for method := range methods.(map[string]any) {
			calls = append(calls, [2]string{strings.ToUpper(method), strings.ReplaceAll(path, "{id}", "7")})
		}
	}
	return calls
}

func TestEveryCallNeedsAToken(t *testing.T) {
	t.Parallel()
	s := withTokens(t)
	open := map[string]bool{"/health": true, "/livez": true, "/readyz": true}
	calls := append(s.everyCall(t), [2]string{"GET", "/openapi.json"}, [2]string{"GET", "/no/such/path"}, [2]string{"GET", "/%6fpenapi.json"}, [2]string{"OPTIONS", "/orders"},
		[2]string{"HEAD", "/queue"}, [2]string{"GET", "/x//queue"}, [2]string{"GET", "/queue/"})
	if len(calls) < 15 {
		t.Fatalf("the document has few calls: %v", calls)
	}
	for _, call := range calls {
		method, path := call[0], call[1]
		for name, headers := range map[string][]string{
			"no token": nil, "wrong": bearer("nobody-knows-this-one"), "empty": bearer(""), "half": bearer(callerToken[:10]), "both at once": bearer(callerToken + "," + callerToken2),
			"basic": {"Authorization", "Basic " + callerToken}, "bare": {"Authorization", callerToken}, "elsewhere": {"X-Api-Key", callerToken},
		} {
			a := s.do(t, method, path, "", headers)
			if open[path] {
				if a.status != http.StatusOK {
					t.Errorf("%s %s, %s: got %d", method, path, name, a.status)
				}
				continue
			}
			if a.status != http.StatusUnauthorized || !strings.HasPrefix(a.header.Get("WWW-Authenticate"), "Bearer ") || a.header.Get("Content-Type") != "application/problem+json" {
				t.Errorf("%s %s, %s: got %d %v %s", method, path, name, a.status, a.header, a.body)
			}
		}
		for _, token := range []string{callerToken, callerToken2, adminToken, adminToken2} {
			if a := s.do(t, method, path, "", bearer(token)); a.status == http.StatusUnauthorized {
				t.Errorf("%s %s with %s: got %d %s", method, path, token, a.status, a.body)
			}
		}
		admin := strings.HasPrefix(path, "/dead-letters/") || path == "/queue/pause" || path == "/queue/resume"
		if a := s.do(t, method, path, "", bearer(callerToken)); (a.status == http.StatusForbidden) != admin {
			t.Errorf("%s %s with a caller's token: got %d %s", method, path, a.status, a.body)
		}
		if a := s.do(t, method, path, "", bearer(adminToken2)); a.status == http.StatusForbidden {
			t.Errorf("%s %s with the second admin token: got %d %s", method, path, a.status, a.body)
		}
	}
	for _, path := range []string{"/docs", "/redoc"} {
		if a := s.get(t, path); a.status != http.StatusOK || !strings.HasPrefix(a.header.Get("Content-Type"), "text/html") {
			t.Errorf("GET %s: got %d", path, a.status)
		}
	}
	if a := s.raw(t, "GET /queue HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer wrong\r\nAuthorization: Bearer "+callerToken+"\r\n\r\n"); a.status != http.StatusUnauthorized {
		t.Errorf("two tokens: got %d", a.status)
	}
	for _, token := range []string{callerToken, callerToken2, adminToken, adminToken2, "nobody-knows"} {
		if strings.Contains(s.log.String(), token) {
			t.Errorf("the log has %s", token)
		}
	}
}

// A wrong token costs its sender the connection; who has a right one is served meanwhile.
func TestWrongTokensHinderNobody(t *testing.T) {
	t.Parallel()
	s := withTokens(t)
	s.place(t, "/orders", orderJSON(0), bearer(callerToken)...) // the writer has its connection now
	var guessing sync.WaitGroup
	for range 8 {
		guessing.Go(func() {
			for range 50 {
				a, err := s.try(http.MethodGet, "/queue", "", bearer("guess-guess-guess-guess"))
				if err != nil || a.status != http.StatusUnauthorized {
					t.Errorf("a guess: %v, %d %v", err, a.status, a.header)
				}
			}
		})
	}
	for i := range 100 {
		if a := s.post(t, "/orders", orderJSON(i), bearer(callerToken)...); a.status != http.StatusCreated {
			t.Errorf("meanwhile: %d %s", a.status, a.body)
		}
	}
	guessing.Wait()
	conn, err := net.Dial("tcp", strings.TrimPrefix(s.url, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	if _, err := io.WriteString(conn, "GET /queue HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer wrong\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	if text, err := io.ReadAll(conn); err != nil || !strings.HasPrefix(string(text), "HTTP/1.1 401 ") {
		t.Errorf("the connection is not closed after a wrong token: %q, %v", text, err)
	}
	if found, _ := s.log.find("request without a valid token (further ones within 10 s are not logged)"); len(found) > 50 {
		t.Errorf("%d lines about 400 guesses", len(found))
	}
	if text := (&service{url: s.metrics}).get(t, "/metrics").body; !strings.Contains(text, `{method="GET",route="none",status="401"} 401`) {
		t.Error("the guesses are not counted")
	}
}

func TestDocumentNamesTheTokens(t *testing.T) {
	t.Parallel()
	s := withTokens(t)
	document := s.do(t, http.MethodGet, "/openapi.json", "", bearer(callerToken)).json(t)
	schemes := document["components"].(map[string]any)["securitySchemes"].(map[string]any)
	for _, name := range []string{"token", "admin"} {
		if scheme, _ := schemes[name].(map[string]any); scheme["type"] != "http" || scheme["scheme"] != "bearer" {
			t.Errorf("scheme %s is %v", name, scheme)
		}
	}
	for path, methods := range document["paths"].(map[string]any) {
		for method, op := range methods.(map[string]any) {
			op := op.(map[string]any)
			needs := "token"
			switch {
			case path == "/health" || path == "/livez" || path == "/readyz":
				needs = ""
			case strings.HasPrefix(path, "/dead-letters/"), strings.HasPrefix(path, "/queue/"):
				needs = "admin"
			}
			security, given := op["security"].([]any)
			if !given {
				security, _ = document["security"].([]any)
			}
			has := ""
			for _, one := range security {
				for name := range one.(map[string]any) {
					has = name
				}
			}
			if has != needs {
				t.Errorf("%s %s needs %q, says the document, and not %q", method, path, has, needs)
			}
			if responses := op["responses"].(map[string]any); (responses["401"] != nil) != (needs != "") {
				t.Errorf("%s %s: 401 is described: %v", method, path, responses["401"] != nil)
			}
		}
	}
	// Without tokens nothing needs one but the admin's calls.
	plain := started(t, map[string]string{"DATABASE_URL": testdb.New(t)})
	if document := plain.get(t, "/openapi.json").json(t); document["security"] != nil {
		t.Errorf("without tokens the document says %v", document["security"])
	}
}

func TestShortTokensAreSaid(t *testing.T) {
	t.Parallel()
	s := start(t, map[string]string{"DATABASE_URL": testdb.New(t), "API_TOKENS": callerToken + " abc"})
	if line := s.log.await(t, "a token is short enough to be guessed: give it 16 random characters or more"); line["variable"] != "API_TOKENS" {
		t.Errorf("the line is %v", line)
	}
}

// Room for large bodies is bounded, so that a stranger could take it from those who have a token: none is held for him.
func TestStrangersLargeBodiesAreNotRead(t *testing.T) {
	t.Parallel()
	s := withTokens(t)
	for _, test := range []struct {
		path, headers string
		status        int
	}{
		{"/orders/batch", "", 401},
		{"/orders/batch", "Authorization: Bearer wrong\r\n", 401},
		{"/orders/batch", "Authorization: Bearer " + callerToken + "\r\nAuthorization: Bearer " + callerToken + "\r\n", 401},
		{"/dead-letters/redrive", "Authorization: Bearer " + callerToken + "\r\n", 401},
		{"/orders/batch", "Authorization: Bearer " + callerToken + "\r\nExpect: 100-continue\r\n", 100},
		{"/orders/batch", "authorization: bearer " + adminToken + "\r\nExpect: 100-continue\r\n", 100},
		{"/dead-letters/redrive", "Authorization: Bearer " + adminToken + "\r\nExpect: 100-continue\r\n", 100},
	} {
		for _, length := range []string{"Content-Length: 1000000\r\n", "Transfer-Encoding: chunked\r\n"} {
			conn, err := net.Dial("tcp", strings.TrimPrefix(s.url, "http://"))
			if err != nil {
				t.Fatal(err)
			}
			if err := conn.SetDeadline(time.Now().Add(patience)); err != nil {
				t.Fatal(err)
			}
			// Only the head is sent: who is answered was not waited for.
			if _, err := io.WriteString(conn, "POST "+test.path+" HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"+test.headers+length+"\r\n"); err != nil {
				t.Fatal(err)
			}
			line := make([]byte, len("HTTP/1.1 000"))
			if _, err := io.ReadFull(conn, line); err != nil || string(line[len(line)-3:]) != strconv.Itoa(test.status) {
				t.Errorf("%s %q: got %q, %v", test.path, test.headers+length, line, err)
			}
			if test.status == 401 {
				rest, err := io.ReadAll(conn)
				if err != nil || !strings.Contains(strings.ToLower(string(rest)), "www-authenticate: bearer") || !strings.Contains(string(rest), `"trace_id"`) {
					t.Errorf("%s %q: %q, %v", test.path, test.headers+length, rest, err)
				}
			}
			_ = conn.Close()
		}
	}
}

// A Secret is changed under a running api: the new token opens it, and the old one no longer does.
func TestTokensOfAFileChangeWithoutARestart(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "tokens")
	write := func(text string) {
		t.Helper()
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write(callerToken + "\n")
	s := withTokens(t, "API_TOKENS", "", "API_TOKENS_FILE", path)
	status := func(token string) int { return s.do(t, http.MethodGet, "/queue", "", bearer(token)).status }
	if before, after := status(callerToken), status(callerToken2); before != http.StatusOK || after != http.StatusUnauthorized {
		t.Fatalf("at the start: %d, %d", before, after)
	}
	write(callerToken2 + "\n")
	s.log.await(t, "tokens have changed")
	if before, after := status(callerToken), status(callerToken2); before != http.StatusUnauthorized || after != http.StatusOK {
		t.Errorf("after the change: %d, %d", before, after)
	}
	if admin := status(adminToken); admin != http.StatusOK {
		t.Errorf("the admin's token, which has not changed: %d", admin)
	}
}

// A token that somebody has lost is replaced, as the admin's alone: from then on it changes nothing, nor does a session that was begun with it.
func TestALostTokenIsGoodForNothingOnceItIsReplaced(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "token")
	if err := os.WriteFile(path, []byte(adminToken), 0o600); err != nil {
		t.Fatal(err)
	}
	s := withTokens(t, "ADMIN_TOKEN", "", "ADMIN_TOKEN_FILE", path)
	resume := func(token string) int { return s.post(t, "/queue/resume", "", bearer(token)...).status }
	b := s.browser(t)
	b.signIn(adminToken)
	if a := b.post("/ui/resume"); a.status != http.StatusOK || resume(adminToken) != http.StatusOK {
		t.Fatalf("at the start: %d", a.status)
	}
	csrf := b.csrf()
	if err := os.WriteFile(path, []byte(adminToken2), 0o600); err != nil {
		t.Fatal(err)
	}
	s.log.await(t, "tokens have changed")
	if before, after := resume(adminToken), resume(adminToken2); before != http.StatusUnauthorized || after != http.StatusOK {
		t.Errorf("after the change: %d, %d", before, after)
	}
	if a := b.do(http.MethodPost, "/ui/resume", url.Values{"csrf": {csrf}}); a.status != http.StatusUnauthorized {
		t.Errorf("with a session of before the change: %d", a.status)
	}
	if b.signIn(adminToken2); b.post("/ui/resume").status != http.StatusOK {
		t.Error("nobody can sign in with the new token")
	}
}

// Of two tokens, which one counts differs between programs: then none does, in whatever order they come.
func TestOfTwoTokensNoneCounts(t *testing.T) {
	t.Parallel()
	s := started(t, map[string]string{"DATABASE_URL": testdb.New(t), "API_TOKENS": "caller-0123456789abcdef"})
	for _, tokens := range [][]string{{"Bearer caller-0123456789abcdef", "Bearer wrong"}, {"Bearer wrong", "Bearer caller-0123456789abcdef"}, {"Bearer caller-0123456789abcdef", "Bearer caller-0123456789abcdef"}} {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, s.url+"/queue", nil)
		if err != nil {
			t.Fatal(err)
		}
		req.Header["Authorization"] = tokens
		resp, err := client.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		_ = resp.Body.Close()
		if resp.StatusCode != http.StatusUnauthorized {
			t.Errorf("%v: %s", tokens, resp.Status)
		}
	}
}

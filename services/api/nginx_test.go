package main

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"orderflow.example/kit/await"
	"orderflow.example/kit/testdb"
)

// nginxConfig keeps one connection to the api and sends everybody's requests over it, as a proxy in front of a service does.
const nginxConfig = `
daemon off;
master_process off;
pid %[1]s/pid;
error_log stderr warn;
events { worker_connections 256; }
http {
	access_log off;
	client_body_temp_path %[1]s/body;
	proxy_temp_path %[1]s/proxy;
	fastcgi_temp_path %[1]s/fastcgi;
	uwsgi_temp_path %[1]s/uwsgi;
	scgi_temp_path %[1]s/scgi;
	upstream api { server %[2]s; keepalive 1; }
	server {
		listen unix:%[1]s/socket;
		proxy_http_version 1.1;
		proxy_set_header Connection "";
		proxy_set_header Host $host;
		%[3]s
	}
}
`

// What nginx publishes of a service: all of it, or what the chart's Ingress with the path /orders publishes.
const (
	publishAll    = `location / { proxy_pass http://api; }`
	publishOrders = `location /orders { proxy_pass http://api; } location / { return 403; }`
)

// throughNginx starts an nginx in front of a service and returns how one connects to it.
func throughNginx(t *testing.T, s *service, publish string) func(context.Context) (net.Conn, error) {
	t.Helper()
	program, err := exec.LookPath("nginx")
	if err != nil {
		if program = "/usr/sbin/nginx"; exec.Command(program, "-v").Run() != nil {
			if os.Getenv("CI") != "" {
				t.Fatal("there is no nginx on this machine, where no test may be left out (Debian: apt-get install nginx-light)")
			}
			t.Skip("there is no nginx on this machine (Debian: apt-get install nginx-light)")
		}
	}
	dir, err := os.MkdirTemp("", "nginx") // a socket's path must be short, and t.TempDir's is not
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	config := filepath.Join(dir, "nginx.conf")
	if err := os.WriteFile(config, fmt.Appendf(nil, nginxConfig, dir, strings.TrimPrefix(s.url, "http://"), publish), 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(program, "-p", dir, "-e", "stderr", "-c", config)
	var log lines
	log.more = make(chan struct{})
	cmd.Stderr = &log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		if t.Failed() {
			t.Logf("nginx says:\n%s", &log)
		}
	})
	dial := func(ctx context.Context) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "unix", filepath.Join(dir, "socket"))
	}
	await.True(t, "nginx to listen", func() bool {
		conn, err := dial(t.Context())
		if err == nil {
			_ = conn.Close()
		}
		return err == nil
	})
	return dial
}

// A proxy that publishes some paths has to see the path that a request is routed by. nginx takes what begins with two slashes as if it were
// one; the HTTP server took what follows them for a host, and what follows that for the path.
func TestAProxySeesThePathThatIsAnswered(t *testing.T) {
	t.Parallel()
	dial := throughNginx(t, started(t, map[string]string{"DATABASE_URL": testdb.New(t)}), publishOrders)
	for target, want := range map[string]int{
		"/orders":                        http.StatusOK,
		"http://x/orders":                http.StatusOK,
		"/queue":                         http.StatusForbidden,
		"http://x/queue":                 http.StatusForbidden,
		"//orders/ui/dead-letters?x=://": http.StatusBadRequest,
		"//orders/events?x=://":          http.StatusBadRequest,
		"//orders/?x=://":                http.StatusBadRequest,
		"///orders/queue?x=://":          http.StatusBadRequest,
		"//orders":                       http.StatusBadRequest,
		"/orders/../queue":               http.StatusForbidden,
		"/orders/..%2Fqueue":             http.StatusForbidden,
		"/orders/%2e%2e/queue":           http.StatusForbidden,
		"/queue/../orders":               http.StatusNotFound,
		"/queue%2F..%2Forders":           http.StatusNotFound,
		"/ui/static/..%2F..%2Forders":    http.StatusNotFound,
	} {
		conn, err := dial(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(conn, "GET "+target+" HTTP/1.1\r\nHost: x\r\n\r\n"); err != nil {
			t.Fatal(err)
		}
		resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
		if err != nil {
			t.Fatalf("%s: %v", target, err)
		}
		_ = conn.Close() // first: a stream would be read to its end
		_ = resp.Body.Close()
		if resp.StatusCode != want {
			t.Errorf("%s: %d, want %d", target, resp.StatusCode, want)
		}
	}
}

// Somebody without a token sends a body whose end looks like the beginning of a request. Whoever comes next over the proxy's
// connection, an administrator with the token, must get the answer to what he asked, and nothing else may be done.
func TestNothingIsSmuggledThroughNginx(t *testing.T) {
	t.Parallel()
	db := testdb.New(t)
	s := started(t, map[string]string{"DATABASE_URL": db, "ADMIN_TOKEN": "sesame"})
	dial := throughNginx(t, s, publishAll)
	nginx := &http.Client{Timeout: patience, Transport: &http.Transport{
		DisableKeepAlives: true, DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) { return dial(ctx) },
	}}
	for i := range 3 {
		s.place(t, "/orders", orderJSON(i))
	}
	if _, err := testdb.Connect(t, db).Exec(t.Context(), die, []int64{1, 2, 3}, "permanent"); err != nil {
		t.Fatal(err)
	}
	do := func(method, path, body string, headers ...string) answer {
		t.Helper()
		request, err := http.NewRequestWithContext(t.Context(), method, "http://x"+path, strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		for i := 0; i < len(headers); i += 2 {
			request.Header.Set(headers[i], headers[i+1])
		}
		resp, err := nginx.Do(request)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		raw, err := io.ReadAll(resp.Body)
		if err != nil {
			t.Fatal(err)
		}
		return answer{resp.StatusCode, resp.Header, string(raw)}
	}
	// What was seen of the queue before they died is kept for a moment.
	await.True(t, "three letters", func() bool {
		return strings.Contains(do(http.MethodGet, "/queue", "", "Authorization", "Bearer sesame").body, `"dead_letters":3`)
	})
	for _, call := range []string{
		"DELETE /dead-letters/1 HTTP/1.1\r\nHost: x\r\nX-Ignore: ",
		"POST /dead-letters/2/redrive HTTP/1.1\r\nHost: x\r\nX-Ignore: ",
		"POST /orders HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: " + strconv.Itoa(len(orderJSON(9))) + "\r\n\r\n" + orderJSON(9),
		"POST /orders HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 400\r\n\r\n", // takes the next request for its body
	} {
		for _, path := range []string{"/orders", "/orders/batch", "/dead-letters/redrive", "/queue", "/nowhere"} {
			for name, attack := range map[string]struct{ kind, body string }{
				"form":       {"multipart/form-data; boundary=X", "--X\r\nContent-Disposition: form-data; name=\"a\"\r\n\r\n1\r\n--X--\r\n" + strings.Repeat("\r\n", 3000) + call},
				"form alone": {"multipart/form-data; boundary=X", "--X--\r\n" + call},
				"urlencoded": {"application/x-www-form-urlencoded", "a=1&b=2\r\n\r\n" + call},
				"JSON":       {"application/json", orderJSON(5) + "\r\n\r\n" + call},
				"nothing":    {"", call},
			} {
				if a := do(http.MethodPost, path, attack.body, "Content-Type", attack.kind); a.status < 400 {
					t.Errorf("%s to %s: answered %d %s", name, path, a.status, a.body)
				}
				if a := do(http.MethodGet, "/queue", "", "Authorization", "Bearer sesame"); a.status != http.StatusOK || !strings.Contains(a.body, `"dead_letters":3`) {
					t.Fatalf("%s to %s, with %.30q behind: whoever came next got %d %s", name, path, call, a.status, a.body)
				}
				if n := count(t, db, `select count(*) from orders`); n != 3 {
					t.Fatalf("%s to %s, with %.30q behind: %d orders", name, path, call, n)
				}
			}
		}
	}
}

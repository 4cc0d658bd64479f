package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"os"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"go.uber.org/goleak"

	"orderflow.example/kit/await"
	"orderflow.example/kit/env"
	"orderflow.example/kit/listen"
	"orderflow.example/kit/program"
)

func TestMain(m *testing.M) {
	if os.Getenv(asMain) != "" {
		main()
	}
	os.Exit(await.Ended(m, func() error {
		client.CloseIdleConnections()
		http.DefaultClient.CloseIdleConnections()
		return goleak.Find(
			// fasthttp looks for idle workers every ten seconds, the last time after the server has ended; and keeps a clock.
			goleak.IgnoreAnyFunction("github.com/valyala/fasthttp.(*workerPool).Start.func2"),
			goleak.IgnoreAnyFunction("github.com/valyala/fasthttp.updateServerDate.func1"),
		)
	}))
}

// service is the program, running in this process on free ports.
type service struct {
	url, metrics string
	log          *lines
	stop         context.CancelFunc // what SIGTERM does
	exited       chan int
}

// patience is how long a test waits for what must happen.
var patience = await.Limit()

// start runs the program against a database and waits until it listens. It is stopped, and must exit 0, when the test ends.
func start(tb testing.TB, env map[string]string) *service {
	tb.Helper()
	// On a busy machine nothing is sure to be done within the default of REQUEST_TIMEOUT.
	all := map[string]string{"REQUEST_TIMEOUT": "1m", "API_PORT": "0", "API_HOST": "127.0.0.1", "METRICS_PORT": "0", "LOG_FORMAT": "json", "MIGRATE_ON_START": "false"}
	maps.Copy(all, env)
	// Nor is a connection sure to be made. Where there are several hosts, the limit is for how long one that is silent keeps from the next.
	if address := env["DATABASE_URL"]; env["REQUEST_TIMEOUT"] == "" && !strings.Contains(address, ",") {
		all["DATABASE_URL"] = connectWithin(address, time.Minute)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ports := map[string]chan string{"API": make(chan string, 1), "METRICS": make(chan string, 1)}
	ctx = listen.Observe(ctx, func(name, address string) { ports[name] <- address })
	s := &service{log: newLines(), stop: cancel, exited: make(chan int, 1)}
	go func() {
		s.exited <- run(ctx, nil, func(name string) (string, bool) {
			value, set := all[name]
			return value, set
		}, io.Discard, s.log)
	}()
	tb.Cleanup(func() {
		cancel()
		if code := s.wait(tb); code != program.OK {
			tb.Errorf("exit code %d; the log:\n%s", code, s.log)
		}
	})
	for name, url := range map[string]*string{"API": &s.url, "METRICS": &s.metrics} {
		select {
		case address := <-ports[name]:
			*url = "http://" + address
		case code := <-s.exited:
			s.exited <- code
			tb.Fatalf("exit code %d before it listened; the log:\n%s", code, s.log)
		case <-time.After(patience):
			tb.Fatalf("it does not listen; the log:\n%s", s.log)
		}
	}
	return s
}

// connectWithin is the address of a database to which making a connection may take so long.
func connectWithin(address string, limit time.Duration) string {
	separator := "?"
	if strings.Contains(address, separator) {
		separator = "&"
	}
	return address + separator + "connect_timeout=" + strconv.Itoa(int(limit.Seconds()))
}

// run is the program without its process. The end of ctx is what a signal is.
func run(ctx context.Context, args []string, lookup env.Lookup, stdout, stderr io.Writer) int {
	return api.Run(ctx, args, lookup, stdout, stderr, nil)
}

// started is start and waiting for readiness.
func started(tb testing.TB, env map[string]string) *service {
	tb.Helper()
	s := start(tb, env)
	s.awaitReady(tb)
	return s
}

func (s *service) awaitReady(tb testing.TB) {
	tb.Helper()
	await.True(tb, "readiness", func() bool { return s.get(tb, "/readyz").status == http.StatusOK })
}

func (s *service) wait(tb testing.TB) int {
	tb.Helper()
	select {
	case code := <-s.exited:
		s.exited <- code
		return code
	case <-time.After(patience):
		tb.Fatalf("the program does not exit; the log:\n%s", s.log)
		return -1
	}
}

// answer is an HTTP answer, read.
type answer struct {
	status int
	header http.Header
	body   string
}

func (a answer) json(tb testing.TB) map[string]any {
	tb.Helper()
	var v map[string]any
	d := json.NewDecoder(strings.NewReader(a.body))
	d.UseNumber()
	if err := d.Decode(&v); err != nil {
		tb.Fatalf("the answer is no JSON object: %v\n%d %s", err, a.status, a.body)
	}
	return v
}

func (s *service) get(tb testing.TB, path string) answer {
	tb.Helper()
	return s.do(tb, http.MethodGet, path, "", nil)
}

func (s *service) post(tb testing.TB, path, body string, headers ...string) answer {
	tb.Helper()
	return s.do(tb, http.MethodPost, path, body, headers)
}

// place posts an order that the test goes on with. It comes again while nothing was written, as clients do: on a machine without processor
// the writer may not have found a connection yet.
func (s *service) place(tb testing.TB, path, body string, headers ...string) (placed answer) {
	tb.Helper()
	await.True(tb, "the order is accepted", func() bool {
		placed = s.post(tb, path, body, headers...)
		unwritten := placed.status == http.StatusServiceUnavailable && strings.Contains(placed.body, "nothing was written")
		if placed.status != http.StatusCreated && !unwritten {
			tb.Fatalf("got %d %s", placed.status, placed.body)
		}
		return placed.status == http.StatusCreated
	})
	return placed
}

// do makes a request; headers are names and values in turn.
func (s *service) do(tb testing.TB, method, path, body string, headers []string) answer {
	tb.Helper()
	a, err := s.try(method, path, body, headers)
	if err != nil {
		tb.Fatalf("%s %s: %v", method, path, err)
	}
	return a
}

var client = &http.Client{Timeout: patience, Transport: &http.Transport{MaxIdleConnsPerHost: 100}}

func (s *service) try(method, path, body string, headers []string) (answer, error) {
	req, err := http.NewRequestWithContext(context.Background(), method, s.url+path, strings.NewReader(body))
	if err != nil {
		return answer{}, err
	}
	if body != "" {
		req.Header.Set("Content-Type", "application/json")
	}
	for i := 0; i+1 < len(headers); i += 2 {
		req.Header.Set(headers[i], headers[i+1])
	}
	resp, err := client.Do(req)
	if err != nil {
		return answer{}, err
	}
	defer resp.Body.Close()
	raw, err := io.ReadAll(resp.Body)
	return answer{resp.StatusCode, resp.Header, string(raw)}, err
}

// runMigrate runs `api migrate` on a database.
func runMigrate(tb testing.TB, db string, env map[string]string) {
	tb.Helper()
	settings := map[string]string{"DATABASE_URL": connectWithin(db, time.Minute)}
	maps.Copy(settings, env)
	if code := run(tb.Context(), []string{"migrate"}, environment(settings), &bytes.Buffer{}, newLines()); code != program.OK {
		tb.Errorf("migrate: exit code %d", code)
	}
}

// count returns the result of a select count(*).
func count(tb testing.TB, url, sql string) int {
	tb.Helper()
	conn, err := pgx.Connect(tb.Context(), url)
	if err != nil {
		tb.Fatal(err)
	}
	defer func() { _ = conn.Close(context.Background()) }()
	var n int
	if err := conn.QueryRow(tb.Context(), sql).Scan(&n); err != nil {
		tb.Fatal(err)
	}
	return n
}

// lines are the log, line by line.
type lines struct {
	mu   sync.Mutex
	all  []map[string]any
	text bytes.Buffer
	rest []byte
	more chan struct{} // closed, and replaced, with each line
}

func newLines() *lines { return &lines{more: make(chan struct{})} }

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.text.Write(p)
	l.rest = append(l.rest, p...)
	for {
		line, rest, found := bytes.Cut(l.rest, []byte("\n"))
		if !found {
			return len(p), nil
		}
		var v map[string]any
		if json.Unmarshal(line, &v) == nil {
			l.all = append(l.all, v)
		}
		l.rest = rest
		close(l.more)
		l.more = make(chan struct{})
	}
}

func (l *lines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

// find returns the lines with a message.
func (l *lines) find(message string) (found []map[string]any, more <-chan struct{}) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, line := range l.all {
		if line["msg"] == message {
			found = append(found, line)
		}
	}
	return found, l.more
}

// await returns the first line with a message, when it comes.
func (l *lines) await(tb testing.TB, message string) map[string]any {
	tb.Helper()
	deadline := time.After(patience)
	for {
		found, more := l.find(message)
		if len(found) > 0 {
			return found[0]
		}
		select {
		case <-more:
		case <-deadline:
			tb.Fatalf("no line %q in the log:\n%s", message, l)
		}
	}
}

func orderJSON(i int) string {
	return fmt.Sprintf(`{"customer_name":"Customer %d","product_name":"Product %d","quantity":%d,"price":%d.0}`, i, i, i%10+1, 10+i%50)
}

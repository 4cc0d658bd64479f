package app_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"

	"orderflow.example/kit/await"
	"orderflow.example/services/loadgen/internal/app"
	"orderflow.example/services/loadgen/internal/faultyapi"
)

func TestMain(m *testing.M) {
	// fasthttp's cleaner of idle connections sleeps for as long as they may live before it sees that there are none left.
	goleak.VerifyTestMain(m, goleak.IgnoreAnyFunction("github.com/valyala/fasthttp.(*HostClient).connsCleaner"))
}

// output is what a program wrote, safe to read while it runs.
type output struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.b.Write(p)
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.b.String()
}

// ended is a program that has run.
type ended struct {
	code           int
	stdout, stderr string
}

func (e ended) lastLine() string {
	lines := strings.Split(strings.TrimRight(e.stdout, "\n"), "\n")
	return lines[len(lines)-1]
}

// environment sets what every test wants: no patience for what will not come.
func environment(t *testing.T, pairs ...string) {
	t.Helper()
	all := append([]string{"AUDIT_PATIENCE", "300ms", "RETRY_FOR", "5m", "BACKOFF_BASE", "1ms", "BACKOFF_MAX", "10ms", "LOG_FORMAT", "json", "PROGRESS", "off"}, pairs...)
	for i := 0; i < len(all); i += 2 {
		t.Setenv(all[i], all[i+1])
	}
}

func faulty(t *testing.T, b faultyapi.Behaviour) *faultyapi.Server {
	t.Helper()
	s := &faultyapi.Server{Behaviour: b}
	if err := s.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	t.Setenv("API_URL", s.URL)
	return s
}

// shares are faults and how many of the orders have them.
type shares = map[faultyapi.Fault]float64

func run(t *testing.T, signals <-chan os.Signal, args ...string) ended {
	t.Helper()
	var stdout, stderr output
	program := app.New("test")
	program.Grace = await.Limit()
	code := program.Run(context.Background(), args, os.LookupEnv, &stdout, &stderr, signals)
	return ended{code: code, stdout: stdout.String(), stderr: stderr.String()}
}

func TestThePlainRunIsTheExample(t *testing.T) {
	environment(t)
	s := faulty(t, faultyapi.Behaviour{Process: 20 * time.Millisecond})
	e := run(t, nil)
	if e.code != app.ExitOK || e.lastLine() != "audit: accepted=100 completed=100 dead=0 lost=0 duplicated=0" {
		t.Fatalf("exit %d\n%s\n%s", e.code, e.stdout, e.stderr)
	}
	if !strings.Contains(e.stderr, "API Server is ready!") || s.Counts().Created != 100 || s.Counts().MissingKey != 0 {
		t.Fatalf("%+v\n%s", s.Counts(), e.stderr)
	}
}

// A consumer that leaves the messages of completed orders in the queue fails the run before any of them comes back.
func TestMessagesThatAreLeftInTheQueueFailTheRun(t *testing.T) {
	environment(t, "AUDIT_PATIENCE", "2s")
	s := faulty(t, faultyapi.Behaviour{Seed: 1, Shares: shares{faultyapi.Keep: 0.1}})
	e := run(t, nil)
	kept := s.Counts().Orders[faultyapi.Keep]
	if want := fmt.Sprintf("FAULT        %d messages left in the queue", kept); kept < 2 || e.code != app.ExitThresholds || !strings.Contains(e.stdout, want) {
		t.Fatalf("exit %d, want %q\n%s\n%s", e.code, want, e.stdout, e.stderr)
	}
}

func TestEveryFaultIsNamedWithItsNumber(t *testing.T) {
	environment(t)
	s := faulty(t, faultyapi.Behaviour{
		Seed: 3, RetryAfter: time.Second, Shares: shares{
			faultyapi.Lose: 0.01, faultyapi.Repeat: 0.01, faultyapi.ResetAfter: 0.02, faultyapi.ResetBefore: 0.01, faultyapi.Busy: 0.01, faultyapi.Stick: 0.005, faultyapi.Bury: 0.005,
		},
	})
	file := filepath.Join(t.TempDir(), "r.json")
	e := run(t, nil, "--orders", "2000", "--json", file)
	c := s.Counts()
	if e.code != app.ExitThresholds {
		t.Fatalf("exit %d\n%s\n%s", e.code, e.stdout, e.stderr)
	}
	if want := fmt.Sprintf("audit: accepted=2000 completed=%d dead=%d lost=%d duplicated=%d", 2000-c.Lost()-c.Orders[faultyapi.Stick]-c.Orders[faultyapi.Bury], c.Orders[faultyapi.Bury], c.Lost(), c.Duplicated()); e.lastLine() != want {
		t.Fatalf("%s\nshould be %s", e.lastLine(), want)
	}
	var got struct {
		ExitCode int `json:"exit_code"`
		Audit    struct {
			Stuck    int
			Examples []struct{ Fault string }
		}
		Load struct {
			Totals struct {
				Status     map[string]int
				Failures   map[string]int
				Unheard    map[string]int `json:"committed_unheard"`
				RetryAfter int            `json:"retry_after"`
			}
		}
	}
	body, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(body, &got); err != nil {
		t.Fatal(err)
	}
	total, resets, busy, stuck := got.Load.Totals, c.Orders[faultyapi.ResetAfter]+c.Orders[faultyapi.ResetBefore], c.Orders[faultyapi.Busy], c.Orders[faultyapi.Stick]
	if got.ExitCode != 99 || got.Audit.Stuck != stuck || total.Failures["reset"] != resets || total.Unheard["reset"] != c.Replays || total.Status["503"] != busy ||
		total.RetryAfter != busy || total.Status["201"] != 2000 || c.TooSoon != 0 || c.Replays == 0 || c.Lost() == 0 || stuck == 0 {
		t.Fatalf("%+v\nserver: %+v", got, c)
	}
}

// behind puts a door before the api that says "not ready" so often.
func behind(t *testing.T, s *faultyapi.Server, closed int64) {
	t.Helper()
	target, err := url.Parse(s.URL)
	if err != nil {
		t.Fatal(err)
	}
	proxy := httputil.NewSingleHostReverseProxy(target)
	proxy.Transport = &http.Transport{DisableKeepAlives: true}
	var asked atomic.Int64
	front := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/readyz" && asked.Add(1) <= closed {
			w.WriteHeader(http.StatusServiceUnavailable)
			return
		}
		proxy.ServeHTTP(w, r)
	}))
	t.Cleanup(front.Close)
	t.Setenv("API_URL", front.URL)
}

func TestItWaitsForTheAPI(t *testing.T) {
	environment(t)
	s := faulty(t, faultyapi.Behaviour{})
	behind(t, s, 3)
	e := run(t, nil)
	notReady, ready := strings.Index(e.stderr, "API Server is not ready..."), strings.Index(e.stderr, "API Server is ready!")
	if e.code != app.ExitOK || notReady < 0 || ready < notReady {
		t.Fatalf("exit %d\n%s\n%s", e.code, e.stdout, e.stderr)
	}
	behind(t, s, 1<<40)
	t.Setenv("READY_TIMEOUT", "150ms")
	if e := run(t, nil); e.code != app.ExitFault || !strings.Contains(e.stderr, "was not ready within 150ms") || e.stdout != "" {
		t.Fatalf("exit %d\n%s\n%s", e.code, e.stdout, e.stderr)
	}
}

func TestTheSameRunIDReplays(t *testing.T) {
	environment(t)
	s := faulty(t, faultyapi.Behaviour{})
	if e := run(t, nil, "--run", "again", "--orders", "60"); e.code != app.ExitOK {
		t.Fatalf("exit %d\n%s", e.code, e.stderr)
	}
	e := run(t, nil, "--run", "again")
	if e.code != app.ExitOK || e.lastLine() != "audit: accepted=100 completed=100 dead=0 lost=0 duplicated=0" || s.Counts().Created != 100 || s.Counts().Replays != 60 {
		t.Fatalf("exit %d, %+v\n%s", e.code, s.Counts(), e.stdout)
	}
	if !strings.Contains(e.stdout, "60 replayed") {
		t.Fatalf("%s", e.stdout)
	}
	if e := run(t, nil, "audit", "--run", "again"); e.code != app.ExitOK || e.lastLine() != "audit: accepted=100 completed=100 dead=0 lost=0 duplicated=0" {
		t.Fatalf("exit %d\n%s\n%s", e.code, e.stdout, e.stderr)
	}
	// Of 101 orders that were to be, one is not there; whether it was ever accepted nobody knows.
	if e := run(t, nil, "audit", "--run", "again", "--orders", "101"); e.code != app.ExitThresholds || e.lastLine() != "audit: accepted=100 completed=100 dead=0 lost=0 duplicated=0" ||
		!strings.Contains(e.stdout, "FAULT        1 order missing: never answered, or lost") {
		t.Fatalf("exit %d\n%s\n%s", e.code, e.stdout, e.stderr)
	}
	if e := run(t, nil, "audit", "--run", "another"); e.code != app.ExitFault || !strings.Contains(e.stderr, "no order bears this run's id") {
		t.Fatalf("exit %d\n%s\n%s", e.code, e.stdout, e.stderr)
	}
}

func TestParallelGeneratorsDoNotCollide(t *testing.T) {
	environment(t)
	s := faulty(t, faultyapi.Behaviour{Seed: 1, Shares: shares{faultyapi.ProcessTwice: 0.02}})
	for _, index := range []string{"0", "1", "12"} {
		t.Setenv("JOB_COMPLETION_INDEX", index)
		before := s.Counts().Duplicated()
		e := run(t, nil, "--run", "job", "--orders", "200")
		if want := fmt.Sprintf("audit: accepted=200 completed=200 dead=0 lost=0 duplicated=%d", s.Counts().Duplicated()-before); e.lastLine() != want {
			t.Fatalf("generator %s: %s", index, e.lastLine())
		}
	}
	if s.Counts().Created != 600 || s.Counts().Replays != 0 {
		t.Fatalf("%+v", s.Counts())
	}
	e := run(t, nil, "audit", "--run", "job")
	if want := fmt.Sprintf("audit: accepted=600 completed=600 dead=0 lost=0 duplicated=%d", s.Counts().Duplicated()); e.lastLine() != want {
		t.Fatalf("%s", e.lastLine())
	}
}

func TestThresholdsDecideTheExitCode(t *testing.T) {
	environment(t)
	faulty(t, faultyapi.Behaviour{Process: 30 * time.Millisecond})
	if e := run(t, nil, "--thresholds", "e2e_p99<10s,lost==0,error_rate<0.1%"); e.code != app.ExitOK || !strings.Contains(e.stdout, "✓ lost==0 (0)") {
		t.Fatalf("exit %d\n%s", e.code, e.stdout)
	}
	if e := run(t, nil, "--thresholds", "e2e_p50<30ms"); e.code != app.ExitThresholds || !strings.Contains(e.stdout, "FAULT        threshold e2e_p50<30ms") {
		t.Fatalf("exit %d\n%s", e.code, e.stdout)
	}
}

func TestSpecialRequestsInBatches(t *testing.T) {
	environment(t, "BULK", "20", "POISON_SHARE", "10%", "DUPLICATE_SHARE", "20%")
	s := faulty(t, faultyapi.Behaviour{})
	e := run(t, nil, "--orders", "3990")
	if e.code != app.ExitOK || e.lastLine() != "audit: accepted=3990 completed=3990 dead=0 lost=0 duplicated=0" || s.Counts().Created != 3990 {
		t.Fatalf("exit %d, %+v\n%s", e.code, s.Counts(), e.stdout)
	}
	if c := s.Counts(); c.Invalid == 0 || c.Replays == 0 {
		t.Fatalf("%+v", c)
	}
}

// interruptible runs the program and gives what is needed to interrupt it.
func interruptible(t *testing.T, args ...string) (signals chan os.Signal, done chan ended) {
	t.Helper()
	signals, done = make(chan os.Signal, 2), make(chan ended, 1)
	go func() { done <- run(t, signals, args...) }()
	return signals, done
}

func TestTheFirstSignalEndsTheSendingAndAudits(t *testing.T) {
	environment(t)
	s := faulty(t, faultyapi.Behaviour{Seed: 2, Shares: shares{faultyapi.Lose: 0.1}, Process: 5 * time.Millisecond})
	signals, done := interruptible(t, "--rate", "500", "--duration", "1h")
	await.True(t, "100 orders", func() bool { return s.Counts().Accepted >= 100 })
	signals <- syscall.SIGINT
	e := <-done
	c := s.Counts()
	if want := fmt.Sprintf("audit: accepted=%d completed=%d dead=0 lost=%d duplicated=0", c.Accepted, c.Accepted-c.Lost(), c.Lost()); e.code != app.ExitInterrupted || e.lastLine() != want || c.Lost() == 0 {
		t.Fatalf("exit %d, %s, not %s\n%s", e.code, e.lastLine(), want, e.stderr)
	}
	if !strings.Contains(e.stdout, "interrupted") {
		t.Fatalf("%s", e.stdout)
	}
}

func TestTheSecondSignalLeavesWithWhatThereIs(t *testing.T) {
	environment(t, "AUDIT_PATIENCE", "1h")
	s := faulty(t, faultyapi.Behaviour{Shares: shares{faultyapi.Stick: 1}})
	signals, done := interruptible(t, "--concurrency", "4", "--duration", "1h")
	await.True(t, "some orders", func() bool { return s.Counts().Accepted >= 20 }) // at least 16 of them were heard of
	signals <- syscall.SIGTERM
	signals <- syscall.SIGTERM
	e := <-done
	if e.code != app.ExitInterrupted || !strings.Contains(e.lastLine(), "completed=0 dead=0 lost=0 duplicated=0") || strings.Contains(e.lastLine(), "accepted=0") {
		t.Fatalf("exit %d, %s\n%s", e.code, e.lastLine(), e.stderr)
	}
}

func TestASignalDuringTheAuditLeavesWithWhatThereIs(t *testing.T) {
	environment(t, "AUDIT_PATIENCE", "1h")
	s := faulty(t, faultyapi.Behaviour{Seed: 4, Shares: shares{faultyapi.Stick: 0.5}})
	signals, done := interruptible(t, "--orders", "50")
	await.True(t, "a look of the audit's", func() bool { return s.Counts().Listings > 0 })
	signals <- syscall.SIGINT
	if e := <-done; e.code != app.ExitInterrupted || !strings.HasPrefix(e.lastLine(), "audit: accepted=50") {
		t.Fatalf("exit %d, %s\n%s", e.code, e.lastLine(), e.stderr)
	}
}

// Requests that hang do not keep what is known from a person who asks twice.
func TestTheSecondSignalDoesNotWaitForWhatHangs(t *testing.T) {
	environment(t, "AUDIT_PATIENCE", "1h", "REQUEST_TIMEOUT", "10m")
	file := filepath.Join(t.TempDir(), "r.json")
	s := faulty(t, faultyapi.Behaviour{HangAfter: 30})
	signals, done := interruptible(t, "--concurrency", "4", "--duration", "1h", "--json", file)
	// A worker asks for the next order when it has heard of the one before: all 30 have been heard of.
	await.True(t, "requests that hang", func() bool { return s.Counts().Hung == 4 })
	signals <- syscall.SIGINT
	signals <- syscall.SIGINT
	e := <-done
	if want := "audit: accepted=30 completed=0 dead=0 lost=0 duplicated=0"; e.code != app.ExitInterrupted || e.lastLine() != want ||
		!strings.Contains(e.stdout, "still under way") || !strings.Contains(e.stdout, "undetermined") {
		t.Fatalf("exit %d, not %s\n%s\n%s", e.code, want, e.stdout, e.stderr)
	}
	if body, err := os.ReadFile(file); err != nil || !bytes.Contains(body, []byte(`"interrupted": true`)) {
		t.Fatalf("%v: %s", err, body)
	}
}

// Before anything was sent there is nothing to audit, and nothing to wait for.
func TestASignalBeforeTheFirstOrderLeavesAtOnce(t *testing.T) {
	environment(t, "REQUEST_TIMEOUT", "10m")
	faulty(t, faultyapi.Behaviour{StallEvery: time.Nanosecond, StallFor: time.Hour})
	signals, done := interruptible(t)
	signals <- syscall.SIGINT
	if e := <-done; e.code != app.ExitInterrupted || strings.Contains(e.stderr, "audit") || e.stdout != "" {
		t.Fatalf("exit %d\n%s\n%s", e.code, e.stdout, e.stderr)
	}
}

func TestAReportThatCannotBeWrittenIsSaidBeforeTheRun(t *testing.T) {
	environment(t)
	s := faulty(t, faultyapi.Behaviour{})
	e := run(t, nil, "--json", filepath.Join(t.TempDir(), "no", "such", "folder"))
	if e.code != app.ExitFault || !strings.Contains(e.stderr, "no such file") || strings.Count(e.stderr, "\n") != 1 {
		t.Errorf("exit %d\n%s", e.code, e.stderr)
	}
	if c := s.Counts(); c.Created != 0 {
		t.Errorf("%+v", c)
	}
}

// A run that did not send what it was to send says so.
func TestDroppedArrivalsAreAWarning(t *testing.T) {
	environment(t, "MAX_IN_FLIGHT", "1", "MAX_LATE", "10ms")
	faulty(t, faultyapi.Behaviour{StallEvery: 100 * time.Millisecond, StallFor: 50 * time.Millisecond})
	e := run(t, nil, "--rate", "500", "--duration", "1s")
	if e.code != app.ExitOK || !strings.Contains(e.stdout, "WARNING") || !strings.Contains(e.stdout, "arrivals were dropped") {
		t.Fatalf("exit %d\n%s\n%s", e.code, e.stdout, e.stderr)
	}
}

// An order that was given up is not processed, unless the user says how many may be.
func TestDeadOrdersFailTheRunUnlessAThresholdAllowsThem(t *testing.T) {
	environment(t)
	s := faulty(t, faultyapi.Behaviour{Shares: shares{faultyapi.Bury: 1}})
	if e := run(t, nil, "--orders", "50", "--run", "dead"); e.code != app.ExitThresholds || !strings.Contains(e.stdout, "FAULT        50 orders dead") ||
		e.lastLine() != "audit: accepted=50 completed=0 dead=50 lost=0 duplicated=0" || s.Counts().Orders[faultyapi.Bury] != 50 {
		t.Fatalf("exit %d\n%s\n%s", e.code, e.stdout, e.stderr)
	}
	if e := run(t, nil, "--orders", "50", "--thresholds", "dead<=50"); e.code != app.ExitOK {
		t.Fatalf("exit %d\n%s\n%s", e.code, e.stdout, e.stderr)
	}
	if e := run(t, nil, "--orders", "50", "--thresholds", "dead<=49"); e.code != app.ExitThresholds {
		t.Fatalf("exit %d\n%s\n%s", e.code, e.stdout, e.stderr)
	}
	if e := run(t, nil, "--orders", "50", "--thresholds", "lost==0"); e.code != app.ExitThresholds {
		t.Fatalf("exit %d\n%s\n%s", e.code, e.stdout, e.stderr)
	}
	if e := run(t, nil, "audit", "--run", "dead"); e.code != app.ExitThresholds {
		t.Fatalf("exit %d\n%s\n%s", e.code, e.stdout, e.stderr)
	}
	if e := run(t, nil, "audit", "--run", "dead", "--thresholds", "dead==50"); e.code != app.ExitOK {
		t.Fatalf("exit %d\n%s\n%s", e.code, e.stdout, e.stderr)
	}
}

// Completed is what the consumer says; the effect is what it did.
func TestCompletedOrdersWithoutAnEffectFailTheRun(t *testing.T) {
	environment(t)
	for name, share := range map[string]float64{"each": 1, "some": 0.1} {
		s := faulty(t, faultyapi.Behaviour{Seed: 1, Shares: shares{faultyapi.NoEffect: share}})
		e := run(t, nil)
		if want := fmt.Sprintf("FAULT        %d orders completed without an effect", s.Counts().Orders[faultyapi.NoEffect]); e.code != app.ExitThresholds || !strings.Contains(e.stdout, want) {
			t.Errorf("%s: exit %d, not %q\n%s\n%s", name, e.code, want, e.stdout, e.stderr)
		}
	}
}

// A run that got nothing accepted shows nothing.
func TestARunWithoutAnAcceptedOrderFails(t *testing.T) {
	environment(t, "MAX_IN_FLIGHT", "1", "MAX_LATE", "10ms", "RETRY_FOR", "0s")
	for _, audit := range []string{"true", "false"} {
		t.Setenv("AUDIT", audit)
		faulty(t, faultyapi.Behaviour{Shares: shares{faultyapi.Refuse: 1}})
		if e := run(t, nil, "--orders", "3"); e.code != app.ExitThresholds || !strings.Contains(e.stdout, "FAULT        no order was accepted") {
			t.Errorf("AUDIT=%s: exit %d\n%s\n%s", audit, e.code, e.stdout, e.stderr)
		}
	}
}

// Without an audit the thresholds on what was sent decide all the same.
func TestThresholdsDecideWithoutAnAudit(t *testing.T) {
	environment(t, "AUDIT", "false")
	faulty(t, faultyapi.Behaviour{})
	if e := run(t, nil, "--thresholds", "post_p50>1h"); e.code != app.ExitThresholds || !strings.Contains(e.stdout, "FAULT        threshold post_p50>1h") {
		t.Errorf("exit %d\n%s\n%s", e.code, e.stdout, e.stderr)
	}
	if e := run(t, nil, "--thresholds", "post_p50<1h,accepted==100"); e.code != app.ExitOK {
		t.Errorf("exit %d\n%s\n%s", e.code, e.stdout, e.stderr)
	}
}

// A server that answers what must be refused with errors of its own, or successes that name no order, does not pass.
func TestAnswersThatBreakTheContractAreFaults(t *testing.T) {
	environment(t, "POISON_SHARE", "5%")
	s := faulty(t, faultyapi.Behaviour{Seed: 1, InvalidStatus: 500, Shares: shares{
		faultyapi.NoID: 0.02, faultyapi.WrongAnswer: 0.02, faultyapi.Alter: 0.02, faultyapi.WrongID: 0.01,
	}})
	e := run(t, nil, "--orders", "1000")
	c := s.Counts()
	for _, want := range []string{
		fmt.Sprintf("%d poison or duplicate requests answered wrongly", c.Invalid), fmt.Sprintf("%d orders accepted without an id", c.Orders[faultyapi.NoID]),
		fmt.Sprintf("%d orders answered with other data", c.Orders[faultyapi.WrongAnswer]+c.Orders[faultyapi.Alter]), fmt.Sprintf("%d orders altered", c.Orders[faultyapi.Alter]),
		fmt.Sprintf("%d orders lost", c.Lost()), fmt.Sprintf("%d orders misnamed", c.Lost()),
	} {
		if !strings.Contains(e.stdout, "FAULT        "+want) {
			t.Errorf("%q is not in:\n%s", want, e.stdout)
		}
	}
	if e.code != app.ExitThresholds {
		t.Errorf("exit %d", e.code)
	}
}

func TestTheTerminationMessageIsTheSummary(t *testing.T) {
	path := filepath.Join(t.TempDir(), "termination-log")
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	environment(t, "TERMINATION_MESSAGE_PATH", path)
	faulty(t, faultyapi.Behaviour{})
	if e := run(t, nil); e.code != app.ExitOK {
		t.Fatalf("exit %d\n%s", e.code, e.stderr)
	}
	body, err := os.ReadFile(path)
	if err != nil || !strings.Contains(string(body), `"exit_code":0,`) || !strings.Contains(string(body), `"accepted":100,"completed":100,"dead":0,"lost":0,"duplicated":0,`) {
		t.Fatalf("%v: %s", err, body)
	}
}

func TestCapacityPrintsTheCurve(t *testing.T) {
	environment(t, "CAPACITY_MIN", "50", "CAPACITY_MAX", "100", "CAPACITY_MEASURE", "1s", "CAPACITY_WARMUP", "0s", "METRICS_PORT", "0")
	faulty(t, faultyapi.Behaviour{})
	e := run(t, nil, "capacity", "--thresholds", "post_p50<20s,lost==0")
	if e.code != app.ExitOK || !strings.Contains(e.stdout, "at least 100/s") || strings.Count(e.stdout, "✓") != 2 {
		t.Fatalf("exit %d\n%s\n%s", e.code, e.stdout, e.stderr)
	}
	if e := run(t, nil, "capacity", "--thresholds", "post_p50<1ns"); e.code != app.ExitThresholds || !strings.Contains(e.stdout, "not even 50 orders/s") {
		t.Fatalf("exit %d\n%s\n%s", e.code, e.stdout, e.stderr)
	}
}

// A rate at which orders are lost is not held, whatever the thresholds are about, and the search does not end well.
func TestCapacityDoesNotOverlookABrokenPromise(t *testing.T) {
	environment(t, "CAPACITY_MIN", "50", "CAPACITY_MAX", "100", "CAPACITY_MEASURE", "1s", "CAPACITY_WARMUP", "0s")
	faulty(t, faultyapi.Behaviour{Seed: 1, Shares: shares{faultyapi.Lose: 0.3}})
	e := run(t, nil, "capacity", "--thresholds", "e2e_p50<20s")
	if e.code != app.ExitThresholds || !strings.Contains(e.stdout, "FAULT        at 50 orders/s: ") {
		t.Fatalf("exit %d\n%s\n%s", e.code, e.stdout, e.stderr)
	}
}

func TestAnInterruptedSearchSaysWhatHeld(t *testing.T) {
	environment(t, "CAPACITY_MIN", "50", "CAPACITY_MEASURE", "1s", "CAPACITY_WARMUP", "0s")
	s := faulty(t, faultyapi.Behaviour{})
	signals, done := interruptible(t, "capacity", "--thresholds", "post_p50<20s")
	await.True(t, "the second rate", func() bool { return s.Counts().Accepted > 60 })
	signals <- syscall.SIGINT
	if e := <-done; e.code != app.ExitInterrupted || !strings.Contains(e.stdout, "/s: that held before the search was ended") {
		t.Fatalf("exit %d\n%s\n%s", e.code, e.stdout, e.stderr)
	}
}

func TestCommandsThatNeedNoAPI(t *testing.T) {
	environment(t)
	if e := run(t, nil, "version"); e.code != app.ExitOK || e.stdout != "test\n" {
		t.Errorf("version: %+v", e)
	}
	if e := run(t, nil, "config"); e.code != app.ExitOK || !strings.HasPrefix(e.stdout, "| variable | default | meaning |\n|---|---|---|\n| `API_URL` |") {
		t.Errorf("config: %+v", e)
	}
	for _, args := range [][]string{{"-h"}, {"help"}, {"audit", "-h"}} {
		if e := run(t, nil, args...); e.code != app.ExitOK || !strings.Contains(e.stdout, "Exit codes") {
			t.Errorf("%v: %+v", args, e)
		}
	}
	// Flags are twins of variables, and named as those.
	if e := run(t, nil, "--duration", "30"); e.code != app.ExitConfig || !strings.Contains(e.stderr, `loadgen: wrong configuration: DURATION="30": must be a duration such as 90s or 5m`) {
		t.Errorf("--duration 30: %+v", e)
	}
	for _, args := range [][]string{{"destroy"}, {"--nonsense"}, {"--orders", "x"}, {"audit"}, {"--rate=-1"}} {
		if e := run(t, nil, args...); e.code != app.ExitConfig || strings.Count(e.stderr, "\n") != 1 || !strings.HasPrefix(e.stderr, "loadgen: ") {
			t.Errorf("%v: %+v", args, e)
		}
	}
}

package receive_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"

	"orderflow.example/kit/await"
	"orderflow.example/kit/env"
	"orderflow.example/kit/listen"
	"orderflow.example/services/loadgen/internal/app"
	"orderflow.example/services/loadgen/internal/faultyapi"
	"orderflow.example/services/loadgen/internal/orders"
	"orderflow.example/services/loadgen/internal/receive"
)

const (
	secret  = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
	earlier = "whsec_b3JkZXJmbG93IG9yZGVyZmxvdyBvcmRlcmZsb3c="
)

// running is `loadgen receive` as a program, without its process.
type running struct {
	url, second string // of the two ports
	stop        func() (code int, stdout string)
}

// start runs the receiver until stop is called, or the test ends.
func start(t *testing.T, pairs ...string) *running {
	t.Helper()
	settings := map[string]string{
		"RECEIVER_HOST": "127.0.0.1", "RECEIVER_PORT": "0", "METRICS_HOST": "127.0.0.1", "METRICS_PORT": "0", "LOG_FORMAT": "json", "RECEIVER_KEYS": secret,
	}
	for i := 0; i < len(pairs); i += 2 {
		settings[pairs[i]] = pairs[i+1]
	}
	var stdout bytes.Buffer
	signals := make(chan os.Signal, 1)
	ended := make(chan int, 1)
	webhooks, second := make(chan string, 10), make(chan string, 1)
	ctx := listen.Observe(context.Background(), func(name, address string) {
		map[string]chan string{"RECEIVER": webhooks, "METRICS": second}[name] <- address // it comes back a few times
	})
	go func() {
		ended <- app.New("test").Run(ctx, []string{"receive"}, func(name string) (string, bool) { v, ok := settings[name]; return v, ok }, &stdout, io.Discard, signals)
	}()
	r := &running{}
	r.stop = sync.OnceValues(func() (int, string) {
		signals <- syscall.SIGTERM
		return <-ended, stdout.String()
	})
	select {
	case address := <-second: // the last that it listens on
		r.url, r.second = "http://"+<-webhooks, "http://"+address
	case code := <-ended:
		t.Fatalf("it did not start: exit code %d", code)
	}
	t.Cleanup(func() { r.stop() })
	return r
}

// load reads settings: names, each with its value.
func load(pairs ...string) (*receive.Config, error) {
	return receive.Load(func(name string) (string, bool) {
		for i := 0; i < len(pairs); i += 2 {
			if pairs[i] == name {
				return pairs[i+1], true
			}
		}
		return "", false
	})
}

// lastLine is the account's.
func lastLine(stdout string) string {
	lines := strings.Split(strings.TrimSpace(stdout), "\n")
	return lines[len(lines)-1]
}

// webhook is one to be sent, signed by the independent library.
type webhook struct{ secret, id, body string }

// client is without patience and without memory: each webhook has a connection of its own.
var client = &http.Client{Timeout: time.Minute, Transport: &http.Transport{DisableKeepAlives: true}}

func (h webhook) send(ctx context.Context, url string) (*http.Response, error) {
	hook, err := standardwebhooks.NewWebhook(h.secret)
	if err != nil {
		return nil, err
	}
	now := time.Now()
	signed, err := hook.Sign(h.id, now, []byte(h.body))
	if err != nil {
		return nil, err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, url+"/hooks", strings.NewReader(h.body))
	if err != nil {
		return nil, err
	}
	req.Header.Set("webhook-id", h.id)
	req.Header.Set("webhook-timestamp", fmt.Sprint(now.Unix()))
	req.Header.Set("webhook-signature", signed)
	return client.Do(req)
}

// status sends it and returns the answer's status.
func (h webhook) status(t *testing.T, url string) int {
	t.Helper()
	resp, err := h.send(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if _, err := io.Copy(io.Discard, resp.Body); err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode
}

// accepted makes orders of the run "hooks" at an api and returns the webhooks that tell of them.
func accepted(t *testing.T, n int) (*faultyapi.Server, []webhook) {
	t.Helper()
	api := &faultyapi.Server{}
	if err := api.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = api.Close() })
	webhooks := make([]webhook, n)
	for i := range n {
		webhooks[i] = acceptedOne(t, api, fmt.Sprintf("hooks-0-%09d", i), orders.Data{Customer: fmt.Sprintf("Customer %d", i), Product: "Lamp", Quantity: i + 1, Price: float64(i) + .5})
	}
	return api, webhooks
}

// acceptedOne makes an order and returns its webhook.
func acceptedOne(t *testing.T, api *faultyapi.Server, key string, d orders.Data) webhook {
	t.Helper()
	body := fmt.Sprintf(`{"customer_name":%q,"product_name":%q,"quantity":%d,"price":%.2f}`, d.Customer, d.Product, d.Quantity, d.Price)
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, api.URL+"/orders", strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Idempotency-Key", key)
	resp, err := client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	var o struct {
		ID      int64           `json:"id"`
		Created json.RawMessage `json:"created_at"`
	}
	err = errors.Join(json.NewDecoder(resp.Body).Decode(&o), resp.Body.Close())
	if err != nil || resp.StatusCode != http.StatusCreated {
		t.Fatal(resp.Status, err)
	}
	return webhook{secret, fmt.Sprintf("msg_%d", o.ID), fmt.Sprintf(
		`{"type":"order.accepted","timestamp":%s,"data":{"order_id":%d,"customer_name":%q,"product_name":%q,"quantity":%d,"price":%g,"created_at":%s}}`,
		o.Created, o.ID, d.Customer, d.Product, d.Quantity, d.Price, o.Created)}
}

func TestRepetitionsAreCountedAndAllowed(t *testing.T) {
	t.Parallel()
	api, webhooks := accepted(t, 20)
	report := filepath.Join(t.TempDir(), "account.json")
	r := start(t, "API_URL", api.URL, "RUN_ID", "hooks", "REPORT_JSON", report, "RECEIVER_KEYS", earlier+","+secret)
	for i, h := range webhooks {
		if i%2 == 0 {
			h.secret = earlier // while one replaces the other
		}
		if status := h.status(t, r.url); status != http.StatusOK {
			t.Fatal(status)
		}
	}
	for range 3 {
		if status := webhooks[7].status(t, r.url); status != http.StatusOK {
			t.Fatal(status)
		}
	}
	code, stdout := r.stop()
	if want := "receive: accepted=20 completed=20 dead=0 once=19 repeated=1 never=0 altered=0 forged=0"; code != 0 || lastLine(stdout) != want {
		t.Errorf("exit code %d, %s\nwant %s", code, stdout, want)
	}
	content, err := os.ReadFile(report)
	if err != nil {
		t.Fatal(err)
	}
	var a receive.Account
	if err := json.Unmarshal(content, &a); err != nil || a.Received.Repetitions != 3 || a.Orders == nil || a.Orders.Others != 0 {
		t.Errorf("%s, %v", content, err)
	}
}

func TestEachBrokenPromiseFails(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		change func(h []webhook) []webhook // what is sent instead
		line   string
		fault  string
	}{
		"never": {
			func(h []webhook) []webhook { return h[1:] },
			"once=4 repeated=0 never=1 altered=0 forged=0", "1 completed and never arrived",
		},
		"altered": {
			func(h []webhook) []webhook { h[2].body = strings.Replace(h[2].body, ".5,", ".51,", 1); return h },
			"once=5 repeated=0 never=0 altered=1 forged=0", "1 arrived with other data than the api shows",
		},
		"altered the second time": {
			func(h []webhook) []webhook {
				return append(h, webhook{secret, h[2].id, strings.Replace(h[2].body, "Lamp", "Desk", 1)})
			},
			"once=4 repeated=1 never=0 altered=1 forged=0", "1 came again with other data",
		},
		"another order under its id": {
			func(h []webhook) []webhook { h[3].id = h[2].id; return h },
			"once=3 repeated=1 never=1 altered=1 forged=0", "1 of which the id came again for another order",
		},
		"two ids": {
			func(h []webhook) []webhook { return append(h, webhook{secret, "another", h[2].body}) },
			"once=5 repeated=0 never=0 altered=0 forged=0", "1 came under a second id",
		},
		"forged": {
			func(h []webhook) []webhook { return append(h, webhook{earlier, "forged", h[2].body}) },
			"once=5 repeated=0 never=0 altered=0 forged=1", "1 forged",
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			api, webhooks := accepted(t, 5)
			r := start(t, "API_URL", api.URL)
			for _, h := range c.change(webhooks) {
				want := http.StatusOK
				if h.id == "forged" {
					want = http.StatusUnauthorized
				}
				if status := h.status(t, r.url); status != want {
					t.Errorf("%s: %d", h.id, status)
				}
			}
			code, stdout := r.stop()
			if code != app.ExitThresholds || !strings.HasSuffix(lastLine(stdout), c.line) || !strings.Contains(stdout, "FAULT        "+c.fault) {
				t.Errorf("exit code %d\n%s\nwant %s, and %s", code, stdout, c.line, c.fault)
			}
		})
	}
}

// An audit asks the receiver for its account of the run's orders, and of no others: those of another run never arrive here.
func TestAnAuditAsksTheReceiver(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		left    int // of the webhooks, these are not sent
		code    int
		account string
		fault   string
	}{
		"all arrived":       {0, app.ExitOK, "accepted=5 completed=5 dead=0 once=5 repeated=0 never=0", ""},
		"one never arrived": {1, app.ExitThresholds, "accepted=5 completed=5 dead=0 once=4 repeated=0 never=1", "receiver: 1 completed and never arrived"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			api, _ := accepted(t, 0)
			r := start(t, "API_URL", api.URL)
			for n := range 5 {
				acceptedOne(t, api, fmt.Sprintf("other-0-%09d", n), orders.Of(n))
				hook := acceptedOne(t, api, fmt.Sprintf("hooks-0-%09d", n), orders.Of(n))
				if n < c.left {
					continue
				}
				if status := hook.status(t, r.url); status != http.StatusOK {
					t.Fatal(status)
				}
			}
			settings := map[string]string{"API_URL": api.URL, "RECEIVER_URL": r.second, "LOG_FORMAT": "json", "PROGRESS": "off"}
			var stdout, stderr bytes.Buffer
			code := app.New("test").Run(t.Context(), []string{"audit", "--run", "hooks"}, func(name string) (string, bool) { v, ok := settings[name]; return v, ok }, &stdout, &stderr, nil)
			if code != c.code || !strings.Contains(stdout.String(), "receiver     "+c.account) || strings.Contains(stdout.String(), "FAULT") != (c.fault != "") || !strings.Contains(stdout.String(), c.fault) {
				t.Errorf("exit code %d, want %d, %s, %q\n%s\n%s", code, c.code, c.account, c.fault, &stdout, &stderr)
			}
		})
	}
}

func TestWithoutAnAPIItCountsWhatComes(t *testing.T) {
	t.Parallel()
	r := start(t, "RECEIVER_MAX_MESSAGES", "3", "RECEIVER_MAX_BODY", "2KiB")
	for _, c := range []struct {
		id, body string
		want     int
	}{
		{"a", `{"type":"invoice.paid","timestamp":"2026-01-07T19:48:03Z","data":{"invoice":"in_1"}}`, 200},
		{"a", `{"type":"invoice.paid","timestamp":"2026-01-07T19:48:03Z","data":{"invoice":"in_1"}}`, 200},
		{"b", `no JSON`, 200},
		{"c", ``, 200},
		{"d", `{}`, http.StatusInsufficientStorage},
		{"c", ``, 200},
		{"e", strings.Repeat("x", 3<<10), http.StatusRequestEntityTooLarge},
	} {
		if status := (webhook{secret, c.id, c.body}).status(t, r.url); status != c.want {
			t.Errorf("%s: %d, want %d", c.id, status, c.want)
		}
	}
	resp, err := client.Get(r.url)
	if err != nil {
		t.Fatal(err)
	}
	if _ = resp.Body.Close(); resp.StatusCode != http.StatusMethodNotAllowed {
		t.Error(resp.Status)
	}
	if code, stdout := r.stop(); code != 0 || lastLine(stdout) != "receive: ids=3 once=1 repeated=2 altered=0 forged=0" {
		t.Errorf("exit code %d, %s", code, stdout)
	}
}

func TestAStateFileOutlivesTheReceiver(t *testing.T) {
	t.Parallel()
	state := filepath.Join(t.TempDir(), "ids")
	for life := range 3 {
		r := start(t, "RECEIVER_STATE", state)
		for n := range 5 {
			(webhook{secret, fmt.Sprint(n), "{}"}).status(t, r.url)
		}
		want := "receive: ids=5 once=0 repeated=5 altered=0 forged=0"
		if life == 0 {
			want = "receive: ids=5 once=5 repeated=0 altered=0 forged=0"
		}
		if code, stdout := r.stop(); code != 0 || lastLine(stdout) != want {
			t.Errorf("exit code %d, %s", code, stdout)
		}
	}
}

// A key is replaced while deliveries come: the new one beside the old one, then alone, and back again.
func TestKeysInAFileAreReadAgain(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "keys")
	write := func(keys string) {
		t.Helper()
		// Another file in its place, as Kubernetes does it.
		if err := errors.Join(os.WriteFile(file+".new", []byte(keys), 0o600), os.Rename(file+".new", file)); err != nil {
			t.Fatal(err)
		}
	}
	write(secret + "\n")
	r := start(t, "RECEIVER_KEYS", "", "RECEIVER_KEYS_FILE", file)
	const yes, no = http.StatusOK, http.StatusUnauthorized
	for n, step := range []struct {
		keys         string
		first, other int // the answers to what each of the two has signed
		holds        int // keys
	}{
		{secret, yes, no, 1},
		{secret + "," + earlier, yes, yes, 2},
		{earlier, no, yes, 1},
		{"", no, yes, 1}, // a file that is empty, then one without a key
		{"whsec_damaged", no, yes, 1},
		{earlier + " " + secret, yes, yes, 2},
		{secret, yes, no, 1},
	} {
		write(step.keys)
		first := webhook{secret, fmt.Sprintf("first-%d", n), "{}"}.status(t, r.url)
		other := webhook{earlier, fmt.Sprintf("other-%d", n), "{}"}.status(t, r.url)
		if want := fmt.Sprintf("orderflow_receiver_keys %d\n", step.holds); !strings.Contains(r.metrics(t), want) {
			t.Errorf("step %d: no %s in the metrics", n, want)
		}
		if first != step.first || other != step.other {
			t.Errorf("step %d, %q in the file: answers %d and %d, want %d and %d", n, step.keys, first, other, step.first, step.other)
		}
	}
}

// metrics are what the second port tells Prometheus.
func (r *running) metrics(t *testing.T) string {
	t.Helper()
	resp, err := client.Get(r.second + "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// order orders faults at the second port.
func (r *running) order(t *testing.T, list, query string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPut, r.second+"/faults"+query, strings.NewReader(list))
	if err != nil {
		t.Fatal(err)
	}
	resp, err := client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if body, _ := io.ReadAll(resp.Body); resp.StatusCode != http.StatusOK {
		t.Fatalf("%s: %s", resp.Status, body)
	}
}

func TestFaultsHappenOnOrder(t *testing.T) {
	t.Parallel()
	r := start(t)
	hook := func(n int) webhook { return webhook{secret, fmt.Sprint(n), "{}"} }
	for _, status := range []int{500, 429, 401, 404, 409, 410} {
		r.order(t, fmt.Sprint(status), "")
		if got := hook(1).status(t, r.url); got != status {
			t.Errorf("ordered %d, got %d", status, got)
		}
	}
	r.order(t, "503:100%:1500ms", "")
	resp, err := hook(1).send(t.Context(), r.url)
	if err != nil || resp.StatusCode != http.StatusServiceUnavailable || resp.Header.Get("Retry-After") != "2" {
		t.Fatal(resp, err)
	}
	_ = resp.Body.Close()

	// None of these was taken. What follows is.
	r.order(t, "drop", "")
	if resp, err := hook(2).send(t.Context(), r.url); err == nil {
		t.Error("the connection was not cut:", resp.Status)
	}
	r.order(t, "twice:100%:20ms,slow:100%:20ms", "")
	began := time.Now()
	if status := hook(3).status(t, r.url); status != http.StatusOK || time.Since(began) < 40*time.Millisecond {
		t.Error(status, time.Since(began))
	}
	// Nobody who is answered waits for nothing: a stall ends when the sender has had enough.
	r.order(t, "stall", "")
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	stalled := make(chan error, 1)
	go func() {
		resp, err := hook(4).send(ctx, r.url)
		if err == nil {
			_ = resp.Body.Close()
		}
		stalled <- err
	}()
	await.True(t, "the webhook is stalled", func() bool {
		a, err := receive.Ask(t.Context(), r.second, "")
		return err == nil && a.Ordered["stall"] == 1
	})
	cancel()
	if err := <-stalled; !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	r.order(t, "", "")
	for n := 2; n <= 3; n++ {
		if status := hook(n).status(t, r.url); status != http.StatusOK {
			t.Error(status)
		}
	}
	a, err := receive.Ask(t.Context(), r.second, "")
	if err != nil {
		t.Fatal(err)
	}
	if a.Received.IDs != 2 || a.Received.Repetitions != 2 || a.Requests["refused"] != 8 || a.Ordered["drop"] != 1 || a.Ordered["twice"] != 1 || a.Ordered["stall"] != 1 || a.Ordered["409"] != 1 || a.Busiest < 1 || a.Busiest > 12 {
		t.Errorf("%+v", a)
	}
	metrics := r.metrics(t)
	for _, want := range []string{`orderflow_receiver_requests_total{result="repeated"} 2`, `orderflow_receiver_faults_total{fault="drop"} 1`, "orderflow_receiver_ids 2"} {
		if !strings.Contains(metrics, want) {
			t.Errorf("no %s in the metrics", want)
		}
	}
	if code, stdout := r.stop(); code != 0 {
		t.Errorf("exit code %d, %s", code, stdout)
	}
}

// Answers that are held back hold up no other webhook, however many they are.
func TestSlowAnswersTakeNoRoom(t *testing.T) {
	t.Parallel()
	r := start(t)
	r.order(t, "slow:100%:10m", "")
	ctx, cancel := context.WithCancel(t.Context())
	var waiting sync.WaitGroup
	const slow = 100 // more than are in memory at once
	for n := range slow {
		waiting.Go(func() {
			resp, err := webhook{secret, fmt.Sprint("slow ", n), "{}"}.send(ctx, r.url)
			if err == nil {
				_ = resp.Body.Close()
				t.Error("answered:", resp.Status)
			}
		})
	}
	await.True(t, "all are taken", func() bool {
		a, err := receive.Ask(t.Context(), r.second, "")
		return err == nil && a.Received.IDs == slow
	})
	r.order(t, "", "")
	if status := (webhook{secret, "quick", "{}"}).status(t, r.url); status != http.StatusOK {
		t.Error(status)
	}
	cancel()
	waiting.Wait()
}

func TestAwayMeansThatNobodyListens(t *testing.T) {
	t.Parallel()
	r := start(t)
	address := strings.TrimPrefix(r.url, "http://")
	for range 2 {
		r.order(t, "away", "")
		await.True(t, "the port is closed", func() bool {
			conn, err := net.Dial("tcp", address)
			if err == nil {
				_ = conn.Close()
			}
			return err != nil
		})
		resp, err := client.Get(r.second + "/readyz")
		if err != nil {
			t.Fatal(err)
		}
		if _ = resp.Body.Close(); resp.StatusCode != http.StatusServiceUnavailable {
			t.Error(resp.Status)
		}
		r.order(t, "", "")
		await.True(t, "the port is open", func() bool {
			resp, err := webhook{secret, "a", "{}"}.send(t.Context(), r.url)
			if err == nil {
				_ = resp.Body.Close()
			}
			return err == nil
		})
	}
	r.order(t, "away", "?for=300ms") // comes back by itself
	await.True(t, "the port is open", func() bool {
		resp, err := webhook{secret, "b", "{}"}.send(t.Context(), r.url)
		if err == nil {
			_ = resp.Body.Close()
		}
		return err == nil
	})
}

// A number without bounds is one with which a program starts and does not work: each has them, at both ends.
func TestEveryNumberHasBounds(t *testing.T) {
	t.Parallel()
	absurd := map[reflect.Type][]string{
		reflect.TypeFor[int]():           {"-2", "2147483647"},
		reflect.TypeFor[time.Duration](): {"-1s", "2500000h"},
		reflect.TypeFor[env.Size]():      {"-1", "8589934591GiB"},
	}
	fromMoreThanZero := regexp.MustCompile(`from (0\.0*)?[1-9]`)
	numbers := 0
	for _, field := range reflect.VisibleFields(reflect.TypeFor[receive.Config]()) {
		name, values := field.Tag.Get("envconfig"), absurd[field.Type]
		if name == "" {
			continue
		}
		if len(values) > 0 && fromMoreThanZero.MatchString(field.Tag.Get("allowed")) {
			values = append(values[:2:2], "0")
		}
		for _, value := range values {
			numbers++
			if _, err := load("RECEIVER_KEYS", secret, name, value); err == nil || !strings.Contains(err.Error(), name+"=") {
				t.Errorf("%s=%s: %v", name, value, err)
			}
		}
	}
	if numbers < 13 {
		t.Errorf("only %d values were tried", numbers)
	}
}

func TestWrongOrdersAndSettingsAreRefused(t *testing.T) {
	t.Parallel()
	r := start(t)
	for _, c := range []struct{ list, query string }{{"200", ""}, {"drop:5", ""}, {"drop", "?for=-1s"}, {"drop", "?for=soon"}} {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPut, r.second+"/faults"+c.query, strings.NewReader(c.list))
		if err != nil {
			t.Fatal(err)
		}
		resp, err := client.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		if _ = resp.Body.Close(); resp.StatusCode != http.StatusBadRequest {
			t.Errorf("%v: %s", c, resp.Status)
		}
	}
	for keys, want := range map[string]string{
		"":                   `RECEIVER_KEYS="": must be`,
		secret + ",whsec_AA": "(key 2 is not base64 after whsec_)",
		"whsk_" + secret[6:]: "(key 1 is whsk_, which is the sender's: give its public half, whpk_; a consumer's log says it at the start)",
	} {
		_, err := load("RECEIVER_KEYS", keys)
		if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), secret[6:]) {
			t.Errorf("%q: %v, want %s", keys, err, want)
		}
	}
	for want, pairs := range map[string][]string{
		"RECEIVER_KEYS": {"RECEIVER_KEYS", "secret"}, "RECEIVER_FAULTS": {"RECEIVER_KEYS", secret, "RECEIVER_FAULTS", "200"},
		"RUN_ID": {"RECEIVER_KEYS", secret, "RUN_ID", "x"}, "API_URL": {"RECEIVER_KEYS", secret, "API_URL", "localhost"}, "RECEIVER_PORT": {"RECEIVER_KEYS", secret, "RECEIVER_PORT", "-1"},
	} {
		_, err := load(pairs...)
		if err == nil || !strings.Contains(err.Error(), want+"=") || strings.Contains(err.Error(), "secret\"") {
			t.Errorf("%s: %v", want, err)
		}
	}
}

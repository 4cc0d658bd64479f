package config

import (
	"bytes"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"orderflow.example/kit/env"
	"orderflow.example/services/consumer/internal/backoff"
	"orderflow.example/services/consumer/internal/webhook"
)

func load(variables map[string]string) (*Config, error) {
	return Load(func(name string) (string, bool) {
		value, set := variables[name]
		return value, set
	})
}

func TestDefaultsAreTheExamples(t *testing.T) {
	t.Parallel()
	c, err := load(nil)
	if err != nil {
		t.Fatal(err)
	}
	if c.QueueName != "order_queue" || c.BatchSize != 0 || c.VT != 10 || c.Handler != "simulate" || c.SimulateWork != time.Second {
		t.Fatalf("%+v", c)
	}
	if c.HandlerTimeout != 8*time.Second {
		t.Fatalf("handler timeout %s is not 80 %% of VT", c.HandlerTimeout)
	}
	if c.ConsumerID == "" {
		t.Fatal("no consumer id")
	}
}

// What a handler calls may be away for a day without a dead letter, and the wait after its return is bounded. What the table says about
// it is the arithmetic's.
func TestTheDefaultsLastForADay(t *testing.T) {
	t.Parallel()
	c, err := load(nil)
	if err != nil {
		t.Fatal(err)
	}
	p := backoff.Policy{Base: c.BackoffBase, Max: c.BackoffMax, Multiplier: c.BackoffMultiplier}
	var longest time.Duration
	full := 0                                              // the attempt after which the wait is the longest that there is
	for attempt := 1; attempt < c.MaxAttempts; attempt++ { // there is no wait after the last one
		longest += p.Bound(attempt)
		if full == 0 && p.Bound(attempt) == p.Max {
			full = attempt
		}
	}
	average := longest / 2
	if average < 24*time.Hour || p.Max > 2*time.Hour || p.Bound(1) > time.Second {
		t.Errorf("%d attempts take %s on average, %s at most", c.MaxAttempts, average, longest)
	}
	for _, want := range []string{
		fmt.Sprintf("that takes %.0f hours on average", average.Hours()), fmt.Sprintf("grows to it in %d attempts", full-1),
	} {
		if !strings.Contains(Table(), want) {
			t.Errorf("the table does not say: %s", want)
		}
	}
}

func TestTheAddressOfTheDatabaseIsUnderstood(t *testing.T) {
	t.Parallel()
	for _, given := range []string{"postgresql+psycopg2://u:p@h:1/d", "postgresql+asyncpg://u:p@h:1/d?ssl=require", "postgres://u:p@h:1/d", "host=h port=1 dbname=d user=u password=p"} {
		if c, err := load(map[string]string{"DATABASE_URL": given}); err != nil || c.DatabaseURL.String() != "postgres://u@h:1/d" {
			t.Errorf("%s: %s, %v", given, c.DatabaseURL, err)
		}
	}
}

func TestEachWrongValueIsNamedInOneLine(t *testing.T) {
	t.Parallel()
	for name, values := range map[string][]string{
		"DATABASE_URL":       {"nonsense", "postgres://h:port/d", "mysql://h/d", "postress://h/d?sslmode=disable", "postgres://h/d?sslmod=disable"},
		"QUEUE_NAME":         {`x"; drop table orders; --`, "1st", "a b", strings.Repeat("q", 44), "a--b"},
		"BATCH_SIZE":         {"abc", "-1", "10001", "1.5"},
		"VT":                 {"0", "-1", "10s", "99999"},
		"CONCURRENCY":        {"0", "many"},
		"PREFETCH":           {"-1"},
		"MAX_ATTEMPTS":       {"0"},
		"MAX_CRASHES":        {"0", "101"},
		"DRAIN_TIMEOUT":      {"-1s", "20"},
		"POLL_INTERVAL":      {"0", "1ms", "1h"},
		"HANDLER":            {"print", "own"},
		"HANDLER_TIMEOUT":    {"10s", "-1s", "1h"},
		"SIMULATE_FAILURES":  {"all"},
		"SIMULATE_CRASH":     {"exit", "exit:", "panic:someone", ":someone"},
		"WEBHOOK_URL":        {"", "ftp://h", "//h", "https://", "h:80"},
		"WEBHOOK_SECRETS":    {"geheim", "whsec_geheim", ",", "whpk_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"},
		"WEBHOOK_HEADERS":    {"geheim", "webhook-id: 1", "X-A: 1\nX-A: 2"},
		"WEBHOOK_CA_FILE":    {"/no/such/file", "/dev/null"},
		"EFFECT_FUNCTION":    {"", "fulfil", "shop.fulfil()", `shop."ful`, "shop.fulfil; drop table orders", "1.2"},
		"EFFECT_CONNECTIONS": {"0", "101"},
		"BACKOFF_BASE":       {"0"},
		"BACKOFF_MAX":        {"1ms"},
		"BACKOFF_MULTIPLIER": {"0.5", "NaN", "fast"},
		"METRICS_HOST":       {"localhost:9101", "http://x"},
		"METRICS_PORT":       {"-2", "65536", "http"},
		"LOG_LEVEL":          {"loud"},
		"LOG_FORMAT":         {"xml"},
		"CONSUMER_ID":        {"a\nb", strings.Repeat("x", 201)},
	} {
		for _, value := range values {
			environment := map[string]string{name: value}
			if strings.HasPrefix(name, "WEBHOOK_") {
				environment["HANDLER"] = "webhook"
			}
			if name == "EFFECT_FUNCTION" {
				environment["HANDLER"] = "sql"
			}
			if strings.HasSuffix(name, "_FILE") {
				environment["WEBHOOK_URL"] = "https://h"
			}
			if name == "WEBHOOK_SECRETS" || name == "WEBHOOK_HEADERS" {
				environment["WEBHOOK_URL"] = "http://h"
			}
			_, err := load(environment)
			if err == nil || strings.Count(err.Error(), "must be") != 1 {
				t.Errorf("%s=%q: %v", name, value, err)
				continue
			}
			if text := err.Error(); !strings.Contains(text, name+"=") || strings.Contains(text, "\n") {
				t.Errorf("%s=%q: %s", name, value, text)
			}
		}
	}
}

// Who has said where orders go and forgets HANDLER must not have them completed with nothing done. Who says simulate means it.
func TestADestinationWithoutItsHandlerIsRefused(t *testing.T) {
	t.Parallel()
	for name, value := range map[string]string{"WEBHOOK_URL": "http://h/", "EFFECT_FUNCTION": "shop.fulfil"} {
		for _, unset := range []map[string]string{{name: value}, {name: value, "HANDLER": ""}} {
			_, err := load(unset)
			if err == nil || !strings.Contains(err.Error(), "HANDLER=") || !strings.Contains(err.Error(), name) || strings.Count(err.Error(), "must be") != 1 {
				t.Errorf("%v: %v", unset, err)
			}
		}
		if _, err := load(map[string]string{name: value, "HANDLER": "simulate"}); err != nil {
			t.Errorf("%s with HANDLER=simulate: %v", name, err)
		}
	}
}

func TestSeveralWrongValuesAreReportedTogether(t *testing.T) {
	t.Parallel()
	_, err := load(map[string]string{"VT": "0", "BATCH_SIZE": "abc", "LOG_LEVEL": "loud"})
	if err == nil || strings.Count(err.Error(), "must be") != 3 {
		t.Fatalf("%v", err)
	}
}

func TestSecretsAreNeverShown(t *testing.T) {
	t.Parallel()
	const secret = "geheim"
	const key = "whsec_Z2VoZWltZ2VoZWltZ2VoZWltZ2VoZWlt"
	c, err := load(map[string]string{
		"DATABASE_URL": "postgres://user:" + secret + "@h/d", "HANDLER": "webhook",
		"WEBHOOK_URL": "https://u:" + secret + "@h/?token=" + secret, "WEBHOOK_SECRETS": key, "WEBHOOK_HEADERS": "Authorization: Bearer " + secret,
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(c.Keys) != 1 || len(c.Headers) != 1 || c.Headers[0].Value != "Bearer "+secret {
		t.Errorf("%d keys, %d headers", len(c.Keys), len(c.Headers))
	}
	var b bytes.Buffer
	slog.New(slog.NewTextHandler(&b, nil)).Info("start", "config", c)
	for _, shown := range []string{b.String(), fmt.Sprintf("%v %+v", c.Keys, c.Headers)} {
		if strings.Contains(shown, secret) || strings.Contains(shown, key[len(key)-8:]) {
			t.Error(shown)
		}
	}
	for _, variables := range []map[string]string{
		{"WEBHOOK_SECRETS": key + "\n"}, {"WEBHOOK_SECRETS": key + "," + secret}, {"WEBHOOK_HEADERS": "X-A: b\n" + secret},
	} {
		if _, err := load(variables); err == nil || strings.Contains(err.Error(), secret) || strings.Contains(err.Error(), key[6:12]) || !strings.Contains(err.Error(), "WEBHOOK_") {
			t.Errorf("%v", err)
		}
	}
}

func TestWhatStoodInAFileCanBeReadAgain(t *testing.T) {
	t.Parallel()
	variables := map[string]string{"HANDLER": "webhook"}
	want := webhook.Files{}
	for name, of := range map[string]struct {
		content string
		path    *string
	}{
		"WEBHOOK_URL":     {"https://h\n", &want.URL},
		"WEBHOOK_SECRETS": {"whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw\nwhsk_VEVTVFNJR05JTkdLRVlET05PVFVTRVRISVNGT1JBTlk=\n", &want.Keys},
		"WEBHOOK_HEADERS": {"A: b\nC: d\n", &want.Headers},
	} {
		*of.path = filepath.Join(t.TempDir(), name)
		variables[name+"_FILE"] = *of.path
		if err := os.WriteFile(*of.path, []byte(of.content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	c, err := load(variables)
	if err != nil {
		t.Fatal(err)
	}
	if c.Files != want || c.WebhookURL != "https://h" || len(c.Keys) != 2 || len(c.Headers) != 2 {
		t.Errorf("%+v instead of %+v, %d keys, %d headers", c.Files, want, len(c.Keys), len(c.Headers))
	}
}

// A file that is for a receiver by https is of no use to one by http, and half of a pair is none.
func TestCertificatesFitTheReceiver(t *testing.T) {
	t.Parallel()
	for want, variables := range map[string]map[string]string{
		`WEBHOOK_CA_FILE="/x": must be empty when WEBHOOK_URL is not https://`: {"WEBHOOK_URL": "http://h", "WEBHOOK_CA_FILE": "/x"},
		`WEBHOOK_KEY_FILE="": must be the path of the key`:                     {"WEBHOOK_URL": "https://h", "WEBHOOK_CERT_FILE": "/x"},
		`WEBHOOK_CERT_FILE="": must be the path of the certificate`:            {"WEBHOOK_URL": "https://h", "WEBHOOK_KEY_FILE": "/x"},
		`WEBHOOK_CERT_FILE="/x": must be the path of a certificate`:            {"WEBHOOK_URL": "https://h", "WEBHOOK_CERT_FILE": "/x", "WEBHOOK_KEY_FILE": "/x"},
	} {
		variables["HANDLER"] = "webhook"
		if _, err := load(variables); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", want, err)
		}
	}
}

func TestTheTableNamesEveryVariable(t *testing.T) {
	t.Parallel()
	table := Table()
	for _, name := range []string{"DATABASE_URL", "QUEUE_NAME", "BATCH_SIZE", "VT", "CONCURRENCY", "HANDLER", "METRICS_PORT"} {
		if !strings.Contains(table, "| `"+name+"` |") {
			t.Errorf("%s is missing in\n%s", name, table)
		}
	}
}

// A number without bounds is one with which a program starts and does not work: each has them, at both ends.
func TestEveryNumberHasBounds(t *testing.T) {
	t.Parallel()
	absurd := map[reflect.Type][]string{
		reflect.TypeFor[int]():           {"-2", "2147483647"},
		reflect.TypeFor[float64]():       {"-1", "1e300"},
		reflect.TypeFor[time.Duration](): {"-1s", "2500000h"},
		reflect.TypeFor[env.Size]():      {"-1", "8589934591GiB"},
	}
	numbers := 0
	fields := reflect.VisibleFields(reflect.TypeFor[Config]())
	for _, field := range fields {
		name := field.Tag.Get("envconfig")
		for _, value := range absurd[field.Type] {
			if name == "" {
				continue
			}
			numbers++
			if _, err := load(map[string]string{name: value}); err == nil || !strings.Contains(err.Error(), name+"=") {
				t.Errorf("%s=%s: %v", name, value, err)
			}
		}
	}
	if numbers < 20 {
		t.Errorf("only %d values were tried", numbers)
	}
}

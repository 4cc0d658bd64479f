package config

import (
	"bytes"
	"log/slog"
	"strings"
	"testing"
	"time"

	"orderflow.example/services/consumer/internal/backoff"
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
	if c.QueueName != "order_queue" || c.BatchSize != 30 || c.VT != 10 || c.Handler != "simulate" || c.SimulateWork != time.Second {
		t.Fatalf("%+v", c)
	}
	if c.HandlerTimeout != 8*time.Second {
		t.Fatalf("handler timeout %s is not 80 %% of VT", c.HandlerTimeout)
	}
	if c.ConsumerID == "" {
		t.Fatal("no consumer id")
	}
}

// What a handler calls may be away for hours without a dead letter, and the wait after its return is bounded.
func TestTheDefaultsLastForHours(t *testing.T) {
	t.Parallel()
	c, err := load(nil)
	if err != nil {
		t.Fatal(err)
	}
	p := backoff.Policy{Base: c.BackoffBase, Max: c.BackoffMax, Multiplier: c.BackoffMultiplier}
	var longest time.Duration
	for attempt := 1; attempt < c.MaxAttempts; attempt++ { // there is no wait after the last one
		longest += p.Bound(attempt)
	}
	if average := longest / 2; average < 6*time.Hour || longest > 24*time.Hour || p.Bound(1) > time.Second {
		t.Errorf("%d attempts take %s on average, %s at most", c.MaxAttempts, average, longest)
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
		"BATCH_SIZE":         {"abc", "0", "-1", "10001", "1.5"},
		"VT":                 {"0", "-1", "10s", "99999"},
		"CONCURRENCY":        {"0", "many"},
		"PREFETCH":           {"-1"},
		"MAX_ATTEMPTS":       {"0"},
		"DRAIN_TIMEOUT":      {"-1s", "20"},
		"POLL_INTERVAL":      {"0", "1ms", "1h"},
		"HANDLER":            {"print"},
		"HANDLER_TIMEOUT":    {"10s", "-1s", "1h"},
		"SIMULATE_FAILURES":  {"all"},
		"WEBHOOK_URL":        {"", "ftp://h", "//h"},
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
			if name == "WEBHOOK_URL" {
				environment["HANDLER"] = "webhook"
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
	c, err := load(map[string]string{
		"DATABASE_URL": "postgres://user:" + secret + "@h/d", "HANDLER": "webhook",
		"WEBHOOK_URL": "https://u:" + secret + "@h/?token=" + secret, "WEBHOOK_SECRET": secret,
	})
	if err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	slog.New(slog.NewTextHandler(&b, nil)).Info("start", "config", c)
	if strings.Contains(b.String(), secret) {
		t.Error(b.String())
	}
	if _, err := load(map[string]string{"WEBHOOK_SECRET": secret + "\n"}); err == nil || strings.Contains(err.Error(), secret) || !strings.Contains(err.Error(), "WEBHOOK_SECRET=") {
		t.Errorf("a newline at its end: %v", err)
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

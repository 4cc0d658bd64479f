package config

import (
	"bytes"
	"errors"
	"log/slog"
	"os"
	"strings"
	"testing"
	"time"
)

// The environment belongs to the process, so these tests do not run in parallel.

func load(t *testing.T, environment map[string]string) (Config, error) {
	t.Helper()
	for _, line := range os.Environ() {
		name, _, _ := strings.Cut(line, "=")
		if strings.HasPrefix(name, "TEST_") || name == "PATH" || name == "HOME" {
			continue
		}
		t.Setenv(name, "") // restored after the test; empty counts as not set
	}
	for name, value := range environment {
		t.Setenv(name, value)
	}
	return Load()
}

func TestDefaultsAreTheExamples(t *testing.T) {
	c, err := load(t, nil)
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

func TestASQLAlchemyAddressIsUnderstood(t *testing.T) {
	for given, want := range map[string]string{
		"postgresql+psycopg2://u:p@h:1/d": "postgresql://u:p@h:1/d",
		"postgresql+asyncpg://u:p@h:1/d":  "postgresql://u:p@h:1/d",
		"postgres://u:p@h:1/d":            "postgres://u:p@h:1/d",
		"host=h port=1 dbname=d":          "host=h port=1 dbname=d",
	} {
		c, err := load(t, map[string]string{"DATABASE_URL": given})
		if err != nil || c.DatabaseURL != want {
			t.Errorf("%s: %s, %v", given, c.DatabaseURL, err)
		}
	}
}

func TestEachWrongValueIsNamedInOneLine(t *testing.T) {
	for name, values := range map[string][]string{
		"DATABASE_URL":       {"nonsense", "postgres://h:port/d", "mysql://h/d"},
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
			_, err := load(t, environment)
			var wrong *Error
			if !errors.As(err, &wrong) || len(wrong.Problems) != 1 {
				t.Errorf("%s=%q: %v", name, value, err)
				continue
			}
			if text := err.Error(); !strings.Contains(text, name+"=") || !strings.Contains(text, "must ") || strings.Contains(text, "\n") {
				t.Errorf("%s=%q: %s", name, value, text)
			}
		}
	}
}

func TestSeveralWrongValuesAreReportedTogether(t *testing.T) {
	_, err := load(t, map[string]string{"VT": "0", "BATCH_SIZE": "abc", "LOG_LEVEL": "loud"})
	var wrong *Error
	if !errors.As(err, &wrong) || len(wrong.Problems) != 3 {
		t.Fatalf("%v", err)
	}
}

func TestSecretsAreNeverShown(t *testing.T) {
	const secret = "geheim"
	for _, address := range []string{
		"postgres://user:" + secret + "@h/d",
		"postgres://user@h/d?password=" + secret,
		"host=h user=u password=" + secret,
		"host=h user=u password='" + secret + " and more'",
		"postgres://user:" + secret + "@not a host/d",
		"postgresql+psycopg2://user:" + secret + "@h:x/d",
	} {
		c, err := load(t, map[string]string{
			"DATABASE_URL": address, "HANDLER": "webhook",
			"WEBHOOK_URL": "https://u:" + secret + "@h/?token=" + secret, "WEBHOOK_SECRET": secret,
		})
		var b bytes.Buffer
		slog.New(slog.NewTextHandler(&b, nil)).Info("start", "config", c)
		if strings.Contains(b.String(), secret) || err != nil && strings.Contains(err.Error(), secret) {
			t.Errorf("%s: %s %v", address, b.String(), err)
		}
	}
}

func TestTheTableNamesEveryVariable(t *testing.T) {
	var b bytes.Buffer
	if err := WriteTable(&b); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"DATABASE_URL", "QUEUE_NAME", "BATCH_SIZE", "VT", "CONCURRENCY", "HANDLER", "METRICS_PORT"} {
		if !strings.Contains(b.String(), "| `"+name+"` |") {
			t.Errorf("%s is missing in\n%s", name, b.String())
		}
	}
}

func FuzzAddressesAreMasked(f *testing.F) {
	f.Add("postgres://user:", "@host/db?x=1")
	f.Add("host=h password=", " user=u")
	f.Add("x://:", "@")
	f.Fuzz(func(t *testing.T, before, after string) {
		// Between a colon and an @, or behind password=, stands what must not be seen.
		const secret = "S3cr3t"
		if strings.Contains(before+after, secret) {
			return
		}
		for _, text := range []string{"postgres://user:" + secret + "@" + after, before + " password=" + secret, "host=h password=" + secret + " " + after} {
			if masked := maskURL(text); strings.Contains(masked, secret) {
				t.Errorf("%q is shown as %q", text, masked)
			}
		}
	})
}

package config_test

import (
	"bytes"
	"errors"
	"flag"
	"io"
	"os"
	"reflect"
	"strings"
	"testing"
	"time"

	"orderflow.example/services/loadgen/internal/config"
)

// setenv gives the test an environment of its own: what the machine sets is taken away.
func setenv(t *testing.T, pairs ...string) {
	t.Helper()
	typ := reflect.TypeFor[config.Config]()
	for i := range typ.NumField() {
		name := typ.Field(i).Tag.Get("envconfig")
		t.Setenv(name, "")
		unset(t, name)
	}
	for i := 0; i < len(pairs); i += 2 {
		t.Setenv(pairs[i], pairs[i+1])
	}
}

func unset(t *testing.T, name string) {
	t.Helper()
	if err := os.Unsetenv(name); err != nil { // t.Setenv has seen to it that it comes back
		t.Fatal(err)
	}
}

func load(t *testing.T, command string, args ...string) (*config.Config, error) {
	t.Helper()
	return config.Load(command, args, io.Discard)
}

func TestDefaultsAreTheExample(t *testing.T) {
	setenv(t)
	c, err := load(t, "run")
	if err != nil {
		t.Fatal(err)
	}
	if c.APIURL != "http://localhost:8000" || c.Orders != 100 || c.Concurrency != 20 || c.Open() || c.Bulk != 1 || !c.Audit {
		t.Fatalf("%+v", c)
	}
	if c.RunID == "" || c.Seed == 0 {
		t.Fatalf("run %q, seed %d", c.RunID, c.Seed)
	}
	again, err := load(t, "run", "--run", c.RunID)
	if err != nil || again.Seed != c.Seed {
		t.Fatalf("the same run has another seed: %d, %v", again.Seed, err)
	}
}

func TestFlagsOverrideTheEnvironment(t *testing.T) {
	setenv(t, "ORDERS", "7", "RATE", "10", "RUN_ID", "a", "REPORT_JSON", "x.json", "THRESHOLDS", "lost==0", "API_URL", "http://u:secret@host:1/base/")
	c, err := load(t, "run", "--orders", "8", "--run=b", "--html", "y.html", "-v", "--thresholds", "dead==0,post_p99<1s")
	if err != nil {
		t.Fatal(err)
	}
	if c.Orders != 8 || c.Rate != 10 || c.RunID != "b" || c.ReportJSON != "x.json" || c.ReportHTML != "y.html" || c.LogLevel != "debug" ||
		c.Thresholds.String() != "dead==0,post_p99<1s" || c.APIURL != "http://u:secret@host:1/base" {
		t.Fatalf("%+v", c)
	}
	if text := c.Changed()["API_URL"]; strings.Contains(text, "secret") || !strings.Contains(text, "host:1") {
		t.Fatalf("API_URL is shown as %q", text)
	}
}

func TestADurationNeedsNoNumberOfOrders(t *testing.T) {
	setenv(t, "DURATION", "5s")
	if c, err := load(t, "run"); err != nil || c.Orders != 0 || c.Duration != 5*time.Second {
		t.Fatalf("%+v, %v", c, err)
	}
	setenv(t, "STAGES", "5s:10")
	if c, err := load(t, "run"); err != nil || c.Orders != 0 || !c.Open() {
		t.Fatalf("%+v, %v", c, err)
	}
	setenv(t, "DURATION", "5s", "ORDERS", "100")
	if c, err := load(t, "run"); err != nil || c.Orders != 100 {
		t.Fatalf("asked for 100: %+v, %v", c, err)
	}
	setenv(t)
	if c, err := load(t, "audit", "--run", "x"); err != nil || c.Orders != 0 {
		t.Fatalf("an audit expects no number of orders: %+v, %v", c, err)
	}
}

func TestEveryWrongValueIsNamedAtOnce(t *testing.T) {
	setenv(t, "ORDERS", "many", "RATE", "-1", "STAGES", "5", "ARRIVALS", "weird", "API_URL", "localhost:8000", "POISON_SHARE", "150%", "RUN_ID", "a b",
		"THRESHOLDS", "p99<5", "BACKOFF_MAX", "1ms", "AUDIT_PATIENCE", "-1s", "OVERSIZED_BYTES", "1GB", "LOG_LEVEL", "loud")
	_, err := load(t, "run", "extra")
	var e *config.Error
	if !errors.As(err, &e) {
		t.Fatalf("got %v", err)
	}
	text := err.Error()
	if strings.Contains(text, "\n") {
		t.Errorf("more than one line: %s", text)
	}
	for _, want := range []string{
		`ORDERS="many": must be a whole number from 0 to 1000000000`, `RATE="-1"`, `STAGES="5"`, `ARRIVALS="weird": must be constant or poisson`, `API_URL="localhost:8000": must be an http:// or https:// URL`,
		`POISON_SHARE="150%"`, `RUN_ID="a b"`, `THRESHOLDS="p99<5"`, `BACKOFF_MAX="1ms"`, `AUDIT_PATIENCE="-1s"`, `OVERSIZED_BYTES="1GB"`, `LOG_LEVEL="loud"`, `argument "extra"`,
	} {
		if !strings.Contains(text, want) {
			t.Errorf("%s is not in: %s", want, text)
		}
	}
	if n := strings.Count(text, "ORDERS="); n != 1 {
		t.Errorf("ORDERS is named %d times", n)
	}
}

func TestValuesThatDoNotGoTogetherAreRefused(t *testing.T) {
	for _, c := range [][]string{
		{"ORDERS", "0"}, {"STAGES", "5s:10", "DURATION", "5s"}, {"STAGES", "5s:0"}, {"POISON_SHARE", "50%", "DUPLICATE_SHARE", "0.5"}, {"CAPACITY_MIN", "500", "CAPACITY_MAX", "100"},
	} {
		setenv(t, c...)
		if _, err := load(t, "run"); err == nil {
			t.Errorf("%v was taken", c)
		}
	}
	setenv(t)
	if _, err := load(t, "audit"); err == nil || !strings.Contains(err.Error(), "RUN_ID") {
		t.Errorf("an audit of no run: %v", err)
	}
}

// A condition that no result could meet is found before the run and not after it.
func TestThresholdsThatCanHaveNoValueAreRefused(t *testing.T) {
	for _, c := range []struct {
		command string
		env     []string
		ok      bool
	}{
		{"run", []string{"THRESHOLDS", "lost==0", "AUDIT", "false"}, false},
		{"run", []string{"THRESHOLDS", "e2e_p99<1s", "AUDIT", "false"}, false},
		{"run", []string{"THRESHOLDS", "refused==0,accepted>1", "AUDIT", "false"}, true},
		{"run", []string{"THRESHOLDS", "rate_kept>98%"}, false},
		{"run", []string{"THRESHOLDS", "rate_kept>98%,lost==0", "RATE", "10"}, true},
		{"run", []string{"THRESHOLDS", "dropped==0"}, true},
		{"capacity", []string{"THRESHOLDS", "rate_kept>98%,lost==0", "AUDIT", "false"}, true},
		{"audit", []string{"THRESHOLDS", "post_p99<1s", "RUN_ID", "x"}, false},
		{"audit", []string{"THRESHOLDS", "lost==0,e2e_p99<1s", "RUN_ID", "x"}, true},
	} {
		setenv(t, c.env...)
		_, err := load(t, c.command)
		if (err == nil) != c.ok || (err != nil && !strings.Contains(err.Error(), "can have no value: ")) {
			t.Errorf("%s %v: %v", c.command, c.env, err)
		}
	}
}

func TestADurationWithoutAUnitIsSaidToBeOne(t *testing.T) {
	setenv(t, "DURATION", "30")
	_, err := load(t, "run")
	if err == nil || !strings.Contains(err.Error(), `DURATION="30": must be a duration such as 90s or 5m (30 what? The unit is missing)`) {
		t.Error(err)
	}
	setenv(t)
	if _, err = load(t, "run", "--duration", "30"); err == nil || !strings.Contains(err.Error(), "must be a duration such as 90s or 5m (30 what? The unit is missing)") {
		t.Error(err)
	}
	if c, err := load(t, "run", "--duration", "30s"); err != nil || c.Duration != 30*time.Second {
		t.Error(err)
	}
}

func TestHelpIsPrinted(t *testing.T) {
	setenv(t)
	var out bytes.Buffer
	if _, err := config.Load("run", []string{"-h"}, &out); !errors.Is(err, flag.ErrHelp) || !strings.Contains(out.String(), "loadgen audit") {
		t.Fatalf("%v: %s", err, out.String())
	}
	out.Reset()
	if _, err := config.Load("run", []string{"--nonsense"}, &out); err == nil || out.Len() != 0 {
		t.Fatalf("a wrong flag is one line: %v and %q", err, out.String())
	}
}

func TestTheTableHasEveryVariable(t *testing.T) {
	t.Parallel()
	table := config.Markdown()
	typ := reflect.TypeFor[config.Config]()
	for i := range typ.NumField() {
		tag := typ.Field(i).Tag
		if tag.Get("desc") == "" || tag.Get("allowed") == "" {
			t.Errorf("%s has no description", typ.Field(i).Name)
		}
		if !strings.Contains(table, "| `"+tag.Get("envconfig")+"` |") {
			t.Errorf("%s is not in the table", tag.Get("envconfig"))
		}
	}
	if len(config.Default().Changed()) != 0 {
		t.Errorf("the defaults differ from themselves: %v", config.Default().Changed())
	}
}

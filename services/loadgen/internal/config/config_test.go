package config_test

import (
	"errors"
	"reflect"
	"regexp"
	"strings"
	"testing"
	"time"

	"orderflow.example/kit/env"
	"orderflow.example/services/loadgen/internal/config"
)

// load reads settings: names and values in turn.
func load(command string, pairs ...string) (*config.Config, error) {
	return config.Load(command, func(name string) (string, bool) {
		for i := 0; i < len(pairs); i += 2 {
			if pairs[i] == name {
				return pairs[i+1], true
			}
		}
		return "", false
	})
}

func TestDefaultsAreTheExample(t *testing.T) {
	t.Parallel()
	c, err := load("run")
	if err != nil {
		t.Fatal(err)
	}
	if c.APIURL != "http://localhost:8000" || c.Orders != 100 || c.Concurrency != 20 || c.Open() || c.Bulk != 1 || !c.Audit {
		t.Fatalf("%+v", c)
	}
	if c.RunID == "" || c.Seed == 0 {
		t.Fatalf("run %q, seed %d", c.RunID, c.Seed)
	}
	again, err := load("run", "RUN_ID", c.RunID)
	if err != nil || again.Seed != c.Seed {
		t.Fatalf("the same run has another seed: %d, %v", again.Seed, err)
	}
	if c, err := load("run", "ORDERS", "", "RATE", ""); err != nil || c.Orders != 100 {
		t.Errorf("a variable that is set to nothing is not its default: %+v, %v", c, err)
	}
}

func TestAPasswordInTheAddressIsNotShown(t *testing.T) {
	t.Parallel()
	c, err := load("run", "API_URL", "http://u:secret@host:1/base/")
	if err != nil || c.APIURL != "http://u:secret@host:1/base" {
		t.Fatalf("%+v, %v", c, err)
	}
	if text := c.Changed()["API_URL"]; strings.Contains(text, "secret") || !strings.Contains(text, "host:1") {
		t.Fatalf("API_URL is shown as %q", text)
	}
	if _, err := load("run", "API_URL", "ftp://u:secret@host"); err == nil || strings.Contains(err.Error(), "secret") {
		t.Error(err)
	}
}

func TestTokenIsNeverShown(t *testing.T) {
	t.Parallel()
	c, err := load("run", "API_TOKEN", "s3cret-token")
	if err != nil || c.APIToken != "s3cret-token" {
		t.Fatal(c, err)
	}
	if text := c.Changed()["API_TOKEN"]; text != "***" {
		t.Errorf("it is shown as %q", text)
	}
	for list, first := range map[string]string{"one": "one", "one,two": "one", "one\ntwo": "one", "one two": "one", "": ""} {
		if c, err := load("run", "API_TOKEN", list); err != nil || c.Token() != first {
			t.Errorf("of %q it sends %q, %v", list, c.Token(), err)
		}
	}
	for _, wrong := range []string{",", "s3cret\n", " s3cret", "s3cr\u00e9t"} {
		if _, err := load("run", "API_TOKEN", wrong); err == nil || strings.Contains(err.Error(), "s3c") || !strings.Contains(err.Error(), `API_TOKEN="***": must be `) {
			t.Errorf("%q: %v", wrong, err)
		}
	}
	if _, err := load("run", "API_TOKEN", "s3cret-token", "API_URL", "http://user:password@host"); err == nil || !strings.Contains(err.Error(), "API_URL has a user") {
		t.Errorf("a token and a user: %v", err)
	}
}

func TestADurationNeedsNoNumberOfOrders(t *testing.T) {
	t.Parallel()
	if c, err := load("run", "DURATION", "5s"); err != nil || c.Orders != 0 || c.Duration != 5*time.Second {
		t.Fatalf("%+v, %v", c, err)
	}
	if c, err := load("run", "STAGES", "5s:10"); err != nil || c.Orders != 0 || !c.Open() {
		t.Fatalf("%+v, %v", c, err)
	}
	if c, err := load("run", "DURATION", "5s", "ORDERS", "100"); err != nil || c.Orders != 100 {
		t.Fatalf("asked for 100: %+v, %v", c, err)
	}
	if c, err := load("audit", "RUN_ID", "x"); err != nil || c.Orders != 0 {
		t.Fatalf("an audit expects no number of orders: %+v, %v", c, err)
	}
}

func TestEveryWrongValueIsNamedAtOnce(t *testing.T) {
	t.Parallel()
	_, err := load("run", "ORDERS", "many", "RATE", "-1", "STAGES", "5", "ARRIVALS", "weird", "API_URL", "localhost:8000", "POISON_SHARE", "150%", "RUN_ID", "a b",
		"THRESHOLDS", "p99<5", "BACKOFF_MAX", "1ms", "AUDIT_PATIENCE", "-1s", "LOG_LEVEL", "loud")
	if !errors.Is(err, env.ErrConfiguration) {
		t.Fatalf("got %v", err)
	}
	text := err.Error()
	if strings.Contains(text, "\n") {
		t.Errorf("more than one line: %s", text)
	}
	for _, want := range []string{
		`ORDERS="many": must be a whole number from 0 to 1000000000`, `RATE="-1"`, `STAGES="5"`, `ARRIVALS="weird": must be constant or poisson`, `API_URL="localhost:8000": must be an http:// or https:// URL`,
		`POISON_SHARE="150%"`, `RUN_ID="a b"`, `THRESHOLDS="p99<5"`, `BACKOFF_MAX="1ms"`, `AUDIT_PATIENCE="-1s"`, `LOG_LEVEL="loud"`,
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
	t.Parallel()
	for _, c := range [][]string{
		{"ORDERS", "0"}, {"STAGES", "5s:10", "DURATION", "5s"}, {"STAGES", "5s:0"}, {"POISON_SHARE", "50%", "DUPLICATE_SHARE", "0.5"}, {"CAPACITY_MIN", "500", "CAPACITY_MAX", "100"},
	} {
		if _, err := load("run", c...); err == nil {
			t.Errorf("%v was taken", c)
		}
	}
	if _, err := load("audit"); err == nil || !strings.Contains(err.Error(), "RUN_ID") {
		t.Errorf("an audit of no run: %v", err)
	}
}

// A condition that no result could meet is found before the run and not after it.
func TestThresholdsThatCanHaveNoValueAreRefused(t *testing.T) {
	t.Parallel()
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
		_, err := load(c.command, c.env...)
		if (err == nil) != c.ok || (err != nil && !strings.Contains(err.Error(), "can have no value: ")) {
			t.Errorf("%s %v: %v", c.command, c.env, err)
		}
	}
}

// A receiver that nobody would ask is found before the run.
func TestAReceiverIsRefusedWhereThereIsNoAudit(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		command string
		env     []string
		ok      bool
	}{
		{"run", nil, true},
		{"run", []string{"AUDIT", "false"}, false},
		{"audit", []string{"RUN_ID", "x", "AUDIT", "false"}, true},
		{"capacity", nil, false},
		{"capacity", []string{"THRESHOLDS", "post_p99<1s"}, false},
		{"capacity", []string{"THRESHOLDS", "lost==0", "AUDIT", "false"}, true},
	} {
		_, err := load(c.command, append(c.env, "RECEIVER_URL", "http://receiver:9102")...)
		if (err == nil) != c.ok || err != nil && !strings.Contains(err.Error(), `RECEIVER_URL="http://receiver:9102": must be `) {
			t.Errorf("%s %v: %v", c.command, c.env, err)
		}
	}
}

func TestADurationWithoutAUnitIsSaidToBeOne(t *testing.T) {
	t.Parallel()
	_, err := load("run", "DURATION", "30")
	if err == nil || !strings.Contains(err.Error(), `DURATION="30": must be a duration such as 90s or 5m (30 what? The unit is missing)`) {
		t.Error(err)
	}
}

// A number without bounds is one with which a program starts and does not work: each has them, at both ends.
func TestEveryNumberHasBounds(t *testing.T) {
	t.Parallel()
	absurd := map[reflect.Type][]string{
		reflect.TypeFor[int]():           {"-2", "2147483647"},
		reflect.TypeFor[float64]():       {"-1", "1e300"},
		reflect.TypeFor[time.Duration](): {"-1s", "2500000h"},
		reflect.TypeFor[config.Share]():  {"-1%", "95%"},
	}
	fromMoreThanZero := regexp.MustCompile(`from (0\.0*)?[1-9]`)
	numbers := 0
	for _, field := range reflect.VisibleFields(reflect.TypeFor[config.Config]()) {
		name, values := field.Tag.Get("envconfig"), absurd[field.Type]
		if name == "" {
			continue
		}
		if len(values) > 0 && fromMoreThanZero.MatchString(field.Tag.Get("allowed")) {
			values = append(values[:2:2], "0")
		}
		for _, value := range values {
			numbers++
			if _, err := load("run", name, value); err == nil || !strings.Contains(err.Error(), name+"=") {
				t.Errorf("%s=%s: %v", name, value, err)
			}
		}
	}
	if numbers < 50 {
		t.Errorf("only %d values were tried", numbers)
	}
}

func TestTheTableHasEveryVariable(t *testing.T) {
	t.Parallel()
	table := config.Table()
	typ := reflect.TypeFor[config.Config]()
	for _, field := range reflect.VisibleFields(typ) {
		if field.Anonymous {
			continue
		}
		tag := field.Tag
		if tag.Get("desc") == "" || tag.Get("allowed") == "" {
			t.Errorf("%s has no description", field.Name)
		}
		if !strings.Contains(table, "| `"+tag.Get("envconfig")+"` |") {
			t.Errorf("%s is not in the table", tag.Get("envconfig"))
		}
	}
	if len(config.Default().Changed()) != 0 {
		t.Errorf("the defaults differ from themselves: %v", config.Default().Changed())
	}
}

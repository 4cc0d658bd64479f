package config

import (
	"bytes"
	"fmt"
	"log/slog"
	"reflect"
	"strings"
	"testing"
	"time"

	"orderflow.example/kit/env"
)

// wrong is what every error begins with.
const wrong = "wrong configuration: "

func load(env map[string]string) (*Config, error) {
	return Load(func(name string) (string, bool) {
		value, set := env[name]
		return value, set
	})
}

func TestDefaults(t *testing.T) {
	t.Parallel()
	for name, env := range map[string]map[string]string{"nothing set": nil, "set to nothing": {"API_PORT": "", "QUEUE_NAME": "", "DATABASE_URL": ""}} {
		cfg, err := load(env)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if cfg.APIPort != 8000 || cfg.QueueName != "order_queue" || cfg.Database.Host != "localhost" || cfg.Database.Password != "postgres" || cfg.BodyLimit != 2<<20 {
			t.Errorf("%s: %+v", name, cfg)
		}
	}
}

func TestDatabaseURL(t *testing.T) {
	t.Parallel()
	cfg, err := load(map[string]string{"DATABASE_URL": "postgresql+psycopg2://me:s3cret@db.example:5433/orders?schema=public"})
	if err != nil {
		t.Fatal(err)
	}
	if db := cfg.Database; db.Host != "db.example" || db.Port != 5433 || db.User != "me" || db.Password != "s3cret" || db.Database != "orders" || db.ConnectTimeout != time.Second ||
		db.RuntimeParams["application_name"] != "orderflow-api" {
		t.Errorf("read as %s:%d %s %s", db.Host, db.Port, db.User, db.Database)
	}
	var log bytes.Buffer
	slog.New(slog.NewJSONHandler(&log, nil)).Info("start", "config", cfg)
	if text := log.String(); strings.Contains(text, "s3cret") || !strings.Contains(text, "postgres://me@db.example:5433/orders") {
		t.Errorf("printed as %s", text)
	}
	for _, url := range []string{"postress://me:s3cret@db/x", "postgres://me:s3cret@db/x?sslmod=disable", "me:s3cret@db/x"} {
		_, err := load(map[string]string{"DATABASE_URL": url})
		if text := fmt.Sprint(err); err == nil || strings.Contains(text, "s3cret") || !strings.HasPrefix(text, wrong+"DATABASE_URL=") {
			t.Errorf("%s: %s", url, text)
		}
	}
}

// Where requests have more time, connecting has more, too, unless the URL says how much.
func TestConnectingTakesAsLongAsARequest(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		request, url string
		want         time.Duration
	}{
		{"900ms", "", time.Second},
		{"3s", "", 3 * time.Second},
		{"1m", "", 5 * time.Second},
		{"1m", "?connect_timeout=2", 2 * time.Second},
	} {
		c, err := load(map[string]string{"DATABASE_URL": "postgres://localhost/orders" + test.url, "REQUEST_TIMEOUT": test.request})
		if err != nil {
			t.Fatal(err)
		}
		if got := c.Database.ConnectTimeout; got != test.want {
			t.Errorf("REQUEST_TIMEOUT=%s, and %q: %v, want %v", test.request, test.url, got, test.want)
		}
	}
}

func TestWrongValues(t *testing.T) {
	t.Parallel()
	for name, values := range map[string][]string{
		"API_PORT":        {"-1", "65536", "abc", "80.5"},
		"METRICS_HOST":    {"localhost:9100", "http://x"},
		"METRICS_PORT":    {"-2", "8000"},
		"QUEUE_NAME":      {`x"; drop table orders; --`, "1st", "a b", strings.Repeat("q", 44), "ü", "a--b"},
		"REQUEST_TIMEOUT": {"0", "1", "10h", "fast"},
		"WRITE_QUEUE":     {"0", "1e3"},
		"DB_MAX_CONNS":    {"3", "0"},
		"BODY_LIMIT":      {"0", "1TB", "-1", "2 MiB extra", "999GiB"},
		"PGMQ_INSTALL":    {"yes"},
		"LOG_FORMAT":      {"xml"},
		"LOG_REQUESTS":    {"sometimes", "true"},
		"TRACE_URL_TEMPLATE": {
			"https://traces.example/trace/", "traces.example/{trace_id}", "javascript:alert('{trace_id}')", "https://{trace_id}.example/", "https:///{trace_id}",
		},
		"API_HOST":        {"http://localhost", "a b"},
		"API_DB_PASSWORD": {"without a role"},
		"API_DB_ROLE":     {"postgres", "pg_api", "public", strings.Repeat("r", 64)},
		"METRICS_DB_ROLE": {"none"},
		"ADMIN_TOKEN":     {" sesame", "sesame\n", "\u00a0sesame", "sesam\u00e9", "a,b\x01"},
		"API_TOKENS":      {" sesame", "sesame\n", ",", "open sesam\u00e9"},
	} {
		for _, value := range values {
			_, err := load(map[string]string{name: value})
			if err == nil {
				t.Errorf("%s=%q was taken", name, value)
				continue
			}
			if !strings.HasPrefix(err.Error(), wrong+name+"=") || strings.Contains(err.Error(), "\n") || !strings.Contains(err.Error(), "must be ") {
				t.Errorf("%s=%q: %v", name, value, err)
			}
		}
	}
}

func TestEachVariableIsComplainedAboutOnce(t *testing.T) {
	t.Parallel()
	_, err := load(map[string]string{"REQUEST_TIMEOUT": "5", "DB_MAX_CONNS": "many", "ADMIN_TOKEN": "s3cret\t"})
	if text := fmt.Sprint(err); strings.Count(text, "must be") != 3 || !strings.Contains(text, `REQUEST_TIMEOUT="5": must be a duration`) || strings.Contains(text, "s3cret") {
		t.Error(err)
	}
}

func TestRolesThatWouldLockSomebodyOut(t *testing.T) {
	t.Parallel()
	env := map[string]string{
		"DATABASE_URL": "postgres://owner@db/x", "API_DB_ROLE": "owner", "CONSUMER_DB_ROLE": "twice", "METRICS_DB_ROLE": "twice",
	}
	_, err := load(env)
	if text := fmt.Sprint(err); !strings.Contains(text, `API_DB_ROLE="owner": must be another than the role that migrates`) || !strings.Contains(text, `METRICS_DB_ROLE="twice": must be given once and not twice`) {
		t.Error(err)
	}
	_, err = load(map[string]string{"CONSUMER_DB_ROLE": "consumer", "CONSUMER_DB_PASSWORD": "pässword"})
	if text := fmt.Sprint(err); !strings.HasPrefix(text, wrong+`CONSUMER_DB_PASSWORD="***": must be of printable ASCII`) {
		t.Error(err)
	}
	// Who does not migrate may well be the role that somebody else's migration makes.
	if _, err := load(map[string]string{"DATABASE_URL": "postgres://api@db/x", "API_DB_ROLE": "api", "MIGRATE_ON_START": "false"}); err != nil {
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

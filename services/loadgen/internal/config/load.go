package config

import (
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"hash/fnv"
	"io"
	"math"
	"net"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"time"
	"unicode"

	"orderflow.example/kit/env"
	"orderflow.example/services/loadgen/internal/arrivals"
	"orderflow.example/services/loadgen/internal/thresholds"
)

// Load reads the environment, or the flags that take precedence over it, and checks the whole. The error names every value that is wrong.
func Load(command string, lookup env.Lookup) (*Config, error) {
	cfg := &Config{}
	problems := env.Read(lookup, cfg)
	for _, c := range cfg.checks(command) {
		if !c.ok {
			problems.Refuse(c.name, c.why)
		}
	}
	if err := problems.Err(); err != nil {
		return nil, err
	}
	// ORDERS has a default for the plain run. Beside a duration it would cut the run short without having been asked for, and an audit
	// would miss orders that nobody sent.
	if orders, _ := lookup("ORDERS"); orders == "" && (cfg.Duration > 0 || len(cfg.Stages) > 0 || command == "audit") {
		cfg.Orders = 0
	}
	cfg.APIURL = strings.TrimRight(cfg.APIURL, "/")
	if cfg.RunID == "" {
		cfg.RunID = newRunID(time.Now())
	}
	if cfg.Seed == 0 {
		h := fnv.New64a()
		_, _ = io.WriteString(h, cfg.RunID) // a hash never refuses bytes
		cfg.Seed = h.Sum64()
	}
	return cfg, nil
}

// newRunID makes a name that sorts by time and does not collide between machines that start in the same second.
func newRunID(now time.Time) string {
	var random [3]byte
	_, _ = rand.Read(random[:]) // crypto/rand.Read never fails: it ends the program instead
	return now.UTC().Format("20060102-150405-") + hex.EncodeToString(random[:])
}

// Default is the configuration without any environment: what tests and tools start from.
func Default() *Config {
	cfg := &Config{}
	env.Default(cfg)
	return cfg
}

// Changed are the variables whose values differ from the defaults, as text; a password in a URL is masked.
func (c *Config) Changed() map[string]string { return env.Changed(c) }

// Table documents the variables as a Markdown table.
func Table() string { return env.Table(&Config{}) }

// Token is the one of API_TOKEN to send: the first, so that the list that the api has will do.
func (c *Config) Token() string {
	for token := range strings.FieldsFuncSeq(c.APIToken, func(r rune) bool { return r == ',' || unicode.IsSpace(r) }) {
		return token
	}
	return ""
}

// sendable tells whether a header can name a token.
func sendable(token string) bool {
	return token != "" && strings.IndexFunc(token, func(r rune) bool { return r <= ' ' || r > '~' }) < 0
}

// check is one condition on a variable, and why it does not hold where there is more to say than what is allowed.
type check struct {
	name string
	ok   bool
	why  string
}

var runIDForm = regexp.MustCompile(`^[A-Za-z0-9._-]{1,100}$`)

// checks holds what a single value's type cannot say: ranges, and values that do not go together.
func (c *Config) checks(command string) []check {
	within := func(name string, d, low, high time.Duration) check {
		return check{name: name, ok: d >= low && d <= high}
	}
	whole := func(name string, n, low, high int) check { return check{name: name, ok: n >= low && n <= high} }
	number := func(name string, f, low, high float64) check {
		return check{name: name, ok: !math.IsNaN(f) && f >= low && f <= high}
	}
	oneOf := func(name, value string, values ...string) check {
		return check{name: name, ok: slices.Contains(values, value)}
	}
	u, err := url.Parse(c.APIURL)
	checks := []check{
		{name: "API_URL", ok: err == nil && (u.Scheme == "http" || u.Scheme == "https") && u.Host != "" && u.RawQuery == "" && u.Fragment == ""},
		{name: "API_TOKEN", ok: c.APIToken == "" || sendable(c.Token()) && (err != nil || u.User == nil)},
		{name: "RECEIVER_URL", ok: c.ReceiverURL == "" || isURL(c.ReceiverURL)},
		whole("ORDERS", c.Orders, 0, 1_000_000_000),
		within("DURATION", c.Duration, 0, 30*24*time.Hour),
		whole("CONCURRENCY", c.Concurrency, 1, 20_000),
		number("RATE", c.Rate, 0, 1_000_000),
		{
			name: "STAGES", ok: len(c.Stages) == 0 || arrivals.NewProfile(c.Rate, c.Stages).Total() > 0,
			why: "every rate is 0",
		},
		oneOf("ARRIVALS", c.Arrivals, "constant", "poisson"),
		whole("BULK", c.Bulk, 1, 1000),
		{name: "POISON_SHARE", ok: c.PoisonShare+c.DuplicateShare <= 0.9, why: "the shares together are above 90%"},
		{name: "RUN_ID", ok: c.RunID == "" || runIDForm.MatchString(c.RunID)},
		whole("JOB_COMPLETION_INDEX", c.Index, 0, 99_999),
		within("REQUEST_TIMEOUT", c.RequestTimeout, 10*time.Millisecond, 10*time.Minute),
		within("RETRY_FOR", c.RetryFor, 0, 24*time.Hour),
		within("BACKOFF_BASE", c.BackoffBase, time.Millisecond, time.Minute),
		within("BACKOFF_MAX", c.BackoffMax, max(c.BackoffBase, time.Millisecond), 10*time.Minute),
		whole("MAX_IN_FLIGHT", c.MaxInFlight, 1, 20_000),
		within("MAX_LATE", c.MaxLate, 10*time.Millisecond, 10*time.Minute),
		within("READY_TIMEOUT", c.ReadyTimeout, 0, 24*time.Hour),
		within("AUDIT_PATIENCE", c.AuditPatience, 0, 24*time.Hour),
		whole("AUDIT_CONCURRENCY", c.AuditConcurrency, 1, 256),
		oneOf("PROGRESS", c.Progress, "auto", "lines", "off"),
		within("PROGRESS_INTERVAL", c.ProgressInterval, 100*time.Millisecond, time.Hour),
		{name: "METRICS_HOST", ok: net.ParseIP(c.MetricsHost) != nil || !strings.ContainsAny(c.MetricsHost, ":/ ")},
		whole("METRICS_PORT", c.MetricsPort, -1, 65535),
		oneOf("LOG_LEVEL", c.LogLevel, "debug", "info", "warn", "error"),
		oneOf("LOG_FORMAT", c.LogFormat, "auto", "json", "text"),
		number("CAPACITY_MIN", c.CapacityMin, 1, 1_000_000),
		number("CAPACITY_MAX", c.CapacityMax, c.CapacityMin, 1_000_000),
		within("CAPACITY_WARMUP", c.CapacityWarmup, 0, 10*time.Minute),
		within("CAPACITY_MEASURE", c.CapacityMeasure, time.Second, time.Hour),
		number("CAPACITY_PRECISION", float64(c.CapacityPrecision), 0.001, 0.5),
	}
	without, why := c.unanswerable(command)
	checks = append(checks, check{name: "THRESHOLDS", ok: without == "", why: fmt.Sprintf("%s can have no value: %s", without, why)})
	switch command {
	case "run":
		checks = append(checks, check{
			name: "ORDERS", ok: c.Orders != 0 || c.Duration > 0 || len(c.Stages) > 0,
			why: "0 needs a DURATION or STAGES, or the run would never end",
		}, check{
			name: "DURATION", ok: c.Duration == 0 || len(c.Stages) == 0,
			why: "STAGES bring their own durations",
		})
	case "audit":
		checks = append(checks, check{name: "RUN_ID", ok: c.RunID != "", why: "name the run to audit (--run ID)"})
	}
	return checks
}

func isURL(text string) bool {
	u, err := url.Parse(text)
	return err == nil && (u.Scheme == "http" || u.Scheme == "https") && u.Host != "" && u.RawQuery == "" && u.Fragment == ""
}

// unanswerable is a measure that a threshold names and that cannot have a value, whatever happens, with these settings; and why.
func (c *Config) unanswerable(command string) (metric, why string) {
	for _, t := range c.Thresholds {
		switch {
		case command == "audit" && !thresholds.OfAudit(t.Metric):
			return t.Metric, "loadgen audit sends nothing"
		case command == "run" && !c.Audit && thresholds.OfAudit(t.Metric) && !thresholds.OfLoad(t.Metric):
			return t.Metric, "AUDIT is false"
		case command == "run" && !c.Open() && slices.Contains([]string{"rate_kept", "late_rate", "dropped_rate"}, t.Metric):
			return t.Metric, "without RATE or STAGES there are no arrivals"
		}
	}
	return "", ""
}

package config

import (
	"crypto/rand"
	"encoding/hex"
	"hash/fnv"
	"io"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"time"

	"orderflow.example/kit/env"
	"orderflow.example/kit/secret"
	"orderflow.example/services/loadgen/internal/arrivals"
	"orderflow.example/services/loadgen/internal/thresholds"
)

// Load reads the environment, or the flags that take precedence over it, and checks the whole. The error names every value that is wrong.
func Load(command string, lookup env.Lookup) (*Config, error) {
	cfg := &Config{}
	problems := env.Read(lookup, cfg)
	cfg.check(problems, command)
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

// Token is the one of API_TOKEN to send.
func (c *Config) Token() string { return FirstToken(c.APIToken) }

// FirstToken is the first of a list of tokens, so that the list that the api has will do; empty when there is none.
func FirstToken(list string) string {
	for _, token := range secret.List(list) {
		return token
	}
	return ""
}

// sendable tells whether a header can name a token.
func sendable(token string) bool {
	return token != "" && strings.IndexFunc(token, func(r rune) bool { return r <= ' ' || r > '~' }) < 0
}

// RunIDForm is what a run's id looks like.
var RunIDForm = regexp.MustCompile(`^[A-Za-z0-9._-]{1,100}$`)

// check holds what a single value's type cannot say: ranges, and values that do not go together.
func (c *Config) check(p *env.Problems, command string) {
	must := func(name string, ok bool, why string) {
		if !ok {
			p.Refuse(name, why)
		}
	}
	must("API_URL", IsURL(c.APIURL), "")
	u, err := url.Parse(c.APIURL)
	must("API_TOKEN", c.APIToken == "" || sendable(c.Token()) && (err != nil || u.User == nil), "")
	must("RECEIVER_URL", c.ReceiverURL == "" || IsURL(c.ReceiverURL) && c.audits(command), "")
	env.Between(p, "ORDERS", c.Orders, 0, 1_000_000_000)
	env.Between(p, "DURATION", c.Duration, 0, 30*24*time.Hour)
	env.Between(p, "CONCURRENCY", c.Concurrency, 1, 20_000)
	env.Between(p, "RATE", c.Rate, 0, 1_000_000)
	must("STAGES", len(c.Stages) == 0 || arrivals.NewProfile(c.Rate, c.Stages).Total() > 0, "every rate is 0")
	env.OneOf(p, "ARRIVALS", c.Arrivals, "constant", "poisson")
	env.Between(p, "BULK", c.Bulk, 1, 1000)
	larger := "POISON_SHARE"
	if c.DuplicateShare > c.PoisonShare {
		larger = "DUPLICATE_SHARE"
	}
	must(larger, c.PoisonShare+c.DuplicateShare <= 0.9, "the shares together are above 90%")
	must("RUN_ID", c.RunID == "" || RunIDForm.MatchString(c.RunID), "")
	env.Between(p, "JOB_COMPLETION_INDEX", c.Index, 0, 99_999)
	env.Between(p, "REQUEST_TIMEOUT", c.RequestTimeout, 10*time.Millisecond, 10*time.Minute)
	env.Between(p, "RETRY_FOR", c.RetryFor, 0, 24*time.Hour)
	env.Between(p, "BACKOFF_BASE", c.BackoffBase, time.Millisecond, time.Minute)
	env.Between(p, "BACKOFF_MAX", c.BackoffMax, max(c.BackoffBase, time.Millisecond), 10*time.Minute)
	env.Between(p, "MAX_IN_FLIGHT", c.MaxInFlight, 1, 20_000)
	env.Between(p, "MAX_LATE", c.MaxLate, 10*time.Millisecond, 10*time.Minute)
	env.Between(p, "READY_TIMEOUT", c.ReadyTimeout, 0, 24*time.Hour)
	env.Between(p, "AUDIT_PATIENCE", c.AuditPatience, 0, 24*time.Hour)
	env.Between(p, "AUDIT_CONCURRENCY", c.AuditConcurrency, 1, 256)
	env.OneOf(p, "PROGRESS", c.Progress, "auto", "lines", "off")
	env.Between(p, "PROGRESS_INTERVAL", c.ProgressInterval, 100*time.Millisecond, time.Hour)
	env.Host(p, "METRICS_HOST", c.MetricsHost)
	env.Between(p, "METRICS_PORT", c.MetricsPort, -1, 65535)
	c.CheckLog(p)
	env.Between(p, "CAPACITY_MIN", c.CapacityMin, 1, 1_000_000)
	env.Between(p, "CAPACITY_MAX", c.CapacityMax, c.CapacityMin, 1_000_000)
	env.Between(p, "CAPACITY_WARMUP", c.CapacityWarmup, 0, 10*time.Minute)
	env.Between(p, "CAPACITY_MEASURE", c.CapacityMeasure, time.Second, time.Hour)
	env.Between(p, "CAPACITY_PRECISION", c.CapacityPrecision, 0.001, 0.5)
	if metric, why := c.unanswerable(command); metric != "" {
		p.Refuse("THRESHOLDS", metric+" can have no value: "+why)
	}
	switch command {
	case "run":
		must("ORDERS", c.Orders != 0 || c.Duration > 0 || len(c.Stages) > 0, "0 needs a DURATION or STAGES, or the run would never end")
		must("DURATION", c.Duration == 0 || len(c.Stages) == 0, "STAGES bring their own durations")
	case "audit":
		must("RUN_ID", c.RunID != "", "name the run to audit (--run ID)")
	}
}

// IsURL tells whether a text is the address of a server.
func IsURL(text string) bool {
	u, err := url.Parse(text)
	return err == nil && (u.Scheme == "http" || u.Scheme == "https") && u.Host != "" && u.RawQuery == "" && u.Fragment == ""
}

// audits says whether a command ends with an audit.
func (c *Config) audits(command string) bool {
	switch command {
	case "run":
		return c.Audit
	case "capacity":
		return c.Thresholds.NeedsAudit()
	}
	return true
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

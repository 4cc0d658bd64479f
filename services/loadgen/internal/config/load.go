package config

import (
	"errors"
	"flag"
	"fmt"
	"hash/fnv"
	"io"
	"math"
	"net"
	"net/url"
	"os"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/kelseyhightower/envconfig"

	"orderflow.example/services/loadgen/internal/arrivals"
	"orderflow.example/services/loadgen/internal/thresholds"
)

// Error lists everything that is wrong with the settings, so that nobody mends them one start at a time.
type Error struct{ Problems []string }

func (e *Error) Error() string { return "wrong configuration: " + strings.Join(e.Problems, "; ") }

// Load reads the environment, lets the flags in args override it, and checks the whole. The error is an *Error when a value is
// wrong, flag.ErrHelp when help was asked for (and printed to help).
func Load(command string, args []string, help io.Writer) (*Config, error) {
	cfg := &Config{}
	var problems []string
	ordersSet := false
	wrong := map[string]bool{}
	fields := reflect.ValueOf(cfg).Elem()
	for i := range fields.NumField() {
		field := fields.Type().Field(i)
		// envconfig stops at the first value that it cannot read. One field at a time, all of them are found.
		one := reflect.New(reflect.StructOf([]reflect.StructField{field}))
		if err := envconfig.Process("", one.Interface()); err != nil {
			name := field.Tag.Get("envconfig")
			wrong[name] = true
			problems = append(problems, describe(name, os.Getenv(name), field.Tag.Get("allowed"), err))
			continue
		}
		fields.Field(i).Set(one.Elem().Field(0))
	}
	if value, ok := os.LookupEnv("ORDERS"); ok && value != "" {
		ordersSet = true
	}

	flags := flagSet(command, cfg)
	if err := flags.Parse(args); err != nil {
		if errors.Is(err, flag.ErrHelp) {
			fmt.Fprint(help, Help)
			return nil, err
		}
		return nil, &Error{Problems: append(problems, err.Error())}
	}
	if flags.NArg() > 0 {
		problems = append(problems, fmt.Sprintf("argument %q: there is no such command or flag (see loadgen -h)", flags.Arg(0)))
	}
	flags.Visit(func(f *flag.Flag) {
		switch f.Name {
		case "orders":
			ordersSet = true
		case "v":
			cfg.LogLevel = "debug"
		}
	})

	for _, c := range cfg.checks(command) {
		if !c.ok && !wrong[c.name] {
			problems = append(problems, describe(c.name, c.value(cfg), allowed(c.name), c.why))
		}
	}
	if len(problems) > 0 {
		return nil, &Error{Problems: problems}
	}

	// ORDERS has a default for the plain run. Beside a duration it would cut the run short without having been asked for, and an audit
	// would miss orders that nobody sent.
	if (cfg.Duration > 0 || len(cfg.Stages) > 0 || command == "audit") && !ordersSet {
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

// Default is the configuration without any environment: what tests and tools start from.
func Default() *Config {
	cfg := &Config{}
	fields := reflect.ValueOf(cfg).Elem()
	for i := range fields.NumField() {
		field := fields.Type().Field(i)
		// A name that no environment holds leaves nothing but the default.
		field.Tag = reflect.StructTag(fmt.Sprintf(`envconfig:"LOADGEN_NO_SUCH_VARIABLE" default:%q`, field.Tag.Get("default")))
		one := reflect.New(reflect.StructOf([]reflect.StructField{field}))
		if err := envconfig.Process("", one.Interface()); err != nil {
			panic(err) // a default in this package's own tags does not parse: no run can begin
		}
		fields.Field(i).Set(one.Elem().Field(0))
	}
	return cfg
}

type check struct {
	name string
	ok   bool
	why  error
}

func (c check) value(cfg *Config) string {
	fields := reflect.ValueOf(cfg).Elem()
	for i := range fields.NumField() {
		if fields.Type().Field(i).Tag.Get("envconfig") == c.name {
			return fmt.Sprint(fields.Field(i).Interface())
		}
	}
	return ""
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
	sum := c.PoisonShare + c.OversizedShare + c.DuplicateShare
	checks := []check{
		{name: "API_URL", ok: err == nil && (u.Scheme == "http" || u.Scheme == "https") && u.Host != "" && u.RawQuery == "" && u.Fragment == ""},
		whole("ORDERS", c.Orders, 0, 1_000_000_000),
		within("DURATION", c.Duration, 0, 30*24*time.Hour),
		whole("CONCURRENCY", c.Concurrency, 1, 20_000),
		number("RATE", c.Rate, 0, 1_000_000),
		{
			name: "STAGES", ok: len(c.Stages) == 0 || arrivals.NewProfile(c.Rate, c.Stages).Total() > 0,
			why: errors.New("every rate is 0"),
		},
		oneOf("ARRIVALS", c.Arrivals, "constant", "poisson"),
		whole("BULK", c.Bulk, 1, 1000),
		{name: "POISON_SHARE", ok: sum <= 0.9, why: errors.New("the shares together are above 90%")},
		whole("OVERSIZED_BYTES", int(c.OversizedBytes), 1<<10, 64<<20),
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
		oneOf("PROGRESS", c.Progress, "auto", "screen", "lines", "off"),
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
	checks = append(checks, check{name: "THRESHOLDS", ok: without == "", why: fmt.Errorf("%s can have no value: %s", without, why)})
	switch command {
	case "run":
		checks = append(checks, check{
			name: "ORDERS", ok: c.Orders != 0 || c.Duration > 0 || len(c.Stages) > 0,
			why: errors.New("0 needs a DURATION or STAGES, or the run would never end"),
		}, check{
			name: "DURATION", ok: c.Duration == 0 || len(c.Stages) == 0,
			why: errors.New("STAGES bring their own durations"),
		})
	case "audit":
		checks = append(checks, check{name: "RUN_ID", ok: c.RunID != "", why: errors.New("name the run to audit (--run ID)")})
	}
	return checks
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

func describe(name, value, allowed string, err error) string {
	text := fmt.Sprintf("%s=%q: must be %s", name, value, allowed)
	var parse *envconfig.ParseError
	if errors.As(err, &parse) {
		// envconfig's own words repeat the name and the value; strconv's add nothing to what is allowed.
		err = parse.Err
		if strings.HasPrefix(err.Error(), "strconv.") || strings.HasPrefix(err.Error(), "time:") {
			err = nil
		}
		if parse.TypeName == "time.Duration" {
			text += unitMissing(value)
		}
	}
	if err != nil {
		text += " (" + err.Error() + ")"
	}
	return text
}

// unitMissing says so of a duration that is but a number.
func unitMissing(text string) string {
	if _, err := strconv.ParseFloat(text, 64); err != nil {
		return ""
	}
	return fmt.Sprintf(" (%s what? The unit is missing)", text)
}

func allowed(name string) string {
	t := reflect.TypeFor[Config]()
	for i := range t.NumField() {
		if t.Field(i).Tag.Get("envconfig") == name {
			return t.Field(i).Tag.Get("allowed")
		}
	}
	return ""
}

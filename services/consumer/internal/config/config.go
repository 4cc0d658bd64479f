// Package config owns the consumer's settings: environment variables, read once at the start, checked together.
// It must never read a variable later, print a secret, or let a wrong value through to the code that uses it.
package config

import (
	"errors"
	"fmt"
	"os"
	"reflect"
	"strings"
	"time"

	"github.com/kelseyhightower/envconfig"
)

// Config is what the consumer can be told. The tags are the single source of the names, the defaults and the
// documentation: `consumer config` prints them as the README's table.
type Config struct {
	DatabaseURL string `envconfig:"DATABASE_URL" default:"postgres://postgres:postgres@localhost:5432/postgres" desc:"PostgreSQL to work on: URL (a SQLAlchemy driver suffix is ignored) or libpq key=value form" secret:"url"`
	QueueName   string `envconfig:"QUEUE_NAME" default:"order_queue" desc:"PGMQ queue to consume; dead letters go to the queue of the same name + _dlq"`

	BatchSize   int           `envconfig:"BATCH_SIZE" default:"30" desc:"most messages per read, 1 to 10000; raise it (500) for high rates of quick handlers"`
	VT          int           `envconfig:"VT" default:"10" desc:"visibility timeout in seconds, 1 to 43200: how long a message stays hidden without a sign of life from its consumer"`
	Concurrency int           `envconfig:"CONCURRENCY" default:"30" desc:"handlers at work at the same time, 1 to 10000"`
	Prefetch    int           `envconfig:"PREFETCH" default:"0" desc:"messages that may wait for a free handler, 0 to 100000; 0 adapts to how long handlers take, up to two batches"`
	MaxAttempts int           `envconfig:"MAX_ATTEMPTS" default:"5" desc:"attempts until a message becomes a dead letter, 1 to 1000"`
	Drain       time.Duration `envconfig:"DRAIN_TIMEOUT" default:"20s" desc:"how long running handlers may finish after SIGTERM; the process ends at most 5 s later"`
	Poll        time.Duration `envconfig:"POLL_INTERVAL" default:"1s" desc:"how long to sleep at most when there is nothing to do: what a lost notification costs, 10ms to 5m"`
	ConsumerID  string        `envconfig:"CONSUMER_ID" desc:"name in orders.processed_by and logs, up to 200 characters; empty: hostname-pid"`

	Handler          string        `envconfig:"HANDLER" default:"simulate" desc:"what to do with an order: simulate or webhook"`
	HandlerTimeout   time.Duration `envconfig:"HANDLER_TIMEOUT" default:"0" desc:"deadline of one attempt, less than VT; 0: 80 % of VT"`
	SimulateWork     time.Duration `envconfig:"SIMULATE_WORK" default:"1s" desc:"simulate: how long an order takes"`
	SimulateFailures string        `envconfig:"SIMULATE_FAILURES" default:"example" desc:"simulate: example (msg_id divisible by 2 fails once, by 6 twice) or none"`
	WebhookURL       string        `envconfig:"WEBHOOK_URL" desc:"webhook: where orders are POSTed to" secret:"url"`
	WebhookSecret    string        `envconfig:"WEBHOOK_SECRET" desc:"webhook: key of the HMAC-SHA256 signature; empty: not signed" secret:"all"`

	BackoffBase       time.Duration `envconfig:"BACKOFF_BASE" default:"1s" desc:"upper bound of the first retry's delay; the delay is drawn between 0 and the bound"`
	BackoffMax        time.Duration `envconfig:"BACKOFF_MAX" default:"60s" desc:"upper bound of every retry's delay"`
	BackoffMultiplier float64       `envconfig:"BACKOFF_MULTIPLIER" default:"2" desc:"how the bound grows with each attempt, 1 to 10"`

	MetricsHost string `envconfig:"METRICS_HOST" desc:"address that METRICS_PORT listens on; empty: all"`
	MetricsPort int    `envconfig:"METRICS_PORT" default:"9101" desc:"port of /metrics, /livez, /readyz and /debug/pprof; 0: any free port, -1: off"`
	LogLevel    string `envconfig:"LOG_LEVEL" default:"info" desc:"debug, info, warn or error; -v is debug"`
	LogFormat   string `envconfig:"LOG_FORMAT" default:"auto" desc:"json, text or auto (text on a terminal)"`
}

// Error lists every wrong variable in one line, so that a start fails once and not once per mistake.
type Error struct{ Problems []string }

func (e *Error) Error() string { return "configuration: " + strings.Join(e.Problems, "; ") }

func (e *Error) add(name, value, allowed string) {
	e.Problems = append(e.Problems, fmt.Sprintf("%s=%q: %s", name, value, allowed))
}

// Load reads the environment and checks it. The error is an *Error that names each variable, its value and what is
// allowed. A variable that is set but empty counts as not set, as compose files and charts like to have it.
func Load() (Config, error) {
	var c Config
	problems := new(Error)
	readFields(&c, problems)
	if len(problems.Problems) == 0 {
		c.fill()
	}
	c.validate(problems)
	if len(problems.Problems) > 0 {
		return Config{}, problems
	}
	return c, nil
}

// readFields lets envconfig fill one field at a time: as a whole it would stop at the first value it cannot convert.
func readFields(c *Config, problems *Error) {
	target := reflect.ValueOf(c).Elem()
	for i := range target.NumField() {
		field := target.Type().Field(i)
		name := field.Tag.Get("envconfig")
		if value, set := os.LookupEnv(name); set && value == "" {
			field.Tag = reflect.StructTag(strings.Replace(string(field.Tag), name, "ORDERFLOW_EMPTY_"+name, 1))
		}
		one := reflect.New(reflect.StructOf([]reflect.StructField{field}))
		if err := envconfig.Process("", one.Interface()); err != nil {
			var wrong *envconfig.ParseError
			if !errors.As(err, &wrong) {
				problems.Problems = append(problems.Problems, fmt.Sprintf("%s: %v", name, err))
				continue
			}
			problems.add(name, wrong.Value, "must be "+kindInWords(field.Type))
			continue
		}
		target.Field(i).Set(one.Elem().Field(0))
	}
}

func kindInWords(t reflect.Type) string {
	switch {
	case t == reflect.TypeFor[time.Duration]():
		return "a duration such as 500ms, 10s or 2m"
	case t.Kind() == reflect.Int:
		return "a whole number"
	case t.Kind() == reflect.Float64:
		return "a number"
	default:
		return "a text"
	}
}

// fill computes what depends on other settings or on the host.
func (c *Config) fill() {
	if c.HandlerTimeout == 0 {
		c.HandlerTimeout = c.Visibility() * 8 / 10
	}
	if c.ConsumerID == "" {
		host, err := os.Hostname()
		if err != nil || host == "" {
			host = "consumer"
		}
		c.ConsumerID = fmt.Sprintf("%s-%d", host, os.Getpid())
	}
}

// Visibility is VT as a duration.
func (c *Config) Visibility() time.Duration { return time.Duration(c.VT) * time.Second }

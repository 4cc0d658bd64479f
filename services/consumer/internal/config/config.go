// Package config owns the consumer's settings: environment variables, read once at the start, checked together.
// It must never read a variable later, print a secret, or let a wrong value through to the code that uses it.
package config

import (
	"fmt"
	"log/slog"
	"os"
	"time"

	"orderflow.example/kit/env"
	"orderflow.example/kit/logging"
	"orderflow.example/kit/postgres"
	"orderflow.example/kit/tracing"
	"orderflow.example/services/consumer/internal/webhook"
)

// Config is what the consumer can be told. The tags are the single source of the names, the defaults and the
// documentation: `consumer config` prints them, as docs/reference/configuration.md has them.
type Config struct {
	DatabaseURL postgres.Address `envconfig:"DATABASE_URL" default:"postgres://postgres:postgres@localhost:5432/postgres" secret:"url" desc:"PostgreSQL to work on: a URL (SQLAlchemy's and JDBC's too) or key=value pairs"`
	QueueName   string           `envconfig:"QUEUE_NAME" default:"order_queue" desc:"PGMQ queue to consume; dead letters go to the queue of the same name + _dlq"`

	BatchSize       int           `envconfig:"BATCH_SIZE" default:"0" desc:"most messages per read, 1 to 10000; 0 adapts to how long handlers take, up to 1000"`
	VT              int           `envconfig:"VT" default:"10" desc:"visibility timeout in seconds, 1 to 43200: how long a message stays hidden without a sign of life from its consumer"`
	Concurrency     int           `envconfig:"CONCURRENCY" default:"30" desc:"handlers at work at the same time, 1 to 10000"`
	Prefetch        int           `envconfig:"PREFETCH" default:"0" desc:"messages that may wait for a free handler, 0 to 100000; 0 adapts to how long handlers take, up to two reads of the size they have then"`
	PrefetchBytes   env.Size      `envconfig:"PREFETCH_BYTES" default:"32MiB" desc:"memory for messages that have been read, 1MiB to 16GiB; no more are read while they take more"`
	MaxMessageBytes env.Size      `envconfig:"MAX_MESSAGE_BYTES" default:"1MiB" desc:"largest message that is read, 1KiB to 256MiB and no more than PREFETCH_BYTES; a larger one goes to the dead letters without leaving the database"`
	MaxAttempts     int           `envconfig:"MAX_ATTEMPTS" default:"40" desc:"attempts until a message becomes a dead letter, 1 to 1000; with the defaults of BACKOFF_… that takes 27 hours on average"`
	MaxCrashes      int           `envconfig:"MAX_CRASHES" default:"5" desc:"deaths of a consumer that worked on one message and nothing else, until that message becomes a dead letter, 1 to 100; it takes one to five deaths more, depending on CONCURRENCY (three with its default), to find out which message it is"`
	Drain           time.Duration `envconfig:"DRAIN_TIMEOUT" default:"20s" desc:"how long running handlers may finish after SIGTERM; the last acks may take 5 s more, and what is left of connections, traces and logs another 4 s"`
	Poll            time.Duration `envconfig:"POLL_INTERVAL" default:"1s" desc:"how long to sleep at most when there is nothing to do: what a lost notification costs, 10ms to 5m"`
	ConsumerID      string        `envconfig:"CONSUMER_ID" desc:"name in orders.processed_by and logs, up to 200 characters; empty: hostname-pid"`

	Handler          string        `envconfig:"HANDLER" default:"simulate" desc:"what to do with an order: webhook, sql, or simulate, which completes it without doing anything"`
	HandlerTimeout   time.Duration `envconfig:"HANDLER_TIMEOUT" default:"0" desc:"deadline of one attempt, less than VT; 0: 80 % of VT"`
	SimulateWork     time.Duration `envconfig:"SIMULATE_WORK" default:"1s" desc:"simulate: how long an order takes"`
	SimulateFailures string        `envconfig:"SIMULATE_FAILURES" default:"example" desc:"simulate: example (msg_id divisible by 2 fails once, by 6 twice) or none"`
	SimulateCrash    string        `envconfig:"SIMULATE_CRASH" desc:"simulate: exit:NAME or memory:NAME: orders of the customer NAME end the process, or take memory until it is killed; to see what then happens"`
	WebhookURL       string        `envconfig:"WEBHOOK_URL" desc:"webhook: where orders are POSTed to, by way of the proxy of HTTPS_PROXY or HTTP_PROXY if there is one" secret:"url"`
	WebhookSecrets   string        `envconfig:"WEBHOOK_SECRETS" desc:"webhook: keys that sign deliveries, separated by commas or white space: whsec_… (HMAC-SHA256, signature v1) and whsk_… (Ed25519, v1a); several while one replaces another; empty: not signed" secret:"true"`
	WebhookHeaders   string        `envconfig:"WEBHOOK_HEADERS" desc:"webhook: headers of your own, one Name: value a line" secret:"true"`
	WebhookCAFile    string        `envconfig:"WEBHOOK_CA_FILE" desc:"webhook: file with the authorities (PEM) of which one has to have signed the receiver's certificate; empty: the public ones. All files of the webhook are read again when they change"`
	WebhookCertFile  string        `envconfig:"WEBHOOK_CERT_FILE" desc:"webhook: file with the client's certificate (PEM)"`
	WebhookKeyFile   string        `envconfig:"WEBHOOK_KEY_FILE" desc:"webhook: file with that certificate's key (PEM)"`

	EffectFunction    string `envconfig:"EFFECT_FUNCTION" desc:"sql: the function, as schema.name, that is called with orders in the transaction of their ack; see docs/handlers.md"`
	EffectConnections int    `envconfig:"EFFECT_CONNECTIONS" default:"2" desc:"sql, and work that handlers in Go leave to the ack: transactions at the same time, each on a connection of its own, 1 to 100"`

	BackoffBase       time.Duration `envconfig:"BACKOFF_BASE" default:"1s" desc:"upper bound of the first retry's delay; the delay is drawn between 0 and the bound"`
	BackoffMax        time.Duration `envconfig:"BACKOFF_MAX" default:"2h" desc:"upper bound of the backoff, which grows to it in 13 attempts; what the handler calls may ask for a longer delay"`
	BackoffMultiplier float64       `envconfig:"BACKOFF_MULTIPLIER" default:"2" desc:"how the bound grows with each attempt, 1 to 10"`

	BreakerShare         float64       `envconfig:"BREAKER_SHARE" default:"0.5" desc:"the breaker opens when more than this share of the last attempts found what the handler calls unavailable, 0 to 1; 0: never"`
	BreakerAttempts      int           `envconfig:"BREAKER_ATTEMPTS" default:"10" desc:"attempts that it takes to open the breaker, at three different orders at least, 3 to 10000"`
	BreakerProbeInterval time.Duration `envconfig:"BREAKER_PROBE_INTERVAL" default:"1s" desc:"wait between the opening of the breaker and the first probe; doubled with each that fails"`
	BreakerProbeMax      time.Duration `envconfig:"BREAKER_PROBE_MAX" default:"5s" desc:"longest wait between two probes: about how late a return is noticed"`

	tracing.Settings

	MetricsHost string `envconfig:"METRICS_HOST" desc:"address that METRICS_PORT listens on; empty: all"`
	MetricsPort int    `envconfig:"METRICS_PORT" default:"9101" desc:"port of /metrics, /livez and /readyz; 0: any free port, -1: off"`
	Pprof       bool   `envconfig:"PPROF" default:"false" desc:"serve Go's profiler on METRICS_PORT too, under /debug/pprof/"`
	logging.LogSettings

	Keys    webhook.Keys    `ignored:"true"` // of WEBHOOK_SECRETS
	Headers webhook.Headers `ignored:"true"` // of WEBHOOK_HEADERS
	Files   webhook.Files   `ignored:"true"` // of WEBHOOK_…_FILE
}

// Load reads the environment and checks it. The error has one line that names each wrong variable, its value and what is allowed.
func Load(lookup env.Lookup) (*Config, error) {
	var c Config
	problems := env.Read(lookup, &c)
	c.fill(problems)
	c.check(problems)
	if given, _ := lookup("HANDLER"); given == "" {
		c.checkNoDestination(problems)
	}
	return &c, problems.Err()
}

// Table documents the variables as a Markdown table.
func Table() string { return env.Table(&Config{}) }

// LogValue shows every setting with secrets masked.
func (c *Config) LogValue() slog.Value { return env.Masked(c) }

// fill computes what depends on other settings or on the host.
func (c *Config) fill(p *env.Problems) {
	if c.HandlerTimeout == 0 && !p.Named("HANDLER_TIMEOUT") {
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

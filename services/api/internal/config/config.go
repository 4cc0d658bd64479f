// Package config reads the environment, once, and checks it as a whole: a start with three wrong values names all three.
// It must never print a password or a token.
package config

import (
	"log/slog"
	"time"

	"github.com/jackc/pgx/v5"

	"orderflow.example/kit/env"
	"orderflow.example/kit/logging"
	"orderflow.example/kit/postgres"
	"orderflow.example/kit/tracing"
	"orderflow.example/services/api/internal/schema"
)

// Config is everything that can be set. The tags are the documentation; package env says what each of them means.
type Config struct {
	DatabaseURL postgres.Address `envconfig:"DATABASE_URL" default:"postgres://postgres:postgres@localhost:5432/postgres" secret:"url" desc:"PostgreSQL: a URL (SQLAlchemy's and JDBC's too) or key=value pairs"`
	QueueName   string           `envconfig:"QUEUE_NAME" default:"order_queue" desc:"PGMQ queue; its dead letters are in the queue of that name with _dlq appended"`
	APIHost     string           `envconfig:"API_HOST" desc:"address to listen on; empty: all"`
	APIPort     int              `envconfig:"API_PORT" default:"8000" desc:"port of the API; 0: any free one"`
	MetricsHost string           `envconfig:"METRICS_HOST" desc:"address that metrics and the probes' details listen on; empty: all"`
	MetricsPort int              `envconfig:"METRICS_PORT" default:"9100" desc:"port of metrics and the probes' details; 0: any free one, -1: off"`
	Pprof       bool             `envconfig:"PPROF" default:"false" desc:"serve Go's profiler on METRICS_PORT too, under /debug/pprof/"`
	APITokens   string           `envconfig:"API_TOKENS" secret:"true" desc:"bearer tokens, separated by commas or white space, one of which every call but the probes and the documentation's page needs; empty: everybody may call"`
	AdminToken  string           `envconfig:"ADMIN_TOKEN" secret:"true" desc:"bearer token of the calls that change dead letters or stop the queue, good for every other call, too; several while one replaces another, as in API_TOKENS; empty: those calls are off"`

	Input string `envconfig:"INPUT" default:"strict" desc:"how an order may be written: strict takes what means one thing only; example takes what the FastAPI example took, rounds prices half-even to cents and says so, and refuses with FastAPI's statuses and errors"`

	Dashboard string `envconfig:"DASHBOARD" default:"on" desc:"on: the dashboard is at /, and its figures are noted in the database every five seconds; off: / leads to the API's documentation, and nothing is noted"`

	RequestTimeout time.Duration `envconfig:"REQUEST_TIMEOUT" default:"900ms" desc:"an answer comes within this time: 503 when there is no other. Calls that change dead letters may take a minute"`
	ShutdownDelay  time.Duration `envconfig:"SHUTDOWN_DELAY" default:"0s" desc:"go on serving after SIGTERM while load balancers take note; readiness says no at once"`
	DrainTimeout   time.Duration `envconfig:"DRAIN_TIMEOUT" default:"10s" desc:"after SHUTDOWN_DELAY, requests still under way have this long to finish"`
	BodyLimit      env.Size      `envconfig:"BODY_LIMIT" default:"2MiB" desc:"largest body of a batch of orders, and of a redrive"`
	OrderBodyLimit env.Size      `envconfig:"ORDER_BODY_LIMIT" default:"16KiB" desc:"largest body of every other request: an order needs a few hundred bytes"`
	BodyBudget     env.Size      `envconfig:"BODY_BUDGET" default:"32MiB" desc:"bytes of bodies larger than ORDER_BODY_LIMIT, of requests and of answers, that may be in memory at a time; beyond that requests are answered 503"`
	MaxConnections int           `envconfig:"MAX_CONNECTIONS" default:"1000" desc:"connections of clients, at most, and never more than the limits of open files and of memory (GOMEMLIMIT) allow. When more come, those that are idle are closed for them, then those whose clients are slowest"`

	WriteBatch int    `envconfig:"WRITE_BATCH" default:"256" desc:"orders committed together at most"`
	WriteQueue int    `envconfig:"WRITE_QUEUE" default:"4096" desc:"orders that may wait for their commit; beyond that requests are answered 503"`
	Durability string `envconfig:"DURABILITY" default:"warn" desc:"what to do when a crash or a failover would lose accepted orders (fsync off, standbys that no commit waits for, unlogged tables): warn in the log and metrics, or strict: refuse orders, with 503, until that is mended"`
	DBMaxConns int    `envconfig:"DB_MAX_CONNS" default:"10" desc:"connections to PostgreSQL, those of the notifier, the monitor and the writers included; from 6 on there is a second writer, for large batches"`

	OrderRetention      time.Duration `envconfig:"ORDER_RETENTION" default:"0s" desc:"how long a completed order is kept after its completion, with its idempotency key (720h is 30 days); after that it is deleted, and its key means a new order; 0s: for ever"`
	DeadLetterRetention time.Duration `envconfig:"DEAD_LETTER_RETENTION" default:"0s" desc:"how long a dead letter is kept, with its order, if that is dead; 0s: for ever"`

	OlderThan time.Duration `envconfig:"OLDER_THAN" default:"5m" desc:"of api requeue: orders younger than this are left alone; flag -older-than"`
	Apply     bool          `envconfig:"APPLY" default:"false" desc:"of api requeue: do it, instead of saying only what would be done; flag -apply"`
	Note      string        `envconfig:"NOTE" desc:"of api requeue: why, for the history of the orders, whose first 500 characters are kept; flag -note"`

	MigrateOnStart bool   `envconfig:"MIGRATE_ON_START" default:"true" desc:"bring the schema up to date at start; otherwise wait for it"`
	PGMQInstall    string `envconfig:"PGMQ_INSTALL" default:"auto" desc:"how a missing PGMQ is installed: extension, sql, or auto (the extension where there is one)"`
	UnloggedQueue  string `envconfig:"UNLOGGED_QUEUE" default:"refuse" desc:"what a migration does about a queue whose tables are unlogged, so that a crash of the server, or a failover, empties them: refuse, or allow"`

	APIRole          string `envconfig:"API_DB_ROLE" desc:"role that a migration creates for the api; empty: none"`
	APIPassword      string `envconfig:"API_DB_PASSWORD" secret:"true" desc:"its password"`
	ConsumerRole     string `envconfig:"CONSUMER_DB_ROLE" desc:"role that a migration creates for the consumer; empty: none"`
	ConsumerPassword string `envconfig:"CONSUMER_DB_PASSWORD" secret:"true" desc:"its password"`
	MetricsRole      string `envconfig:"METRICS_DB_ROLE" desc:"role that a migration creates for reading metrics; empty: none"`
	MetricsPassword  string `envconfig:"METRICS_DB_PASSWORD" secret:"true" desc:"its password"`

	tracing.Settings
	TraceURLTemplate string `envconfig:"TRACE_URL_TEMPLATE" desc:"where a person finds a trace, for links to it: an http or https URL with {trace_id} in it, such as https://traces.example/trace/{trace_id}; empty: no links"`

	logging.LogSettings
	LogRequests string `envconfig:"LOG_REQUESTS" default:"none" desc:"which requests have a line at level info: none, changes (all methods but GET, HEAD, OPTIONS and TRACE), or all; at debug all have"`

	// APITokensFile and AdminTokenFile are the files that the tokens were read from, and are read from again. Empty: none.
	APITokensFile  string `ignored:"true"`
	AdminTokenFile string `ignored:"true"`

	// Database is how to connect to DATABASE_URL.
	Database *pgx.ConnConfig `ignored:"true"`
}

// connectTimeout is how long an attempt to connect may take when the URL says nothing. Postgres on a network answers in
// milliseconds; what takes longer is hung, and the next attempt is the better bet. Where requests have more time, so has this.
func (c *Config) connectTimeout() time.Duration {
	return min(max(c.RequestTimeout, time.Second), 5*time.Second)
}

// Load reads the environment. The error has one line that names every variable that is wrong, its value and what is
// allowed.
func Load(lookup env.Lookup) (*Config, error) {
	var cfg Config
	problems := env.Read(lookup, &cfg)
	cfg.check(problems)
	return &cfg, problems.Err()
}

// Table documents the variables as a Markdown table.
func Table() string { return env.Table(&Config{}) }

// LogValue is the configuration as it is printed at start: with what is secret masked.
func (c *Config) LogValue() slog.Value { return env.Masked(c) }

func (c *Config) check(p *env.Problems) {
	if !p.Named("DATABASE_URL") {
		c.Database = c.DatabaseURL.Config("orderflow-api", c.connectTimeout())
	}
	if err := schema.ValidateQueueName(c.QueueName); err != nil {
		p.Add("QUEUE_NAME", "1 to 43 letters, digits, _ and single -, not beginning with a digit or -")
	}
	env.Host(p, "API_HOST", c.APIHost)
	env.Host(p, "METRICS_HOST", c.MetricsHost)
	env.Between(p, "API_PORT", c.APIPort, 0, 65535)
	env.Between(p, "METRICS_PORT", c.MetricsPort, -1, 65535)
	if c.APIPort == c.MetricsPort && c.APIPort > 0 {
		p.Add("METRICS_PORT", "another port than API_PORT")
	}
	env.Between(p, "REQUEST_TIMEOUT", c.RequestTimeout, 100*time.Millisecond, time.Minute)
	env.Between(p, "SHUTDOWN_DELAY", c.ShutdownDelay, 0, 10*time.Minute)
	env.Between(p, "DRAIN_TIMEOUT", c.DrainTimeout, 0, 10*time.Minute)
	env.Between(p, "BODY_LIMIT", c.BodyLimit, 1<<10, 1<<28)
	env.Between(p, "ORDER_BODY_LIMIT", c.OrderBodyLimit, 1<<10, max(c.BodyLimit, 1<<10))
	env.Between(p, "BODY_BUDGET", c.BodyBudget, 3*c.BodyLimit+1<<20, 1<<40) // the largest batch, and its answer
	env.Between(p, "MAX_CONNECTIONS", c.MaxConnections, 16, 1_000_000)
	env.Between(p, "WRITE_BATCH", c.WriteBatch, 1, 10_000)
	env.Between(p, "WRITE_QUEUE", c.WriteQueue, 1, 1_000_000)
	env.Between(p, "DB_MAX_CONNS", c.DBMaxConns, 4, 1000)
	env.OneOf(p, "DASHBOARD", c.Dashboard, "on", "off")
	env.OneOf(p, "INPUT", c.Input, "strict", "example")
	env.OneOf(p, "DURABILITY", c.Durability, "warn", "strict")
	env.OneOf(p, "PGMQ_INSTALL", c.PGMQInstall, "auto", "extension", "sql")
	env.OneOf(p, "UNLOGGED_QUEUE", c.UnloggedQueue, "refuse", "allow")
	checkRetention(p, "ORDER_RETENTION", c.OrderRetention)
	checkRetention(p, "DEAD_LETTER_RETENTION", c.DeadLetterRetention)
	env.Between(p, "OLDER_THAN", c.OlderThan, 0, 100*365*24*time.Hour)
	env.OneOf(p, "LOG_REQUESTS", c.LogRequests, "none", "changes", "all")
	if !tracing.IsTemplate(c.TraceURLTemplate) {
		p.Add("TRACE_URL_TEMPLATE", "an http or https URL with {trace_id} in its path, query or fragment")
	}
	c.CheckLog(p)
	checkTokens(p, "API_TOKENS", c.APITokens)
	checkTokens(p, "ADMIN_TOKEN", c.AdminToken)
	c.APITokensFile, c.AdminTokenFile = p.File("API_TOKENS"), p.File("ADMIN_TOKEN")
	c.checkRoles(p)
}

// checkRetention refuses what would delete orders that clients may still ask for: a minute is for trying it out.
func checkRetention(p *env.Problems, name string, keep time.Duration) {
	if keep != 0 && (keep < time.Minute || keep > 100*365*24*time.Hour) {
		p.Add(name, "0s, for ever, or a time from 1m to 876000h, as in 720h for 30 days")
	}
}

func (c *Config) checkRoles(p *env.Problems) {
	migrator := ""
	if c.MigrateOnStart {
		migrator = c.DatabaseURL.User()
	}
	for _, wrong := range c.Roles().Wrong(migrator) {
		prefix := [...]string{"API", "CONSUMER", "METRICS"}[wrong.Part]
		if wrong.Password {
			p.Add(prefix+"_DB_PASSWORD", wrong.Must)
		} else {
			p.Add(prefix+"_DB_ROLE", wrong.Must)
		}
	}
}

// Roles are those that a migration creates.
func (c *Config) Roles() schema.Roles {
	return schema.Roles{
		API:      schema.Role{Name: c.APIRole, Password: c.APIPassword},
		Consumer: schema.Role{Name: c.ConsumerRole, Password: c.ConsumerPassword},
		Metrics:  schema.Role{Name: c.MetricsRole, Password: c.MetricsPassword},
	}
}

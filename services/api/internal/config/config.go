// Package config reads the environment, once, and checks it as a whole: a start with three wrong values names all three.
// It must never print a password or a token.
package config

import (
	"cmp"
	"errors"
	"fmt"
	"net"
	"reflect"
	"strconv"
	"strings"
	"time"
	"unicode"

	"github.com/jackc/pgx/v5"
	"github.com/kelseyhightower/envconfig"

	"orderflow.example/services/api/internal/schema"
)

// Config is everything that can be set. The tags are the documentation: `desc` goes into the tables of the README, and
// fields tagged `secret` are masked wherever they are printed.
type Config struct {
	DatabaseURL string `envconfig:"DATABASE_URL" default:"postgres://postgres:postgres@localhost:5432/postgres" secret:"true" desc:"PostgreSQL: a URL (SQLAlchemy's postgresql+driver:// too) or key=value pairs"`
	QueueName   string `envconfig:"QUEUE_NAME" default:"order_queue" desc:"PGMQ queue; its dead letters are in the queue of that name with _dlq appended"`
	APIHost     string `envconfig:"API_HOST" desc:"address to listen on; empty: all"`
	APIPort     int    `envconfig:"API_PORT" default:"8000" desc:"port of the API; 0: any free one"`
	MetricsHost string `envconfig:"METRICS_HOST" desc:"address that metrics, pprof and the probes' details listen on; empty: all"`
	MetricsPort int    `envconfig:"METRICS_PORT" default:"9100" desc:"port of metrics, pprof and the probes' details; 0: any free one, -1: none"`
	AdminToken  string `envconfig:"ADMIN_TOKEN" secret:"true" desc:"bearer token of the calls that change dead letters; empty: they are off"`

	RequestTimeout time.Duration `envconfig:"REQUEST_TIMEOUT" default:"900ms" desc:"an answer comes within this time: 503 when there is no other. Calls that change dead letters may take a minute"`
	ShutdownDelay  time.Duration `envconfig:"SHUTDOWN_DELAY" default:"0s" desc:"go on serving after SIGTERM while load balancers take note; readiness says no at once"`
	DrainTimeout   time.Duration `envconfig:"DRAIN_TIMEOUT" default:"10s" desc:"after that, requests still under way have this long to finish"`
	BodyLimit      Size          `envconfig:"BODY_LIMIT" default:"2MiB" desc:"largest request body"`

	WriteBatch int `envconfig:"WRITE_BATCH" default:"256" desc:"orders committed together at most"`
	WriteQueue int `envconfig:"WRITE_QUEUE" default:"4096" desc:"orders that may wait for their commit; beyond that requests are answered 503"`
	DBMaxConns int `envconfig:"DB_MAX_CONNS" default:"10" desc:"connections to PostgreSQL, the writer's, the notifier's and the monitor's included"`

	MigrateOnStart bool   `envconfig:"MIGRATE_ON_START" default:"true" desc:"bring the schema up to date at start; otherwise wait for it"`
	PGMQInstall    string `envconfig:"PGMQ_INSTALL" default:"auto" desc:"how a missing PGMQ is installed: extension, sql, or auto (the extension where there is one)"`

	APIRole          string `envconfig:"API_DB_ROLE" desc:"role that a migration creates for the api; empty: none"`
	APIPassword      string `envconfig:"API_DB_PASSWORD" secret:"true" desc:"its password"`
	ConsumerRole     string `envconfig:"CONSUMER_DB_ROLE" desc:"role that a migration creates for the consumer; empty: none"`
	ConsumerPassword string `envconfig:"CONSUMER_DB_PASSWORD" secret:"true" desc:"its password"`
	MetricsRole      string `envconfig:"METRICS_DB_ROLE" desc:"role that a migration creates for reading metrics; empty: none"`
	MetricsPassword  string `envconfig:"METRICS_DB_PASSWORD" secret:"true" desc:"its password"`

	LogLevel    string `envconfig:"LOG_LEVEL" default:"info" desc:"debug, info, warn or error"`
	LogFormat   string `envconfig:"LOG_FORMAT" default:"auto" desc:"json, text, or auto: text on a terminal, JSON otherwise"`
	LogRequests bool   `envconfig:"LOG_REQUESTS" default:"false" desc:"a line for every request at level info (at debug there always is)"`

	// Database is DATABASE_URL, read.
	Database *pgx.ConnConfig `ignored:"true"`
}

// Load reads the environment. The error has one line that names every variable that is wrong, its value and what is
// allowed. A variable that is set to nothing (compose files and charts do that) means its default.
func Load(lookup func(string) (string, bool)) (*Config, error) {
	var (
		cfg      Config
		problems = problems{named: make(map[string]bool)}
	)
	for field, target := range fields(&cfg) {
		name := field.Tag.Get("envconfig")
		value, _ := lookup(name)
		// One field at a time, so that a wrong one does not hide the others.
		one := reflect.New(reflect.StructOf([]reflect.StructField{given(field, name, value)}))
		if err := envconfig.Process("", one.Interface()); err != nil {
			problems.add(name, value, expected(field.Type))
			continue
		}
		target.Set(one.Elem().Field(0))
	}
	cfg.check(&problems)
	return &cfg, problems.err()
}

// given is the field for envconfig, with what was looked up in the place of the default. envconfig itself only knows the
// process's environment, which tests that run at the same time cannot share; so it is made to look for a variable that
// cannot exist.
func given(field reflect.StructField, name, value string) reflect.StructField {
	if value == "" {
		value = field.Tag.Get("default")
	}
	field.Tag = reflect.StructTag(fmt.Sprintf(`envconfig:"%s=" default:%s`, name, strconv.Quote(value)))
	return field
}

// expected says in words what a type's values look like.
func expected(t reflect.Type) string {
	switch t {
	case reflect.TypeFor[time.Duration]():
		return "a duration such as 900ms or 10s"
	case reflect.TypeFor[Size]():
		return "a size such as 65536, 512KiB or 2MiB"
	}
	switch t.Kind() {
	case reflect.Bool:
		return "true or false"
	case reflect.Int:
		return "a whole number"
	default:
		return "text"
	}
}

func (c *Config) check(p *problems) {
	if database, err := parseDatabaseURL(c.DatabaseURL); err != nil {
		p.add("DATABASE_URL", maskURL(c.DatabaseURL), "postgres://user:password@host:port/database or key=value pairs")
	} else {
		c.Database = database
	}
	if err := schema.ValidateQueueName(c.QueueName); err != nil {
		p.add("QUEUE_NAME", c.QueueName, "1 to 43 letters, digits, _ and single -, not beginning with a digit or -")
	}
	host(p, "API_HOST", c.APIHost)
	host(p, "METRICS_HOST", c.MetricsHost)
	between(p, "API_PORT", c.APIPort, 0, 65535)
	between(p, "METRICS_PORT", c.MetricsPort, -1, 65535)
	if c.APIPort == c.MetricsPort && c.APIPort > 0 {
		p.add("METRICS_PORT", strconv.Itoa(c.MetricsPort), "another port than API_PORT")
	}
	between(p, "REQUEST_TIMEOUT", c.RequestTimeout, 100*time.Millisecond, time.Minute)
	between(p, "SHUTDOWN_DELAY", c.ShutdownDelay, 0, 10*time.Minute)
	between(p, "DRAIN_TIMEOUT", c.DrainTimeout, 0, 10*time.Minute)
	between(p, "BODY_LIMIT", c.BodyLimit, 1<<10, 1<<28)
	between(p, "WRITE_BATCH", c.WriteBatch, 1, 10_000)
	between(p, "WRITE_QUEUE", c.WriteQueue, 1, 1_000_000)
	between(p, "DB_MAX_CONNS", c.DBMaxConns, 4, 1000)
	oneOf(p, "PGMQ_INSTALL", c.PGMQInstall, "auto", "extension", "sql")
	oneOf(p, "LOG_LEVEL", c.LogLevel, "debug", "info", "warn", "error")
	oneOf(p, "LOG_FORMAT", c.LogFormat, "auto", "json", "text")
	if strings.TrimFunc(c.AdminToken, unicode.IsSpace) != c.AdminToken {
		p.add("ADMIN_TOKEN", "***", "without white space at either end: no Authorization header could name it")
	}
	c.checkRoles(p)
}

func (c *Config) checkRoles(p *problems) {
	migrator := ""
	if c.Database != nil && c.MigrateOnStart {
		migrator = c.Database.User
	}
	for _, wrong := range c.Roles().Wrong(migrator) {
		prefix := [...]string{"API", "CONSUMER", "METRICS"}[wrong.Part]
		if wrong.Password {
			p.add(prefix+"_DB_PASSWORD", "***", wrong.Must)
		} else {
			p.add(prefix+"_DB_ROLE", wrong.Role, wrong.Must)
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

// problems are what is wrong, one sentence for each variable: what could not be read is not judged as well.
type problems struct {
	sentences []string
	named     map[string]bool
}

func (p *problems) add(name, value, allowed string) {
	if p.named[name] {
		return
	}
	p.named[name] = true
	p.sentences = append(p.sentences, fmt.Sprintf("%s=%q: must be %s", name, shorten(value), allowed))
}

func (p *problems) err() error {
	if len(p.sentences) == 0 {
		return nil
	}
	return errors.New(strings.Join(p.sentences, "; "))
}

func shorten(s string) string {
	const most = 80
	if len(s) <= most {
		return s
	}
	return strings.ToValidUTF8(s[:most], "") + "…"
}

// host: an empty one is every address of the machine.
func host(p *problems, name, value string) {
	if net.ParseIP(value) == nil && strings.ContainsAny(value, ":/ ") {
		p.add(name, value, "a host name or an IP address")
	}
}

func between[T cmp.Ordered](p *problems, name string, value, least, most T) {
	if value < least || value > most {
		p.add(name, fmt.Sprint(value), fmt.Sprintf("from %v to %v", least, most))
	}
}

func oneOf(p *problems, name, value string, allowed ...string) {
	for _, a := range allowed {
		if value == a {
			return
		}
	}
	p.add(name, value, strings.Join(allowed[:len(allowed)-1], ", ")+" or "+allowed[len(allowed)-1])
}

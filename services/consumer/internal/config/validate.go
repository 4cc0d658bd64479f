package config

import (
	"math"
	"net"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/jackc/pgx/v5"
)

// PGMQ allows 47 bytes for a queue's name, and ours must leave room for "_dlq".
var queueName = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_-]{0,42}$`)

func (c *Config) validate(p *Error) {
	reported := map[string]bool{}
	for _, line := range p.Problems {
		name, _, _ := strings.Cut(line, "=")
		reported[name] = true
	}
	// What could not even be converted has been reported, and its zero value is not the user's.
	check := func(ok bool, name, value, allowed string) {
		if !ok && !reported[name] {
			p.add(name, value, allowed)
		}
	}
	number := func(name string, value, low, high int) {
		check(value >= low && value <= high, name, strconv.Itoa(value),
			"must be between "+strconv.Itoa(low)+" and "+strconv.Itoa(high))
	}
	duration := func(name string, value, low, high time.Duration) {
		check(value >= low && value <= high, name, value.String(), "must be between "+low.String()+" and "+high.String())
	}
	oneOf := func(name, value string, allowed ...string) {
		check(slices.Contains(allowed, value), name, value, "must be one of "+strings.Join(allowed, ", "))
	}

	if !reported["DATABASE_URL"] {
		c.DatabaseURL = stripDriver(c.DatabaseURL)
		_, err := pgx.ParseConfig(c.DatabaseURL)
		check(err == nil, "DATABASE_URL", maskURL(c.DatabaseURL),
			"must be postgres://user:password@host:port/database or the libpq form host=… port=… dbname=…")
	}
	check(queueName.MatchString(c.QueueName) && !strings.Contains(c.QueueName, "--"), "QUEUE_NAME", c.QueueName,
		"must be 1 to 43 letters, digits, _ and single -, beginning with a letter or _")
	number("BATCH_SIZE", c.BatchSize, 1, 10_000)
	number("VT", c.VT, 1, 43_200)
	number("CONCURRENCY", c.Concurrency, 1, 10_000)
	number("PREFETCH", c.Prefetch, 0, 100_000)
	number("MAX_ATTEMPTS", c.MaxAttempts, 1, 1000)
	check(net.ParseIP(c.MetricsHost) != nil || !strings.ContainsAny(c.MetricsHost, ":/ "), "METRICS_HOST", c.MetricsHost,
		"must be a host name or an IP address")
	number("METRICS_PORT", c.MetricsPort, -1, 65_535)
	duration("DRAIN_TIMEOUT", c.Drain, 0, time.Hour)
	duration("POLL_INTERVAL", c.Poll, 10*time.Millisecond, 5*time.Minute)
	duration("SIMULATE_WORK", c.SimulateWork, 0, time.Hour)
	duration("BACKOFF_BASE", c.BackoffBase, time.Millisecond, time.Hour)
	duration("BACKOFF_MAX", c.BackoffMax, time.Millisecond, 24*time.Hour)
	check(c.BackoffMax >= c.BackoffBase || reported["BACKOFF_BASE"], "BACKOFF_MAX", c.BackoffMax.String(),
		"must not be less than BACKOFF_BASE ("+c.BackoffBase.String()+")")
	check(c.BackoffMultiplier >= 1 && c.BackoffMultiplier <= 10 && !math.IsNaN(c.BackoffMultiplier), "BACKOFF_MULTIPLIER",
		strconv.FormatFloat(c.BackoffMultiplier, 'g', -1, 64), "must be between 1 and 10")
	if !reported["VT"] && c.VT >= 1 {
		check(c.HandlerTimeout >= 0 && c.HandlerTimeout < c.Visibility(), "HANDLER_TIMEOUT", c.HandlerTimeout.String(),
			"must be more than 0 and less than VT ("+c.Visibility().String()+"), or 0 for 80 % of it")
	}
	oneOf("HANDLER", c.Handler, "simulate", "webhook")
	oneOf("SIMULATE_FAILURES", c.SimulateFailures, "example", "none")
	oneOf("LOG_LEVEL", c.LogLevel, "debug", "info", "warn", "error")
	oneOf("LOG_FORMAT", c.LogFormat, "auto", "json", "text")
	check(printable(c.ConsumerID) && utf8.RuneCountInString(c.ConsumerID) <= 200, "CONSUMER_ID", c.ConsumerID,
		"must be at most 200 printable characters")
	if c.Handler == "webhook" {
		u, err := url.Parse(c.WebhookURL)
		check(err == nil && (u.Scheme == "http" || u.Scheme == "https") && u.Host != "", "WEBHOOK_URL", maskURL(c.WebhookURL),
			"must be an http:// or https:// address when HANDLER=webhook")
	}
}

func printable(s string) bool {
	return utf8.ValidString(s) && strings.IndexFunc(s, func(r rune) bool { return !unicode.IsPrint(r) }) < 0
}

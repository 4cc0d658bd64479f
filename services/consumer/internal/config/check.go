package config

import (
	"fmt"
	"regexp"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"orderflow.example/kit/env"
	"orderflow.example/services/consumer/internal/effect"
)

// PGMQ allows 47 bytes for a queue's name, and ours must leave room for "_dlq".
var queueName = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_-]{0,42}$`)

func (c *Config) check(p *env.Problems) {
	if !queueName.MatchString(c.QueueName) || strings.Contains(c.QueueName, "--") {
		p.Add("QUEUE_NAME", "1 to 43 letters, digits, _ and single -, beginning with a letter or _")
	}
	env.Between(p, "BATCH_SIZE", c.BatchSize, 0, 10_000)
	env.Between(p, "VT", c.VT, 1, 43_200)
	env.Between(p, "CONCURRENCY", c.Concurrency, 1, 10_000)
	env.Between(p, "PREFETCH", c.Prefetch, 0, 100_000)
	env.Between(p, "PREFETCH_BYTES", c.PrefetchBytes, 1<<20, 16<<30)
	env.Between(p, "MAX_MESSAGE_BYTES", c.MaxMessageBytes, 1<<10, min(256<<20, c.PrefetchBytes))
	env.Between(p, "MAX_ATTEMPTS", c.MaxAttempts, 1, 1000)
	env.Between(p, "MAX_CRASHES", c.MaxCrashes, 1, 100)
	env.Host(p, "METRICS_HOST", c.MetricsHost)
	env.Between(p, "METRICS_PORT", c.MetricsPort, -1, 65_535)
	env.Between(p, "DRAIN_TIMEOUT", c.Drain, 0, time.Hour)
	env.Between(p, "POLL_INTERVAL", c.Poll, 10*time.Millisecond, 5*time.Minute)
	env.Between(p, "SIMULATE_WORK", c.SimulateWork, 0, time.Hour)
	env.Between(p, "BACKOFF_BASE", c.BackoffBase, time.Millisecond, time.Hour)
	env.Between(p, "BACKOFF_MAX", c.BackoffMax, time.Millisecond, 24*time.Hour)
	if c.BackoffMax < c.BackoffBase && !p.Named("BACKOFF_BASE") {
		p.Add("BACKOFF_MAX", fmt.Sprintf("at least BACKOFF_BASE (%s)", c.BackoffBase))
	}
	env.Between(p, "BACKOFF_MULTIPLIER", c.BackoffMultiplier, 1, 10)
	env.Between(p, "BREAKER_SHARE", c.BreakerShare, 0, 1)
	env.Between(p, "BREAKER_ATTEMPTS", c.BreakerAttempts, 3, 10_000)
	env.Between(p, "BREAKER_PROBE_INTERVAL", c.BreakerProbeInterval, 10*time.Millisecond, 10*time.Minute)
	env.Between(p, "BREAKER_PROBE_MAX", c.BreakerProbeMax, 10*time.Millisecond, 10*time.Minute)
	if c.BreakerProbeMax < c.BreakerProbeInterval && !p.Named("BREAKER_PROBE_INTERVAL") {
		p.Add("BREAKER_PROBE_MAX", fmt.Sprintf("at least BREAKER_PROBE_INTERVAL (%s)", c.BreakerProbeInterval))
	}
	if (c.HandlerTimeout < 0 || c.HandlerTimeout >= c.Visibility()) && !p.Named("VT") {
		p.Add("HANDLER_TIMEOUT", fmt.Sprintf("more than 0 and less than VT (%s), or 0 for 80 %% of it", c.Visibility()))
	}
	if c.Handler == "own" {
		p.Add("HANDLER", "simulate, webhook or sql: own is for programs that bring a handler in Go (docs/handlers.md), and this is the shipped one, without any")
	} else {
		env.OneOf(p, "HANDLER", c.Handler, "simulate", "webhook", "sql")
	}
	env.OneOf(p, "SIMULATE_FAILURES", c.SimulateFailures, "example", "none")
	if how, who, _ := strings.Cut(c.SimulateCrash, ":"); c.SimulateCrash != "" && (how != "exit" && how != "memory" || who == "") {
		p.Add("SIMULATE_CRASH", "exit:NAME or memory:NAME, with a customer's name, or empty")
	}
	c.CheckLog(p)
	if !printable(c.ConsumerID) || utf8.RuneCountInString(c.ConsumerID) > 200 {
		p.Add("CONSUMER_ID", "at most 200 printable characters")
	}
	c.checkWebhook(p)
	c.checkEffect(p)
}

// checkNoDestination is for settings without HANDLER. Who has said where orders go does not want them completed with nothing done.
func (c *Config) checkNoDestination(p *env.Problems) {
	switch {
	case c.WebhookURL != "":
		p.Add("HANDLER", "set to webhook, since WEBHOOK_URL is set (or to simulate, to complete orders without doing anything)")
	case c.EffectFunction != "":
		p.Add("HANDLER", "set to sql, since EFFECT_FUNCTION is set (or to simulate, to complete orders without doing anything)")
	}
}

func (c *Config) checkEffect(p *env.Problems) {
	env.Between(p, "EFFECT_CONNECTIONS", c.EffectConnections, 1, 100)
	if _, err := effect.ParseName(c.EffectFunction); err != nil && (c.Handler == "sql" || c.EffectFunction != "") {
		p.Add("EFFECT_FUNCTION", "a function's name with its schema, such as shop.fulfil; HANDLER=sql needs one")
	}
}

func printable(s string) bool {
	return utf8.ValidString(s) && strings.IndexFunc(s, func(r rune) bool { return !unicode.IsPrint(r) }) < 0
}

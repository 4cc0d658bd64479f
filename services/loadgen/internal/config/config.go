// Package config owns every setting of the load generator: the environment variables, their defaults, their checks and their
// documentation. Everything else receives a checked Config and never reads the environment.
package config

import (
	"errors"
	"math"
	"strconv"
	"strings"
	"time"

	"orderflow.example/kit/logging"
	"orderflow.example/services/loadgen/internal/arrivals"
	"orderflow.example/services/loadgen/internal/thresholds"
)

// Config is one run's settings. The tags are the documentation; package env says what each of them means.
type Config struct {
	APIURL   string `envconfig:"API_URL" default:"http://localhost:8000" desc:"where the api answers; http or https, a path prefix is kept, a user and password are sent as Basic authentication" secret:"url" allowed:"an http:// or https:// URL"`
	APIToken string `envconfig:"API_TOKEN" secret:"true" desc:"sent to the api as Bearer token, where it has API_TOKENS; of several, as there, the first" allowed:"of visible ASCII characters, and empty when API_URL has a user: one request has one Authorization"`

	Orders      int             `envconfig:"ORDERS" default:"100" desc:"orders to create; 0: as many as DURATION or STAGES give (then also the default). Of loadgen audit: orders expected of each generator; 0, then the default: as many as are found" allowed:"a whole number from 0 to 1000000000"`
	Duration    time.Duration   `envconfig:"DURATION" default:"0s" desc:"how long to create orders; 0: until ORDERS are created; with both, whichever ends first" allowed:"a duration such as 90s or 5m"`
	Concurrency int             `envconfig:"CONCURRENCY" default:"20" desc:"closed model (no RATE, no STAGES): workers, each with one request under way" allowed:"a whole number from 1 to 20000"`
	Rate        float64         `envconfig:"RATE" default:"0" desc:"open model: orders a second, sent when they are due whether or not earlier ones were answered; 0: closed model" allowed:"a number from 0 to 1000000"`
	Stages      arrivals.Stages `envconfig:"STAGES" desc:"open model in ramps, as in 30s:100,2m:1000,30s:0: each goes in a straight line from the rate before it (at first RATE) to its own" allowed:"a list such as 30s:100,2m:1000,30s:0 (duration:orders per second)"`
	Arrivals    string          `envconfig:"ARRIVALS" default:"constant" desc:"open model: evenly spaced, or poisson (independent customers)" allowed:"constant or poisson"`
	Bulk        int             `envconfig:"BULK" default:"1" desc:"orders in one request; above 1 they go to POST /orders/batch" allowed:"a whole number from 1 to 1000"`

	PoisonShare    Share `envconfig:"POISON_SHARE" default:"0" desc:"share of requests that are invalid orders and must be refused with a 400, 413, 415 or 422 (broken JSON, missing fields, wrong values); a poisonous message cannot be made over HTTP" allowed:"a share such as 1% or 0.01, at most 90%"`
	DuplicateShare Share `envconfig:"DUPLICATE_SHARE" default:"0" desc:"share of requests that send an order again under its key, while the first may still be under way; the answer must be the first one's" allowed:"a share such as 1% or 0.01, at most 90%"`

	RunID string `envconfig:"RUN_ID" desc:"name of the run; every idempotency key begins with it; the same name again replays the run instead of creating new orders; empty: a new one" allowed:"1 to 100 letters, digits, dots, dashes and underscores"`
	Index int    `envconfig:"JOB_COMPLETION_INDEX" default:"0" desc:"number of this generator among parallel ones with the same RUN_ID (Kubernetes sets it in an indexed Job)" allowed:"a whole number from 0 to 99999"`
	Seed  uint64 `envconfig:"SEED" default:"0" desc:"makes arrivals and shares repeatable; 0: derived from RUN_ID" allowed:"a whole number"`

	RequestTimeout time.Duration `envconfig:"REQUEST_TIMEOUT" default:"10s" desc:"how long one try may take" allowed:"a duration from 10ms to 10m"`
	RetryFor       time.Duration `envconfig:"RETRY_FOR" default:"1m" desc:"how long an order is tried again (time-outs, resets, 5xx, 429) with the same key before it counts as unknown; 0: one try" allowed:"a duration from 0s to 24h"`
	BackoffBase    time.Duration `envconfig:"BACKOFF_BASE" default:"50ms" desc:"upper bound of the first pause before a retry; it doubles with each try, with full jitter" allowed:"a duration from 1ms to 1m"`
	BackoffMax     time.Duration `envconfig:"BACKOFF_MAX" default:"5s" desc:"the longest such pause; a longer Retry-After is honoured all the same" allowed:"a duration from 1ms to 10m, at least BACKOFF_BASE"`
	MaxInFlight    int           `envconfig:"MAX_IN_FLIGHT" default:"1000" desc:"open model: requests under way at most; arrivals beyond wait (late)" allowed:"a whole number from 1 to 20000"`
	MaxLate        time.Duration `envconfig:"MAX_LATE" default:"10s" desc:"open model: an arrival that could not be sent this long after it was due is dropped" allowed:"a duration from 10ms to 10m"`
	ReadyTimeout   time.Duration `envconfig:"READY_TIMEOUT" default:"1m" desc:"how long to wait for the api to be ready" allowed:"a duration from 0s to 24h"`

	Audit            bool          `envconfig:"AUDIT" default:"true" desc:"wait until every order is completed or dead and account for each" allowed:"true or false"`
	AuditPatience    time.Duration `envconfig:"AUDIT_PATIENCE" default:"1m" desc:"the audit waits as long as there is progress; orders still pending this long after the last of it are stuck" allowed:"a duration from 0s to 24h"`
	ReceiverURL      string        `envconfig:"RECEIVER_URL" desc:"second port of a loadgen receive that the consumers send webhooks to: after the audit it has to account for the run's orders, too" secret:"url" allowed:"an http:// or https:// URL, and empty where there is no audit, after which it is asked"`
	AuditConcurrency int           `envconfig:"AUDIT_CONCURRENCY" default:"8" desc:"requests of the audit under way at most" allowed:"a whole number from 1 to 256"`

	Thresholds thresholds.List `envconfig:"THRESHOLDS" desc:"conditions on the result, as in post_p99<50ms,e2e_p99<1s,error_rate<0.1%; exit code 99 when one does not hold; dead orders fail the run unless one says how many may be, as dead<=5 does" allowed:"a list such as post_p99<50ms,lost==0"`

	ReportJSON       string        `envconfig:"REPORT_JSON" desc:"write the result as JSON to this file (--json)" allowed:"a path"`
	TerminationPath  string        `envconfig:"TERMINATION_MESSAGE_PATH" default:"/dev/termination-log" desc:"where the summary goes as the container's termination message, in JSON; only if there is such a file, as in Kubernetes" allowed:"a path"`
	Progress         string        `envconfig:"PROGRESS" default:"auto" desc:"what is shown meanwhile: lines of the log, off, or auto (on a terminal one line that is drawn again and again, else lines)" allowed:"auto, lines or off"`
	ProgressInterval time.Duration `envconfig:"PROGRESS_INTERVAL" default:"5s" desc:"time between two lines of progress" allowed:"a duration from 100ms to 1h"`
	MetricsHost      string        `envconfig:"METRICS_HOST" desc:"address that METRICS_PORT listens on; empty: all" allowed:"a host name or an IP address"`
	MetricsPort      int           `envconfig:"METRICS_PORT" default:"-1" desc:"port of /metrics, /livez and /readyz while it runs; 0: any free port, -1: off" allowed:"a whole number from -1 to 65535"`
	Pprof            bool          `envconfig:"PPROF" default:"false" desc:"serve Go's profiler on METRICS_PORT too, under /debug/pprof/" allowed:"true or false"`

	CapacityMin       float64       `envconfig:"CAPACITY_MIN" default:"100" desc:"loadgen capacity: the first rate tried, in orders a second" allowed:"a number from 1 to 1000000"`
	CapacityMax       float64       `envconfig:"CAPACITY_MAX" default:"50000" desc:"loadgen capacity: the highest rate tried" allowed:"a number from CAPACITY_MIN to 1000000"`
	CapacityWarmup    time.Duration `envconfig:"CAPACITY_WARMUP" default:"3s" desc:"loadgen capacity: time at each rate that does not count" allowed:"a duration from 0s to 10m"`
	CapacityMeasure   time.Duration `envconfig:"CAPACITY_MEASURE" default:"10s" desc:"loadgen capacity: time at each rate that counts" allowed:"a duration from 1s to 1h"`
	CapacityPrecision Share         `envconfig:"CAPACITY_PRECISION" default:"5%" desc:"loadgen capacity: stop when the bracket is this narrow" allowed:"a share from 0.1% to 50%"`

	logging.LogSettings
}

// Open says whether orders are sent by arrival rate; otherwise CONCURRENCY workers each wait for their answer.
func (c *Config) Open() bool { return c.Rate > 0 || len(c.Stages) > 0 }

// Share is a part of a whole between 0 and 1, written 1% or 0.01.
type Share float64

// Decode reads a share; envconfig calls it.
func (s *Share) Decode(text string) error {
	text = strings.TrimSpace(text)
	number, percent := strings.CutSuffix(text, "%")
	f, err := strconv.ParseFloat(strings.TrimSpace(number), 64)
	if err != nil || math.IsNaN(f) {
		return errors.New("not a share")
	}
	if percent {
		f /= 100
	}
	if f < 0 || f > 1 {
		return errors.New("not between 0 and 100%")
	}
	*s = Share(f)
	return nil
}

func (s Share) String() string {
	return strconv.FormatFloat(float64(s)*100, 'g', 6, 64) + "%"
}

package config

import (
	"crypto/rand"
	"encoding/hex"
	"flag"
	"fmt"
	"io"
	"net/url"
	"reflect"
	"strings"
	"time"
)

// flagSet binds the few flags to the fields of the variables that they are twins of, so that the environment's value is the default.
func flagSet(command string, cfg *Config) *flag.FlagSet {
	fs := flag.NewFlagSet("loadgen", flag.ContinueOnError)
	fs.SetOutput(io.Discard) // errors are returned as one line
	fs.Usage = func() {}     // which a wrong flag would call, too
	fs.StringVar(&cfg.RunID, "run", cfg.RunID, "RUN_ID")
	fs.StringVar(&cfg.APIURL, "api", cfg.APIURL, "API_URL")
	fs.StringVar(&cfg.ReportJSON, "json", cfg.ReportJSON, "REPORT_JSON")
	fs.StringVar(&cfg.ReportHTML, "html", cfg.ReportHTML, "REPORT_HTML")
	fs.Bool("v", false, "LOG_LEVEL=debug")
	fs.IntVar(&cfg.Orders, "orders", cfg.Orders, "ORDERS")
	fs.Func("thresholds", "THRESHOLDS", cfg.Thresholds.Decode)
	if command != "audit" {
		fs.Func("duration", "DURATION", func(text string) (err error) {
			if cfg.Duration, err = time.ParseDuration(text); err != nil {
				return fmt.Errorf("must be %s%s", allowed("DURATION"), unitMissing(text))
			}
			return nil
		})
		fs.IntVar(&cfg.Concurrency, "concurrency", cfg.Concurrency, "CONCURRENCY")
		fs.Float64Var(&cfg.Rate, "rate", cfg.Rate, "RATE")
		fs.Func("stages", "STAGES", cfg.Stages.Decode)
	}
	return fs
}

// Help is what -h prints.
const Help = `loadgen creates orders, measures the answers, and proves that each was processed exactly once.

  loadgen               create ORDERS orders, CONCURRENCY at a time (or at RATE, or in STAGES), then audit them
  loadgen audit         audit a run by its id alone: loadgen audit --run ID
  loadgen capacity      find the highest rate that keeps the thresholds
  loadgen config        print every environment variable, its default and meaning
  loadgen version       print the version

Flags (each is the twin of an environment variable):
  --api URL             API_URL         --run ID              RUN_ID
  --orders N            ORDERS          --concurrency N       CONCURRENCY
  --rate R              RATE            --duration D          DURATION
  --stages LIST         STAGES          --thresholds LIST     THRESHOLDS
  --json FILE           REPORT_JSON     --html FILE           REPORT_HTML
  -v                    LOG_LEVEL=debug

Exit codes: 0 all is well; 99 a threshold or the audit failed (dead orders, too, unless a threshold on dead allows them); 130 interrupted, after printing what there is;
2 wrong configuration; 1 a fault of loadgen's own, such as an api that never was ready.
`

// Markdown is the table of all variables, as the README shows it.
func Markdown() string {
	var b strings.Builder
	b.WriteString("| variable | default | meaning |\n|---|---|---|\n")
	t := reflect.TypeFor[Config]()
	for i := range t.NumField() {
		tag := t.Field(i).Tag
		value := tag.Get("default")
		if value != "" {
			value = "`" + value + "`"
		}
		fmt.Fprintf(&b, "| `%s` | %s | %s |\n", tag.Get("envconfig"), value, strings.ReplaceAll(tag.Get("desc"), "|", `\|`))
	}
	return b.String()
}

// newRunID makes a name that sorts by time and does not collide between machines that start in the same second.
func newRunID(now time.Time) string {
	var random [3]byte
	_, _ = rand.Read(random[:]) // crypto/rand.Read never fails: it ends the program instead
	return now.UTC().Format("20060102-150405-") + hex.EncodeToString(random[:])
}

// Changed are the variables whose values differ from the defaults, as text; a password in a URL is masked.
func (c *Config) Changed() map[string]string {
	changed := map[string]string{}
	mine, defaults := reflect.ValueOf(c).Elem(), reflect.ValueOf(Default()).Elem()
	for i := range mine.NumField() {
		name := mine.Type().Field(i).Tag.Get("envconfig")
		value := fmt.Sprint(mine.Field(i).Interface())
		if value == fmt.Sprint(defaults.Field(i).Interface()) {
			continue
		}
		if u, err := url.Parse(value); err == nil && u.User != nil {
			value = u.Redacted()
		}
		changed[name] = value
	}
	return changed
}

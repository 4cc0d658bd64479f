// Package receive is a receiver of webhooks that proves what its sender promises: it verifies each signature, remembers each id, and in
// the end accounts for what the api accepted against what arrived. Faults happen to it on order.
//
// It must never answer 2xx for what it may forget, nor count what was not signed.
package receive

import (
	"strings"
	"time"
	"unicode"

	"orderflow.example/kit/env"
	"orderflow.example/kit/logging"
	"orderflow.example/services/loadgen/internal/config"
	"orderflow.example/services/loadgen/internal/receive/faults"
	"orderflow.example/services/loadgen/internal/receive/signature"
)

// Config are the receiver's settings. The tags are the documentation; package env says what each of them means.
type Config struct {
	Host string `envconfig:"RECEIVER_HOST" desc:"address that RECEIVER_PORT listens on; empty: all" allowed:"a host name or an IP address"`
	Port int    `envconfig:"RECEIVER_PORT" default:"8080" desc:"port that webhooks are sent to, on any path; 0: any free port" allowed:"a whole number from 0 to 65535"`

	Keys      signature.Keys `envconfig:"RECEIVER_KEYS" secret:"true" desc:"what webhooks are signed with: whsec_… (v1, HMAC-SHA256) and whpk_… (v1a, the public half of an Ed25519 key), several separated by commas or white space; each is good. Those in a file are read again when it changes" allowed:"one or more of whsec_<base64 of 24 to 64 bytes> and whpk_<base64 of 32 bytes>"`
	KeysFile  string         `ignored:"true"` // where Keys come from; empty: from the variable itself
	Tolerance time.Duration  `envconfig:"RECEIVER_TOLERANCE" default:"5m" desc:"how far a webhook's timestamp may be from now" allowed:"a duration from 1s to 24h"`
	MaxBody   env.Size       `envconfig:"RECEIVER_MAX_BODY" default:"1MiB" desc:"largest webhook; a larger one is answered 413" allowed:"a size from 1KiB to 64MiB"`

	State       string `envconfig:"RECEIVER_STATE" desc:"file in which ids are remembered over restarts, 52 bytes each time one comes; it is written and synced before the answer; empty: forgotten with the process" allowed:"a path"`
	MaxMessages int    `envconfig:"RECEIVER_MAX_MESSAGES" default:"1000000" desc:"ids to remember, in some 150 bytes of memory each; new ones beyond are answered 507, and not taken" allowed:"a whole number from 1 to 100000000"`

	Faults    faults.Set    `envconfig:"RECEIVER_FAULTS" desc:"what goes wrong, as in 503:10%:30s,slow:5%:2s,drop:1% (kind:share:time). Not taken: a status from 300 to 599 (the time is its Retry-After), stall (never answered), away (nobody listens). Taken: slow (answered late), drop (the connection is cut), twice (answered twice, each time late)" allowed:"a list such as 503:10%:30s,drop:1%"`
	FaultsFor time.Duration `envconfig:"RECEIVER_FAULTS_FOR" default:"0s" desc:"how long RECEIVER_FAULTS last from the start; 0: until others are ordered" allowed:"a duration from 0s to 24h"`
	Seed      uint64        `envconfig:"SEED" default:"1" desc:"the same seed draws the same faults" allowed:"a whole number"`

	APIURL   string `envconfig:"API_URL" desc:"api whose orders are accounted for at the end and by GET /account; empty: arrivals are counted only" secret:"url" allowed:"an http:// or https:// URL"`
	APIToken string `envconfig:"API_TOKEN" secret:"true" desc:"sent to the api as Bearer token; of several, the first" allowed:"of visible ASCII characters"`
	RunID    string `envconfig:"RUN_ID" desc:"run of loadgen whose orders are accounted for; empty: all orders of the api" allowed:"1 to 100 letters, digits, dots, dashes and underscores"`

	ReportJSON string `envconfig:"REPORT_JSON" desc:"write the account as JSON to this file (--json)" allowed:"a path"`

	AdminToken  string `envconfig:"ADMIN_TOKEN" secret:"true" desc:"Bearer token with which others than this machine may order faults by PUT /faults; empty: nobody else may" allowed:"of visible ASCII characters"`
	MetricsHost string `envconfig:"METRICS_HOST" desc:"address that METRICS_PORT listens on; empty: all" allowed:"a host name or an IP address"`
	MetricsPort int    `envconfig:"METRICS_PORT" default:"9102" desc:"port of /metrics, /livez, /readyz, GET /account, and GET and PUT /faults; 0: any free port" allowed:"a whole number from 0 to 65535"`
	logging.LogSettings
}

// Load reads the environment, or the flags that take precedence over it, and checks the whole. The error names every value that is wrong.
func Load(lookup env.Lookup) (*Config, error) {
	c := &Config{}
	p := env.Read(lookup, c)
	env.Host(p, "RECEIVER_HOST", c.Host)
	env.Host(p, "METRICS_HOST", c.MetricsHost)
	for _, check := range []struct {
		name string
		ok   bool
	}{
		{"RECEIVER_PORT", c.Port >= 0 && c.Port <= 65_535},
		{"METRICS_PORT", c.MetricsPort >= 0 && c.MetricsPort <= 65_535},
		{"RECEIVER_KEYS", !c.Keys.Empty()},
		{"RECEIVER_TOLERANCE", c.Tolerance >= time.Second && c.Tolerance <= 24*time.Hour},
		{"RECEIVER_MAX_BODY", c.MaxBody >= 1<<10 && c.MaxBody <= 64<<20},
		{"RECEIVER_MAX_MESSAGES", c.MaxMessages >= 1 && c.MaxMessages <= 100_000_000},
		{"RECEIVER_FAULTS_FOR", c.FaultsFor >= 0 && c.FaultsFor <= 24*time.Hour},
		{"API_URL", c.APIURL == "" || config.IsURL(c.APIURL)},
		{"API_TOKEN", visible(c.APIToken)},
		{"ADMIN_TOKEN", visible(c.AdminToken)},
		{"RUN_ID", c.RunID == "" || config.RunIDForm.MatchString(c.RunID)},
	} {
		if !check.ok && !p.Named(check.name) {
			p.Refuse(check.name, "")
		}
	}
	if c.RunID != "" && c.APIURL == "" && !p.Named("API_URL") {
		p.Add("RUN_ID", "empty without API_URL: whose run is it?")
	}
	c.CheckLog(p)
	c.KeysFile = p.File("RECEIVER_KEYS")
	return c, p.Err()
}

// Table documents the variables as a Markdown table.
func Table() string { return env.Table(&Config{}) }

// visible says whether a token, or a list of them, can stand in a header.
func visible(tokens string) bool {
	return strings.IndexFunc(tokens, func(r rune) bool { return !unicode.IsSpace(r) && (r < '!' || r > '~') }) < 0
}

package tracing

import (
	"cmp"
	"fmt"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Settings are OpenTelemetry's own variables, to be embedded in a program's configuration
// (https://opentelemetry.io/docs/specs/otel/configuration/sdk-environment-variables/). They are texts, because a wrong one is no reason
// not to start: the specification wants a warning, and whoever sets them for a whole namespace may have meant another program's SDK.
type Settings struct {
	Endpoint          string `envconfig:"OTEL_EXPORTER_OTLP_ENDPOINT" secret:"url" desc:"traces: base URL of an OpenTelemetry collector that takes OTLP over HTTP, such as http://collector:4318; empty: no traces, and nothing is paid for them"`
	TracesEndpoint    string `envconfig:"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT" secret:"url" desc:"traces: the whole URL instead, such as http://collector:4318/v1/traces"`
	Headers           string `envconfig:"OTEL_EXPORTER_OTLP_HEADERS" secret:"true" desc:"traces: headers for the collector, name=value with commas between them, percent-encoded"`
	TracesHeaders     string `envconfig:"OTEL_EXPORTER_OTLP_TRACES_HEADERS" secret:"true" desc:"traces: overrides OTEL_EXPORTER_OTLP_HEADERS"`
	Protocol          string `envconfig:"OTEL_EXPORTER_OTLP_PROTOCOL" default:"http/protobuf" desc:"traces: only http/protobuf is spoken"`
	TracesProtocol    string `envconfig:"OTEL_EXPORTER_OTLP_TRACES_PROTOCOL" desc:"traces: overrides OTEL_EXPORTER_OTLP_PROTOCOL"`
	Compression       string `envconfig:"OTEL_EXPORTER_OTLP_COMPRESSION" default:"none" desc:"traces: none or gzip"`
	TracesCompression string `envconfig:"OTEL_EXPORTER_OTLP_TRACES_COMPRESSION" desc:"traces: overrides OTEL_EXPORTER_OTLP_COMPRESSION"`
	Timeout           string `envconfig:"OTEL_EXPORTER_OTLP_TIMEOUT" default:"10000" desc:"traces: milliseconds in which the collector has to have taken a batch of spans, tries included"`
	TracesTimeout     string `envconfig:"OTEL_EXPORTER_OTLP_TRACES_TIMEOUT" desc:"traces: overrides OTEL_EXPORTER_OTLP_TIMEOUT"`
	CAFile            string `envconfig:"OTEL_EXPORTER_OTLP_CERTIFICATE" desc:"traces: file with the authorities (PEM) of which one has to have signed the collector's certificate; empty: the public ones"`
	TracesCAFile      string `envconfig:"OTEL_EXPORTER_OTLP_TRACES_CERTIFICATE" desc:"traces: overrides OTEL_EXPORTER_OTLP_CERTIFICATE"`
	CertFile          string `envconfig:"OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE" desc:"traces: file with the client's certificate (PEM)"`
	TracesCertFile    string `envconfig:"OTEL_EXPORTER_OTLP_TRACES_CLIENT_CERTIFICATE" desc:"traces: overrides OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE"`
	KeyFile           string `envconfig:"OTEL_EXPORTER_OTLP_CLIENT_KEY" desc:"traces: file with that certificate's key (PEM)"`
	TracesKeyFile     string `envconfig:"OTEL_EXPORTER_OTLP_TRACES_CLIENT_KEY" desc:"traces: overrides OTEL_EXPORTER_OTLP_CLIENT_KEY"`
	Exporter          string `envconfig:"OTEL_TRACES_EXPORTER" default:"otlp" desc:"traces: otlp, or none for no traces"`
	Sampler           string `envconfig:"OTEL_TRACES_SAMPLER" default:"parentbased_always_on" desc:"traces: which are recorded: always_on, always_off, traceidratio, or parentbased_ with one of these behind it, which holds for what the caller has not decided"`
	SamplerArg        string `envconfig:"OTEL_TRACES_SAMPLER_ARG" desc:"traces: the share that traceidratio records, 0 to 1; empty: 1"`
	ServiceName       string `envconfig:"OTEL_SERVICE_NAME" desc:"traces: service.name; empty: the program's name"`
	Resource          string `envconfig:"OTEL_RESOURCE_ATTRIBUTES" desc:"traces: more about this process, key=value with commas between them, percent-encoded"`
	Queue             string `envconfig:"OTEL_BSP_MAX_QUEUE_SIZE" default:"2048" desc:"traces: spans that may wait for the collector; beyond that they are dropped"`
	Batch             string `envconfig:"OTEL_BSP_MAX_EXPORT_BATCH_SIZE" default:"512" desc:"traces: spans sent together at most"`
	Delay             string `envconfig:"OTEL_BSP_SCHEDULE_DELAY" default:"5000" desc:"traces: milliseconds that a span waits at most until it is sent"`
	Disabled          string `envconfig:"OTEL_SDK_DISABLED" default:"false" desc:"traces: true for none, whatever else is set"`
}

// plan is what settings come to.
type plan struct {
	endpoint    string // whole; empty: nothing is to be set up
	headers     map[string]string
	gzip        bool
	caFile      string
	certFile    string
	keyFile     string
	timeout     time.Duration
	sampler     string
	parentBased bool
	ratio       float64
	service     string
	resource    map[string]string
	queue       int
	batch       int
	delay       time.Duration
	warnings    []string // of what is not as it must be; none has a secret in it
}

// plan reads the settings. What it cannot read it warns of, and takes as if it had not been set.
func (s *Settings) plan() *plan {
	p := &plan{}
	if strings.EqualFold(s.Disabled, "true") || s.Exporter == "none" || s.Endpoint == "" && s.TracesEndpoint == "" {
		return p
	}
	if s.Disabled != "" && !strings.EqualFold(s.Disabled, "false") {
		p.warn("OTEL_SDK_DISABLED", s.Disabled, "true or false", "false")
	}
	if s.Exporter != "" && s.Exporter != "otlp" {
		p.warn("OTEL_TRACES_EXPORTER", s.Exporter, "otlp or none", "otlp")
	}
	if protocol := cmp.Or(s.TracesProtocol, s.Protocol); protocol != "" && protocol != "http/protobuf" {
		p.warn("OTEL_EXPORTER_OTLP_PROTOCOL", protocol, "http/protobuf (a collector takes it at port 4318)", "http/protobuf")
	}
	p.readEndpoint(s)
	name, headers := "OTEL_EXPORTER_OTLP_HEADERS", s.Headers
	if s.TracesHeaders != "" {
		name, headers = "OTEL_EXPORTER_OTLP_TRACES_HEADERS", s.TracesHeaders
	}
	var ok bool
	if p.headers, ok = pairs(headers, isToken); !ok {
		p.warn(name, "***", "name=value with commas between them, percent-encoded", "none")
	}
	if p.resource, ok = pairs(s.Resource, func(string) bool { return true }); !ok {
		p.warn("OTEL_RESOURCE_ATTRIBUTES", s.Resource, "key=value with commas between them, percent-encoded", "none")
	}
	p.service = cmp.Or(s.ServiceName, p.resource["service.name"])
	compression := cmp.Or(s.TracesCompression, s.Compression)
	p.gzip = compression == "gzip"
	if !p.gzip && compression != "" && compression != "none" {
		p.warn("OTEL_EXPORTER_OTLP_COMPRESSION", compression, "none or gzip", "none")
	}
	p.timeout = time.Duration(p.number("OTEL_EXPORTER_OTLP_TIMEOUT", cmp.Or(s.TracesTimeout, s.Timeout), 10_000, 600_000)) * time.Millisecond
	p.caFile, p.certFile, p.keyFile = cmp.Or(s.TracesCAFile, s.CAFile), cmp.Or(s.TracesCertFile, s.CertFile), cmp.Or(s.TracesKeyFile, s.KeyFile)
	p.queue = p.number("OTEL_BSP_MAX_QUEUE_SIZE", s.Queue, 2048, 1_000_000)
	p.batch = min(p.number("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", s.Batch, 512, 100_000), p.queue)
	p.delay = time.Duration(p.number("OTEL_BSP_SCHEDULE_DELAY", s.Delay, 5000, 600_000)) * time.Millisecond
	p.readSampler(s)
	return p
}

func (p *plan) readEndpoint(s *Settings) {
	name, text, path := "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", s.TracesEndpoint, "/"
	if text == "" {
		name, text, path = "OTEL_EXPORTER_OTLP_ENDPOINT", s.Endpoint, "/v1/traces"
	}
	u, err := url.Parse(text)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" {
		p.warn(name, "***", "a URL such as http://collector:4318", "none: there are no traces") // what cannot be read may be a secret anywhere
		return
	}
	if s.TracesEndpoint == "" {
		u.Path = strings.TrimSuffix(u.Path, "/") + path
	} else {
		u.Path = cmp.Or(u.Path, path)
	}
	p.endpoint = u.String()
}

var samplers = []string{"always_on", "always_off", "traceidratio"}

func (p *plan) readSampler(s *Settings) {
	const usual = "parentbased_always_on"
	name := cmp.Or(s.Sampler, usual)
	base, parentBased := strings.CutPrefix(name, "parentbased_")
	if !slices.Contains(samplers, base) {
		p.warn("OTEL_TRACES_SAMPLER", name, "always_on, always_off, traceidratio, or parentbased_ with one of these behind it", usual)
		base, parentBased = "always_on", true
	}
	p.sampler, p.parentBased, p.ratio = base, parentBased, 1
	if base != "traceidratio" || s.SamplerArg == "" {
		return
	}
	ratio, err := strconv.ParseFloat(s.SamplerArg, 64)
	if err != nil || !(ratio >= 0 && ratio <= 1) {
		p.warn("OTEL_TRACES_SAMPLER_ARG", s.SamplerArg, "a number from 0 to 1", "1")
		return
	}
	p.ratio = ratio
}

func (p *plan) number(name, text string, usual, most int) int {
	if text == "" {
		return usual
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < 1 || n > most {
		p.warn(name, text, fmt.Sprintf("a whole number from 1 to %d", most), strconv.Itoa(usual))
		return usual
	}
	return n
}

func (p *plan) warn(name, value, must, instead string) {
	p.warnings = append(p.warnings, fmt.Sprintf("%s=%q: must be %s; taken as %s", name, value, must, instead))
}

// pairs reads name=value, with commas between them, values percent-encoded. ok is false, and there are none, when one of them is not so.
func pairs(text string, named func(string) bool) (read map[string]string, ok bool) {
	read = make(map[string]string)
	for pair := range strings.SplitSeq(text, ",") {
		if strings.TrimSpace(pair) == "" {
			continue
		}
		name, value, found := strings.Cut(pair, "=")
		name = strings.TrimSpace(name)
		value, err := url.PathUnescape(strings.TrimSpace(value))
		if !found || name == "" || err != nil || !named(name) || strings.ContainsAny(value, "\r\n\x00") {
			return nil, false
		}
		read[name] = value
	}
	return read, true
}

// isToken says whether a text can be a header's name (RFC 9110).
func isToken(text string) bool {
	for _, c := range []byte(text) {
		if c <= ' ' || c >= 0x7f || strings.IndexByte(`"(),/:;<=>?@[\]{}`, c) >= 0 {
			return false
		}
	}
	return text != ""
}

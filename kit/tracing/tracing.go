// Package tracing records spans with OpenTelemetry's SDK and sends them to a collector, by OTLP over HTTP.
//
// A [Tracer] that is nil records nothing, and asking it costs nothing: neither memory nor more than a comparison. A trace that is not
// sampled costs next to that: whether it is is decided before anything is made, and most of what follows is never told of it.
//
// The package must never be in the way of the work: a collector that is away or slow blocks nobody, spans beyond a bound are dropped, and
// each change of that is one line in the log. It must never show what is in a header or a URL of the collector.
package tracing

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace"
	"go.opentelemetry.io/otel/sdk/resource"
	sdk "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"
)

// flushLimit is how long the end of a program waits for the collector to take what is left.
const flushLimit = time.Second

// Tracer starts spans. nil: there are none.
type Tracer struct {
	provider    *sdk.TracerProvider
	tracer      trace.Tracer
	sampler     sdk.Sampler
	parentBased bool // what the caller has decided holds
	client      *client
}

// Process says whose spans they are.
type Process struct {
	Name     string // service.name, unless the settings have another
	Version  string
	Instance string // service.instance.id; empty: none
}

// Start sets up what the settings ask for; nil when that is nothing. The caller stops it. An error is about the files of certificates.
func Start(s *Settings, who Process, log *slog.Logger) (*Tracer, error) {
	p := s.plan()
	for _, warning := range p.warnings {
		log.Warn("a setting of OpenTelemetry's cannot be used", "setting", warning)
	}
	if p.endpoint == "" {
		return nil, nil //nolint:nilnil // off, and no error
	}
	client, err := newClient(p)
	if err != nil {
		return nil, err
	}
	about := []attribute.KeyValue{attribute.String("service.name", who.Name), attribute.String("service.version", who.Version)}
	if who.Instance != "" {
		about = append(about, attribute.String("service.instance.id", who.Instance))
	}
	for key, value := range p.resource {
		about = append(about, attribute.String(key, value)) // a later one wins
	}
	if p.service != "" {
		about = append(about, attribute.String("service.name", p.service))
	}
	described, err := resource.New(context.Background(), resource.WithTelemetrySDK(), resource.WithAttributes(about...))
	if err != nil {
		return nil, fmt.Errorf("OTEL_RESOURCE_ATTRIBUTES: %w", err)
	}
	exporter := &watched{SpanExporter: otlptrace.NewUnstarted(client), log: log}
	sampler := p.newSampler()
	// The SDK looks at the same variables by itself and prints what it thinks of them; we have said it already.
	otel.SetErrorHandler(otel.ErrorHandlerFunc(func(err error) { log.Debug("from OpenTelemetry's SDK", "error", err.Error()) }))
	provider := sdk.NewTracerProvider(
		sdk.WithResource(described),
		sdk.WithSampler(decided{sampler}),
		sdk.WithIDGenerator(ids{}),
		sdk.WithSpanProcessor(newBounded(exporter, p, log)),
	)
	log.Info("recording traces", "sampler", sampler.Description(), "collector", client.address())
	return &Tracer{
		provider: provider, tracer: provider.Tracer("orderflow.example", trace.WithInstrumentationVersion(who.Version)), sampler: sampler,
		parentBased: p.parentBased, client: client,
	}, nil
}

// Stop sends what is left, for a second at most. Spans that end later are lost.
func (t *Tracer) Stop() {
	if t == nil {
		return
	}
	limited, cancel := context.WithTimeout(context.Background(), flushLimit)
	defer cancel()
	_ = t.provider.Shutdown(limited) // what could not be sent has been said
	t.client.close()
}

func (p *plan) newSampler() sdk.Sampler {
	var s sdk.Sampler
	switch p.sampler {
	case "always_off":
		s = sdk.NeverSample()
	case "traceidratio":
		s = sdk.TraceIDRatioBased(p.ratio)
	default:
		s = sdk.AlwaysSample()
	}
	if p.parentBased {
		s = sdk.ParentBased(s)
	}
	return s
}

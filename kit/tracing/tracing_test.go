package tracing_test

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/trace"
	"go.uber.org/goleak"

	"orderflow.example/kit/await"
	"orderflow.example/kit/env"
	"orderflow.example/kit/otlptest"
	"orderflow.example/kit/tracing"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const caller = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"

// lines is a log that can be read while it is written to.
type lines struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

func (l *lines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

// start starts a tracer with variables.
func start(tb testing.TB, variables map[string]string) (*tracing.Tracer, *lines) {
	tb.Helper()
	var s tracing.Settings
	if err := env.Read(func(name string) (string, bool) { v, ok := variables[name]; return v, ok }, &s).Err(); err != nil {
		tb.Fatal(err)
	}
	log := &lines{}
	tracer, err := tracing.Start(&s, tracing.Process{Name: "shop", Version: "1.2", Instance: "one"}, slog.New(slog.NewTextHandler(log, nil)))
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(tracer.Stop)
	return tracer, log
}

func begin(t *tracing.Tracer, from string) (trace.SpanContext, trace.Span) {
	return t.Begin(tracing.Parse(from), "begun", trace.SpanKindServer, time.Now())
}

func TestWithoutAnEndpointNothingIsSetUp(t *testing.T) {
	for name, variables := range map[string]map[string]string{
		"no endpoint": {"OTEL_TRACES_SAMPLER": "always_on", "OTEL_EXPORTER_OTLP_HEADERS": "a=b"},
		"disabled":    {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://localhost:1", "OTEL_SDK_DISABLED": "TRUE"},
		"none":        {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://localhost:1", "OTEL_TRACES_EXPORTER": "none"},
		"unreadable":  {"OTEL_EXPORTER_OTLP_ENDPOINT": "localhost:4318"},
	} {
		if tracer, log := start(t, variables); tracer != nil {
			t.Errorf("%s: there is a tracer\n%s", name, log)
		}
	}
	var off *tracing.Tracer
	from := tracing.Parse(caller)
	at := time.Now()
	if n := testing.AllocsPerRun(100, func() {
		_, _ = off.Begin(from, "x", trace.SpanKindServer, at)
		_, _ = off.Begin(trace.SpanContext{}, "x", trace.SpanKindServer, at)
	}); n != 0 {
		t.Errorf("%v allocations for traces that there are not", n)
	}
	if handed, _ := begin(off, caller); tracing.Format(handed) != caller {
		t.Errorf("what nobody records is handed on as %s", tracing.Format(handed))
	}
	if handed, span := begin(off, ""); !handed.IsValid() || handed.IsSampled() || span != nil {
		t.Errorf("a request without a trace is handed on as %s", tracing.Format(handed))
	}
}

func TestSpansArriveAsTheyWere(t *testing.T) {
	for name, variables := range map[string]map[string]string{
		"plain": {"OTEL_EXPORTER_OTLP_HEADERS": "authorization=Bearer%20s3cret, x-tenant = us"},
		"gzip":  {"OTEL_EXPORTER_OTLP_COMPRESSION": "gzip", "OTEL_EXPORTER_OTLP_TRACES_HEADERS": "authorization=Bearer%20s3cret,x-tenant=us", "OTEL_EXPORTER_OTLP_HEADERS": "x-tenant=them"},
	} {
		collector := otlptest.New(t)
		variables["OTEL_EXPORTER_OTLP_ENDPOINT"], variables["OTEL_BSP_SCHEDULE_DELAY"] = collector.URL+"/", "1"
		variables["OTEL_RESOURCE_ATTRIBUTES"] = "deployment.environment.name=te%2Cst,service.name=other"
		variables["OTEL_SERVICE_NAME"] = "till"
		tracer, log := start(t, variables)
		handed, span := begin(tracer, caller)
		child := tracer.Below(span, "child", trace.SpanKindProducer, time.Now(), attribute.String("a", "b"))
		joined := tracer.Join([]trace.Span{child}, "joined one", trace.SpanKindClient, time.Now())
		tracing.Fail(joined, "lost", "it was lost")
		_, second := begin(tracer, "")
		both := tracer.Join([]trace.Span{child, second}, "joined two", trace.SpanKindClient, time.Now())
		for _, s := range []trace.Span{both, joined, child, second, span} {
			s.End()
		}
		collector.Wait(t, "all have come", func(spans []otlptest.Span) bool { return len(spans) == 5 })
		tracer.Stop()
		spans := make(map[string]*otlptest.Span)
		for _, s := range collector.Spans() {
			spans[s.Name] = &s
			if s.Service != "till" || s.Resource["service.version"] != "1.2" || s.Resource["service.instance.id"] != "one" || s.Resource["deployment.environment.name"] != "te,st" || s.Resource["telemetry.sdk.language"] != "go" {
				t.Errorf("%s: resource is %v", name, s.Resource)
			}
			if s.Name == "begun" && s.ID == handed.SpanID().String() {
				spans["server"] = &s
			} else if s.Name == "begun" {
				spans["second"] = &s
			}
		}
		server, two := spans["server"], spans["joined two"]
		if len(spans) != 6 || server == nil || server.TraceID != caller[3:35] || server.Parent != caller[36:52] || server.Kind != "SERVER" {
			t.Fatalf("%s:\n%s\n%s", name, otlptest.Tree(collector.Spans()), log)
		}
		if c := spans["child"]; c.Parent != server.ID || c.TraceID != server.TraceID || c.Attrs["a"] != "b" || !c.LinksTo(two) || c.LinksTo(spans["joined one"]) {
			t.Errorf("%s: %+v", name, c)
		}
		if j := spans["joined one"]; j.Parent != spans["child"].ID || !j.Failed || j.Status != "it was lost" || j.Attrs["error.type"] != "lost" {
			t.Errorf("%s: %+v", name, j)
		}
		if two.Parent != "" || two.TraceID == server.TraceID || two.TraceID == spans["second"].TraceID || !two.LinksTo(spans["child"]) || !two.LinksTo(spans["second"]) || !spans["second"].LinksTo(two) {
			t.Errorf("%s: %+v", name, two)
		}
		if h := collector.Headers()[0]; h.Get("Authorization") != "Bearer s3cret" || h.Get("X-Tenant") != "us" {
			t.Errorf("%s: headers are %v", name, h)
		}
		if strings.Contains(log.String(), "s3cret") || strings.Contains(log.String(), "WARN") {
			t.Errorf("%s: logged\n%s", name, log)
		}
	}
}

// A caller's decision holds where the sampler is told so, and where nobody has decided the sampler does, for the whole trace.
func TestSampling(t *testing.T) {
	unsampled := caller[:54] + "0"
	for _, test := range []struct {
		sampler, arg string
		from         string
		recorded     bool
	}{
		{"", "", "", true},
		{"", "", caller, true},
		{"", "", unsampled, false},
		{"always_on", "", unsampled, true},
		{"always_off", "", caller, false},
		{"parentbased_always_off", "", "", false},
		{"parentbased_always_off", "", caller, true},
		{"parentbased_traceidratio", "0", "", false},
		{"parentbased_traceidratio", "0", caller, true},
		{"parentbased_traceidratio", "", "", true},
		{"traceidratio", "0", caller, false},
		{"nonsense", "", "", true},
	} {
		collector := otlptest.New(t)
		tracer, _ := start(t, map[string]string{"OTEL_EXPORTER_OTLP_ENDPOINT": collector.URL, "OTEL_TRACES_SAMPLER": test.sampler, "OTEL_TRACES_SAMPLER_ARG": test.arg, "OTEL_BSP_SCHEDULE_DELAY": "1"})
		handed, span := begin(tracer, test.from)
		if (span != nil) != test.recorded || handed.IsSampled() != test.recorded || !handed.IsValid() {
			t.Errorf("%+v: handed on as %s", test, tracing.Format(handed))
		}
		if test.from != "" && (handed.TraceID().String() != test.from[3:35] || handed.SpanID().String() == test.from[36:52]) {
			t.Errorf("%+v: handed on as %s", test, tracing.Format(handed))
		}
		if span != nil {
			span.End()
			collector.Wait(t, "it has come", func(spans []otlptest.Span) bool { return len(spans) > 0 })
		}
		tracer.Stop()
		if n := len(collector.Spans()); n != map[bool]int{true: 1}[test.recorded] {
			t.Errorf("%+v: %d spans", test, n)
		}
	}
	// A share is a share.
	collector := otlptest.New(t)
	tracer, _ := start(t, map[string]string{"OTEL_EXPORTER_OTLP_ENDPOINT": collector.URL, "OTEL_TRACES_SAMPLER": "parentbased_traceidratio", "OTEL_TRACES_SAMPLER_ARG": "0.1"})
	recorded := 0
	for range 10_000 {
		if _, span := begin(tracer, ""); span != nil {
			recorded++
			if !span.IsRecording() {
				t.Fatal("what is recorded was decided on twice")
			}
			span.End()
		}
	}
	if recorded < 800 || recorded > 1200 {
		t.Errorf("%d of 10,000 are recorded at 0.1", recorded)
	}
}

func TestWrongSettingsAreWarnedOf(t *testing.T) {
	collector := otlptest.New(t)
	tracer, log := start(t, map[string]string{
		"OTEL_EXPORTER_OTLP_ENDPOINT": collector.URL, "OTEL_EXPORTER_OTLP_HEADERS": "s3cret", "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc", "OTEL_EXPORTER_OTLP_TIMEOUT": "10s",
		"OTEL_EXPORTER_OTLP_COMPRESSION": "zip", "OTEL_TRACES_EXPORTER": "console", "OTEL_TRACES_SAMPLER": "jaeger_remote", "OTEL_RESOURCE_ATTRIBUTES": "a", "OTEL_SDK_DISABLED": "no",
		"OTEL_BSP_MAX_QUEUE_SIZE": "-1",
	})
	if tracer == nil {
		t.Fatal("no tracer")
	}
	for _, want := range []string{
		`OTEL_EXPORTER_OTLP_HEADERS=\"***\": must be name=value`, `PROTOCOL=\"grpc\": must be http/protobuf`, `TIMEOUT=\"10s\": must be a whole number`, `COMPRESSION=\"zip\"`,
		`OTEL_TRACES_EXPORTER=\"console\"`, `OTEL_TRACES_SAMPLER=\"jaeger_remote\"`, `OTEL_RESOURCE_ATTRIBUTES=\"a\"`, `OTEL_SDK_DISABLED=\"no\"`, `OTEL_BSP_MAX_QUEUE_SIZE=\"-1\"`,
	} {
		if !strings.Contains(log.String(), want) {
			t.Errorf("nothing of %s in\n%s", want, log)
		}
	}
	if strings.Contains(log.String(), "s3cret") {
		t.Errorf("a secret is in the log:\n%s", log)
	}
	_, log = start(t, map[string]string{"OTEL_EXPORTER_OTLP_ENDPOINT": "collector:s3cret@4318", "OTEL_TRACES_SAMPLER_ARG": "2", "OTEL_TRACES_SAMPLER": "traceidratio"})
	if strings.Contains(log.String(), "s3cret") || !strings.Contains(log.String(), "OTEL_EXPORTER_OTLP_ENDPOINT") || !strings.Contains(log.String(), `ARG=\"2\": must be a number from 0 to 1`) {
		t.Errorf("logged\n%s", log)
	}
}

// A collector that is away, refuses or hangs keeps nobody waiting, and is a line in the log when that begins and when it ends.
func TestACollectorThatTakesNothing(t *testing.T) {
	collector := otlptest.New(t)
	hang := make(chan struct{})
	tracer, log := start(t, map[string]string{
		"OTEL_EXPORTER_OTLP_ENDPOINT": collector.URL, "OTEL_BSP_MAX_QUEUE_SIZE": "10", "OTEL_BSP_MAX_EXPORT_BATCH_SIZE": "5", "OTEL_BSP_SCHEDULE_DELAY": "1", "OTEL_EXPORTER_OTLP_TIMEOUT": "600000",
	})
	asked := make(chan struct{}, 100)
	collector.Answer(func(_ http.ResponseWriter, r *http.Request) {
		asked <- struct{}{}
		select {
		case <-hang:
		case <-r.Context().Done():
		}
	})
	for range 1000 { // none of them waits, or this would not end
		_, span := begin(tracer, "")
		span.End()
	}
	<-asked
	if n := strings.Count(log.String(), "spans are dropped"); n != 1 {
		t.Errorf("told %d times that spans are dropped:\n%s", n, log)
	}
	collector.Answer(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusBadRequest) })
	close(hang) // an empty answer of 200
	await.True(t, "it is refused", func() bool {
		_, span := begin(tracer, "")
		span.End()
		return strings.Contains(log.String(), "the collector does not take traces") && strings.Contains(log.String(), "not dropped any more")
	})
	collector.Answer(func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprint(w, "\x0a\x08\x08\x05\x12\x04full") // partial_success: 5, "full"
	})
	collector.Answer(nil)
	await.True(t, "it is taken", func() bool {
		_, span := begin(tracer, "")
		span.End()
		return len(collector.Spans()) > 0 && strings.Contains(log.String(), "takes traces again")
	})
	if n := strings.Count(log.String(), "does not take traces"); n != 1 || !strings.Contains(log.String(), "400 Bad Request") {
		t.Errorf("told %d times that nothing is taken:\n%s", n, log)
	}
}

func TestWhatTheCollectorRejectsIsSaid(t *testing.T) {
	collector := otlptest.New(t)
	tracer, log := start(t, map[string]string{"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": collector.URL + "/v1/traces", "OTEL_BSP_SCHEDULE_DELAY": "1"})
	collector.Answer(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = w.Write([]byte("\x0a\x08\x08\x05\x12\x04full")) // partial_success: 5, "full"
	})
	_, span := begin(tracer, "")
	span.End()
	await.True(t, "the collector's answer is in the log", func() bool { return strings.Contains(log.String(), "the collector does not take traces") })
	if !strings.Contains(log.String(), "it rejected 5 spans: full") {
		t.Errorf("logged\n%s", log)
	}
}

// The end waits a second for the collector, which a busy machine may not keep: it is tried until it is.
func TestTheEndSendsWhatIsLeft(t *testing.T) {
	collector := otlptest.New(t)
	await.True(t, "what is left has been sent with the end", func() bool {
		tracer, _ := start(t, map[string]string{"OTEL_EXPORTER_OTLP_ENDPOINT": collector.URL, "OTEL_BSP_SCHEDULE_DELAY": "600000"})
		_, span := begin(tracer, "")
		span.End()
		tracer.Stop()
		return len(collector.Spans()) > 0
	})
}

// Who is sent elsewhere does not go: the spans are for the collector that was named, and the headers may be secrets.
func TestSpansAreNotTakenElsewhere(t *testing.T) {
	collector, elsewhere := otlptest.New(t), otlptest.New(t)
	tracer, log := start(t, map[string]string{"OTEL_EXPORTER_OTLP_ENDPOINT": collector.URL, "OTEL_EXPORTER_OTLP_HEADERS": "api-key=secret", "OTEL_BSP_SCHEDULE_DELAY": "1"})
	collector.Answer(func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, elsewhere.URL+r.URL.Path, http.StatusTemporaryRedirect)
	})
	_, span := begin(tracer, "")
	span.End()
	await.True(t, "the batch is refused, or has gone elsewhere", func() bool {
		return strings.Contains(log.String(), "307 Temporary Redirect") || len(elsewhere.Headers()) > 0
	})
	if n := len(elsewhere.Headers()); n > 0 {
		t.Errorf("%d requests came to another one", n)
	}
}

// What was refused for a while is sent again, and the end does not wait for a collector that hangs.
func TestABatchIsTriedAgain(t *testing.T) {
	collector := otlptest.New(t)
	tracer, log := start(t, map[string]string{"OTEL_EXPORTER_OTLP_ENDPOINT": collector.URL, "OTEL_BSP_SCHEDULE_DELAY": "1", "OTEL_EXPORTER_OTLP_TIMEOUT": "600000"})
	tries := 0
	collector.Answer(func(w http.ResponseWriter, _ *http.Request) {
		if tries++; tries == 2 {
			collector.Answer(nil)
		}
		w.WriteHeader(http.StatusServiceUnavailable)
	})
	_, span := begin(tracer, "")
	span.End()
	collector.Wait(t, "the span has come", func(spans []otlptest.Span) bool { return len(spans) == 1 })
	if strings.Contains(log.String(), "WARN") {
		t.Errorf("logged\n%s", log)
	}
	collector.Answer(func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() })
	_, span = begin(tracer, "")
	span.End()
	ended := make(chan struct{})
	go func() { tracer.Stop(); close(ended) }()
	select {
	case <-ended:
	case <-time.After(await.Limit()):
		t.Fatal("the end waits for the collector")
	}
}

// What a handler starts below a span belongs to its trace, whatever the sampler would say.
func TestSpansOfOthers(t *testing.T) {
	collector := otlptest.New(t)
	tracer, _ := start(t, map[string]string{"OTEL_EXPORTER_OTLP_ENDPOINT": collector.URL, "OTEL_TRACES_SAMPLER": "parentbased_always_off", "OTEL_BSP_SCHEDULE_DELAY": "1"})
	_, span := begin(tracer, caller)
	_, theirs := span.TracerProvider().Tracer("shop").Start(trace.ContextWithSpan(context.Background(), span), "theirs")
	theirs.End()
	_, alone := span.TracerProvider().Tracer("shop").Start(context.Background(), "alone")
	alone.End()
	span.End()
	spans := collector.Wait(t, "both have come", func(spans []otlptest.Span) bool { return len(spans) >= 2 })
	tracer.Stop()
	if len(spans) != 2 || spans[1].Name != "theirs" || spans[1].Parent != spans[0].ID || spans[1].TraceID != caller[3:35] {
		t.Errorf("\n%s", otlptest.Tree(spans))
	}
}

func BenchmarkBegin(b *testing.B) {
	collector := otlptest.New(b)
	off, _ := start(b, nil)
	rare, _ := start(b, map[string]string{"OTEL_EXPORTER_OTLP_ENDPOINT": collector.URL, "OTEL_TRACES_SAMPLER": "parentbased_traceidratio", "OTEL_TRACES_SAMPLER_ARG": "0.01"})
	all, _ := start(b, map[string]string{"OTEL_EXPORTER_OTLP_ENDPOINT": collector.URL})
	for _, run := range []struct {
		name   string
		tracer *tracing.Tracer
	}{{"off", off}, {"1in100", rare}, {"all", all}} {
		b.Run(run.name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, span := run.tracer.Begin(trace.SpanContext{}, "POST", trace.SpanKindServer, time.Now()); span != nil {
					span.End()
				}
			}
		})
	}
}

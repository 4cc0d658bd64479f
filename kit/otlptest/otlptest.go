// Package otlptest is a collector of traces for tests: an HTTP server that takes OTLP in Protobuf and remembers the spans.
package otlptest

import (
	"compress/gzip"
	"encoding/hex"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	common "go.opentelemetry.io/proto/otlp/common/v1"
	traces "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/protobuf/proto"

	"orderflow.example/kit/await"
)

// Span is one that has been taken.
type Span struct {
	Service  string // service.name of its resource
	Resource map[string]string
	Name     string
	Kind     string // SERVER, CLIENT, PRODUCER, CONSUMER or INTERNAL
	TraceID  string
	ID       string
	Parent   string // empty: none
	Start    time.Time
	End      time.Time
	Failed   bool
	Status   string // its message
	Attrs    map[string]string
	Links    []Link
}

// Link is one of a span's.
type Link struct{ TraceID, ID string }

// LinksTo says whether the span has a link to another one.
func (s *Span) LinksTo(other *Span) bool {
	return slices.Contains(s.Links, Link{other.TraceID, other.ID})
}

// Collector is one.
type Collector struct {
	URL    string
	server *httptest.Server

	mu      sync.Mutex
	spans   []Span
	headers []http.Header
	answer  http.HandlerFunc
	changed chan struct{} // closed with the next batch
}

// New starts a collector that ends with the test.
func New(tb testing.TB) *Collector {
	tb.Helper()
	c := &Collector{changed: make(chan struct{})}
	c.server = httptest.NewServer(http.HandlerFunc(c.take))
	tb.Cleanup(func() { c.server.CloseClientConnections(); c.server.Close() })
	c.URL = c.server.URL
	return c
}

// Answer makes the collector answer so, and take nothing; nil ends that.
func (c *Collector) Answer(h http.HandlerFunc) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.answer = h
}

func (c *Collector) take(w http.ResponseWriter, r *http.Request) {
	c.mu.Lock()
	answer := c.answer
	c.mu.Unlock()
	if answer != nil {
		_, _ = io.Copy(io.Discard, r.Body) // or the server would not notice that the sender has gone
		answer(w, r)
		return
	}
	spans, err := read(r)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.spans = append(c.spans, spans...)
	c.headers = append(c.headers, r.Header.Clone())
	close(c.changed)
	c.changed = make(chan struct{})
	w.Header().Set("Content-Type", "application/x-protobuf")
}

func read(r *http.Request) ([]Span, error) {
	if r.Method != http.MethodPost || r.URL.Path != "/v1/traces" || r.Header.Get("Content-Type") != "application/x-protobuf" {
		return nil, fmt.Errorf("%s %s of %s is no OTLP", r.Method, r.URL.Path, r.Header.Get("Content-Type"))
	}
	body := io.Reader(r.Body)
	if r.Header.Get("Content-Encoding") == "gzip" {
		unzip, err := gzip.NewReader(body)
		if err != nil {
			return nil, err
		}
		body = unzip
	}
	text, err := io.ReadAll(body)
	if err != nil {
		return nil, err
	}
	var data traces.TracesData // what an ExportTraceServiceRequest is, without gRPC
	if err := proto.Unmarshal(text, &data); err != nil {
		return nil, err
	}
	var all []Span
	for _, from := range data.ResourceSpans {
		resource := attributes(from.Resource.GetAttributes())
		for _, scope := range from.ScopeSpans {
			for _, s := range scope.Spans {
				all = append(all, span(resource, s))
			}
		}
	}
	return all, nil
}

func span(resource map[string]string, s *traces.Span) Span {
	one := Span{
		Service: resource["service.name"], Resource: resource, Name: s.Name, Kind: strings.TrimPrefix(s.Kind.String(), "SPAN_KIND_"),
		TraceID: hex.EncodeToString(s.TraceId), ID: hex.EncodeToString(s.SpanId), Parent: hex.EncodeToString(s.ParentSpanId),
		Start: time.Unix(0, int64(s.StartTimeUnixNano)), End: time.Unix(0, int64(s.EndTimeUnixNano)), //nolint:gosec // of this century
		Failed: s.Status.GetCode() == traces.Status_STATUS_CODE_ERROR, Status: s.Status.GetMessage(), Attrs: attributes(s.Attributes),
	}
	for _, l := range s.Links {
		one.Links = append(one.Links, Link{hex.EncodeToString(l.TraceId), hex.EncodeToString(l.SpanId)})
	}
	return one
}

func attributes(list []*common.KeyValue) map[string]string {
	read := make(map[string]string, len(list))
	for _, a := range list {
		switch v := a.Value.Value.(type) {
		case *common.AnyValue_StringValue:
			read[a.Key] = v.StringValue
		case *common.AnyValue_IntValue:
			read[a.Key] = fmt.Sprint(v.IntValue)
		case *common.AnyValue_BoolValue:
			read[a.Key] = fmt.Sprint(v.BoolValue)
		case *common.AnyValue_DoubleValue:
			read[a.Key] = fmt.Sprint(v.DoubleValue)
		}
	}
	return read
}

// Spans are those that have been taken so far, the earliest first.
func (c *Collector) Spans() []Span {
	spans, _ := c.state()
	return spans
}

func (c *Collector) state() ([]Span, <-chan struct{}) {
	c.mu.Lock()
	defer c.mu.Unlock()
	spans := slices.Clone(c.spans)
	slices.SortStableFunc(spans, func(a, b Span) int { return a.Start.Compare(b.Start) })
	return spans, c.changed
}

// Headers are those of the requests whose spans were taken.
func (c *Collector) Headers() []http.Header {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Clone(c.headers)
}

// Wait waits until the spans are as ok wants them, and returns them. If they never are, the test fails.
func (c *Collector) Wait(tb testing.TB, what string, ok func([]Span) bool) []Span {
	tb.Helper()
	limit := await.Limit()
	deadline := time.NewTimer(limit)
	defer deadline.Stop()
	for {
		spans, changed := c.state()
		if ok(spans) {
			return spans
		}
		select {
		case <-changed:
		case <-deadline.C:
			tb.Fatalf("after %s there is no trace in which %s; there are\n%s", limit, what, Tree(spans))
		}
	}
}

// Tree writes spans one below the other, each with its attributes.
func Tree(spans []Span) string {
	var b strings.Builder
	known := make(map[string]bool)
	for i := range spans {
		known[spans[i].ID] = true
	}
	var write func(parent, indent string)
	write = func(parent, indent string) {
		for i := range spans {
			s := &spans[i]
			if parent == "" && known[s.Parent] || parent != "" && s.Parent != parent {
				continue
			}
			fmt.Fprintf(&b, "%s%s %s %s (trace %s, span %s, links %v) %v\n", indent, s.Service, s.Kind, s.Name, s.TraceID, s.ID, s.Links, s.Attrs)
			write(s.ID, indent+"  ")
		}
	}
	write("", "")
	return b.String()
}

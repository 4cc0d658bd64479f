package e2e

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"orderflow.example/kit/otlptest"
	"orderflow.example/kit/testdb"
)

// receiver answers an order as often with 422 as it was told to, and remembers the traceparent of each call.
type receiver struct {
	mu      sync.Mutex
	refuse  map[string]int // by customer
	parents map[string][]string
}

func (r *receiver) ServeHTTP(w http.ResponseWriter, call *http.Request) {
	var order struct {
		Data struct {
			Customer string `json:"customer_name"`
		}
	}
	body, err := io.ReadAll(call.Body)
	if err != nil || json.Unmarshal(body, &order) != nil {
		w.WriteHeader(http.StatusBadRequest)
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.parents[order.Data.Customer] = append(r.parents[order.Data.Customer], call.Header.Get("Traceparent"))
	if r.refuse[order.Data.Customer] > 0 {
		r.refuse[order.Data.Customer]--
		w.WriteHeader(http.StatusUnprocessableEntity)
	}
}

func (r *receiver) saw(customer string) []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.parents[customer]
}

// story are the spans of one trace.
type story []otlptest.Span

func storyOf(spans []otlptest.Span, trace string) (s story) {
	for _, one := range spans {
		if one.TraceID == trace {
			s = append(s, one)
		}
	}
	return s
}

func (s story) named(name string) (found []otlptest.Span) {
	for _, one := range s {
		if one.Name == name {
			found = append(found, one)
		}
	}
	return found
}

// below is the one span of that name below another; the test fails when there is no such one, or several.
func (s story) below(t *testing.T, parent string, name string) otlptest.Span {
	t.Helper()
	var found []otlptest.Span
	for _, one := range s.named(name) {
		if one.Parent == parent {
			found = append(found, one)
		}
	}
	if len(found) != 1 {
		t.Fatalf("%d spans %q below %s in\n%s", len(found), name, parent, otlptest.Tree(s))
	}
	return found[0]
}

// attempt checks a delivery from its read to its end: below it are the read, the handler with its call, and the statement that settled it.
func (s story) attempt(t *testing.T, process otlptest.Span, attempt int, outcome, traceparent string) {
	t.Helper()
	failed := outcome != "ack"
	if process.Service != "orderflow-consumer" || process.Kind != "CONSUMER" || process.Attrs["orderflow.attempt"] != fmt.Sprint(attempt) || process.Attrs["orderflow.outcome"] != outcome || process.Failed != failed {
		t.Errorf("attempt %d is %+v, want %s", attempt, process, outcome)
	}
	handle := s.below(t, process.ID, "handle")
	call := s.below(t, handle.ID, "POST")
	settle := s.below(t, process.ID, outcome+" order_queue")
	s.below(t, process.ID, "receive order_queue")
	if handle.Failed != failed || call.Failed != failed || call.Kind != "CLIENT" || call.Attrs["http.response.status_code"] != map[bool]string{true: "422", false: "200"}[failed] {
		t.Errorf("attempt %d:\n%s", attempt, otlptest.Tree(s))
	}
	if traceparent != "00-"+process.TraceID+"-"+call.ID+"-01" {
		t.Errorf("attempt %d: the receiver saw %s, the call is span %s of %s", attempt, traceparent, call.ID, process.TraceID)
	}
	if settle.Kind != "CLIENT" || settle.Attrs["db.system.name"] != "postgresql" || settle.Attrs["messaging.operation.type"] != "settle" || settle.Attrs["db.namespace"] == "" || settle.Attrs["server.port"] == "" || settle.Failed || settle.Start.Before(handle.End) || settle.End.After(process.End) {
		t.Errorf("attempt %d was settled by %+v", attempt, settle)
	}
}

// One order, one trace: from the caller's request over every attempt to its end, also beyond its death.
func TestAnOrdersTraceIsReadFromEndToEnd(t *testing.T) {
	t.Parallel()
	collector := otlptest.New(t)
	r := &receiver{refuse: map[string]int{"once": 1, "dead": 2}, parents: map[string][]string{}}
	webhook := httptest.NewServer(r)
	t.Cleanup(func() { webhook.CloseClientConnections(); webhook.Close() })
	b := setup(t, testdb.New(t))
	ctx := bounded(t)
	otel := []string{"OTEL_EXPORTER_OTLP_ENDPOINT=" + collector.URL, "OTEL_BSP_SCHEDULE_DELAY=20"}
	const token = "admin-token-0123456789"
	api, err := b.stack.StartAPI(ctx, "api", append(otel, "ADMIN_TOKEN="+token)...)
	if err != nil {
		t.Fatal(err)
	}
	consumer, err := b.stack.StartConsumer(ctx, "consumer-1", append(otel, "HANDLER=webhook", "WEBHOOK_URL="+webhook.URL, "MAX_ATTEMPTS=2", "BACKOFF_BASE=10ms", "BACKOFF_MAX=10ms")...)
	if err != nil {
		t.Fatal(err)
	}
	const callersSpan = "00f067aa0ba902b7"
	traces := map[string]string{"once": "4bf92f3577b34da6a3ce929d0e0e4736", "dead": "5bf92f3577b34da6a3ce929d0e0e4737", "none": "6bf92f3577b34da6a3ce929d0e0e4738"}
	ids := map[string]string{}
	ended := func(trace, outcome string, times int) func([]otlptest.Span) bool {
		return func(spans []otlptest.Span) bool {
			n := 0
			for _, p := range storyOf(spans, trace).named("process order_queue") {
				if p.Attrs["orderflow.outcome"] == outcome {
					n++
				}
			}
			return n == times
		}
	}
	order := func(customer, flag string) {
		t.Helper()
		answer := call(ctx, t, http.MethodPost, api.URL()+"/orders", fmt.Sprintf(`{"customer_name":%q,"product_name":"p","quantity":1,"price":1}`, customer),
			"Traceparent", "00-"+traces[customer]+"-"+callersSpan+"-"+flag)
		ids[customer] = answer["id"].(json.Number).String()
	}
	// One after the other, so that no statement joins two of them: what does has a trace of its own.
	order("once", "01")
	collector.Wait(t, "an order is completed", ended(traces["once"], "ack", 1))
	order("dead", "01")
	collector.Wait(t, "an order is dead", ended(traces["dead"], "bury", 1))
	answer := call(ctx, t, http.MethodPost, api.URL()+"/dead-letters/redrive", `{"all":true}`, "Authorization", "Bearer "+token)
	if fmt.Sprint(answer["matched"]) != "1" {
		t.Errorf("redriven: %v", answer)
	}
	collector.Wait(t, "the dead one is completed", ended(traces["dead"], "ack", 1))
	order("none", "00")
	// An api that records nothing decides so for the consumer and the receiver, too, although its message bears no trace.
	quiet, err := b.stack.StartAPI(ctx, "api-2", append(otel, "OTEL_TRACES_SAMPLER=always_off")...)
	if err != nil {
		t.Fatal(err)
	}
	call(ctx, t, http.MethodPost, quiet.URL()+"/orders", `{"customer_name":"quiet","product_name":"p","quantity":1,"price":1}`)
	b.until(t, "all are completed", `select count(*) = 4 from orders where status = 'completed'`)
	if err := consumer.Stop(ctx); err != nil { // and with it what it had to tell
		t.Error(err)
	}

	spans := collector.Spans()
	for customer, outcomes := range map[string][]string{"once": {"nack", "ack"}, "dead": {"nack", "bury", "ack"}} {
		s := storyOf(spans, traces[customer])
		server := s.below(t, callersSpan, "POST /orders")
		create := s.below(t, server.ID, "create order_queue")
		s.below(t, create.ID, "send order_queue")
		if server.Service != "orderflow-api" || create.Attrs["orderflow.order.id"] != ids[customer] {
			t.Errorf("%s:\n%s", customer, otlptest.Tree(s))
		}
		processed, saw := s.named("process order_queue"), r.saw(customer)
		if len(processed) != len(outcomes) || len(saw) != len(outcomes) {
			t.Fatalf("%s: %d attempts, %d calls\n%s", customer, len(processed), len(saw), otlptest.Tree(s))
		}
		for i, p := range processed {
			if p.Parent != create.ID || p.Attrs["orderflow.order.id"] != ids[customer] {
				t.Errorf("%s: attempt %d is %+v, the message's is %s", customer, i+1, p, create.ID)
			}
			attempt := i + 1
			if i == 2 {
				attempt = 1 // redriven, with fresh attempts
			}
			s.attempt(t, p, attempt, outcomes[i], saw[i])
		}
		if customer == "dead" && processed[1].Attrs["orderflow.reason"] != "max_attempts" {
			t.Errorf("buried as %+v", processed[1])
		}
		if history := call(ctx, t, http.MethodGet, api.URL()+"/orders/"+ids[customer]+"/history", ""); history["trace_id"] != traces[customer] {
			t.Errorf("%s: its history has the trace %v", customer, history["trace_id"])
		}
	}
	// Who decides not to record decides for the whole trace, and its id is handed on all the same.
	if s := storyOf(spans, traces["none"]); len(s) != 0 {
		t.Errorf("nobody was to record\n%s", otlptest.Tree(s))
	}
	if saw := r.saw("none"); len(saw) != 1 || !strings.HasPrefix(saw[0], "00-"+traces["none"]+"-") || !strings.HasSuffix(saw[0], "-00") {
		t.Errorf("the receiver saw %v", saw)
	}
	if n := len(story(spans).named("process order_queue")); n != 5 {
		t.Errorf("%d deliveries were recorded, 2 and 3 were to be", n)
	}
	if saw := r.saw("quiet"); len(saw) != 1 || !strings.HasSuffix(saw[0], "-00") {
		t.Errorf("of what the api does not record the receiver saw %v", saw)
	}
	// Every line about an order leads to its trace.
	for line := range strings.SplitSeq(b.lines.String(), "\n") {
		if strings.Contains(line, `"order_id":`+ids["dead"]+`,`) && !strings.Contains(line, traces["dead"]) {
			t.Errorf("a line without the trace: %s", line)
		}
	}
}

// call makes a request and returns its answer, which has to be a success.
func call(ctx context.Context, t *testing.T, method, url, body string, headers ...string) map[string]any {
	t.Helper()
	request, err := http.NewRequestWithContext(ctx, method, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	request.Header.Set("Content-Type", "application/json")
	for i := 0; i+1 < len(headers); i += 2 {
		request.Header.Set(headers[i], headers[i+1])
	}
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	answer, err := client.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	decoder := json.NewDecoder(answer.Body)
	decoder.UseNumber()
	var read map[string]any
	if err := decoder.Decode(&read); err != nil || answer.StatusCode/100 != 2 {
		t.Fatalf("%s %s: %d %v %v", method, url, answer.StatusCode, read, err)
	}
	return read
}

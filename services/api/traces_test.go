package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"

	"orderflow.example/kit/await"
	"orderflow.example/kit/otlptest"
	"orderflow.example/kit/pgproxy"
	"orderflow.example/kit/testdb"
)

const callersTrace = "4bf92f3577b34da6a3ce929d0e0e4736"

func named(spans []otlptest.Span, name string) (found []otlptest.Span) {
	for _, s := range spans {
		if s.Name == name {
			found = append(found, s)
		}
	}
	return found
}

// scrapeAs reads the metrics in a format.
func (s *service) scrapeAs(tb testing.TB, format string) string {
	tb.Helper()
	request, err := http.NewRequestWithContext(context.Background(), http.MethodGet, s.metrics+"/metrics", http.NoBody)
	if err != nil {
		tb.Fatal(err)
	}
	request.Header.Set("Accept", format)
	answer, err := client.Do(request)
	if err != nil {
		tb.Fatal(err)
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	if err != nil || answer.StatusCode != http.StatusOK {
		tb.Fatalf("%d %v", answer.StatusCode, err)
	}
	return string(text)
}

// A request's trace goes on into its message and its row. What nobody records has no span.
func TestARequestIsTraced(t *testing.T) {
	t.Parallel()
	collector := otlptest.New(t)
	url := testdb.New(t)
	s := started(t, map[string]string{"DATABASE_URL": url, "OTEL_EXPORTER_OTLP_ENDPOINT": collector.URL, "OTEL_BSP_SCHEDULE_DELAY": "10", "TRACE_URL_TEMPLATE": "https://traces.example/trace/{trace_id}?a=b"})
	db := testdb.Connect(t, url)
	const posted = `{"customer_name":"c","product_name":"p","quantity":1,"price":1}`
	s.place(t, "/orders", posted, "traceparent", "00-"+callersTrace+"-00f067aa0ba902b7-00") // nobody records it, and the writer has its connection now

	order := s.place(t, "/orders", posted, "traceparent", "00-"+callersTrace+"-00f067aa0ba902b7-01").json(t)
	spans := collector.Wait(t, "an order was accepted", func(spans []otlptest.Span) bool { return len(named(spans, "POST /orders")) == 1 })
	server, create, send := named(spans, "POST /orders")[0], named(spans, "create order_queue"), named(spans, "send order_queue")
	if len(spans) != 3 || len(create) != 1 || len(send) != 1 {
		t.Fatalf("the spans are\n%s", otlptest.Tree(spans))
	}
	if server.TraceID != callersTrace || server.Parent != "00f067aa0ba902b7" || server.Kind != "SERVER" || server.Attrs["http.route"] != "/orders" || server.Attrs["http.response.status_code"] != "201" || server.Failed {
		t.Errorf("the request's is %+v", server)
	}
	id, messageID := order["id"].(json.Number).String(), order["message_id"].(json.Number).String()
	if c := create[0]; c.Parent != server.ID || c.Kind != "PRODUCER" || c.Attrs["orderflow.order.id"] != id || c.Attrs["messaging.message.id"] != messageID || c.Attrs["messaging.destination.name"] != "order_queue" {
		t.Errorf("the message's is %+v", c)
	}
	if d := send[0]; d.Parent != create[0].ID || d.Kind != "CLIENT" || d.Attrs["db.system.name"] != "postgresql" || d.Attrs["messaging.batch.message_count"] != "" || d.Attrs["db.operation.batch.size"] != "" || d.Attrs["db.namespace"] == "" || d.Attrs["server.address"] != "127.0.0.1" || d.Attrs["server.port"] == "" || d.Start.Before(create[0].Start) || d.End.After(create[0].End) {
		t.Errorf("the transaction's is %+v", d)
	}
	var parent, stored string
	if err := db.QueryRow(t.Context(), `select headers ->> 'traceparent' from pgmq.q_order_queue where msg_id::text = $1`, messageID).Scan(&parent); err != nil || parent != "00-"+callersTrace+"-"+create[0].ID+"-01" {
		t.Errorf("%v: the message bears %s", err, parent)
	}
	if err := db.QueryRow(t.Context(), `select replace(trace_id::text, '-', '') from public.orders where id::text = $1`, id).Scan(&stored); err != nil || stored != callersTrace {
		t.Errorf("%v: the order bears %s", err, stored)
	}

	if page := s.get(t, "/ui/orders/"+id); !strings.Contains(page.body, `<a href="https://traces.example/trace/`+callersTrace+`?a=b"`) {
		t.Errorf("the order's page has no link to its trace: %d\n%s", page.status, page.body)
	}
	collector.Wait(t, "a page was looked at", func(spans []otlptest.Span) bool { return len(spans) == 4 })

	// Nobody records these: probes, and what the caller does not.
	s.get(t, "/livez")
	s.place(t, "/orders", posted, "traceparent", "00-"+callersTrace+"-00f067aa0ba902b7-00")
	// What is scraped as OpenMetrics leads to the trace, until another one that is recorded takes as long.
	text := s.scrapeAs(t, "application/openmetrics-text; version=1.0.0")
	for _, metric := range []string{`orderflow_api_request_duration_seconds_bucket{method="POST",route="/orders",`, `orderflow_api_commit_duration_seconds_bucket{`} {
		found := false
		for line := range strings.SplitSeq(text, "\n") {
			found = found || strings.HasPrefix(line, metric) && strings.Contains(line, `# {trace_id="`+callersTrace+`"}`)
		}
		if !found {
			t.Errorf("no exemplar of %s in\n%s", metric, text)
		}
	}
	// This one is recorded, and its answer has its id.
	refused := s.post(t, "/orders", `{"customer_name":"c"}`)
	spans = collector.Wait(t, "an order was refused", func(spans []otlptest.Span) bool { return len(spans) > 4 })
	if len(spans) != 5 || spans[4].Name != "POST /orders" || spans[4].TraceID != refused.json(t)["trace_id"] || spans[4].Failed || spans[4].Attrs["http.response.status_code"] != "422" {
		t.Errorf("%s\nthe spans are\n%s", refused.body, otlptest.Tree(spans))
	}
}

// A message bears a trace that somebody follows: the caller, or this service. An order remembers one that is recorded, because a link to
// another leads nowhere.
func TestATraceThatNobodyFollowsIsNotStored(t *testing.T) {
	t.Parallel()
	const sampled, unsampled = "00-" + callersTrace + "-00f067aa0ba902b7-01", "00-" + callersTrace + "-00f067aa0ba902b7-00"
	collector := otlptest.New(t)
	for _, test := range []struct {
		name, endpoint, sampler, caller string
		message                         string // what it bears of the trace; of a traceparent its end
		order                           bool   // remembers the trace
	}{
		{"nobody", "", "", "", "", false},
		{"the caller, who does not record it", "", "", unsampled, unsampled, false},
		{"the caller, who records it", "", "", sampled, sampled, true},
		{"the service, which does not record it", collector.URL, "always_off", "", "false", false},
		{"the service, which records it", collector.URL, "always_on", "", "-01", true},
		{"both, and the caller does not record it", collector.URL, "", unsampled, "-00", false},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			url := testdb.New(t)
			env := map[string]string{"DATABASE_URL": url, "TRACE_URL_TEMPLATE": "https://traces.example/trace/{trace_id}"}
			if test.endpoint != "" {
				env["OTEL_EXPORTER_OTLP_ENDPOINT"], env["OTEL_TRACES_SAMPLER"] = test.endpoint, test.sampler
			}
			s := started(t, env)
			var headers []string
			if test.caller != "" {
				headers = []string{"traceparent", test.caller}
			}
			s.place(t, "/orders", `{"customer_name":"c","product_name":"p","quantity":1,"price":1}`, headers...)
			var keys, parent string
			var remembered bool
			err := testdb.Connect(t, url).QueryRow(t.Context(), `
				select (select string_agg(k, ' ' order by k) from jsonb_object_keys(q.headers) k), coalesce(q.headers ->> 'traceparent', q.headers ->> 'sampled', ''), o.trace_id is not null
				from pgmq.q_order_queue q join orders o on o.message_id = q.msg_id`).Scan(&keys, &parent, &remembered)
			if err != nil {
				t.Fatal(err)
			}
			wanted := "schema"
			switch test.message {
			case "":
			case "false":
				wanted = "sampled schema"
			default:
				wanted = "schema traceparent"
			}
			if keys != wanted || !strings.HasSuffix(parent, test.message) || remembered != test.order {
				t.Errorf("headers have %q, of the trace %q, the order remembers its trace: %v", keys, parent, remembered)
			}
			if page := s.get(t, "/ui/orders/1"); page.status != http.StatusOK || strings.Contains(page.body, "https://traces.example/") != test.order {
				t.Errorf("the order's page: %d, with a link to the trace: %v", page.status, !test.order)
			}
		})
	}
}

// What goes wrong is said as the conventions want it: by its kind, and no more than is true.
func TestATraceSaysWhatWentWrong(t *testing.T) {
	t.Parallel()
	collector := otlptest.New(t)
	s := started(t, map[string]string{"DATABASE_URL": testdb.New(t), "OTEL_EXPORTER_OTLP_ENDPOINT": collector.URL, "OTEL_BSP_SCHEDULE_DELAY": "10"})
	const order = `{"customer_name":"c","product_name":"p","quantity":%d,"price":1}`
	call := func(method, path, body string) {
		t.Helper()
		if _, err := s.try(method, path, body, []string{"Idempotency-Key", "k"}); err != nil {
			t.Error(err)
		}
	}
	call(http.MethodPost, "/orders", fmt.Sprintf(order, 1))
	call(http.MethodPost, "/orders", fmt.Sprintf(order, 2)) // another one with the same key
	call(http.MethodGet, "/nowhere", "")
	call("BREW", "/orders", "")
	spans := collector.Wait(t, "four requests were answered", func(spans []otlptest.Span) bool {
		return len(named(spans, "POST /orders"))+len(named(spans, "GET"))+len(named(spans, "HTTP")) == 4
	})
	creates, nowhere, brew := named(spans, "create order_queue"), named(spans, "GET"), named(spans, "HTTP")
	if len(creates) != 2 || len(nowhere) != 1 || len(brew) != 1 {
		t.Fatalf("the spans are\n%s", otlptest.Tree(spans))
	}
	if c := creates[1]; !c.Failed || c.Attrs["error.type"] != "422" || creates[0].Failed {
		t.Errorf("a key that was used before: %+v", c)
	}
	for _, one := range []otlptest.Span{nowhere[0], brew[0]} {
		if route, has := one.Attrs["http.route"]; has || one.Failed {
			t.Errorf("what is at no route has the route %q: %+v", route, one)
		}
	}
	if brew[0].Attrs["http.request.method"] != "_OTHER" {
		t.Errorf("what is no method: %+v", brew[0])
	}
}

// Requests that share a transaction share its span: it has links to them, and they to it.
func TestRequestsThatShareATransactionAreLinked(t *testing.T) {
	t.Parallel()
	collector := otlptest.New(t)
	proxy := testdb.Proxy(t, testdb.New(t))
	s := started(t, map[string]string{"DATABASE_URL": proxy.URL, "OTEL_EXPORTER_OTLP_ENDPOINT": collector.URL, "OTEL_BSP_SCHEDULE_DELAY": "10"})
	const order = `{"customer_name":"c","product_name":"p","quantity":1,"price":1}`
	s.place(t, "/orders", order, "traceparent", "00-"+callersTrace+"-00f067aa0ba902b7-00") // the writer has its connection now
	held := proxy.Trap("-- Writes a batch of orders", pgproxy.Held)
	var posts sync.WaitGroup
	post := func() {
		posts.Go(func() {
			if a, err := s.try(http.MethodPost, "/orders", order, nil); err != nil || a.status != http.StatusCreated {
				t.Errorf("%v: %d %s", err, a.status, a.body)
			}
		})
	}
	post()
	<-held
	post()
	post()
	await.True(t, "two wait", func() bool {
		return strings.Contains(s.scrape(t), "\norderflow_api_write_queue_orders 2\n")
	})
	proxy.Release()
	posts.Wait()
	spans := collector.Wait(t, "three orders were accepted", func(spans []otlptest.Span) bool { return len(named(spans, "POST /orders")) == 3 })
	sends, creates := named(spans, "send order_queue"), named(spans, "create order_queue")
	if len(sends) != 2 || len(creates) != 3 {
		t.Fatalf("the spans are\n%s", otlptest.Tree(spans))
	}
	alone, shared := sends[0], sends[1]
	if alone.Parent == "" || len(alone.Links) != 0 || shared.Parent != "" || len(shared.Links) != 2 || shared.Attrs["db.operation.batch.size"] != "2" || shared.Attrs["messaging.batch.message_count"] != "2" {
		t.Errorf("the spans are\n%s", otlptest.Tree(spans))
	}
	for _, c := range creates {
		if inShared := c.ID != alone.Parent; c.LinksTo(&shared) != inShared || shared.LinksTo(&c) != inShared {
			t.Errorf("%+v", c)
		}
	}
}

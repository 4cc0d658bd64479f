package main

import (
	"fmt"
	"net/http"
	"regexp"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus/testutil/promlint"

	"orderflow.example/kit/await"
	"orderflow.example/kit/testdb"
)

func TestDocumentation(t *testing.T) {
	t.Parallel()
	s := started(t, map[string]string{"DATABASE_URL": testdb.New(t)})

	a := s.get(t, "/openapi.json")
	document := a.json(t)
	if a.status != http.StatusOK || document["openapi"] != "3.1.0" {
		t.Errorf("got %d, OpenAPI %v", a.status, document["openapi"])
	}
	paths := document["paths"].(map[string]any)
	for path, methods := range map[string]string{
		"/orders": "get post", "/orders/batch": "post", "/orders/{id}": "get", "/messages": "get", "/queue": "get", "/queue/pause": "post", "/queue/resume": "post",
		"/dead-letters": "get", "/dead-letters/redrive": "post", "/dead-letters/{id}/redrive": "post", "/dead-letters/{id}": "delete",
		"/health": "get", "/livez": "get", "/readyz": "get",
	} {
		for method := range strings.FieldsSeq(methods) {
			op, ok := paths[path].(map[string]any)[method].(map[string]any)
			if !ok || op["operationId"] == "" || op["summary"] == "" || op["responses"] == nil {
				t.Errorf("%s %s is not in the document", method, path)
			}
		}
	}
	create := paths["/orders"].(map[string]any)["post"].(map[string]any)
	for _, status := range []string{"201", "400", "413", "415", "422", "503"} {
		if create["responses"].(map[string]any)[status] == nil {
			t.Errorf("POST /orders is not said to answer %s", status)
		}
	}
	for path, methods := range paths {
		for method, op := range methods.(map[string]any) {
			responses := op.(map[string]any)["responses"].(map[string]any)
			if away, ok := responses["503"].(map[string]any); ok && (away["headers"] == nil || away["headers"].(map[string]any)["Retry-After"] == nil) {
				t.Errorf("%s %s: the 503 is not said to have Retry-After", method, path)
			}
			if path != "/readyz" && (responses["503"] == nil) != (responses["500"] == nil) {
				t.Errorf("%s %s: whoever can fail can fail by a fault, too", method, path)
			}
		}
	}
	body := paths["/dead-letters/redrive"].(map[string]any)["post"].(map[string]any)["requestBody"]
	if text := fmt.Sprint(body); !strings.Contains(text, "schemas/Redrive") {
		t.Errorf("the redrive's body is described as %s", text)
	}
	// Every reference leads somewhere.
	schemas := document["components"].(map[string]any)["schemas"].(map[string]any)
	for _, ref := range regexp.MustCompile(`"\$ref":\s*"#/components/schemas/([^"]+)"`).FindAllStringSubmatch(a.body, -1) {
		if schemas[ref[1]] == nil {
			t.Errorf("there is no schema %s", ref[1])
		}
	}
	for name, schema := range schemas {
		if strings.Contains(name, "RawMessage") || schema == nil {
			t.Errorf("schema %s is of the program and not of the API", name)
		}
	}

	page := s.get(t, "/docs")
	if page.status != http.StatusOK || !strings.HasPrefix(page.header.Get("Content-Type"), "text/html") {
		t.Errorf("GET /docs: %d %s", page.status, page.header.Get("Content-Type"))
	}
	if redoc := s.get(t, "/redoc"); redoc.body != page.body {
		t.Errorf("GET /redoc does not lead to /docs: %d %q", redoc.status, redoc.body)
	}
	if found := regexp.MustCompile(`(?i)(src|href)\s*=\s*["']?(https?:)?//|@import|url\(`).FindString(page.body); found != "" {
		t.Errorf("the page loads something: %s", found)
	}
	// It works behind a proxy that cuts a prefix off.
	for _, fetched := range regexp.MustCompile(`fetch\(([^,)]*)`).FindAllStringSubmatch(page.body, -1) {
		if !strings.HasPrefix(fetched[1], `"openapi.json"`) && !strings.HasPrefix(fetched[1], `"." + `) {
			t.Errorf("the page fetches %s, which is not relative", fetched[1])
		}
	}
	if !strings.Contains(page.header.Get("Content-Security-Policy"), "default-src 'none'") {
		t.Errorf("Content-Security-Policy is %q", page.header.Get("Content-Security-Policy"))
	}
}

func TestMetrics(t *testing.T) {
	t.Parallel()
	s := started(t, map[string]string{"DATABASE_URL": testdb.New(t), "MAX_CONNECTIONS": "20", "BODY_BUDGET": "8MiB"})
	s.post(t, "/orders", orderJSON(1), "Idempotency-Key", "k")
	s.post(t, "/orders", orderJSON(1), "Idempotency-Key", "k")
	s.post(t, "/orders/batch", `{"orders":[`+orderJSON(1)+`,`+orderJSON(2)+`]}`)
	s.post(t, "/orders", `{`)
	s.get(t, "/orders/1")
	s.get(t, "/somewhere/else")
	second := &service{url: s.metrics}
	text := second.get(t, "/metrics").body
	if problems, err := promlint.New(strings.NewReader(text)).Lint(); err != nil || len(problems) > 0 {
		t.Errorf("Prometheus' linter: %v %v", problems, err)
	}
	for _, want := range []string{
		`orderflow_api_requests_total{method="POST",route="/orders",status="201"} 2`,
		`orderflow_api_requests_total{method="POST",route="/orders",status="400"} 1`,
		`orderflow_api_requests_total{method="POST",route="/orders/batch",status="201"} 1`,
		`orderflow_api_requests_total{method="GET",route="/orders/:id",status="200"} 1`,
		`orderflow_api_requests_total{method="GET",route="none",status="404"} 1`,
		`orderflow_api_orders_total 3`,
		`orderflow_api_commits_total 3`,
		`orderflow_api_idempotent_replays_total 1`,
		`orderflow_api_database_up 1`,
		`orderflow_api_write_queue_orders 0`,
		`orderflow_api_connections_limit 20`,
		`orderflow_api_connections_evicted_total 0`,
		`orderflow_api_accept_failures_total 0`,
		`orderflow_api_body_budget_used_bytes 0`,
		`orderflow_api_body_budget_limit_bytes 8.388608e+06`,
		`orderflow_api_body_budget_refused_total 0`,
		`orderflow_api_request_duration_seconds_bucket{method="POST",route="/orders",le="+Inf"} 3`,
		`orderflow_api_request_duration_seconds_count{method="POST",route="/orders"} 3`,
	} {
		if !strings.Contains(text, want+"\n") {
			t.Errorf("the metrics do not have %s", want)
		}
	}
	if !strings.Contains(text, `orderflow_api_request_duration_seconds_bucket{method="POST",route="/orders",le="1"} `) {
		t.Error("the metrics do not say how many were answered within a second")
	}
	for path, status := range map[string]int{"/livez": 200, "/readyz": 200, "/debug/pprof/": 404, "/debug/pprof/profile": 404, "/debug/pprof/cmdline": 404} {
		if a := second.get(t, path); a.status != status {
			t.Errorf("GET %s on the second port: %d, want %d", path, a.status, status)
		}
	}
	if ready := second.get(t, "/readyz").json(t); ready["ready"] != true || ready["database_up"] != true {
		t.Errorf("readiness in detail is %v", ready)
	}
	await.True(t, "a notification to be counted", func() bool {
		s.place(t, "/orders", orderJSON(1)) // a notification may be lost
		text := second.get(t, "/metrics").body
		return strings.Contains(text, "orderflow_api_notifications_total ") && !strings.Contains(text, "orderflow_api_notifications_total 0")
	})
}

func TestProfilerIsSwitchedOnByItself(t *testing.T) {
	t.Parallel()
	s := start(t, map[string]string{"DATABASE_URL": testdb.New(t), "PPROF": "true"})
	second := &service{url: s.metrics}
	for _, path := range []string{"/debug/pprof/", "/debug/pprof/goroutine?debug=1"} {
		if a := second.get(t, path); a.status != http.StatusOK {
			t.Errorf("GET %s: %d", path, a.status)
		}
	}
}

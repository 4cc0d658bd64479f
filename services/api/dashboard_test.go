package main

import (
	"bufio"
	"context"
	"encoding/json"
	"net/http"
	"strings"
	"testing"

	"orderflow.example/kit/testdb"
)

// stream is a viewer of GET /events.
type stream struct {
	t     *testing.T
	lines *bufio.Reader
	resp  *http.Response
}

// watch opens the stream. It ends with the test.
func (s *service) watch(t *testing.T, headers ...string) *stream {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, s.url+"/events", nil)
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i+1 < len(headers); i += 2 {
		req.Header.Set(headers[i], headers[i+1])
	}
	resp, err := streaming.Do(req)
	if err != nil {
		cancel()
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cancel()
		_ = resp.Body.Close()
	})
	return &stream{t, bufio.NewReader(resp.Body), resp}
}

// streaming has no time limit for what has no end.
var streaming = &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}

// next is the next event with a name, whose data go to into. Other events are passed over.
func (s *stream) next(name string, into any) {
	s.t.Helper()
	for s.event() != name {
	}
	data, err := s.lines.ReadString('\n')
	if err != nil {
		s.t.Fatal(err)
	}
	if err := json.Unmarshal([]byte(strings.TrimPrefix(data, "data: ")), into); err != nil {
		s.t.Fatalf("%v: %s", err, data)
	}
}

func (s *stream) event() string {
	s.t.Helper()
	for {
		line, err := s.lines.ReadString('\n')
		if err != nil {
			s.t.Fatalf("the stream ends: %v", err)
		}
		if name, ok := strings.CutPrefix(strings.TrimSuffix(line, "\n"), "event: "); ok {
			return name
		}
	}
}

func TestTheDashboardShowsAndStreamsWhatHappens(t *testing.T) {
	t.Parallel()
	s := started(t, map[string]string{"DATABASE_URL": testdb.New(t)})
	events := s.watch(t)
	if got := events.resp.Header.Get("Content-Type"); got != "text/event-stream" {
		t.Errorf("the stream is %s", got)
	}
	var seen struct {
		Waiting int
		Latest  []struct {
			Status       string
			CustomerName string `json:"customer_name"`
		}
	}
	events.next("snapshot", &seen)
	if seen.Waiting != 0 || len(seen.Latest) != 0 {
		t.Errorf("before the first order: %+v", seen)
	}
	s.post(t, "/orders", orderJSON(1))
	for seen.Waiting != 1 || len(seen.Latest) != 1 {
		events.next("snapshot", &seen)
	}
	if seen.Latest[0].CustomerName != "Customer 1" || seen.Latest[0].Status != "pending" {
		t.Errorf("the latest order is %+v", seen.Latest[0])
	}
	if page := s.get(t, "/"); page.status != http.StatusOK || !strings.Contains(page.body, `<dt>Waiting</dt><dd><div class="value">1</div>`) {
		t.Errorf("the page is %d\n%s", page.status, page.body)
	}
}

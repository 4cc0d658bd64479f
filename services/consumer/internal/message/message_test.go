package message_test

import (
	"encoding/json"
	"os"
	"strings"
	"testing"

	"orderflow.example/kit/tracing"
	"orderflow.example/services/consumer/internal/message"
)

type golden struct {
	Name    string
	Body    json.RawMessage
	Headers json.RawMessage
}

func goldens(tb testing.TB) []golden {
	tb.Helper()
	text, err := os.ReadFile("../../testdata/message.json")
	if err != nil {
		tb.Fatal(err)
	}
	var list []golden
	if err := json.Unmarshal(text, &list); err != nil || len(list) == 0 {
		tb.Fatal(err)
	}
	return list
}

// The file is the contract with the api, which has the same one.
func TestWhatTheAPIPublishesIsUnderstood(t *testing.T) {
	t.Parallel()
	for _, g := range goldens(t) {
		m := message.Message{ID: 1, ReadCount: 1, Body: g.Body, Headers: g.Headers}
		if poison := m.Decode(); poison != nil {
			t.Errorf("%s: %v", g.Name, poison)
		}
		var want struct {
			OrderID int64 `json:"order_id"`
		}
		var headers struct{ Traceparent string }
		if json.Unmarshal(g.Body, &want) != nil || json.Unmarshal(g.Headers, &headers) != nil {
			t.Fatal(g.Name)
		}
		if m.OrderID != want.OrderID || m.Traceparent != headers.Traceparent || m.Attempt != 1 {
			t.Errorf("%s: %+v", g.Name, m)
		}
	}
}

func TestWhatTheExamplePublishesIsUnderstood(t *testing.T) {
	t.Parallel()
	m := message.Message{ReadCount: 1, Body: json.RawMessage(`{"price": 11.0, "order_id": 3, "quantity": 2,
		"created_at": "2026-01-07T19:48:03.123456", "product_name": "Product 1", "customer_name": "Customer 1"}`)}
	if poison := m.Decode(); poison != nil || m.OrderID != 3 {
		t.Fatalf("%+v, %v", m, poison)
	}
}

func TestPoisonIsNamed(t *testing.T) {
	t.Parallel()
	for body, want := range map[string]string{
		``:                                       "not_an_object: message is not a JSON object but nothing (SQL null)",
		`null`:                                   "not_an_object: message is not a JSON object but null",
		`[]`:                                     "not_an_object: message is not a JSON object but an array",
		`"x"`:                                    "not_an_object: message is not a JSON object but a string",
		`true`:                                   "not_an_object: message is not a JSON object but a boolean",
		`1`:                                      "not_an_object: message is not a JSON object but a number",
		`{}`:                                     "bad_message: order_id is missing",
		`{"Order_id": 1}`:                        "bad_message: order_id is missing",
		`{"order_id": null}`:                     "bad_message: order_id must be a whole number above 0, not null",
		`{"order_id": "7"}`:                      `bad_message: order_id must be a whole number above 0, not "7"`,
		`{"order_id": 0}`:                        "bad_message: order_id must be a whole number above 0, not 0",
		`{"order_id": -1}`:                       "bad_message: order_id must be a whole number above 0, not -1",
		`{"order_id": 9223372036854775808}`:      "bad_message: order_id must be a whole number above 0, not 9223372036854775808",
		`{"order_id": 1, "quantity": 1.5}`:       "bad_message: quantity must be a whole number, not 1.5",
		`{"order_id": 1, "quantity": "2"}`:       `bad_message: quantity must be a number, not "2"`,
		`{"order_id": 1, "price": [1]}`:          "bad_message: price must be a number, not [1]",
		`{"order_id": 1, "customer_name": null}`: "bad_message: customer_name must be a string, not null",
		`{"order_id": 1, "created_at": 20260107}`: "bad_message: created_at must be a string, not 20260107",
	} {
		m := message.Message{ReadCount: 1, Body: json.RawMessage(body)}
		poison := m.Decode()
		if poison == nil || poison.Reason+": "+poison.Problem != want {
			t.Errorf("%s: %+v, want %s", body, poison, want)
		}
	}
}

func TestAttemptsAreStartsThatAreKnown(t *testing.T) {
	t.Parallel()
	type counts struct{ attempt, crashes, unanswered int }
	for _, test := range []struct {
		headers string
		want    counts
	}{
		{``, counts{attempt: 1}}, // others have read it
		{`null`, counts{attempt: 1}},
		{`[]`, counts{attempt: 1}},
		{`{"orderflow-unanswered": 1}`, counts{attempt: 1}}, // by this delivery alone
		{`{"orderflow-unanswered": 3}`, counts{attempt: 1, unanswered: 2}},
		{`{"orderflow-failed": 2}`, counts{attempt: 3}},
		{`{"orderflow-started": {"2": "a", "4": "b"}}`, counts{attempt: 3, crashes: 2}},
		{`{"orderflow-started": {}}`, counts{attempt: 1}},
		{`{"orderflow-started": {"4": "b"}, "orderflow-failed": 1, "orderflow-unanswered": 2}`, counts{attempt: 3, crashes: 1, unanswered: 1}},
		{`{"orderflow-failed": 400}`, counts{attempt: 5}}, // forged: there were four reads before
		{`{"orderflow-unanswered": 400}`, counts{attempt: 1, unanswered: 4}},
		{`{"orderflow-started": {"1": 1, "2": 1, "3": 1, "4": 1, "5": 1, "6": 1}, "orderflow-failed": 3}`, counts{attempt: 5, crashes: 1}},
		{`{"orderflow-failed": -7, "orderflow-unanswered": -7}`, counts{attempt: 1}},
		{`{"orderflow-failed": "2", "orderflow-unanswered": "2", "orderflow-started": "2"}`, counts{attempt: 1}},
		{`{"orderflow-failed": [2], "orderflow-unanswered": {"a": 1}, "orderflow-started": ["2", "4"]}`, counts{attempt: 1}},
		{`{"orderflow-failed": 1e300, "orderflow-unanswered": 1e300}`, counts{attempt: 5, unanswered: 4}},
		{`{"orderflow-failed": 1e999, "orderflow-unanswered": -1e999}`, counts{attempt: 5}},
	} {
		m := message.Message{ReadCount: 5, Body: json.RawMessage(`{"order_id": 1}`), Headers: json.RawMessage(test.headers)}
		poison := m.Decode()
		if got := (counts{m.Attempt, int(m.Crashes), int(m.Unanswered)}); poison != nil || got != test.want {
			t.Errorf("%s: %+v, want %+v (%v)", test.headers, got, test.want, poison)
		}
	}
}

func TestOnlyAValidTraceparentIsTaken(t *testing.T) {
	t.Parallel()
	const valid = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
	for given, want := range map[string]string{
		`"` + valid + `"`:                      "4bf92f3577b34da6a3ce929d0e0e4736",
		`"` + strings.ToUpper(valid) + `"`:     "",
		`"` + valid + `\r\nEvil: yes"`:         "",
		`"00-` + strings.Repeat("a", 32) + `"`: "",
		`7`:                                    "",
	} {
		m := message.Message{ReadCount: 1, Body: json.RawMessage(`{"order_id": 1}`), Headers: json.RawMessage(`{"traceparent": ` + given + `}`)}
		_ = m.Decode()
		if m.TraceID() != want {
			t.Errorf("%s: %q", given, m.TraceID())
		}
	}
}

// What the api has decided not to record is recorded by nobody: neither here nor by those who are called.
func TestATraceThatIsNotSampledStaysSo(t *testing.T) {
	t.Parallel()
	const valid = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
	for headers, want := range map[string]string{ // the beginning and the end
		`{"schema": 1, "sampled": false}`:                          "00- -00",
		`{"schema": 1, "sampled": true}`:                           "",
		`{"schema": 1, "sampled": "false"}`:                        "",
		`{"schema": 1}`:                                            "",
		`{"sampled": false, "traceparent": "x"}`:                   "00- -00",
		`{"sampled": false, "traceparent": "` + valid + `"}`:       valid + " " + valid,
		`{"sampled": {"sampled": false}, "a": {"sampled": false}}`: "",
	} {
		m := message.Message{ReadCount: 1, Body: json.RawMessage(`{"order_id": 1}`), Headers: json.RawMessage(headers)}
		_ = m.Decode()
		begin, end, some := strings.Cut(want, " ")
		if some != (m.Traceparent != "") || !strings.HasPrefix(m.Traceparent, begin) || !strings.HasSuffix(m.Traceparent, end) {
			t.Errorf("%s: %q", headers, m.Traceparent)
		}
		if context := tracing.Parse(m.Traceparent); context.IsValid() != some {
			t.Errorf("%s: %q is not a traceparent", headers, m.Traceparent)
		}
		if leads := strings.HasSuffix(m.Traceparent, "-01"); (m.TraceID() != "") != leads {
			t.Errorf("%s: log lines have the trace id %q", headers, m.TraceID())
		}
	}
}

// FuzzDecode feeds what a queue can hold, and what it cannot: the decoder neither fails nor believes too much.
func FuzzDecode(f *testing.F) {
	for _, g := range goldens(f) {
		f.Add([]byte(g.Body), []byte(g.Headers), int32(1))
	}
	f.Add([]byte(`{"order_id": 1e2}`), []byte(`{"orderflow-unanswered": 2, "orderflow-started": {"3": 1}}`), int32(3))
	f.Add([]byte(`{"order_id": 1, "order_id": "x"}`), []byte(`[`), int32(0))
	f.Fuzz(func(t *testing.T, body, headers []byte, reads int32) {
		m := message.Message{ReadCount: reads, Body: body, Headers: headers}
		poison := m.Decode()
		switch {
		case poison == nil && m.OrderID < 1:
			t.Errorf("an order without an id: %+v", m)
		case poison != nil && (poison.Problem == "" || poison.Reason == ""):
			t.Errorf("poison without a reason: %+v", poison)
		case poison != nil && poison.OrderID != m.OrderID:
			t.Errorf("%+v, %+v", poison, m)
		}
		var fields map[string]json.RawMessage
		if err := json.Unmarshal(body, &fields); err != nil && poison == nil {
			t.Error("took for an order what is no JSON object")
		} else if err == nil && fields != nil {
			// Postgres hands out objects without repeated names and needless escapes: then it must be the same as the library's.
			normal, err := json.Marshal(fields)
			m := message.Message{ReadCount: reads, Body: normal}
			var id int64
			sound := err == nil && json.Unmarshal(fields["order_id"], &id) == nil && id > 0
			if _ = m.Decode(); sound != (m.OrderID > 0) || sound && m.OrderID != id {
				t.Errorf("%s: order %d, want %d", normal, m.OrderID, id)
			}
		}
		if m.Attempt < 1 || m.Attempt > int(max(reads, 1)) || m.Unanswered < 0 || m.Unanswered >= max(reads, 1) {
			t.Errorf("attempt %d of %d reads, %d without an answer", m.Attempt, reads, m.Unanswered)
		}
		if id := m.TraceID(); id != "" && len(id) != 32 {
			t.Errorf("trace id %q", id)
		}
	})
}

func BenchmarkDecode(b *testing.B) {
	g := goldens(b)[0]
	b.ReportAllocs()
	for b.Loop() {
		m := message.Message{ID: 1, ReadCount: 1, Body: g.Body, Headers: g.Headers}
		if m.Decode() != nil {
			b.Fatal("poison")
		}
	}
}

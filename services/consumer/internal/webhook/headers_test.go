package webhook_test

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"

	"orderflow.example/services/consumer/internal/webhook"
)

func TestHeadersOfTheUsersOwn(t *testing.T) {
	t.Parallel()
	got, err := webhook.ParseHeaders("authorization: Bearer geheim\r\n\n  X-Tenant:a:b, c  \nUSER-agent: shop\n")
	want := webhook.Headers{{"Authorization", "Bearer geheim"}, {"X-Tenant", "a:b, c"}, {"User-Agent", "shop"}}
	if err != nil || !slices.Equal(got, want) {
		t.Errorf("%#v, %v", got, err)
	}
	if shown := fmt.Sprintf("%v %+v", got, got); strings.Contains(shown, "geheim") || !strings.Contains(shown, "Authorization") {
		t.Error(shown)
	}
	if got, err := webhook.ParseHeaders(""); len(got) != 0 || err != nil {
		t.Errorf("%v, %v", got, err)
	}
	for lines, want := range map[string]string{
		"Bearer geheim":                "line 1 has no colon",
		"A: b\ngeheim geheim: x":       "line 2 does not begin with a header's name",
		": geheim":                     "line 1 does not begin",
		"X-Ä: geheim":                  "line 1 does not begin",
		"X-A : geheim":                 "line 1 does not begin",
		"X-A:":                         "line 1 has no value for X-A",
		"X-A: geheim\x00":              "line 1 has a value for X-A that is not of visible ASCII",
		"X-A: geheim\rX-B: geheim":     "line 1 has a value for X-A",
		"X-A: gehéim":                  "line 1 has a value for X-A",
		"X-A: 1\nx-a: 2":               "line 2 has X-A once more",
		"webhook-id: 1":                "line 1 sets Webhook-Id",
		"Webhook-Signature: v1,geheim": "line 1 sets Webhook-Signature",
		"WEBHOOK-anything: x":          "line 1 sets Webhook-Anything",
		"content-type: text/plain":     "line 1 sets Content-Type",
		"Content-Length: 1":            "line 1 sets Content-Length",
		"Host: h":                      "line 1 sets Host",
		"Transfer-Encoding: chunked":   "line 1 sets Transfer-Encoding",
		"Connection: close":            "line 1 sets Connection",
		"Traceparent: 00-0-0-01":       "line 1 sets Traceparent",
		strings.Repeat("X: 1\n", 2):    "line 2 has X once more",
		numbered(51):                   "there are 51, more than 50",
	} {
		if got, err := webhook.ParseHeaders(lines); err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "geheim") || got != nil {
			t.Errorf("%q: %v", lines, err)
		}
	}
	if got, err := webhook.ParseHeaders(numbered(50)); len(got) != 50 || err != nil {
		t.Errorf("%d, %v", len(got), err)
	}
}

func numbered(n int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, "X-%d: %d\n", i, i)
	}
	return b.String()
}

// Whatever is taken can be sent: it writes exactly its lines, and nothing of ours is among them.
func FuzzHeaders(f *testing.F) {
	f.Add("X-A: b")
	f.Add("Authorization:Bearer x\r\n\r\nX-B:\tc\n")
	f.Add("webhook-id: 1")
	f.Add("A: b\rC: d")
	f.Fuzz(func(t *testing.T, lines string) {
		headers, err := webhook.ParseHeaders(lines)
		if err != nil {
			return
		}
		head := http.Header{}
		for _, h := range headers {
			if h.Name != http.CanonicalHeaderKey(h.Name) || strings.HasPrefix(h.Name, "Webhook-") || h.Name == "Host" {
				t.Errorf("%q", h.Name)
			}
			head.Set(h.Name, h.Value)
		}
		var sent strings.Builder
		if err := head.Write(&sent); err != nil || strings.Count(sent.String(), "\n") != len(headers) {
			t.Errorf("%q is sent as %q, %v", lines, sent.String(), err)
		}
		for _, h := range headers {
			if !strings.Contains(sent.String(), h.Name+": "+h.Value+"\r\n") {
				t.Errorf("%v is not in %q", h, sent.String())
			}
		}
	})
}

package receive

import (
	"net/http"
	"testing"

	"orderflow.example/services/loadgen/internal/receive/memory"
)

// The order is the same, whichever way it is written.
func TestAnOrderIsFoundInEveryShape(t *testing.T) {
	t.Parallel()
	want := memory.Webhook{ID: "x", Order: memory.Order{ID: 7, Created: 1_767_815_283_123_456}, Data: memory.DataOf([4]string{"Ada", "Lamp", "2", "9.5"})}
	for _, body := range []string{
		`{"order_id":7,"customer_name":"Ada","product_name":"Lamp","quantity":2,"price":9.50,"created_at":"2026-01-07T19:48:03.123456+00:00"}`,
		`{"type":"order","timestamp":"2026-01-08T00:00:00Z","data":{"order_id":7,"customer_name":"Ada","product_name":"Lamp","quantity":2,"price":9.5,"created_at":"2026-01-07T19:48:03.123456Z"}}`,
		`{"type":"order","data":{"id":7,"customer_name":"Ada","product_name":"Lamp","quantity":2.0,"price":"9.5","created_at":"2026-01-07T20:48:03.123456+01:00","attempts":{}}}`,
	} {
		if got := read("x", []byte(body)); got != want {
			t.Errorf("%s\n%+v, want %+v", body, got, want)
		}
	}
	seen := map[memory.Data]string{}
	for _, body := range []string{``, `{}`, `[]`, `null`, `{"data":{"order_id":"seven"}}`, `{"data":{"order_id":1e30}}`, `{"data":[{"order_id":7}]}`, `{"order_id":7`} {
		got := read("x", []byte(body))
		if got.Order != (memory.Order{}) || seen[got.Data] != "" {
			t.Errorf("%q is about %+v, and looks like %q", body, got.Order, seen[got.Data])
		}
		seen[got.Data] = body
	}
}

func TestFaultsAreOrderedFromThisMachineOrWithAToken(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		admins, from, header string
		want                 bool
	}{
		{"", "127.0.0.1:1", "", true},
		{"", "[::1]:1", "", true},
		{"", "10.0.0.1:1", "", false},
		{"", "10.0.0.1:1", "Bearer ", false},
		{"one,two", "10.0.0.1:1", "Bearer two", true},
		{"one,two", "10.0.0.1:1", "Bearer one,two", false},
		{"one", "10.0.0.1:1", "Bearer ", false},
		{"one", "10.0.0.1:1", "one", false},
		{"one", "10.0.0.1:1", "Basic one", false},
	} {
		req := &http.Request{RemoteAddr: c.from, Header: http.Header{"Authorization": {c.header}}}
		if got := (&control{admins: c.admins}).allowed(req); got != c.want {
			t.Errorf("%+v: %v", c, got)
		}
	}
}

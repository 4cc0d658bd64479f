package main

import (
	"bytes"
	"compress/gzip"
	"fmt"
	"net/http"
	"runtime"
	"strings"
	"testing"

	"orderflow.example/kit/testdb"
)

func gzipped(t *testing.T, raw []byte) string {
	t.Helper()
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	if _, err := w.Write(raw); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

const (
	formType = "application/x-www-form-urlencoded"
	jsonType = "application/json"
)

// coded is a request with content codings, one field each.
func coded(path, kind, body string, codings ...string) string {
	var b strings.Builder
	fmt.Fprintf(&b, "POST %s HTTP/1.1\r\nHost: x\r\nConnection: close\r\nSec-Fetch-Site: same-origin\r\nAuthorization: Bearer %s\r\nContent-Type: %s\r\nContent-Length: %d\r\n",
		path, typedToken, kind, len(body))
	for _, coding := range codings {
		b.WriteString("Content-Encoding: " + coding + "\r\n")
	}
	return b.String() + "\r\n" + body
}

// No call takes a body that is compressed, in whatever way it says so.
func TestCompressedBodiesAreRefused(t *testing.T) {
	t.Parallel()
	db := testdb.New(t)
	s := started(t, map[string]string{"DATABASE_URL": db, "ADMIN_TOKEN": typedToken})
	calls := []struct {
		path, kind, body string
		plain            int // how it is answered when it is not compressed
	}{
		{"/ui/sign-in", formType, "token=" + typedToken, http.StatusSeeOther},
		{"/ui/pause", formType, "reason=x", http.StatusUnauthorized}, // a session it has not
		{"/queue/pause", jsonType, `{"reason":"x"}`, http.StatusOK},
		{"/dead-letters/redrive", jsonType, `{"all":true}`, http.StatusOK},
		{"/orders", jsonType, orderJSON(1), http.StatusCreated},
		{"/orders/batch", jsonType, `{"orders":[` + orderJSON(1) + `]}`, http.StatusCreated},
		{"/nowhere", jsonType, `{}`, http.StatusNotFound},
	}
	for _, call := range calls {
		packed := gzipped(t, []byte(call.body))
		for _, codings := range [][]string{
			{"gzip"}, {"GZIP"}, {"identity", "gzip"}, {"gzip", "identity"}, {"", "gzip"}, {"identity, gzip"}, {"gzip,"}, {"br"}, {"deflate"}, {"zstd"}, {"what it is"},
		} {
			a := s.raw(t, coded(call.path, call.kind, packed, codings...))
			if a.status != http.StatusUnsupportedMediaType || !strings.Contains(a.body, "header.Content-Encoding") || a.header.Get("Set-Cookie") != "" {
				t.Errorf("%s, %q: %d %v %.200s", call.path, codings, a.status, a.header, a.body)
			}
		}
	}
	if n := count(t, db, `select (select count(*) from orders) + (select count(*) from orderflow.gate where paused_at is not null)`); n != 0 {
		t.Error("what was refused has changed something")
	}
	for _, call := range calls {
		for _, codings := range [][]string{nil, {""}, {"identity"}, {"Identity", "identity"}} {
			if a := s.raw(t, coded(call.path, call.kind, call.body, codings...)); a.status != call.plain {
				t.Errorf("%s as it is, %q: %d %.200s", call.path, codings, a.status, a.body)
			}
		}
	}
}

// A body that unpacks to a thousand times its size is not unpacked: whoever sends it needs no token for a form. It is measured by what is
// allocated, so nothing else may run meanwhile.
func TestABombIsNotUnpacked(t *testing.T) {
	const size = 64 << 20
	s := started(t, map[string]string{"DATABASE_URL": testdb.New(t), "ADMIN_TOKEN": typedToken})
	bomb := gzipped(t, []byte(gzipped(t, make([]byte, size))))
	for _, call := range [][2]string{{"/ui/sign-in", formType}, {"/ui/pause", formType}, {"/queue/pause", jsonType}, {"/dead-letters/redrive", jsonType}, {"/orders", jsonType}} {
		for _, codings := range [][]string{{"gzip, gzip"}, {"identity", "gzip, gzip"}} {
			request := coded(call[0], call[1], bomb, codings...)
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			a := s.raw(t, request)
			runtime.ReadMemStats(&after)
			if more := after.TotalAlloc - before.TotalAlloc; more > size/4 {
				t.Errorf("%s, %q: %d bytes were allocated for a body of %d; answered %d", call[0], codings, more, len(bomb), a.status)
			}
		}
	}
}

package main

import (
	"encoding/pem"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"

	standard "github.com/standard-webhooks/standard-webhooks/libraries/go"

	"orderflow.example/kit/await"
	"orderflow.example/services/consumer/internal/dbtest"
)

// All of a webhook's settings, through the program: a receiver that only trusts what is signed and has its password, and that only is
// trusted by its authority's file, gets every order, and each attempt at it under one id.
func TestOrdersAreDeliveredAsStandardWebhooks(t *testing.T) {
	t.Parallel()
	const key = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
	library, err := standard.NewWebhook(key)
	if err != nil {
		t.Fatal(err)
	}
	var mu sync.Mutex
	attempts := map[string]string{} // by id
	receiver := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		if err := library.Verify(body, r.Header); err != nil || r.Header.Get("Authorization") != "Bearer geheim" {
			t.Errorf("%v, %s", err, r.Header.Get("Authorization"))
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		mu.Lock()
		defer mu.Unlock()
		id := r.Header.Get(standard.HeaderWebhookID)
		attempts[id] += r.Header.Get("Orderflow-Attempt")
		if attempts[id] == "1" { // the first time
			w.WriteHeader(http.StatusConflict)
		}
	}))
	defer receiver.Close()
	file := func(name, content string) string {
		path := filepath.Join(t.TempDir(), name)
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	db := dbtest.New(t)
	db.Publish(5)
	s := start(t, db, map[string]string{
		"HANDLER": "webhook", "WEBHOOK_URL": receiver.URL, "BACKOFF_BASE": "1ms", "BACKOFF_MAX": "10ms",
		"WEBHOOK_SECRETS_FILE": file("secrets", key+"\n"), "WEBHOOK_HEADERS_FILE": file("headers", "Authorization: Bearer geheim\n"),
		"WEBHOOK_CA_FILE": file("ca.pem", string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: receiver.Certificate().Raw}))),
	})
	await.True(t, "all are completed", func() bool { return dbtest.One[int](db, "select count(*) from orders where status = 'completed'") == 5 })
	s.signals <- syscall.SIGTERM
	if code := s.end(t); code != 0 {
		t.Errorf("exit code %d", code)
	}
	for id, of := range attempts {
		if of != "12" {
			t.Errorf("attempts at %s: %s", id, of)
		}
	}
	if len(attempts) != 5 {
		t.Errorf("%d ids of 5 orders", len(attempts))
	}
	if log := s.log.String(); strings.Contains(log, "geheim") || strings.Contains(log, "MfKQ9r8G") || !strings.Contains(log, `"msg":"deliveries are signed","keys":"v1"`) || strings.Contains(log, "not signed") {
		t.Error(log)
	}
}

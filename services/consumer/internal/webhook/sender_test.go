package webhook_test

import (
	"bytes"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	standard "github.com/standard-webhooks/standard-webhooks/libraries/go"

	"orderflow.example/services/consumer/internal/webhook"
)

// write puts a new file in the place of an old one, as Kubernetes does.
func write(t *testing.T, path, content string) {
	t.Helper()
	if err := os.WriteFile(path+".new", []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(path+".new", path); err != nil {
		t.Fatal(err)
	}
}

// A key is replaced while deliveries go on, and none is refused: by a receiver that knows the old one, until it knows the new one alone.
func TestKeysAreReplacedWithoutADeliveryThatIsRefused(t *testing.T) {
	t.Parallel()
	const former, next = publishedSecret, "whsec_bmV4dG5leHRuZXh0bmV4dG5leHRuZXh0"
	known, refused, delivered := former, 0, 0
	address := receiver(t, func(w http.ResponseWriter, r *http.Request) {
		library, err := standard.NewWebhook(known)
		if err != nil {
			t.Error(err)
			return
		}
		var body bytes.Buffer
		_, _ = body.ReadFrom(r.Body)
		if err := library.Verify(body.Bytes(), r.Header); err != nil {
			refused++
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		delivered++
	})
	file := filepath.Join(t.TempDir(), "secrets")
	write(t, file, former+"\n")
	var log bytes.Buffer
	w := open(t, webhook.Settings{URL: address, Keys: parse(t, former), Files: webhook.Files{Keys: file}, Log: slog.New(slog.NewTextHandler(&log, nil))})
	hold := func(keys int) {
		t.Helper()
		if got := w.SigningKeys(); got != keys {
			t.Errorf("%d keys sign deliveries, want %d", got, keys)
		}
	}
	deliver := func() {
		t.Helper()
		for range 10 {
			if err := w.Handle(t.Context(), order()); err != nil {
				t.Error(err)
			}
		}
	}
	deliver()
	write(t, file, former+"\n"+next+"\n")
	hold(2) // before a delivery has been made with them
	deliver()
	known = next
	deliver()
	write(t, file, next)
	deliver()
	hold(1)
	for _, wrong := range []string{"", "\n", "whsec_short", next + "\n\n", "whpk_" + strings.TrimPrefix(next, "whsec_")} {
		write(t, file, wrong)
		deliver() // with the key from before, and never without one
	}
	if delivered != 90 || refused != 0 {
		t.Errorf("%d delivered, %d refused", delivered, refused)
	}
	if n := strings.Count(log.String(), "cannot be used"); n != 5 || strings.Contains(log.String(), "bmV4d") {
		t.Errorf("said %d times:\n%s", n, &log)
	}
	known = former
	if err := w.Handle(t.Context(), order()); err == nil {
		t.Error("it still signs with the former key")
	}
}

func TestTheAddressAndTheHeadersAreReadAgainWhenTheirFilesChange(t *testing.T) {
	t.Parallel()
	called := make(chan string, 10)
	listen := func(name string) string {
		return receiver(t, func(_ http.ResponseWriter, r *http.Request) { called <- name + " " + r.Header.Get("Authorization") })
	}
	first, second := listen("first"), listen("second")
	files := webhook.Files{URL: filepath.Join(t.TempDir(), "url"), Headers: filepath.Join(t.TempDir(), "headers")}
	write(t, files.URL, first)
	write(t, files.Headers, "Authorization: a")
	headers, err := webhook.ParseHeaders("Authorization: a")
	if err != nil {
		t.Fatal(err)
	}
	w := open(t, webhook.Settings{URL: first, Headers: headers, Files: files})
	for _, step := range []struct{ path, content, called string }{
		{files.URL, first, "first a"},
		{files.Headers, "Authorization: b\n", "first b"},
		{files.URL, second + "\n", "second b"},
		{files.URL, "nonsense", "second b"},
		{files.Headers, "nonsense", "second b"},
		{files.URL, first, "second b"},
		{files.Headers, "Authorization: c", "first c"},
	} {
		write(t, step.path, step.content)
		if err := w.Handle(t.Context(), order()); err != nil {
			t.Fatal(err)
		}
		select {
		case got := <-called:
			if got != step.called {
				t.Errorf("after %q: called %s", step.content, got)
			}
		case <-time.After(long):
			t.Fatal("not called")
		}
	}
}

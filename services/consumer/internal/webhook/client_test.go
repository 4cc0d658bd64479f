package webhook_test

import (
	"bytes"
	"context"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"orderflow.example/kit/await"
	"orderflow.example/services/consumer/internal/handler"
	"orderflow.example/services/consumer/internal/webhook"
)

// wire stands between a consumer and its receiver.
type wire struct {
	listener net.Listener
	target   string
	running  sync.WaitGroup
	accepted atomic.Int64

	mu    sync.Mutex
	links []*link
}

type link struct {
	client, server net.Conn
	silent         atomic.Bool
}

// newWire returns the receiver's address by way of a wire.
func newWire(t *testing.T, address string) (*wire, string) {
	t.Helper()
	u, err := url.Parse(address)
	if err != nil {
		t.Fatal(err)
	}
	listener, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	w := &wire{listener: listener, target: u.Host}
	w.running.Go(w.accept)
	t.Cleanup(func() {
		_ = listener.Close()
		w.mu.Lock()
		for _, l := range w.links {
			_ = l.client.Close()
			_ = l.server.Close()
		}
		w.mu.Unlock()
		w.running.Wait()
	})
	u.Host = listener.Addr().String()
	return w, u.String()
}

func (w *wire) accept() {
	for {
		client, err := w.listener.Accept()
		if err != nil {
			return
		}
		server, err := new(net.Dialer).DialContext(context.Background(), "tcp", w.target)
		if err != nil {
			_ = client.Close()
			continue
		}
		w.accepted.Add(1)
		l := &link{client: client, server: server}
		w.mu.Lock()
		w.links = append(w.links, l)
		w.mu.Unlock()
		w.running.Go(func() { l.pass(server, client) })
		w.running.Go(func() { l.pass(client, server) })
	}
}

// silence makes the present connections swallow everything, as when a firewall in between has forgotten them. New ones work.
func (w *wire) silence() {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, l := range w.links {
		l.silent.Store(true)
	}
}

func (l *link) pass(to, from net.Conn) {
	buffer := make([]byte, 32<<10)
	for {
		n, err := from.Read(buffer)
		if err != nil {
			if !l.silent.Load() {
				_ = to.Close()
			}
			return
		}
		if l.silent.Load() {
			continue
		}
		if _, err := to.Write(buffer[:n]); err != nil {
			return
		}
	}
}

// secure is a receiver that speaks HTTP/2, and the file of its authority.
func secure(t *testing.T, answer http.HandlerFunc) (address, ca string) {
	t.Helper()
	s := httptest.NewUnstartedServer(answer)
	s.EnableHTTP2 = true
	s.StartTLS()
	t.Cleanup(s.Close)
	return s.URL, pemFile(t, "CERTIFICATE", s.Certificate().Raw)
}

func pemFile(t *testing.T, kind string, der ...[]byte) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "file.pem")
	writePEM(t, path, kind, der...)
	return path
}

// writePEM puts a new file in the place of an old one.
func writePEM(t *testing.T, path, kind string, der ...[]byte) {
	t.Helper()
	var content bytes.Buffer
	for _, d := range der {
		if err := pem.Encode(&content, &pem.Block{Type: kind, Bytes: d}); err != nil {
			t.Fatal(err)
		}
	}
	write(t, path, content.String())
}

// All calls share one connection of HTTP/2. When it dies without a word, those that were on it fail, once each, and no later one does.
// Their time is longer than the test may take: it is the pings that find out.
func TestADeadConnectionOfHTTP2CostsOneAttemptOfWhatIsOnIt(t *testing.T) {
	t.Parallel()
	var protocols sync.Map
	address, ca := secure(t, func(_ http.ResponseWriter, r *http.Request) { protocols.Store(r.Proto, true) })
	wire, address := newWire(t, address)
	w := open(t, webhook.Settings{URL: address, Files: webhook.Files{CA: ca}, Timeout: 20 * time.Minute})
	if err := w.Handle(t.Context(), order()); err != nil {
		t.Fatal(err)
	}
	if _, is := protocols.Load("HTTP/2.0"); !is || wire.accepted.Load() != 1 {
		t.Fatalf("%d connections, not one of HTTP/2", wire.accepted.Load())
	}
	wire.silence()
	const together = 10
	failures := make(chan error, together)
	for range together {
		go func() { failures <- w.Handle(t.Context(), order()) }()
	}
	for range together {
		select {
		case err := <-failures:
			if !handler.IsUnavailable(err) {
				t.Errorf("an order that was on it: %v", err)
			}
		case <-time.After(await.Limit()):
			t.Fatal("nobody has noticed that the connection is dead")
		}
	}
	for range 100 {
		if err := w.Handle(t.Context(), order()); err != nil {
			t.Errorf("a later order: %v", err)
		}
	}
	if n := wire.accepted.Load(); n != 2 {
		t.Errorf("%d connections", n)
	}
}

// Calls of HTTP/1.1 have a connection each. When all of them have died without a word, one call finds out for all.
func TestDeadConnectionsOfHTTP1CostOneAttempt(t *testing.T) {
	t.Parallel()
	const together = 4
	var inside sync.WaitGroup
	address := receiver(t, func(_ http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Orderflow-Attempt") == "1" {
			inside.Done()
			inside.Wait()
		}
	})
	wire, address := newWire(t, address)
	w := open(t, webhook.Settings{URL: address, Timeout: 10 * time.Second})
	first := order()
	first.Attempt = 1
	for range 2 { // each worker's connection is kept
		inside.Add(together)
		filled := make(chan error, together)
		for range together {
			go func() { filled <- w.Handle(t.Context(), first) }()
		}
		for range together {
			if err := <-filled; err != nil {
				t.Fatal(err)
			}
		}
		if n := wire.accepted.Load(); n != together {
			t.Fatalf("%d connections", n)
		}
	}
	wire.silence()
	failed := 0
	for range 3 * together {
		if err := w.Handle(t.Context(), order()); err != nil {
			failed++
		}
	}
	if failed != 1 {
		t.Errorf("%d orders failed", failed)
	}
}

// A receiver that closes an idle connection at the moment of a call has not seen it. That is no failure: the call is made again.
func TestAnIdleConnectionThatTheReceiverClosesCostsNoAttempt(t *testing.T) {
	t.Parallel()
	listener, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	var served sync.WaitGroup
	defer served.Wait()
	served.Go(func() {
		for n := 0; ; n++ {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			buffer := make([]byte, 64<<10)
			_, _ = conn.Read(buffer)
			_, _ = io.WriteString(conn, "HTTP/1.1 204 No Content\r\n\r\n")
			_, _ = conn.Read(buffer) // the next call, which is not answered
			_ = conn.Close()
		}
	})
	w := open(t, webhook.Settings{URL: "http://" + listener.Addr().String()})
	for n := range 5 {
		if err := w.Handle(t.Context(), order()); err != nil {
			t.Errorf("order %d: %v", n, err)
		}
	}
	w.Close()
	_ = listener.Close()
}

func TestTheReceiversAuthorityIsReadAgainWhenItsFileChanges(t *testing.T) {
	t.Parallel()
	address, ca := secure(t, func(http.ResponseWriter, *http.Request) {})
	other := newAuthority(t)
	trusted := filepath.Join(t.TempDir(), "ca.pem")
	writePEM(t, trusted, "CERTIFICATE", other.cert.Raw)
	w := open(t, webhook.Settings{URL: address, Files: webhook.Files{CA: trusted}})
	var unknown x509.UnknownAuthorityError
	if err := w.Handle(t.Context(), order()); !handler.IsUnavailable(err) || !strings.Contains(err.Error(), unknown.Error()) {
		t.Fatalf("an authority that is not the receiver's: %v", err)
	}
	writePEM(t, trusted, "CERTIFICATE", other.cert.Raw, certificate(t, ca))
	if err := w.Handle(t.Context(), order()); err != nil {
		t.Fatalf("the file has the receiver's now: %v", err)
	}
	writePEM(t, trusted, "NONSENSE", []byte("x"))
	if err := w.Handle(t.Context(), order()); err != nil {
		t.Fatalf("a file that cannot be used is not: %v", err)
	}
	if err := os.Remove(trusted); err != nil {
		t.Fatal(err)
	}
	if err := w.Handle(t.Context(), order()); err != nil {
		t.Fatalf("nor is one that is gone: %v", err)
	}
	writePEM(t, trusted, "CERTIFICATE", other.cert.Raw)
	if err := w.Handle(t.Context(), order()); err == nil {
		t.Fatal("the authority was taken away, and its receiver is still called")
	}
}

func certificate(t *testing.T, path string) []byte {
	t.Helper()
	content, err := os.ReadFile(path) //nolint:gosec // the test's own
	if err != nil {
		t.Fatal(err)
	}
	block, _ := pem.Decode(content)
	return block.Bytes
}

func TestTheClientsCertificateIsReadAgainWhenItsFilesChange(t *testing.T) {
	t.Parallel()
	authority := newAuthority(t)
	names := make(chan string, 100)
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		names <- r.TLS.PeerCertificates[0].Subject.CommonName
	}))
	s.EnableHTTP2 = true
	s.TLS = authority.demanded()
	s.StartTLS()
	defer s.Close()
	files := webhook.Files{CA: pemFile(t, "CERTIFICATE", s.Certificate().Raw), Cert: filepath.Join(t.TempDir(), "tls.crt"), Key: filepath.Join(t.TempDir(), "tls.key")}
	first, second := authority.client(t, "first"), authority.client(t, "second")
	writePEM(t, files.Cert, "CERTIFICATE", first.cert)
	writePEM(t, files.Key, "PRIVATE KEY", first.key)
	w := open(t, webhook.Settings{URL: s.URL, Files: files})
	called := func(want string) {
		t.Helper()
		if err := w.Handle(t.Context(), order()); err != nil {
			t.Fatal(err)
		}
		if got := <-names; got != want {
			t.Errorf("called as %s instead of %s", got, want)
		}
	}
	called("first")
	writePEM(t, files.Cert, "CERTIFICATE", second.cert)
	called("first") // a certificate without its key is none yet
	writePEM(t, files.Key, "PRIVATE KEY", second.key)
	called("second")

	_, err := webhook.New(webhook.Settings{URL: s.URL, Files: webhook.Files{Cert: files.Cert, Key: pemFile(t, "PRIVATE KEY", first.key)}})
	if err == nil {
		t.Error("a key of another certificate was taken")
	}
	without := open(t, webhook.Settings{URL: s.URL, Files: webhook.Files{CA: files.CA}})
	if err := without.Handle(t.Context(), order()); !handler.IsUnavailable(err) {
		t.Errorf("without a certificate: %v", err)
	}
}

func TestWhatIsNoCertificateIsRefused(t *testing.T) {
	t.Parallel()
	none := filepath.Join(t.TempDir(), "none")
	if _, err := webhook.LoadCA(none); !errors.Is(err, os.ErrNotExist) || strings.Contains(err.Error(), none) {
		t.Errorf("%v", err)
	}
	if _, err := webhook.LoadCA(pemFile(t, "PRIVATE KEY", []byte("x"))); err == nil || !strings.Contains(err.Error(), "no certificate in PEM") {
		t.Errorf("%v", err)
	}
	if _, err := webhook.New(webhook.Settings{Files: webhook.Files{CA: none}}); err == nil || !strings.Contains(err.Error(), none) {
		t.Errorf("%v", err)
	}
}

package postgres

import (
	"archive/zip"
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func contains(text string, parts ...string) bool {
	for _, part := range parts {
		if !strings.Contains(text, part) {
			return false
		}
	}
	return true
}

// The tests of downloads are not parallel: see download about TMPDIR.

func TestDownloadFromNowhereFailsAtOnceAndSaysWhy(t *testing.T) {
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	nowhere := "http://" + l.Addr().String()
	_ = l.Close()
	dir := t.TempDir()
	err = download(t.Context(), nowhere, dir, filepath.Join(dir, "pg"))
	if err == nil || !contains(err.Error(), "connection refused") {
		t.Errorf("got %v", err)
	}
}

func TestDownloadOfWhatIsMissingNamesTheStatus(t *testing.T) {
	empty := httptest.NewServer(http.NotFoundHandler())
	defer empty.Close()
	dir := t.TempDir()
	err := download(t.Context(), empty.URL, dir, filepath.Join(dir, "pg"))
	if err == nil || !contains(err.Error(), "404") {
		t.Errorf("got %v", err)
	}
}

func TestDownloadThatStallsEndsWithItsTime(t *testing.T) {
	stalled := make(chan struct{})
	release := make(chan struct{})
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Length", "1000")
		_, _ = w.Write([]byte("the first bytes"))
		_ = http.NewResponseController(w).Flush()
		close(stalled)
		<-release
	}))
	defer server.Close()
	defer close(release)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	go func() {
		<-stalled
		cancel()
	}()
	dir := t.TempDir()
	if err := download(ctx, server.URL, dir, filepath.Join(dir, "pg")); err == nil {
		t.Error("no error")
	}
}

// A docker command that never answers must not hold the search up.
func TestAnEngineThatHangsIsAnAttemptThatFailed(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "docker"), []byte("#!/bin/sh\nexec sleep 600\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", dir+":/usr/bin:/bin")
	t.Setenv("DOCKER_HOST", "")
	_, err := startContainer(t.Context(), Options{Say: func(string, ...any) {}})
	if err == nil || !contains(err.Error(), "no engine answers") {
		t.Errorf("got %v", err)
	}
}

func TestNoDockerIsNamed(t *testing.T) {
	t.Setenv("PATH", t.TempDir())
	if _, err := startContainer(t.Context(), Options{}); err == nil || !contains(err.Error(), "no docker command") {
		t.Errorf("got %v", err)
	}
}

func TestPullFailsWhenTheRegistryIsSilent(t *testing.T) {
	dir := t.TempDir()
	script := "#!/bin/sh\necho 'Error response from daemon: Get \"https://ghcr.io/v2/\": dial tcp: i/o timeout' >&2\nexit 1\n"
	if err := os.WriteFile(filepath.Join(dir, "docker"), []byte(script), 0o755); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", dir+":/usr/bin:/bin")
	if err := pull(t.Context(), Image); err == nil || !contains(err.Error(), "ghcr.io", "i/o timeout") {
		t.Errorf("got %v", err)
	}
}

// testdata/binaries.txz holds three scripts where the real archive holds the server; its form is that of Maven's.
func TestDownloadUnpacksWhatTheChecksumConfirms(t *testing.T) {
	archive, err := os.ReadFile("testdata/binaries.txz")
	if err != nil {
		t.Fatal(err)
	}
	var jar bytes.Buffer
	zipped := zip.NewWriter(&jar)
	w, err := zipped.Create("postgres-test.txz")
	if err == nil {
		_, err = w.Write(archive)
	}
	if err := errors.Join(err, zipped.Close()); err != nil {
		t.Fatal(err)
	}
	for _, checksum := range []string{fmt.Sprintf("%x", sha256.Sum256(jar.Bytes())), strings.Repeat("0", 64)} {
		right := checksum[0] != '0' || strings.Trim(checksum, "0") != ""
		maven := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if strings.HasSuffix(r.URL.Path, ".sha256") {
				_, _ = w.Write([]byte(checksum))
				return
			}
			_, _ = w.Write(jar.Bytes())
		}))
		dir := t.TempDir()
		binaries := filepath.Join(dir, "cache", "pg")
		scratch := filepath.Join(dir, "scratch")
		if err := os.Mkdir(scratch, 0o755); err != nil {
			t.Fatal(err)
		}
		err := download(t.Context(), maven.URL, scratch, binaries)
		maven.Close()
		if got := executable(filepath.Join(binaries, "bin"), "initdb"); got != right || (err == nil) != right {
			t.Errorf("checksum right=%v: unpacked=%v, error %v", right, got, err)
		}
	}
}

package postgres

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"os"
	"path/filepath"
	"sync"
	"time"

	embedded "github.com/fergusstrange/embedded-postgres"

	"orderflow.example/dev/internal/ports"
)

// repository is where the binaries come from: Maven Central, checked against the checksum beside them. POSTGRES_DOWNLOAD_URL names a
// mirror.
const repository = "https://repo1.maven.org/maven2"

const downloadTimeout = 5 * time.Minute

// startDownloaded runs a private cluster from downloaded binaries. They are kept for the next time.
func startDownloaded(ctx context.Context, opts Options) (*Server, error) {
	user, err := serverUser(os.Geteuid())
	if err != nil {
		return nil, err
	}
	cache, err := cacheDir(os.Geteuid())
	if err != nil {
		return nil, err
	}
	from := repository
	if mirror := os.Getenv("POSTGRES_DOWNLOAD_URL"); mirror != "" {
		from = mirror
	}
	binaries := filepath.Join(cache, "postgres-"+string(embedded.V18))
	bin := filepath.Join(binaries, "bin")
	if !executable(bin, "initdb") || !executable(bin, "postgres") {
		opts.Say("downloading PostgreSQL %s from %s to %s", embedded.V18, from, binaries)
		ctx, cancel := context.WithTimeout(ctx, downloadTimeout)
		defer cancel()
		scratch, err := opts.Session.Mkdir("download")
		if err != nil {
			return nil, err
		}
		if err := download(ctx, from, scratch, binaries); err != nil {
			return nil, fmt.Errorf("%s: %w", from, err)
		}
	}
	return startCluster(ctx, opts, bin, user)
}

// cacheDir is where downloads are kept. For root it has to be where the server's user can reach it, which a home directory is not.
func cacheDir(euid int) (string, error) {
	if euid == 0 {
		return "/var/cache/orderflow-dev", nil
	}
	dir, err := os.UserCacheDir()
	if err != nil {
		return "", fmt.Errorf("no place to keep downloads: %w", err)
	}
	return filepath.Join(dir, "orderflow-dev"), nil
}

// download gets the binaries by embedded-postgres. Some things about that library decide how. Its download has neither a context nor
// a time limit, so it gets the files through a relay of ours, which has both. And its one call also makes a cluster and starts a
// detached server, so it is told to put the data where no directory can be: it stops after unpacking. The cluster is then made by us,
// as the right user and supervised. It also leaves a log behind among the temporary files of the process, so those are the scratch
// directory for as long as it works, and nobody else must need temporary files then.
func download(ctx context.Context, from, scratch, binaries string) error {
	relay, err := newRelay(ctx, from)
	if err != nil {
		return err
	}
	defer relay.close()
	port, err := ports.Free()
	if err != nil {
		return err
	}
	blocked := filepath.Join(scratch, "blocked")
	if err := os.WriteFile(blocked, nil, 0o600); err != nil {
		return fmt.Errorf("prepare the download: %w", err)
	}
	if was, set := os.LookupEnv("TMPDIR"); set {
		defer func() { _ = os.Setenv("TMPDIR", was) }()
	} else {
		defer func() { _ = os.Unsetenv("TMPDIR") }()
	}
	if err := os.Setenv("TMPDIR", scratch); err != nil {
		return fmt.Errorf("prepare the download: %w", err)
	}
	err = embedded.NewDatabase(embedded.DefaultConfig().
		Version(embedded.V18).
		Port(uint32(port)). //nolint:gosec // a port fits
		BinaryRepositoryURL(relay.url).
		CachePath(scratch).
		RuntimePath(filepath.Join(scratch, "runtime")).
		DataPath(filepath.Join(blocked, "data")).
		BinariesPath(binaries).
		Logger(io.Discard)).Start()
	bin := filepath.Join(binaries, "bin")
	if executable(bin, "initdb") && executable(bin, "postgres") {
		return nil
	}
	return errors.Join(relay.failure(), err)
}

// relay serves one web server's files on the loopback interface until its context is done.
type relay struct {
	url    string
	server *http.Server
	served chan struct{}
	stop   func() bool

	mu  sync.Mutex
	err error
}

func newRelay(ctx context.Context, to string) (*relay, error) {
	target, err := url.Parse(to)
	if err != nil {
		return nil, fmt.Errorf("the address to download from: %w", err)
	}
	var config net.ListenConfig
	listener, err := config.Listen(ctx, "tcp4", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("listen for the download: %w", err)
	}
	transport := http.DefaultTransport.(*http.Transport).Clone() // documented to be one
	transport.DialContext = (&net.Dialer{Timeout: 5 * time.Second}).DialContext
	transport.ResponseHeaderTimeout = 15 * time.Second
	transport.DisableKeepAlives = true

	r := &relay{url: "http://" + listener.Addr().String(), served: make(chan struct{})}
	r.server = &http.Server{
		ReadHeaderTimeout: 5 * time.Second,
		BaseContext:       func(net.Listener) context.Context { return ctx },
		ErrorLog:          log.New(io.Discard, "", 0),
		Handler: &httputil.ReverseProxy{
			Transport: transport,
			Rewrite:   func(pr *httputil.ProxyRequest) { pr.SetURL(target) },
			ModifyResponse: func(resp *http.Response) error {
				if resp.StatusCode != http.StatusOK {
					return fmt.Errorf("%s: %s", resp.Request.URL.Path, resp.Status)
				}
				return nil
			},
			ErrorHandler: func(w http.ResponseWriter, _ *http.Request, err error) {
				r.note(err)
				w.WriteHeader(http.StatusBadGateway)
			},
			ErrorLog: log.New(io.Discard, "", 0),
		},
	}
	r.server.SetKeepAlivesEnabled(false)
	// When the time is over, what is under way is cut off, and the library's call returns.
	r.stop = context.AfterFunc(ctx, func() {
		r.note(context.Cause(ctx))
		_ = r.server.Close()
	})
	go func() {
		defer close(r.served)
		_ = r.server.Serve(listener) // ends by Close
	}()
	return r, nil
}

func (r *relay) note(err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.err == nil {
		r.err = err
	}
}

func (r *relay) failure() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.err
}

func (r *relay) close() {
	r.stop()
	_ = r.server.Close()
	<-r.served
}

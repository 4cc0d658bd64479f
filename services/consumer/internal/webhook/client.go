package webhook

import (
	"context"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"time"

	"orderflow.example/kit/dial"
)

// client makes calls. It is another one when the files of certificates have changed: connections that were made with the old ones are
// not used for new calls.
type client struct {
	settings Settings

	mu   sync.Mutex
	now  *http.Client
	made version // of the files that it was made of, or that were found wrong since
}

func newClient(s Settings) (*client, error) {
	c := &client{settings: s, made: s.Files.version()}
	var err error
	if c.now, err = dialer(s); err != nil {
		return nil, err
	}
	return c, nil
}

// current is the client for a call. Asking costs a stat of each file. What has changed and cannot be used is said once; the old files'
// client goes on.
func (c *client) current() *http.Client {
	if c.settings.Files.IsZero() {
		return c.now
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	found := c.settings.Files.version() // before they are read: a later change is found the next time
	if found.equal(c.made) {
		return c.now
	}
	c.made = found
	next, err := dialer(c.settings)
	if err != nil {
		c.settings.Log.Warn("changed certificates cannot be used; going on with those from before", slog.Any("error", err))
		return c.now
	}
	c.settings.Log.Info("certificates have changed and are used from now on")
	c.now.CloseIdleConnections()
	c.now = next
	return next
}

func (c *client) close() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now.CloseIdleConnections()
}

// Bounds of how long the parts of a call may take, each no longer than the whole.
const (
	longestConnect = 5 * time.Second
	longestSilence = 5 * time.Second
	idleConnection = 90 * time.Second
	longestHead    = 64 << 10 // bytes
)

// dialer makes a client. A connection that is dead without a word is found out: one of HTTP/2, which all calls share, by a ping after a
// quarter of the time of a call without a frame, which has another quarter to be answered; and every one by what its socket knows
// (see [dial.Default]). Without, calls would go on dying on it for as long as the kernel tries.
func dialer(s Settings) (*http.Client, error) {
	encryption, err := s.Files.load()
	if err != nil {
		return nil, err
	}
	connect, silence := min(s.Timeout, longestConnect), min(s.Timeout/4, longestSilence)
	transport := &http.Transport{
		Proxy: http.ProxyFromEnvironment,
		DialContext: func(ctx context.Context, network, address string) (net.Conn, error) {
			ctx, cancel := context.WithTimeout(ctx, connect)
			defer cancel()
			return dial.Default.Dial(ctx, network, address)
		},
		TLSClientConfig:        encryption,
		TLSHandshakeTimeout:    connect,
		IdleConnTimeout:        idleConnection,
		MaxIdleConns:           s.Concurrency,
		MaxIdleConnsPerHost:    s.Concurrency,
		MaxResponseHeaderBytes: longestHead,
		DisableCompression:     true, // answers are short
		ForceAttemptHTTP2:      true,
		HTTP2:                  &http.HTTP2Config{SendPingTimeout: silence, PingTimeout: silence, WriteByteTimeout: 2 * silence},
	}
	return &http.Client{
		Transport: transport,
		// A redirect would turn the POST into a GET, or show the order to somebody else.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}, nil
}

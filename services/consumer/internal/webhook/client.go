package webhook

import (
	"context"
	"net"
	"net/http"
	"time"

	"orderflow.example/kit/dial"
)

// Bounds of how long the parts of a call may take, each no longer than the whole.
const (
	longestConnect  = 5 * time.Second
	shortestSilence = time.Second // a receiver is not to be pinged more often
	longestSilence  = 5 * time.Second
	idleConnection  = 90 * time.Second
	longestHead     = 64 << 10 // bytes
)

// newClient makes a client. A connection that is dead without a word is found out: one of HTTP/2, which all calls share, by a ping after a
// quarter of the time of a call without a frame, which has another quarter to be answered; and every one by what its socket knows
// (see [dial.Default]). Without, calls would go on dying on it for as long as the kernel tries.
func newClient(s Settings) (*http.Client, error) {
	encryption, err := s.Files.certificates()
	if err != nil {
		return nil, err
	}
	connect, silence := min(s.Timeout, longestConnect), min(max(s.Timeout/4, shortestSilence), longestSilence)
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

// Package client speaks HTTP with the api: it sends one request at a time and says what came back, in terms that the load model and the
// audit can decide on. An order that is sent it never sends again by itself: each try is the caller's, and counted. What is only read, a
// [Reader] asks for until it is answered.
package client

import (
	"crypto/tls"
	"encoding/base64"
	"fmt"
	"net"
	"net/url"
	"strings"
	"time"

	"github.com/valyala/fasthttp"
)

// Client is a pool of connections to one api. It is safe for concurrent use.
type Client struct {
	pool    *fasthttp.HostClient
	base    string
	timeout time.Duration
	agent   string
	auth    string // the Authorization header: of the token, or of the URL's user and password; "" = none
}

// Options say how to connect.
type Options struct {
	URL       string        // http(s)://[user:password@]host[:port][/prefix]
	Token     string        // sent as Bearer token; "" = none
	Timeout   time.Duration // of one try, connecting included
	MaxConns  int           // requests under way at most
	UserAgent string
}

// idleConn is how long a connection is kept unused. Servers drop idle ones too (uvicorn after 5 s); a request that meets such
// a close would be counted as a reset, so this side goes first.
const idleConn = 3 * time.Second

// connLife is how long a connection is used. New ones find the replicas that have come since; a Service balances connections.
const connLife = time.Minute

// What an answer may bring: a page of a thousand orders is half a MiB, and proxies add headers of their own. Without bounds, one endless
// answer would take all memory.
const (
	maxBody    = 64 << 20
	maxHeaders = 32 << 10
)

// New prepares a pool; it connects when it has something to send.
func New(o Options) (*Client, error) {
	u, err := url.Parse(o.URL)
	if err != nil {
		return nil, fmt.Errorf("api url: %w", err)
	}
	secure := u.Scheme == "https"
	dialer := &net.Dialer{Timeout: min(o.Timeout, 5*time.Second), KeepAlive: 15 * time.Second}
	c := &Client{
		base:    strings.TrimRight(u.Scheme+"://"+u.Host+u.EscapedPath(), "/"),
		timeout: o.Timeout,
		agent:   o.UserAgent,
		pool: &fasthttp.HostClient{
			Addr:                     fasthttp.AddMissingPort(u.Host, secure),
			IsTLS:                    secure,
			Dial:                     func(addr string) (net.Conn, error) { return dialer.Dial("tcp", addr) },
			MaxConns:                 o.MaxConns,
			MaxIdleConnDuration:      idleConn,
			MaxConnDuration:          connLife,
			MaxResponseBodySize:      maxBody,
			ReadBufferSize:           maxHeaders,
			NoDefaultUserAgentHeader: true,
			// A retry inside the library would be one that nobody counts.
			RetryIfErr: func(*fasthttp.Request, int, error) (bool, bool) { return false, false },
		},
	}
	if o.Token != "" {
		c.auth = "Bearer " + o.Token
	} else if u.User != nil {
		password, _ := u.User.Password()
		c.auth = "Basic " + base64.StdEncoding.EncodeToString([]byte(u.User.Username()+":"+password))
	}
	if secure {
		c.pool.TLSConfig = &tls.Config{ServerName: u.Hostname(), MinVersion: tls.VersionTLS12}
	}
	return c, nil
}

// Close drops the idle connections.
func (c *Client) Close() { c.pool.CloseIdleConnections() }

// prepare puts into a request what every one bears.
func (c *Client) prepare(req *fasthttp.Request, path string) {
	req.SetRequestURI(c.base + path)
	if c.agent != "" {
		req.Header.SetUserAgent(c.agent)
	}
	if c.auth != "" {
		req.Header.Set("Authorization", c.auth)
	}
}

package tracing

import (
	"bytes"
	"compress/gzip"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/url"
	"os"
	"strconv"
	"time"

	collected "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"

	"orderflow.example/kit/dial"
)

// client sends spans: OTLP over HTTP in Protobuf (https://opentelemetry.io/docs/specs/otlp/#otlphttp). OpenTelemetry's own does the same
// and links gRPC, which it does not use: 5 MB more in each image.
type client struct {
	url     string
	headers map[string]string
	gzip    bool
	timeout time.Duration
	http    *http.Client
	ended   context.Context //nolint:containedctx // no call outlives it
	end     context.CancelFunc
}

// Waits between tries of one batch, unless the collector asks for others.
const (
	firstWait   = 200 * time.Millisecond
	longestWait = 5 * time.Second
)

// mostAnswer is how much of an answer is read, in bytes.
const mostAnswer = 64 << 10

func newClient(p *plan) (*client, error) {
	secure, err := p.certificates()
	if err != nil {
		return nil, err
	}
	ended, end := context.WithCancel(context.Background())
	return &client{
		ended: ended, end: end,
		url: p.endpoint, headers: p.headers, gzip: p.gzip, timeout: p.timeout,
		http: &http.Client{
			Transport: &http.Transport{
				Proxy: http.ProxyFromEnvironment,
				DialContext: func(ctx context.Context, network, address string) (net.Conn, error) {
					return dial.Default.Dial(ctx, network, address)
				},
				TLSClientConfig: secure, IdleConnTimeout: 90 * time.Second, MaxIdleConns: 1, ForceAttemptHTTP2: true,
			},
			// Headers may be secrets that another host is not to see.
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		},
	}, nil
}

// certificates are those of the connection; nil for the usual ones.
func (p *plan) certificates() (*tls.Config, error) {
	if p.caFile == "" && p.certFile == "" && p.keyFile == "" {
		return nil, nil //nolint:nilnil // what http.Transport takes for the usual
	}
	c := &tls.Config{MinVersion: tls.VersionTLS12}
	if p.caFile != "" {
		text, err := os.ReadFile(p.caFile)
		if err != nil {
			return nil, fmt.Errorf("OTEL_EXPORTER_OTLP_CERTIFICATE: %w", err)
		}
		c.RootCAs = x509.NewCertPool()
		if !c.RootCAs.AppendCertsFromPEM(text) {
			return nil, fmt.Errorf("OTEL_EXPORTER_OTLP_CERTIFICATE: no certificate in %s", p.caFile)
		}
	}
	if p.certFile != "" || p.keyFile != "" {
		pair, err := tls.LoadX509KeyPair(p.certFile, p.keyFile)
		if err != nil {
			return nil, fmt.Errorf("OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE and OTEL_EXPORTER_OTLP_CLIENT_KEY: %w", err)
		}
		c.Certificates = []tls.Certificate{pair}
	}
	return c, nil
}

// address is where the collector is, as it may be shown.
func (c *client) address() string {
	u, err := url.Parse(c.url)
	if err != nil {
		return ""
	}
	return u.Scheme + "://" + u.Host
}

// close breaks off what is under way.
func (c *client) close() {
	c.end()
	c.http.CloseIdleConnections()
}

func (*client) Start(context.Context) error { return nil }
func (*client) Stop(context.Context) error  { return nil }

// UploadTraces sends a batch, and again until it is taken, refused, or the time is over.
func (c *client) UploadTraces(ctx context.Context, spans []*collected.ResourceSpans) error {
	ctx, cancel := context.WithTimeout(ctx, c.timeout)
	defer cancel()
	defer context.AfterFunc(c.ended, cancel)()
	// Byte for byte an ExportTraceServiceRequest, whose package has gRPC's stubs in it.
	body, err := proto.Marshal(&collected.TracesData{ResourceSpans: spans})
	if err != nil {
		return fmt.Errorf("encode spans: %w", err)
	}
	if c.gzip {
		body = zipped(body)
	}
	for wait := firstWait; ; wait = min(2*wait, longestWait) {
		again, asked, err := c.post(ctx, body)
		if err == nil || !again {
			return err
		}
		pause := wait/2 + rand.N(wait)
		if asked > 0 {
			pause = asked
		}
		timer := time.NewTimer(pause)
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return err
		}
	}
}

// post makes one try. again says that another one may help, after a time that the collector may have asked for.
func (c *client) post(ctx context.Context, body []byte) (again bool, after time.Duration, err error) {
	call, err := http.NewRequestWithContext(ctx, http.MethodPost, c.url, bytes.NewReader(body))
	if err != nil {
		return false, 0, errors.New("the collector's URL cannot be used") // the error has it in it
	}
	call.Header.Set("User-Agent", "orderflow")
	for name, value := range c.headers {
		call.Header.Set(name, value)
	}
	call.Header.Set("Content-Type", "application/x-protobuf")
	if c.gzip {
		call.Header.Set("Content-Encoding", "gzip")
	}
	answer, err := c.http.Do(call)
	if err != nil {
		var failed *url.Error
		if errors.As(err, &failed) {
			err = failed.Err // without the URL
		}
		return ctx.Err() == nil, 0, err
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(io.LimitReader(answer.Body, mostAnswer))
	if err != nil {
		return ctx.Err() == nil, 0, fmt.Errorf("read the collector's answer: %w", err)
	}
	switch answer.StatusCode {
	case http.StatusTooManyRequests, http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusGatewayTimeout:
		seconds, _ := strconv.Atoi(answer.Header.Get("Retry-After")) // without a number: as we like
		return true, time.Duration(min(max(seconds, 0), 3600)) * time.Second, errors.New(answer.Status)
	}
	if answer.StatusCode/100 != 2 {
		return false, 0, errors.New(answer.Status)
	}
	if n, why := rejected(text); n > 0 {
		return false, 0, fmt.Errorf("it rejected %d spans: %s", n, why)
	}
	return false, 0, nil
}

// rejected reads of an ExportTraceServiceResponse how many spans were not taken: field 1 is partial_success, with rejected_spans in 1 and
// error_message in 2. What is none says nothing.
func rejected(answer []byte) (spans uint64, why string) {
	partial, ok := field(answer, 1)
	if !ok {
		return 0, ""
	}
	for len(partial) > 0 {
		number, kind, n := protowire.ConsumeTag(partial)
		if n < 0 {
			return 0, ""
		}
		if number == 1 && kind == protowire.VarintType {
			spans, _ = protowire.ConsumeVarint(partial[n:])
		}
		if number == 2 && kind == protowire.BytesType {
			text, _ := protowire.ConsumeBytes(partial[n:])
			why = string(text)
		}
		m := protowire.ConsumeFieldValue(number, kind, partial[n:])
		if m < 0 {
			return 0, ""
		}
		partial = partial[n+m:]
	}
	return spans, why
}

// field is the content of a message's field of that number.
func field(message []byte, wanted protowire.Number) (content []byte, ok bool) {
	for len(message) > 0 {
		number, kind, n := protowire.ConsumeTag(message)
		if n < 0 {
			return nil, false
		}
		m := protowire.ConsumeFieldValue(number, kind, message[n:])
		if m < 0 {
			return nil, false
		}
		if number == wanted && kind == protowire.BytesType {
			content, _ = protowire.ConsumeBytes(message[n:])
			return content, true
		}
		message = message[n+m:]
	}
	return nil, false
}

func zipped(body []byte) []byte {
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	_, _ = w.Write(body) // memory
	_ = w.Close()
	return b.Bytes()
}

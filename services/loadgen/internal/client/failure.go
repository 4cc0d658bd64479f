package client

import (
	"errors"
	"io"
	"net"
	"os"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/valyala/fasthttp"
)

// Failure says why a try brought no answer.
type Failure uint8

// The failures.
const (
	None     Failure = iota // there was an answer
	Connect                 // no connection: refused, unreachable, unknown host
	Timeout                 // no answer in time
	Reset                   // the connection ended before the answer was complete
	Broken                  // an answer that is not HTTP, or a 201 that cannot be read
	Failures                // how many there are
)

var failureNames = [Failures]string{"", "connect", "timeout", "reset", "broken_answer"}

func (f Failure) String() string { return failureNames[f] }

func classify(err error) Failure {
	if err == nil {
		return None
	}
	var op *net.OpError
	if errors.As(err, &op) && op.Op == "dial" {
		return Connect
	}
	if errors.Is(err, fasthttp.ErrDialTimeout) || errors.Is(err, fasthttp.ErrNoFreeConns) || errors.Is(err, syscall.ECONNREFUSED) {
		return Connect
	}
	var timeout interface{ Timeout() bool }
	if errors.Is(err, fasthttp.ErrTimeout) || errors.Is(err, os.ErrDeadlineExceeded) || (errors.As(err, &timeout) && timeout.Timeout()) {
		return Timeout
	}
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, fasthttp.ErrConnectionClosed) ||
		errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE) || errors.Is(err, syscall.ECONNABORTED) ||
		errors.Is(err, net.ErrClosed) {
		return Reset
	}
	return Broken
}

// retryAfter reads a Retry-After header: seconds or an HTTP date. 0 when there is none.
func retryAfter(value string, now time.Time) time.Duration {
	value = strings.TrimSpace(value)
	if value == "" {
		return 0
	}
	if s, err := strconv.ParseFloat(value, 64); err == nil {
		if s > 0 && s < 1e6 {
			return time.Duration(s * float64(time.Second))
		}
		return 0
	}
	if at, err := fasthttp.ParseHTTPDate([]byte(value)); err == nil {
		return max(0, at.Sub(now))
	}
	return 0
}

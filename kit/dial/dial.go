// Package dial owns how TCP connections are made whose other end may vanish without a word. It must never know what is said on them.
package dial

import (
	"context"
	"net"
	"time"
)

// KeepAlive is how a connection whose other end is gone without a word is found out: by probes when it is idle, and by a limit on how long
// data may stay unacknowledged (TCP_USER_TIMEOUT, RFC 5482) when it is not. Without the latter, data sent into a void is sent again for a
// quarter of an hour before the connection counts as lost.
type KeepAlive struct {
	Enable         bool
	Idle, Interval time.Duration // before the first probe, and between two
	Count          int           // of probes without an answer
	Unacknowledged time.Duration // 0 leaves it to the system
}

// Default finds out after 5 s + 3 × 2 s when idle, and after 6 s with data on its way.
var Default = KeepAlive{Enable: true, Idle: 5 * time.Second, Interval: 2 * time.Second, Count: 3, Unacknowledged: 6 * time.Second}

// Dial connects, as [net.Dialer.DialContext] does.
func (k KeepAlive) Dial(ctx context.Context, network, address string) (net.Conn, error) {
	d := net.Dialer{
		KeepAlive:       -1,
		KeepAliveConfig: net.KeepAliveConfig{Enable: k.Enable, Idle: k.Idle, Interval: k.Interval, Count: k.Count},
		Control:         k.limitUnacknowledged,
	}
	return d.DialContext(ctx, network, address)
}

package postgres

import (
	"context"
	"net"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
)

// keepAlive is how a connection whose other end is gone without a word is found out: by probes when it is idle, and by a limit on how long
// data may stay unacknowledged (TCP_USER_TIMEOUT, RFC 5482) when it is not. Without the latter, data sent into a void is sent again for a
// quarter of an hour before the connection counts as lost.
type keepAlive struct {
	enable         bool
	idle, interval time.Duration
	count          int
	unacknowledged time.Duration
}

// defaultKeepAlive finds out after 5 s + 3 × 2 s when idle, and after 6 s with data on its way.
var defaultKeepAlive = keepAlive{enable: true, idle: 5 * time.Second, interval: 2 * time.Second, count: 3, unacknowledged: 6 * time.Second}

func (k keepAlive) dial(ctx context.Context, network, address string) (net.Conn, error) {
	d := net.Dialer{
		KeepAlive:       -1,
		KeepAliveConfig: net.KeepAliveConfig{Enable: k.enable, Idle: k.idle, Interval: k.interval, Count: k.count},
		Control:         k.limitUnacknowledged,
	}
	return d.DialContext(ctx, network, address)
}

// lookup gives the hosts for which the address has an IP address that one, and leaves the others to DNS.
func (a Address) lookup(others pgconn.LookupFunc) pgconn.LookupFunc {
	return func(ctx context.Context, host string) ([]string, error) {
		if addresses := a.hostAddr[host]; len(addresses) > 0 {
			return addresses, nil
		}
		return others(ctx, host)
	}
}

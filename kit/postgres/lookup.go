package postgres

import (
	"context"

	"github.com/jackc/pgx/v5/pgconn"
)

// lookup gives the hosts for which the address has an IP address that one, and leaves the others to DNS.
func (a Address) lookup(others pgconn.LookupFunc) pgconn.LookupFunc {
	return func(ctx context.Context, host string) ([]string, error) {
		if addresses := a.hostAddr[host]; len(addresses) > 0 {
			return addresses, nil
		}
		return others(ctx, host)
	}
}

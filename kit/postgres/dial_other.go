//go:build !linux

package postgres

import "syscall"

// limitUnacknowledged: only Linux has TCP_USER_TIMEOUT; elsewhere the statements' own deadlines do the work.
func (keepAlive) limitUnacknowledged(string, string, syscall.RawConn) error { return nil }

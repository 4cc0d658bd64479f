//go:build !linux

package pg

import "syscall"

// limitUnacknowledged: only Linux has TCP_USER_TIMEOUT; elsewhere the statements' own deadlines do the work.
func limitUnacknowledged(string, string, syscall.RawConn) error { return nil }

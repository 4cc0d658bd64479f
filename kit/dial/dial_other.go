//go:build !linux

package dial

import "syscall"

// limitUnacknowledged: only Linux has TCP_USER_TIMEOUT; elsewhere the deadlines of whoever waits for an answer do the work.
func (KeepAlive) limitUnacknowledged(string, string, syscall.RawConn) error { return nil }

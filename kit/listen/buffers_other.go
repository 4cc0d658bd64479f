//go:build !unix

package listen

import "net"

// setBuffers leaves it to the system.
func setBuffers(uintptr, int, int) error { return nil }

// unread cannot be told.
func unread(net.Conn) bool { return false }

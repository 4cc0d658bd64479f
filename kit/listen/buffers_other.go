//go:build !unix

package listen

import "net"

// setBuffers leaves it to the system.
func setBuffers(uintptr, int, int) error { return nil }

// ready cannot be told.
func ready(net.Conn, bool) bool { return false }

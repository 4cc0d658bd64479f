//go:build unix

package listen

import (
	"errors"
	"syscall"
)

// setBuffers is done to the listening socket: its connections inherit it.
func setBuffers(fd uintptr, receive, send int) error {
	return errors.Join(
		syscall.SetsockoptInt(int(fd), syscall.SOL_SOCKET, syscall.SO_RCVBUF, receive),
		syscall.SetsockoptInt(int(fd), syscall.SOL_SOCKET, syscall.SO_SNDBUF, send),
	)
}

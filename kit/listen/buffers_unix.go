//go:build unix

package listen

import (
	"errors"
	"net"
	"syscall"

	"golang.org/x/sys/unix"
)

// setBuffers is done to the listening socket: its connections inherit it.
func setBuffers(fd uintptr, receive, send int) error {
	return errors.Join(
		syscall.SetsockoptInt(int(fd), syscall.SOL_SOCKET, syscall.SO_RCVBUF, receive),
		syscall.SetsockoptInt(int(fd), syscall.SOL_SOCKET, syscall.SO_SNDBUF, send),
	)
}

// ready tells whether the system would let the server go on: there is something to be read, or room for something to be written.
func ready(conn net.Conn, write bool) bool {
	socket, ok := conn.(syscall.Conn)
	if !ok {
		return false
	}
	raw, err := socket.SyscallConn()
	if err != nil {
		return false
	}
	events := int16(unix.POLLIN)
	if write {
		events = unix.POLLOUT
	}
	n := 0
	err = raw.Control(func(fd uintptr) {
		n, _ = unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: events}}, 0) //nolint:gosec // a descriptor is no number that overflows
	})
	return err == nil && n > 0
}

package dial

import (
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

func (k KeepAlive) limitUnacknowledged(network, _ string, c syscall.RawConn) error {
	if !strings.HasPrefix(network, "tcp") {
		return nil
	}
	var failed error
	err := c.Control(func(fd uintptr) {
		failed = unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT, int(k.Unacknowledged.Milliseconds()))
	})
	if err != nil {
		return err
	}
	return failed
}

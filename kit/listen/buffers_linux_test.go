package listen_test

import (
	"log/slog"
	"net"
	"testing"

	"golang.org/x/sys/unix"

	"orderflow.example/kit/listen"
)

// What the kernel keeps of a connection is bounded both ways: a client that sends faster than it is read, or takes nothing, costs no more.
func TestBuffersOfConnectionsAreBounded(t *testing.T) {
	t.Parallel()
	l, err := listen.TCP(t.Context(), "127.0.0.1:0", 10, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if err := l.SetBuffers(10_000, 20_000); err != nil {
		t.Fatal(err)
	}
	_, server := connect(t, l)
	raw, err := server.Conn.(*net.TCPConn).SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	if err := raw.Control(func(fd uintptr) {
		for option, want := range map[int]int{unix.SO_RCVBUF: 2 * 10_000, unix.SO_SNDBUF: 2 * 20_000} { // the kernel doubles it, for its own bookkeeping
			if got, err := unix.GetsockoptInt(int(fd), unix.SOL_SOCKET, option); err != nil || got != want {
				t.Errorf("option %d is %d instead of %d, %v", option, got, want, err)
			}
		}
	}); err != nil {
		t.Error(err)
	}
}

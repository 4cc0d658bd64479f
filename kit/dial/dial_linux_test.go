package dial_test

import (
	"net"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"orderflow.example/kit/dial"
)

func TestASocketIsToldHowLongSilenceMayLast(t *testing.T) {
	t.Parallel()
	listener, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	for name, test := range map[string]struct {
		keep dial.KeepAlive
		want map[int]int
	}{
		"the default": {dial.Default, map[int]int{unix.TCP_USER_TIMEOUT: 6000, unix.TCP_KEEPIDLE: 5, unix.TCP_KEEPINTVL: 2, unix.TCP_KEEPCNT: 3}},
		"its own": {
			dial.KeepAlive{Enable: true, Idle: 7 * time.Second, Interval: 3 * time.Second, Count: 4, Unacknowledged: 1500 * time.Millisecond},
			map[int]int{unix.TCP_USER_TIMEOUT: 1500, unix.TCP_KEEPIDLE: 7, unix.TCP_KEEPINTVL: 3, unix.TCP_KEEPCNT: 4},
		},
		"none": {dial.KeepAlive{}, map[int]int{unix.TCP_USER_TIMEOUT: 0}},
	} {
		conn, err := test.keep.Dial(t.Context(), "tcp", listener.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		raw, err := conn.(*net.TCPConn).SyscallConn()
		if err != nil {
			t.Fatal(err)
		}
		if err := raw.Control(func(fd uintptr) {
			on, err := unix.GetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_KEEPALIVE)
			if err != nil || (on != 0) != test.keep.Enable {
				t.Errorf("%s: SO_KEEPALIVE is %d, %v", name, on, err)
			}
			for option, want := range test.want {
				if got, err := unix.GetsockoptInt(int(fd), unix.IPPROTO_TCP, option); err != nil || got != want {
					t.Errorf("%s: option %d is %d instead of %d, %v", name, option, got, want, err)
				}
			}
		}); err != nil {
			t.Error(err)
		}
		_ = conn.Close()
	}
}

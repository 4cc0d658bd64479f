package postgres_test

import (
	"net"
	"reflect"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"orderflow.example/kit/postgres"
)

// What the address says of silence is what the connections' sockets are told; else the defaults of package dial.
func TestTheAddressSaysHowLongSilenceMayLast(t *testing.T) {
	t.Parallel()
	listener, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	for query, want := range map[string][4]int{
		"": {6000, 5, 2, 3},
		"?tcp_user_timeout=10000&keepalives_idle=7&keepalives_interval=4&keepalives_count=9": {10_000, 7, 4, 9},
	} {
		a, err := postgres.Parse("postgres://u@" + listener.Addr().String() + "/d" + query)
		if err != nil {
			t.Fatal(err)
		}
		conn, err := a.Config("test", time.Minute).DialFunc(t.Context(), "tcp", listener.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		inner := reflect.ValueOf(conn).Elem().FieldByName("Conn").Interface() // below what package pooling puts around it
		raw, err := inner.(*net.TCPConn).SyscallConn()
		if err != nil {
			t.Fatal(err)
		}
		if err := raw.Control(func(fd uintptr) {
			for i, option := range []int{unix.TCP_USER_TIMEOUT, unix.TCP_KEEPIDLE, unix.TCP_KEEPINTVL, unix.TCP_KEEPCNT} {
				if got, err := unix.GetsockoptInt(int(fd), unix.IPPROTO_TCP, option); err != nil || got != want[i] {
					t.Errorf("%s: option %d is %d instead of %d, %v", query, option, got, want[i], err)
				}
			}
		}); err != nil {
			t.Error(err)
		}
	}
}

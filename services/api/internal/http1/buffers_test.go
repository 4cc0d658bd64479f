//go:build linux

package http1

import (
	"net"
	"syscall"
	"testing"
)

// What a client sends and does not read is in the kernel's memory, which a container's limit counts: no more than the bound that
// the number of connections is made for.
func TestTheKernelKeepsLittleOfAConnection(t *testing.T) {
	t.Parallel()
	_, server := pair(t, Config{})
	raw, err := server.client.Conn.(*net.TCPConn).SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	sum := socket
	failed := raw.Control(func(fd uintptr) {
		for _, option := range []int{syscall.SO_RCVBUF, syscall.SO_SNDBUF} {
			size, err := syscall.GetsockoptInt(int(fd), syscall.SOL_SOCKET, option) // Linux says the double: what it takes
			if err != nil {
				t.Error(err)
			}
			sum += size
		}
	})
	if failed != nil || sum > KernelMemory || sum < 32<<10 {
		t.Errorf("%d bytes, want %d: %v", sum, KernelMemory, failed)
	}
}

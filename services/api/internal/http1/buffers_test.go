//go:build linux

package http1

import (
	"net"
	"syscall"
	"testing"
)

// option is a size of a connection's socket; Linux says the double of what was set: what it takes.
func option(t *testing.T, c *Conn, name int) (size int) {
	t.Helper()
	raw, err := c.client.Conn.(*net.TCPConn).SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	failed := raw.Control(func(fd uintptr) { size, err = syscall.GetsockoptInt(int(fd), syscall.SOL_SOCKET, name) })
	if failed != nil || err != nil {
		t.Fatal(failed, err)
	}
	return size
}

// What a client sends and does not read is in the kernel's memory, which a container's limit counts: no more than the bound that
// the number of connections is made for.
func TestTheKernelKeepsLittleOfAConnection(t *testing.T) {
	t.Parallel()
	_, server := pair(t, Config{})
	if sum := option(t, server, syscall.SO_RCVBUF) + option(t, server, syscall.SO_SNDBUF) + socket; sum > KernelMemory || sum < 32<<10 {
		t.Errorf("%d bytes, want %d", sum, KernelMemory)
	}
}

// A large answer gets a larger buffer, which it has room for in the budget, as long as it is sent.
func TestALargeAnswerIsSentInLargePieces(t *testing.T) {
	t.Parallel()
	budget := NewBudget(1 << 20)
	client, server := pair(t, Config{Budget: budget})
	small := option(t, server, syscall.SO_SNDBUF)
	if !server.Reserve(1000) || option(t, server, syscall.SO_SNDBUF) != 2*answerBuffer || budget.Stats().Used != 1000+2*answerBuffer {
		t.Errorf("while it is sent: %d bytes, and %d of the budget", option(t, server, syscall.SO_SNDBUF), budget.Stats().Used)
	}
	if err := client.Close(); err != nil {
		t.Fatal(err)
	}
	_ = server.readRequest() // there is none
	if size := option(t, server, syscall.SO_SNDBUF); size != small || budget.Stats().Used != 0 {
		t.Errorf("after it: %d bytes, and %d of the budget", size, budget.Stats().Used)
	}
}

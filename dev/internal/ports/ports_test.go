package ports_test

import (
	"net"
	"strconv"
	"testing"

	"orderflow.example/dev/internal/ports"
)

func TestFreePortsAreListenableDistinctAndBelowTheEphemeralRange(t *testing.T) {
	t.Parallel()
	seen := map[int]bool{}
	for range 50 {
		port, err := ports.Free()
		if err != nil {
			t.Fatal(err)
		}
		if seen[port] {
			t.Fatalf("port %d was given twice", port)
		}
		seen[port] = true
		if port >= 32768 || port < 1024 {
			t.Fatalf("port %d is privileged or ephemeral", port)
		}
		l, err := net.Listen("tcp4", net.JoinHostPort("127.0.0.1", strconv.Itoa(port)))
		if err != nil {
			t.Fatalf("port %d: %v", port, err)
		}
		_ = l.Close()
	}
}

func TestPreferFallsBackWhenSomebodyListens(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	taken := l.Addr().(*net.TCPAddr).Port
	got, err := ports.Prefer(taken)
	if err != nil {
		t.Fatal(err)
	}
	if got == taken {
		t.Fatalf("Prefer(%d) gave a port on which somebody listens", taken)
	}
}

func TestTakenIsWhereSomebodyListens(t *testing.T) {
	t.Parallel()
	port, err := ports.Free()
	if err != nil {
		t.Fatal(err)
	}
	if ports.Taken(port) || ports.Taken(0) {
		t.Error("a free port, or none, is taken")
	}
	var config net.ListenConfig
	l, err := config.Listen(t.Context(), "tcp4", net.JoinHostPort("127.0.0.1", strconv.Itoa(port)))
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if !ports.Taken(port) {
		t.Error("a port on which somebody listens is not taken")
	}
}

package e2e

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"orderflow.example/kit/testdb"
)

// What the chart gives the api (deploy/helm/orderflow/values.yaml): a limit of memory, of which the runtime has nine tenths.
const (
	memoryLimit = 256 << 20
	goMemory    = "230MiB"
)

const (
	getHead   = "GET /orders?limit=1000 HTTP/1.1\r\nHost: x\r\n"
	orderHead = "POST /orders HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
	batchHead = "POST /orders/batch HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
)

// Thousands of clients that take their time, in every way there is, cost less memory than the chart gives, and nobody who wants to
// order something is kept out meanwhile.
func TestSlowClientsNeitherTakeTheMemoryNorKeepOthersOut(t *testing.T) {
	database := testdb.New(t)
	b := setup(t, database)
	ctx := bounded(t)
	api, err := b.stack.StartAPI(ctx, "api", "GOMEMLIMIT="+goMemory, "REQUEST_TIMEOUT=30s")
	if err != nil {
		t.Fatal(err)
	}
	address := strings.TrimPrefix(api.URL(), "http://")
	// Whoever comes may be closed for the next one before it has sent its request, when the machine has no processor for it, either. Then it
	// comes again. Never is that to happen to whose request has been read: each order that is written has had its answer.
	written, again := 1000, 0
	post := func(path, body string) (status int, err error) {
		for range 10 {
			if status, err = postOnce(ctx, "http://"+address+path, body); err == nil {
				break
			}
			again++
		}
		return status, err
	}
	order := `{"customer_name":"Customer","product_name":"Product","quantity":1,"price":1}`
	if status, err := post("/orders/batch", `{"orders":[`+strings.Repeat(order+",", 999)+order+`]}`); status != http.StatusCreated {
		t.Fatalf("a thousand orders: %d, %v", status, err)
	}

	many := connectionsFor(t, 5000)
	for _, kind := range []struct {
		name string
		send func(i int) string
		read bool // one answer, before the client falls silent
	}{
		{"says nothing", func(int) string { return "" }, false},
		{"says nothing more", func(int) string { return "GET /livez HTTP/1.1\r\nHost: x\r\n\r\n" }, true},
		{"head without end", func(int) string { return getHead + "X: " + strings.Repeat("x", 8000) }, false},
		{"order without its last byte", func(int) string { return orderHead + "Content-Length: 16384\r\n\r\n" + strings.Repeat(" ", 16383) }, false},
		{"order in chunks without end", func(int) string {
			return orderHead + "Transfer-Encoding: chunked\r\n\r\n3e80\r\n" + strings.Repeat(" ", 16000) + "\r\n"
		}, false},
		{"batch without its last byte", func(i int) string {
			sent := 2<<20 - 1
			if i >= 100 { // these are refused; that all is sent would change nothing but the time that it takes
				sent = 20_000
			}
			return batchHead + "Content-Length: 2097152\r\n\r\n" + strings.Repeat(" ", sent)
		}, false},
		{"batch in chunks without end", func(int) string {
			return batchHead + "Transfer-Encoding: chunked\r\n\r\n1f0000\r\n" + strings.Repeat(" ", 20_000)
		}, false},
		{"batch that waits to be asked for", func(int) string { return batchHead + "Expect: 100-continue\r\nContent-Length: 2097152\r\n\r\n" }, false},
		{"a thousand orders, unread", func(int) string { return getHead + "\r\n" }, false},
		{"small answers, unread, and more questions", func(int) string { return strings.Repeat("GET /orders?limit=10 HTTP/1.1\r\nHost: x\r\n\r\n", 4000) }, false},
	} {
		var crowd crowd
		done := make(chan struct{})
		go func() {
			defer close(done)
			crowd.gather(ctx, many, address, kind.send, kind.read)
		}()
		// While they come, and when they are all there.
		orders := 0
		for crowded := false; !crowded || orders < 20; orders++ {
			select {
			case <-done:
				crowded = true
			default:
			}
			if status, err := post("/orders", order); status != http.StatusCreated {
				t.Errorf("%s: an order was answered %d, %v", kind.name, status, err)
				break
			}
			written++
		}
		<-done
		var n int
		if err := testdb.Connect(t, database).QueryRow(ctx, `select count(*) from orders`).Scan(&n); err != nil {
			t.Fatal(err)
		}
		if n != written {
			t.Errorf("%s: %d orders for %d answers", kind.name, n, written)
		}
		peak, threads := procStatus(t, api.Process().PID(), "VmHWM"), procStatus(t, api.Process().PID(), "Threads")
		kernel := kernelMemory(t, address)
		t.Logf("%s: %d of %d connected, %d orders meanwhile (%d came again until now), peak %d MiB, and %d MiB of the kernel's, %d threads",
			kind.name, crowd.len(), many, orders, again, peak>>10, kernel>>20, threads)
		if peak<<10+kernel >= memoryLimit {
			t.Errorf("%s: the api has taken %d MiB, and %d MiB of the kernel's", kind.name, peak>>10, kernel>>20)
		}
		if threads > 100 {
			t.Errorf("%s: the api has %d threads", kind.name, threads)
		}
		crowd.leave()
		if t.Failed() {
			return
		}
	}
}

func postOnce(ctx context.Context, url, body string) (int, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, url, strings.NewReader(body))
	if err != nil {
		return 0, err
	}
	request.Header.Set("Content-Type", "application/json")
	resp, err := anew.Do(request)
	if err != nil {
		return 0, err
	}
	defer resp.Body.Close()
	_, err = io.Copy(io.Discard, resp.Body)
	return resp.StatusCode, err
}

// anew connects anew for each request, as somebody who comes now.
var anew = &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}

// connectionsFor returns how many connections the test can have: so many, or what the limit of open files leaves, for this process
// and for the api, which inherits the limit.
func connectionsFor(t *testing.T, many int) int {
	t.Helper()
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		t.Fatal(err)
	}
	if most := int(limit.Cur) - 500; most < many { //nolint:gosec // it is no number that overflows
		t.Logf("the limit of open files is %d: %d connections and not %d", limit.Cur, most, many)
		return most
	}
	return many
}

// crowd are connections that are opened together.
type crowd struct {
	mu    sync.Mutex
	conns []net.Conn
	ended sync.WaitGroup
}

func (c *crowd) gather(ctx context.Context, many int, address string, send func(int) string, read bool) {
	var next atomic.Int64
	var openers sync.WaitGroup
	for range 16 {
		openers.Go(func() {
			for i := int(next.Add(1)); i <= many && ctx.Err() == nil; i = int(next.Add(1)) {
				conn, err := (&net.Dialer{Control: smallBuffers}).DialContext(ctx, "tcp", address)
				if err != nil {
					continue
				}
				c.mu.Lock()
				c.conns = append(c.conns, conn)
				c.mu.Unlock()
				text := send(i)
				if len(text) > 64<<10 { // it blocks, as it should
					c.ended.Go(func() { _, _ = io.WriteString(conn, text) })
					continue
				}
				_ = conn.SetDeadline(time.Now().Add(30 * time.Second))
				if _, err := io.WriteString(conn, text); err == nil && read {
					_, _ = io.ReadAtLeast(conn, make([]byte, 512), len("HTTP/1.1 200 OK"))
				}
			}
		})
	}
	openers.Wait()
}

// smallBuffers makes the kernel take little of an answer that nobody reads.
func smallBuffers(_, _ string, conn syscall.RawConn) (err error) {
	failed := conn.Control(func(fd uintptr) { err = syscall.SetsockoptInt(int(fd), syscall.SOL_SOCKET, syscall.SO_RCVBUF, 4096) })
	if failed != nil {
		return failed
	}
	return err
}

func (c *crowd) len() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.conns)
}

func (c *crowd) leave() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, conn := range c.conns {
		_ = conn.Close()
	}
	c.ended.Wait()
}

// kernelMemory is what the kernel holds of the connections that a server has on an address, in bytes: what nobody has read, in
// either direction, and as much again for the buffers that it is in. A connection that the server has not accepted yet is not counted: until
// then it is none of the container's (Linux, inet_csk_accept: memory is charged when a connection is accepted).
func kernelMemory(t *testing.T, address string) int {
	t.Helper()
	table, err := os.ReadFile("/proc/net/tcp")
	if err != nil {
		t.Skip("memory is measured where there is a /proc: ", err)
	}
	_, port, err := net.SplitHostPort(address)
	if err != nil {
		t.Fatal(err)
	}
	number, err := strconv.Atoi(port)
	if err != nil {
		t.Fatal(err)
	}
	sum := 0
	for line := range bytes.Lines(table) {
		// sl local_address rem_address st tx_queue:rx_queue tr:tm->when retrnsmt uid timeout inode …
		fields := strings.Fields(string(line))
		if len(fields) < 10 || fields[3] == "0A" || !strings.HasSuffix(fields[1], fmt.Sprintf(":%04X", number)) { // 0A listens
			continue
		}
		if established := fields[3] == "01"; established && fields[9] == "0" { // no descriptor has it
			continue
		}
		for _, queue := range strings.Split(fields[4], ":") {
			n, err := strconv.ParseInt(queue, 16, 64)
			if err != nil {
				t.Fatal(err)
			}
			sum += 2 * int(n)
		}
	}
	return sum
}

// procStatus is a number of /proc/<pid>/status.
func procStatus(t *testing.T, pid int, name string) int {
	t.Helper()
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		t.Skip("memory is measured where there is a /proc: ", err)
	}
	for line := range bytes.Lines(status) {
		if value, ok := bytes.CutPrefix(line, []byte(name+":")); ok {
			n, err := strconv.Atoi(strings.Fields(string(value))[0])
			if err != nil {
				t.Fatal(err)
			}
			return n
		}
	}
	t.Fatalf("no %s in /proc/%d/status", name, pid)
	return 0
}

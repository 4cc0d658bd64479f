package e2e

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"orderflow.example/dev/internal/ports"
	"orderflow.example/dev/internal/stack"
	"orderflow.example/kit/testdb"
	"orderflow.example/kit/testlog"
)

const anOrder = `{"customer_name":"Customer","product_name":"Product","quantity":1,"price":1}`

// bare is a service as a process of its own, with a limit of open files and a standard error that the test chooses.
type bare struct {
	cmd          *exec.Cmd
	url, metrics string
	exited       chan struct{}
}

// start starts one. files is the limit of open files, 0 for that of the test.
func (b *built) start(t *testing.T, service stack.Service, files int, stderr io.Writer, env ...string) *bare {
	t.Helper()
	var port [2]int
	for i := range port {
		var err error
		if port[i], err = ports.Free(); err != nil {
			t.Fatal(err)
		}
	}
	cmd := exec.Command(b.binaries[service])
	if files > 0 {
		cmd = exec.Command("sh", "-c", `ulimit -n "$1" && exec "$0"`, b.binaries[service], strconv.Itoa(files))
	}
	cmd.Env = append([]string{
		"PATH=" + os.Getenv("PATH"), "LOG_FORMAT=json", "API_HOST=127.0.0.1", "METRICS_HOST=127.0.0.1", "REQUEST_TIMEOUT=30s",
		fmt.Sprintf("API_PORT=%d", port[0]), fmt.Sprintf("METRICS_PORT=%d", port[1]),
	}, env...)
	cmd.Stderr = stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	p := &bare{cmd, fmt.Sprintf("http://127.0.0.1:%d", port[0]), fmt.Sprintf("http://127.0.0.1:%d", port[1]), make(chan struct{})}
	go func() {
		defer close(p.exited)
		_ = cmd.Wait() // how it ended does not matter: it was not to end
	}()
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		<-p.exited
	})
	eventually(t, "readiness", func() error { return p.get("/readyz") })
	return p
}

// get asks the second port.
func (p *bare) get(path string) error {
	resp, err := anew.Get(p.metrics + path)
	if err != nil {
		return err
	}
	_, err = io.Copy(io.Discard, resp.Body)
	_ = resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("%s: %s", path, resp.Status)
	}
	return err
}

func (p *bare) runs(t *testing.T) {
	t.Helper()
	select {
	case <-p.exited:
		t.Fatalf("it ended: %v", p.cmd.ProcessState)
	default:
	}
}

// idle opens connections that say nothing, as many as there may be, until the test ends.
func idle(t *testing.T, url string, many int) {
	t.Helper()
	var crowd crowd
	crowd.gather(t.Context(), many, strings.TrimPrefix(url, "http://"), func(int) string { return "" }, false)
	t.Cleanup(crowd.leave)
}

// Under a low limit of open files the api keeps below it: those who order, and those who look at the second port, get through a crowd
// that says nothing.
func TestConnectionsStayBelowTheLimitOfOpenFiles(t *testing.T) {
	t.Parallel()
	b := programsFor(t)
	database := testdb.New(t)
	var log testlog.Buffer
	api := b.start(t, stack.API, 200, &log, "DATABASE_URL="+database)
	idle(t, api.url, 500)
	idle(t, api.metrics, 200)
	for range 20 {
		if status, err := postOnce(t.Context(), api.url+"/orders", anOrder); status != http.StatusCreated {
			t.Fatalf("an order was answered %d, %v", status, err)
		}
		if err := api.get("/metrics"); err != nil {
			t.Fatal(err)
		}
	}
	api.runs(t)
	if said, short := log.Count("fewer connections than are configured"), log.Count("cannot be accepted"); said != 1 || short != 0 {
		t.Errorf("said %d times that there are fewer connections, %d times that there are no descriptors", said, short)
	}
}

// When descriptors run out all the same, it is waited for better times, said once, and gone on.
func TestAShortageOfDescriptorsPasses(t *testing.T) {
	t.Parallel()
	b := programsFor(t)
	database := testdb.New(t)
	for _, service := range []stack.Service{stack.API, stack.Consumer} {
		t.Run(string(service), func(t *testing.T) {
			t.Parallel()
			var log testlog.Buffer
			p := b.start(t, service, 0, &log, "DATABASE_URL="+database)
			limit := func(files uint64) {
				t.Helper()
				if err := unix.Prlimit(p.cmd.Process.Pid, unix.RLIMIT_NOFILE, &unix.Rlimit{Cur: files, Max: 4096}, nil); err != nil {
					t.Fatal(err)
				}
			}
			url := p.metrics
			if service == stack.API {
				url = p.url
			}
			limit(3) // fewer than it has
			conn, err := new(net.Dialer).DialContext(t.Context(), "tcp", strings.TrimPrefix(url, "http://"))
			if err != nil {
				t.Fatal(err) // the kernel takes it, and keeps it for the process
			}
			defer conn.Close()
			eventually(t, "the shortage to be said", func() error { return want(log.Count("cannot be accepted"), 1) })
			p.runs(t)
			limit(4096)
			eventually(t, "the end of the shortage to be said", func() error { return want(log.Count("are accepted again"), 1) })
			if n := log.Count("cannot be accepted"); n != 1 {
				t.Errorf("said %d times", n)
			}
			if service == stack.API {
				if status, err := postOnce(t.Context(), p.url+"/orders", anOrder); status != http.StatusCreated {
					t.Errorf("an order was answered %d, %v", status, err)
				}
			}
			if err := p.get("/livez"); err != nil {
				t.Error(err)
			}
			p.runs(t)
		})
	}
}

// Threads are the one thing that Go's runtime cannot do without: when the kernel gives it none the process ends. So their number depends
// on the processors, and not on clients, orders or connections.
func TestThreadsDoNotGrowWithClients(t *testing.T) {
	t.Parallel()
	b := programsFor(t)
	const processors, most = 4, 32 // the runtime's own, and those that are in a system call
	api := b.start(t, stack.API, 0, io.Discard, "DATABASE_URL="+testdb.New(t), "GOMAXPROCS="+strconv.Itoa(processors))
	idle(t, api.url, 500)
	var clients sync.WaitGroup
	for range 100 {
		clients.Go(func() {
			for range 5 {
				if status, err := postOnce(t.Context(), api.url+"/orders", anOrder); err != nil || status != http.StatusCreated && status != http.StatusServiceUnavailable {
					t.Errorf("an order was answered %d, %v", status, err)
				}
			}
		})
	}
	clients.Wait()
	if n := procStatus(t, api.cmd.Process.Pid, "Threads"); n > most {
		t.Errorf("%d threads", n)
	}
}

// The second ports of all get through a crowd that says nothing.
func TestTheSecondPortStaysReachable(t *testing.T) {
	t.Parallel()
	b := programsFor(t)
	database := testdb.New(t)
	consumer := b.start(t, stack.Consumer, 100, io.Discard, "DATABASE_URL="+database)
	idle(t, consumer.metrics, 300)
	for range 20 {
		if err := consumer.get("/livez"); err != nil {
			t.Fatal(err)
		}
	}
	consumer.runs(t)
}

// Logs that cannot be written, because nobody reads them any more or the disk is full, stop nothing.
func TestLogsThatCannotBeWrittenStopNothing(t *testing.T) {
	t.Parallel()
	b := programsFor(t)
	database := testdb.New(t)
	for name, open := range map[string]func() (*os.File, error){
		"a pipe that nobody reads": func() (*os.File, error) {
			r, w, err := os.Pipe()
			if err == nil {
				err = r.Close()
			}
			return w, err
		},
		"a full disk": func() (*os.File, error) { return os.OpenFile("/dev/full", os.O_WRONLY, 0) },
	} {
		for _, service := range []stack.Service{stack.API, stack.Consumer} {
			t.Run(name+"/"+string(service), func(t *testing.T) {
				t.Parallel()
				stderr, err := open()
				if errors.Is(err, fs.ErrNotExist) { // Linux has /dev/full
					t.Skip(err)
				}
				if err != nil {
					t.Fatal(err)
				}
				defer stderr.Close()
				p := b.start(t, service, 0, stderr, "DATABASE_URL="+database, "LOG_REQUESTS=all", "LOG_LEVEL=debug")
				if service == stack.API {
					if status, err := postOnce(t.Context(), p.url+"/orders", anOrder); status != http.StatusCreated {
						t.Errorf("an order was answered %d, %v", status, err)
					}
				}
				if err := p.get("/metrics"); err != nil {
					t.Error(err)
				}
				p.runs(t)
				if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil {
					t.Fatal(err)
				}
				<-p.exited
				if code := p.cmd.ProcessState.ExitCode(); code != 0 {
					t.Errorf("exit code %d", code)
				}
			})
		}
	}
}

func want(got, want int) error {
	if got != want {
		return fmt.Errorf("got %d, want %d", got, want)
	}
	return nil
}

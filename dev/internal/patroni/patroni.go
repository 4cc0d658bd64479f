// Package patroni runs a group of PostgreSQL servers under Patroni, with etcd as its store: a real manager, which decides by itself who is the
// primary. Everything is in the run's directory and on loopback ports, by an unprivileged user, and gone when the run is over.
//
// It must never touch a server, or an etcd, that it did not start.
package patroni

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"orderflow.example/dev/internal/ports"
	"orderflow.example/dev/internal/postgres"
	"orderflow.example/dev/internal/proc"
	"orderflow.example/dev/internal/ps"
	"orderflow.example/dev/internal/session"
)

// packages are Debian's with the programs.
var packages = map[string]string{"patroni": "patroni", "etcd": "etcd-server"}

// Cluster is a group under Patroni.
type Cluster struct {
	Members []*Member

	opts     Options
	dir      string
	user     *syscall.Credential
	password string
	etcd     *proc.Process
}

// Options say where what is needed comes from.
type Options struct {
	Session *session.Session
	Say     func(format string, args ...any)
}

// Member is a server and the Patroni that manages it.
type Member struct {
	Name string

	cluster        *Cluster
	dir            string
	port, restPort int
	config         string
	process        *proc.Process
	postmaster     int // that the session knows of
}

const (
	started  = 2 * time.Minute // a cluster is made, and copied twice
	noticed  = time.Minute     // that the leader is gone, and another one takes over
	shutdown = 20 * time.Second
)

// Start makes a cluster of three, with a synchronous standby.
func Start(ctx context.Context, opts Options) (*Cluster, error) {
	if err := install(ctx, opts.Say); err != nil {
		return nil, err
	}
	bin, user, err := postgres.Programs(ctx)
	if err != nil {
		return nil, err
	}
	dir, err := opts.Session.Mkdir("patroni")
	if err != nil {
		return nil, err
	}
	c := &Cluster{opts: opts, dir: dir, user: user, password: postgres.NewPassword()}
	if err := c.start(ctx, bin); err != nil {
		return nil, errors.Join(err, c.Close(context.WithoutCancel(ctx)))
	}
	return c, nil
}

// install gets the programs from the distribution when they are missing.
func install(ctx context.Context, say func(string, ...any)) error {
	for program, name := range packages {
		if _, err := exec.LookPath(program); err == nil {
			continue
		}
		say("installing the package %s with apt-get (it stays installed; no service of the machine is started)", name)
		if err := postgres.Install(ctx, name); err != nil {
			return fmt.Errorf("%s is not on this machine: %w", program, err)
		}
	}
	return nil
}

func (c *Cluster) start(ctx context.Context, bin string) error {
	if err := c.own(c.dir); err != nil {
		return err
	}
	client, err := ports.Free()
	if err != nil {
		return err
	}
	peer, err := ports.Free()
	if err != nil {
		return err
	}
	at := func(port int) string { return "http://127.0.0.1:" + strconv.Itoa(port) }
	c.etcd, err = c.run(c.dir, "etcd", "etcd", "--name=orderflow", "--data-dir="+filepath.Join(c.dir, "etcd"), "--listen-client-urls="+at(client),
		"--advertise-client-urls="+at(client), "--listen-peer-urls="+at(peer), "--initial-advertise-peer-urls="+at(peer), "--initial-cluster=orderflow="+at(peer),
		"--unsafe-no-fsync")
	if err != nil {
		return err
	}
	for i := range 3 {
		m := &Member{Name: "member" + strconv.Itoa(i+1), cluster: c}
		m.dir = filepath.Join(c.dir, m.Name)
		if err := os.Mkdir(m.dir, 0o700); err != nil {
			return err
		}
		if m.port, err = ports.Free(); err != nil {
			return err
		}
		if m.restPort, err = ports.Free(); err != nil {
			return err
		}
		m.config = filepath.Join(m.dir, "patroni.yml")
		if err := os.WriteFile(m.config, []byte(m.yaml(bin, client)), 0o600); err != nil {
			return err
		}
		if err := errors.Join(c.own(m.dir), c.own(m.config)); err != nil {
			return err
		}
		c.Members = append(c.Members, m)
		if err := m.Start(); err != nil {
			return err
		}
	}
	return c.Settled(ctx)
}

// yaml is Patroni's configuration. Its times are short, so that a round is; the rest is what its documentation says for losing nothing:
// synchronous_mode, and strictly so that no primary goes on alone.
func (m *Member) yaml(bin string, etcd int) string {
	return fmt.Sprintf(`scope: orderflow
name: %[1]s
restapi: {listen: "127.0.0.1:%[2]d", connect_address: "127.0.0.1:%[2]d"}
etcd3: {hosts: "127.0.0.1:%[3]d"}
bootstrap:
  dcs:
    ttl: 10
    loop_wait: 1
    retry_timeout: 4
    master_start_timeout: 0
    synchronous_mode: true
    synchronous_mode_strict: true
    postgresql:
      use_pg_rewind: true
      parameters: {max_connections: 100, wal_log_hints: "on", wal_keep_size: 512MB}
  initdb: [{encoding: UTF8}, {locale: C}, {auth: scram-sha-256}, no-sync]
postgresql:
  listen: "127.0.0.1:%[4]d"
  connect_address: "127.0.0.1:%[4]d"
  data_dir: %[5]s/data
  bin_dir: %[6]s
  pgpass: %[5]s/pgpass
  authentication:
    superuser: {username: postgres, password: %[7]s}
    replication: {username: replicator, password: %[7]s}
  parameters: {unix_socket_directories: ""}
  pg_hba:
    - host all all 127.0.0.1/32 scram-sha-256
    - host replication all 127.0.0.1/32 scram-sha-256
watchdog: {mode: "off"}
`, m.Name, m.restPort, etcd, m.port, m.dir, bin, m.cluster.password)
}

func (c *Cluster) own(path string) error {
	if c.user == nil {
		return nil
	}
	return os.Chown(path, int(c.user.Uid), int(c.user.Gid))
}

func (c *Cluster) run(dir, name, program string, args ...string) (*proc.Process, error) {
	path, err := exec.LookPath(program)
	if err != nil {
		return nil, err
	}
	return proc.Start(c.opts.Session, proc.Spec{
		Name: name, Path: path, Args: args, Dir: dir, User: c.user,
		Env: []string{"PATH=/usr/local/bin:/usr/bin:/bin", "LANG=C", "LC_ALL=C", "HOME=" + dir, "TZ=UTC", "ETCD_UNSUPPORTED_ARCH=" + os.Getenv("ETCD_UNSUPPORTED_ARCH")},
	})
}

// Start starts the member's Patroni, which starts its server.
func (m *Member) Start() (err error) {
	m.process, err = m.cluster.run(m.dir, "patroni "+m.Name, "patroni", m.config)
	return err
}

// status asks Patroni about a member: 200 when it is what the path says.
func (m *Member) status(ctx context.Context, path string) (int, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, m.rest(path), http.NoBody)
	if err != nil {
		return 0, err
	}
	return m.answer(req)
}

func (m *Member) rest(path string) string {
	return "http://127.0.0.1:" + strconv.Itoa(m.restPort) + path
}

var client = &http.Client{Timeout: 30 * time.Second, Transport: &http.Transport{DisableKeepAlives: true}}

func (m *Member) answer(req *http.Request) (int, error) {
	resp, err := client.Do(req)
	if err != nil {
		return 0, err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(io.LimitReader(resp.Body, 4096))
	if err == nil && resp.StatusCode >= 400 {
		err = fmt.Errorf("%s: %s: %s", m.Name, resp.Status, text)
	}
	return resp.StatusCode, err
}

// Leader is the member that Patroni says is the primary.
func (c *Cluster) Leader(ctx context.Context) *Member { return c.which(ctx, "/primary") }

func (c *Cluster) which(ctx context.Context, path string) *Member {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	for _, m := range c.Members {
		if code, _ := m.status(ctx, path); code == http.StatusOK {
			return m
		}
	}
	return nil
}

// Settled waits until there is a primary, and both others replicate it, one of them synchronously.
func (c *Cluster) Settled(ctx context.Context) error {
	return c.until(ctx, started, "a primary with two standbys, one of them synchronous", func(ctx context.Context) bool {
		replicas := 0
		for _, m := range c.Members {
			m.track()
			if code, _ := m.status(ctx, "/replica"); code == http.StatusOK {
				replicas++
			}
		}
		return replicas == len(c.Members)-1 && c.Leader(ctx) != nil && c.which(ctx, "/synchronous") != nil
	})
}

// Replaced waits until another member than the former leader is the primary.
func (c *Cluster) Replaced(ctx context.Context, former *Member) error {
	return c.until(ctx, noticed, "another primary than "+former.Name, func(ctx context.Context) bool {
		now := c.Leader(ctx)
		return now != nil && now != former
	})
}

func (c *Cluster) until(ctx context.Context, limit time.Duration, what string, holds func(context.Context) bool) error {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for !holds(ctx) {
		select {
		case <-tick.C:
		case <-ctx.Done():
			var last []string
			for _, m := range c.Members {
				if m.process != nil {
					last = append(last, m.process.Failure().Error())
				}
			}
			return fmt.Errorf("not within %v: %s: %w\n%s", limit, what, context.Cause(ctx), strings.Join(last, "\n"))
		}
	}
	return nil
}

// URL names all members, and says nothing of which takes writes.
func (c *Cluster) URL() string {
	var hosts []string
	for _, m := range c.Members {
		hosts = append(hosts, "127.0.0.1:"+strconv.Itoa(m.port))
	}
	u := url.URL{Scheme: "postgres", User: url.UserPassword("postgres", c.password), Host: strings.Join(hosts, ","), Path: "/postgres", RawQuery: "sslmode=disable"}
	return u.String()
}

// track has the session know the member's server, which is no child of ours, so that it ends with us whatever happens.
func (m *Member) track() {
	pid := m.server()
	if pid == m.postmaster {
		return
	}
	if m.postmaster != 0 {
		m.cluster.opts.Session.UntrackPID(session.Server, m.postmaster)
	}
	if m.postmaster = pid; pid != 0 {
		m.cluster.opts.Session.TrackPID(session.Server, pid)
	}
}

// server is the process id of the member's postmaster, by its own file; 0 when there is none.
func (m *Member) server() int {
	text, err := os.ReadFile(filepath.Join(m.dir, "data", "postmaster.pid"))
	if err != nil {
		return 0
	}
	first, _, _ := strings.Cut(string(text), "\n")
	pid, err := strconv.Atoi(strings.TrimSpace(first))
	if err != nil || syscall.Kill(pid, 0) != nil {
		return 0
	}
	return pid
}

// KillServer kills all processes of the member's server with SIGKILL. Its Patroni notices, and hands over.
func (m *Member) KillServer() error {
	pid := m.server()
	if pid == 0 {
		return fmt.Errorf("%s has no server", m.Name)
	}
	if err := syscall.Kill(pid, syscall.SIGSTOP); err != nil {
		return err
	}
	if err := ps.WaitStopped(pid); err != nil { // until then it may make more of them
		return err
	}
	children, err := ps.Children(pid)
	for _, child := range append([]int{pid}, children...) {
		err = errors.Join(err, ignoreGone(syscall.Kill(child, syscall.SIGKILL)))
	}
	return err
}

func ignoreGone(err error) error {
	if errors.Is(err, syscall.ESRCH) {
		return nil
	}
	return err
}

// Kill kills the member's server and its Patroni: the machine is gone. The others notice when its lease in etcd has run out.
func (m *Member) Kill() error {
	_ = m.process.SignalGroup(syscall.SIGSTOP) // so that it does nothing about it
	err := m.KillServer()
	m.process.Kill()
	return err
}

// Switchover asks Patroni for a planned one.
func (c *Cluster) Switchover(ctx context.Context, leader *Member) error {
	body, err := json.Marshal(map[string]string{"leader": leader.Name})
	if err != nil {
		return err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, leader.rest("/switchover"), bytes.NewReader(body))
	if err != nil {
		return err
	}
	_, err = leader.answer(req)
	return err
}

// Close ends all members, which stop their servers, and etcd.
func (c *Cluster) Close(ctx context.Context) error {
	var errs []error
	for _, m := range c.Members {
		if m.process == nil {
			continue
		}
		if m.process.Running() {
			errs = append(errs, m.process.Stop(ctx, syscall.SIGTERM, shutdown))
		}
		if pid := m.server(); pid != 0 { // its Patroni was killed
			errs = append(errs, ignoreGone(syscall.Kill(pid, syscall.SIGQUIT)))
		}
		m.track()
	}
	if c.etcd != nil && c.etcd.Running() {
		errs = append(errs, c.etcd.Stop(ctx, syscall.SIGTERM, shutdown))
	}
	return errors.Join(append(errs, os.RemoveAll(c.dir))...)
}

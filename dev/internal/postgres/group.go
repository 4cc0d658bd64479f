package postgres

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/jackc/pgx/v5"

	"orderflow.example/dev/internal/ports"
	"orderflow.example/kit/pgproxy"
)

// Group is a primary and its standbys, run from binaries: real streaming replication on this machine. The standbys are made with
// pg_basebackup. Clients come to each member by one proxy, and its standbys by another, so that both ways can be cut.
type Group struct {
	opts     Options
	bin      string
	user     *syscall.Credential
	password string
	Members  []*Member
	Primary  *Member
}

// Member is one server of a group. Its name is its application_name as a standby.
type Member struct {
	Name string
	// Clients and Standbys are the ways to it.
	Clients, Standbys *pgproxy.Proxy

	group   *Group
	cluster *cluster
	conf    Replication
	behind  *Member // that it replicates; nil: nobody
}

// Replication is what a member does as a primary: synchronous_standby_names and synchronous_commit.
type Replication struct {
	Synchronous string // of ANY 1 (all members), or "" for none
	Commit      string // "remote_write", "on"
}

// Quorum waits for one of the standbys.
func (g *Group) Quorum(commit string) Replication {
	var names []string
	for _, m := range g.Members {
		names = append(names, m.Name)
	}
	return Replication{Synchronous: "ANY 1 (" + strings.Join(names, ", ") + ")", Commit: commit}
}

// groupSettings are those of all members, in their file, where pg_rewind finds them: it needs hints in the log, and what the log has been since
// the servers parted. Standbys connect again at once, and a connection without a word is given up soon: a test must not wait for defaults
// that are made for wide networks.
const groupSettings = `
wal_log_hints = on
wal_keep_size = 512MB
wal_retrieve_retry_interval = 100ms
wal_receiver_status_interval = 1s
wal_receiver_timeout = 3s
wal_sender_timeout = 5s
include 'group.conf'
`

// Programs are the directory with the server's programs, those for replication included, and who is to run them.
func Programs(ctx context.Context) (bin string, user *syscall.Credential, err error) {
	user, err = serverUser(os.Geteuid())
	if err != nil {
		return "", nil, err
	}
	bin, err = newFinder(user).find(ctx)
	if err != nil {
		return "", nil, err
	}
	// Somebody may have linked the server's programs into PATH, and not all that come with it.
	if program, err := filepath.EvalSymlinks(filepath.Join(bin, "postgres")); err == nil {
		bin = filepath.Dir(program)
	}
	for _, name := range []string{"pg_basebackup", "pg_rewind"} {
		if !executable(bin, name) {
			return "", nil, fmt.Errorf("there is no %s in %s", name, bin)
		}
	}
	return bin, user, nil
}

// StartGroup makes a group of n members whose first is the primary. It needs server binaries on this machine, and takes the servers' settings
// from opts.
func StartGroup(ctx context.Context, opts Options, n int, commit string) (*Group, error) {
	bin, user, err := Programs(ctx)
	if err != nil {
		return nil, err
	}
	g := &Group{opts: opts, bin: bin, user: user, password: NewPassword()}
	err = g.start(ctx, n, commit)
	if err != nil {
		return nil, errors.Join(err, g.Close(context.WithoutCancel(ctx)))
	}
	return g, nil
}

func (g *Group) start(ctx context.Context, n int, commit string) error {
	for i := range n {
		m := &Member{Name: "member" + strconv.Itoa(i+1), group: g}
		dir, err := g.opts.Session.Mkdir(m.Name)
		if err != nil {
			return err
		}
		m.cluster = &cluster{session: g.opts.Session, bin: g.bin, dir: dir, user: g.user, settings: settings(g.opts)}
		if m.cluster.port, err = ports.Free(); err != nil {
			return err
		}
		if err := g.own(dir); err != nil {
			return err
		}
		for _, way := range []**pgproxy.Proxy{&m.Clients, &m.Standbys} {
			if *way, err = pgproxy.New(privateURL(m.cluster.port, g.password)); err != nil {
				return err
			}
		}
		g.Members = append(g.Members, m)
	}
	g.Primary = g.Members[0]
	if err := g.Primary.cluster.init(ctx, g.password); err != nil {
		return err
	}
	conf, err := os.OpenFile(filepath.Join(g.Primary.cluster.data(), "postgresql.conf"), os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	_, err = conf.WriteString(groupSettings)
	if err = errors.Join(err, conf.Close()); err != nil {
		return err
	}
	for _, m := range g.Members {
		m.conf = g.Quorum(commit)
	}
	// Nobody is there yet that commits could wait for.
	quorum := g.Primary.conf
	g.Primary.conf.Synchronous = ""
	if err := g.Primary.Start(ctx); err != nil {
		return err
	}
	for _, m := range g.Members[1:] {
		if err := m.Copy(ctx, g.Primary); err != nil {
			return err
		}
		if err := m.Start(ctx); err != nil {
			return err
		}
	}
	if err := g.Streaming(ctx, g.Members[1:]...); err != nil {
		return err
	}
	return g.Primary.Configure(ctx, quorum)
}

// own gives a directory to the servers' user.
func (g *Group) own(path string) error {
	if g.user == nil {
		return nil
	}
	return os.Chown(path, int(g.user.Uid), int(g.user.Gid))
}

// URL names all members, by way of their clients' proxies, in their order, and says nothing of which takes writes.
func (g *Group) URL() string {
	var hosts []string
	for _, m := range g.Members {
		u, err := url.Parse(m.Clients.URL)
		if err != nil {
			continue // it was made by us
		}
		hosts = append(hosts, u.Host)
	}
	u := url.URL{
		Scheme: "postgres", User: url.UserPassword("postgres", g.password), Host: strings.Join(hosts, ","), Path: "/postgres", RawQuery: "sslmode=disable",
	}
	return u.String()
}

// Standbys are the members that are not the primary.
func (g *Group) Standbys() []*Member {
	var others []*Member
	for _, m := range g.Members {
		if m != g.Primary {
			others = append(others, m)
		}
	}
	return others
}

// Close ends all members and removes them.
func (g *Group) Close(ctx context.Context) error {
	var errs []error
	for _, m := range g.Members {
		for _, way := range []*pgproxy.Proxy{m.Clients, m.Standbys} {
			if way != nil {
				way.Close()
			}
		}
	}
	for _, m := range g.Members {
		if server := m.cluster.process(); server != nil && server.Running() {
			errs = append(errs, m.cluster.resume(ctx), server.Stop(ctx, syscall.SIGQUIT, immediateGrace))
		}
		errs = append(errs, os.RemoveAll(m.cluster.dir))
	}
	return errors.Join(errs...)
}

// configuration writes what the member does in replication to its file.
func (m *Member) configure() error {
	text := "cluster_name = '" + m.Name + "'\nsynchronous_standby_names = '" + m.conf.Synchronous + "'\nsynchronous_commit = " + m.conf.Commit + "\n"
	if m.behind != nil {
		u, err := url.Parse(m.behind.Standbys.URL)
		if err != nil {
			return err
		}
		text += fmt.Sprintf("primary_conninfo = 'host=127.0.0.1 port=%s user=postgres password=%s application_name=%s sslmode=disable gssencmode=disable'\n",
			u.Port(), m.group.password, m.Name)
	}
	path := filepath.Join(m.cluster.data(), "group.conf")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		return fmt.Errorf("configure %s: %w", m.Name, err)
	}
	return m.group.own(path)
}

// Configure changes what the member does in replication, at once when it runs.
func (m *Member) Configure(ctx context.Context, r Replication) error {
	m.conf = r
	if err := m.configure(); err != nil {
		return err
	}
	server := m.cluster.process()
	if server == nil || !server.Running() {
		return nil
	}
	if err := server.Signal(syscall.SIGHUP); err != nil {
		return err
	}
	return m.until(ctx, "it has read its configuration", `select current_setting('synchronous_standby_names') = $1`, r.Synchronous)
}

// Start starts the member and waits until it answers, as a primary or as a standby.
func (m *Member) Start(ctx context.Context) error {
	if err := m.configure(); err != nil {
		return err
	}
	if err := m.cluster.start(ctx); err != nil {
		return fmt.Errorf("start %s: %w", m.Name, err)
	}
	return m.until(ctx, "it answers", "select true")
}

// Crash kills all processes of the member with SIGKILL.
func (m *Member) Crash(ctx context.Context) error { return m.cluster.crash(ctx) }

// Halt stops it: fast, when it has sent all it has to its standbys; or immediately, as a crash that the kernel survives.
func (m *Member) Halt(ctx context.Context, immediately bool) error {
	if !immediately {
		return m.cluster.stop(ctx)
	}
	if err := m.cluster.resume(ctx); err != nil {
		return err
	}
	return m.cluster.process().Stop(ctx, syscall.SIGQUIT, fastGrace)
}

// Freeze stops all of its processes with SIGSTOP: connections stand and nothing answers.
func (m *Member) Freeze(ctx context.Context) error { return m.cluster.pause(ctx) }

// Thaw lets it go on.
func (m *Member) Thaw(ctx context.Context) error { return m.cluster.resume(ctx) }

// Running tells whether its process is there.
func (m *Member) Running() bool {
	server := m.cluster.process()
	return server != nil && server.Running()
}

// Address is where the member itself listens, behind its proxies.
func (m *Member) Address() string { return net.JoinHostPort("127.0.0.1", strconv.Itoa(m.cluster.port)) }

// Connect connects to the member itself, whatever it is just now.
func (m *Member) Connect(ctx context.Context) (*pgx.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	return pgx.Connect(ctx, privateURL(m.cluster.port, m.group.password))
}

// Exec runs a statement on the member itself.
func (m *Member) Exec(ctx context.Context, sql string, args ...any) error {
	conn, err := m.Connect(ctx)
	if err != nil {
		return err
	}
	_, err = conn.Exec(ctx, sql, args...)
	return errors.Join(err, conn.Close(context.WithoutCancel(ctx)))
}

// until waits until a question is answered with true.
func (m *Member) until(ctx context.Context, what, sql string, args ...any) error {
	ctx, cancel := context.WithTimeout(ctx, readyTimeout)
	defer cancel()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		var yes bool
		conn, err := m.Connect(ctx)
		if err == nil {
			err = errors.Join(conn.QueryRow(ctx, sql, args...).Scan(&yes), conn.Close(ctx))
		}
		if yes && err == nil {
			return nil
		}
		if failed := m.cluster.failure(); failed != nil {
			return failed
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return fmt.Errorf("%s: not within %v that %s: %w", m.Name, readyTimeout, what, errors.Join(context.Cause(ctx), err, m.cluster.process().Failure()))
		}
	}
}

// program runs one of the programs that come with the server.
func (m *Member) program(ctx context.Context, name string, args ...string) error {
	return m.cluster.program(ctx, name, args, "PGPASSWORD="+m.group.password)
}

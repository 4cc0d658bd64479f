package postgres

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strings"
)

// way is one way to come to a server. try returns why it did not work, in a few words.
type way struct {
	name  string // as in Options.From
	title string // for people
	try   func(ctx context.Context, opts Options) (*Server, error)
}

func ways() []way {
	return []way{
		{"local", "local binaries", startLocal},
		{"docker", "Docker", startContainer},
		{"download", "download", startDownloaded},
		{"package", "package", startPackage},
	}
}

// Open returns the first server that works: the one behind DATABASE_URL when it is set (another one would not be what was asked
// for), otherwise a private one. When nothing works, the error names each attempt and one command that helps.
func Open(ctx context.Context, opts Options) (*Server, error) {
	if opts.Say == nil {
		opts.Say = func(string, ...any) {}
	}
	if opts.DatabaseURL != "" {
		return given(ctx, opts.DatabaseURL)
	}
	return firstOf(ctx, ways(), opts)
}

func firstOf(ctx context.Context, ways []way, opts Options) (*Server, error) {
	var failed []attempt
	var names []string
	for _, w := range ways {
		names = append(names, w.name)
		if opts.From != "" && opts.From != "auto" && opts.From != w.name {
			continue
		}
		server, err := w.try(ctx, opts)
		if err == nil {
			return server, nil
		}
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		failed = append(failed, attempt{w.title, err})
	}
	if len(failed) == 0 {
		return nil, fmt.Errorf("POSTGRES_FROM=%q is not one of auto, %s", opts.From, strings.Join(names, ", "))
	}
	return nil, &notFoundError{failed, hint(runtime.GOOS, osRelease(), os.Geteuid(), exec.LookPath)}
}

type attempt struct {
	title string
	err   error
}

// notFoundError lists what was tried.
type notFoundError struct {
	attempts []attempt
	hint     string
}

func (e *notFoundError) Error() string {
	var b strings.Builder
	b.WriteString("no PostgreSQL could be started:\n")
	for _, a := range e.attempts {
		text := strings.ReplaceAll(a.err.Error(), "\n", "\n"+strings.Repeat(" ", 19))
		fmt.Fprintf(&b, "  %-15s  %s\n", a.title, text)
	}
	b.WriteString("This would help:\n  " + e.hint)
	return b.String()
}

// hint is the one command that gives this machine a PostgreSQL.
func hint(goos, release string, euid int, lookPath func(string) (string, error)) string {
	has := func(name string) bool { _, err := lookPath(name); return err == nil }
	sudo := ""
	if euid != 0 {
		sudo = "sudo "
	}
	switch {
	case goos == "darwin" && has("brew"):
		return "brew install postgresql@17"
	case goos == "linux" && isDebian(release):
		return sudo + "apt-get install -y postgresql"
	case goos == "linux" && has("dnf"):
		return sudo + "dnf install -y postgresql-server"
	case goos == "linux" && has("pacman"):
		return sudo + "pacman -S --noconfirm postgresql"
	case goos == "linux" && has("apk"):
		return sudo + "apk add postgresql"
	case goos == "linux" && has("zypper"):
		return sudo + "zypper install -y postgresql-server"
	}
	return "export DATABASE_URL=postgres://USER:PASSWORD@HOST:5432/DATABASE   (any PostgreSQL from version 14 on)"
}

// osRelease is the content of /etc/os-release, or "".
func osRelease() string {
	data, err := os.ReadFile("/etc/os-release")
	if err != nil {
		return ""
	}
	return string(data)
}

// isDebian says whether an os-release is of Debian, Ubuntu or another distribution that is made from them.
func isDebian(release string) bool {
	for line := range strings.Lines(release) {
		key, value, _ := strings.Cut(strings.TrimSpace(line), "=")
		if key != "ID" && key != "ID_LIKE" {
			continue
		}
		for _, id := range strings.Fields(strings.Trim(value, `"'`)) {
			if id == "debian" || id == "ubuntu" {
				return true
			}
		}
	}
	return false
}

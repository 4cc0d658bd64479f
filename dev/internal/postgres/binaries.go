package postgres

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// oldest is the oldest major version that the services work on.
const oldest = 14

// places are where packages put server binaries without putting them in PATH; the newest version comes first.
var places = []string{
	"/usr/lib/postgresql/*/bin",                               // Debian, Ubuntu
	"/usr/pgsql-*/bin",                                        // the PostgreSQL project's RPMs
	"/opt/homebrew/opt/postgresql@*/bin",                      // Homebrew on Apple silicon
	"/usr/local/opt/postgresql@*/bin",                         // Homebrew on Intel
	"/home/linuxbrew/.linuxbrew/opt/postgresql@*/bin",         // Homebrew on Linux
	"/Applications/Postgres.app/Contents/Versions/*/bin",      // Postgres.app
	"/usr/libexec/postgresql*",                                // Alpine
	"/usr/lib/postgresql*/bin",                                // openSUSE
	"/usr/local/pgsql/bin", "/opt/homebrew/bin", "/opt/local", // built by hand, others
}

// finder looks for server binaries. Its fields are the machine, so that tests can give it another one.
type finder struct {
	path     []string                                           // directories of PATH
	places   []string                                           // patterns of further directories
	pgConfig func(ctx context.Context) (string, error)          // pg_config --bindir
	version  func(ctx context.Context, bin string) (int, error) // major version of a directory's server
}

func newFinder(user *syscall.Credential) finder {
	return finder{
		path:   filepath.SplitList(os.Getenv("PATH")),
		places: places,
		pgConfig: func(ctx context.Context) (string, error) {
			return output(ctx, nil, "pg_config", "--bindir")
		},
		version: func(ctx context.Context, bin string) (int, error) {
			text, err := output(ctx, user, filepath.Join(bin, "postgres"), "--version")
			if err != nil {
				return 0, err
			}
			return majorVersion(text)
		},
	}
}

// find returns the first directory with a complete and usable server, and otherwise why each that was found was not taken.
func (f finder) find(ctx context.Context) (string, error) {
	var refused []error
	for _, bin := range f.candidates(ctx) {
		major, err := f.version(ctx, bin)
		switch {
		case err != nil:
			refused = append(refused, fmt.Errorf("%s: %w", bin, err))
		case major < oldest:
			refused = append(refused, fmt.Errorf("%s: version %d, needs %d or newer", bin, major, oldest))
		default:
			return bin, nil
		}
	}
	if len(refused) > 0 {
		return "", errors.Join(refused...)
	}
	return "", fmt.Errorf("no initdb and postgres in PATH, by pg_config, or in %s", strings.Join(f.places, ", "))
}

// candidates are the directories that hold both initdb and postgres, each once.
func (f finder) candidates(ctx context.Context) []string {
	dirs := slices.Clone(f.path)
	if bin, err := f.pgConfig(ctx); err == nil {
		dirs = append(dirs, bin)
	}
	for _, pattern := range f.places {
		found, err := filepath.Glob(pattern)
		if err != nil {
			continue
		}
		slices.SortFunc(found, func(a, b string) int { return versionIn(b) - versionIn(a) })
		dirs = append(dirs, found...)
	}
	var out []string
	for _, dir := range dirs {
		if filepath.IsAbs(dir) && !slices.Contains(out, dir) && executable(dir, "initdb") && executable(dir, "postgres") {
			out = append(out, dir)
		}
	}
	return out
}

func executable(dir, name string) bool {
	info, err := os.Stat(filepath.Join(dir, name))
	return err == nil && info.Mode().IsRegular() && info.Mode().Perm()&0o111 != 0
}

var digits = regexp.MustCompile(`\d+`)

// versionIn is the last number of a path: 17 of /usr/lib/postgresql/17/bin.
func versionIn(path string) int {
	all := digits.FindAllString(path, -1)
	if len(all) == 0 {
		return 0
	}
	n, err := strconv.Atoi(all[len(all)-1])
	if err != nil {
		return 0
	}
	return n
}

// majorVersion reads `postgres --version`: "postgres (PostgreSQL) 15.18 (Debian 15.18-0+deb12u1)".
func majorVersion(text string) (int, error) {
	_, rest, ok := strings.Cut(text, "(PostgreSQL) ")
	if !ok {
		return 0, fmt.Errorf("unknown version %q", text)
	}
	return strconv.Atoi(digits.FindString(rest))
}

// output runs a short command, bounded, and returns what it printed.
func output(ctx context.Context, user *syscall.Credential, name string, args ...string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Dir = "/"
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: user}
	cmd.WaitDelay = time.Second
	out, err := cmd.Output()
	if err != nil {
		var exit *exec.ExitError
		if errors.As(err, &exit) && len(exit.Stderr) > 0 {
			return "", fmt.Errorf("%w: %s", err, lastLine(string(exit.Stderr)))
		}
		return "", err
	}
	return strings.TrimSpace(string(out)), nil
}

func lastLine(text string) string {
	lines := strings.Split(strings.TrimSpace(text), "\n")
	return strings.TrimSpace(lines[len(lines)-1])
}

// startLocal runs a private cluster from binaries of this machine.
func startLocal(ctx context.Context, opts Options) (*Server, error) {
	user, err := serverUser(os.Geteuid())
	if err != nil {
		return nil, err
	}
	bin, err := newFinder(user).find(ctx)
	if err != nil {
		return nil, err
	}
	return startCluster(ctx, opts, bin, user)
}

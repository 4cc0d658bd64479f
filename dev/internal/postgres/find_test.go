package postgres

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// binDir makes a directory with the named programs, which print a version.
func binDir(t *testing.T, parent, name string, programs ...string) string {
	t.Helper()
	dir := filepath.Join(parent, name)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	for _, program := range programs {
		script := "#!/bin/sh\necho 'postgres (PostgreSQL) 16.2 (Fake 16.2-1)'\n"
		if err := os.WriteFile(filepath.Join(dir, program), []byte(script), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func TestFinderPrefersPathThenPgConfigThenTheNewestPackage(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	binDir(t, root, "client-only", "psql", "pg_config")
	inPath := binDir(t, root, "path", "initdb", "postgres")
	configured := binDir(t, root, "configured", "initdb", "postgres")
	old := binDir(t, root, "lib/9/bin", "initdb", "postgres")
	newer := binDir(t, root, "lib/15/bin", "initdb", "postgres")
	newest := binDir(t, root, "lib/17/bin", "initdb", "postgres")

	all := finder{
		path:     []string{filepath.Join(root, "client-only"), "relative", inPath, filepath.Join(root, "missing")},
		places:   []string{filepath.Join(root, "lib/*/bin")},
		pgConfig: func(context.Context) (string, error) { return configured, nil },
		version: func(_ context.Context, bin string) (int, error) {
			if bin == old {
				return 9, nil
			}
			return 17, nil
		},
	}
	noPath := all
	noPath.path = nil
	noConfig := noPath
	noConfig.pgConfig = func(context.Context) (string, error) { return "", errors.New("not there") }
	noNewest := noConfig
	noNewest.version = func(ctx context.Context, bin string) (int, error) {
		if bin == newest {
			return 0, errors.New("permission denied")
		}
		return all.version(ctx, bin)
	}
	for want, f := range map[string]finder{inPath: all, configured: noPath, newest: noConfig, newer: noNewest} {
		if got, err := f.find(t.Context()); err != nil || got != want {
			t.Errorf("found %q, %v; want %q", got, err, want)
		}
	}

	onlyOld := noConfig
	onlyOld.places = []string{filepath.Join(root, "lib/9/bin")}
	if _, err := onlyOld.find(t.Context()); err == nil || !strings.Contains(err.Error(), "version 9, needs 14 or newer") {
		t.Errorf("a server that is too old: %v", err)
	}
	nothing := onlyOld
	nothing.places = []string{filepath.Join(root, "nowhere/*")}
	if _, err := nothing.find(t.Context()); err == nil || !strings.Contains(err.Error(), "nowhere") {
		t.Errorf("nothing found: %v; want it to say where it looked", err)
	}
}

func TestTheFirstWayThatWorksIsTaken(t *testing.T) {
	t.Parallel()
	var tried []string
	trying := func(name string, err error) way {
		return way{name, name, func(context.Context, Options) (*Server, error) {
			tried = append(tried, name)
			return &Server{Source: name}, err
		}}
	}
	no := errors.New("not on this machine")
	server, err := firstOf(t.Context(), []way{trying("a", no), trying("b", nil), trying("c", nil)}, Options{})
	if err != nil || server.Source != "b" || strings.Join(tried, "") != "ab" {
		t.Errorf("got %v, %v after trying %v; want b after a", server, err, tried)
	}

	tried = nil
	server, err = firstOf(t.Context(), []way{trying("a", nil), trying("c", nil)}, Options{From: "c"})
	if err != nil || server.Source != "c" || strings.Join(tried, "") != "c" {
		t.Errorf("got %v, %v after trying %v; want c alone", server, err, tried)
	}
	if _, err = firstOf(t.Context(), []way{trying("a", nil)}, Options{From: "x"}); err == nil || !strings.Contains(err.Error(), `"x" is not one of auto, a`) {
		t.Errorf("an unknown way: %v", err)
	}
}

func TestWhenNothingWorksTheMessageNamesEachAttemptAndOneCommand(t *testing.T) {
	t.Parallel()
	fail := func(title, why string) way {
		return way{title, title, func(context.Context, Options) (*Server, error) { return nil, errors.New(why) }}
	}
	_, err := firstOf(t.Context(), []way{fail("local binaries", "none in PATH"), fail("Docker", "no engine\nanswers")}, Options{})
	if err == nil {
		t.Fatal("no error")
	}
	for _, want := range []string{"local binaries", "none in PATH", "Docker", "no engine", "This would help:\n  "} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("the message lacks %q:\n%v", want, err)
		}
	}
}

func TestHintFitsTheMachine(t *testing.T) {
	t.Parallel()
	has := func(names ...string) func(string) (string, error) {
		return func(name string) (string, error) {
			for _, n := range names {
				if n == name {
					return "/bin/" + n, nil
				}
			}
			return "", os.ErrNotExist
		}
	}
	ubuntu := "NAME=\"Pop!_OS\"\nID=pop\nID_LIKE=\"ubuntu debian\"\n"
	for _, c := range []struct {
		goos, release string
		euid          int
		lookPath      func(string) (string, error)
		want          string
	}{
		{"linux", "ID=debian\n", 0, has(), "apt-get install"},
		{"linux", ubuntu, 1000, has(), "sudo apt-get install"},
		{"linux", "ID=fedora\n", 1000, has("dnf"), "sudo dnf install"},
		{"linux", "ID=arch\n", 0, has("pacman"), "pacman -S"},
		{"darwin", "", 501, has("brew"), "brew install"},
		{"darwin", "", 501, has(), "export DATABASE_URL="},
		{"linux", "", 1000, has(), "export DATABASE_URL="},
	} {
		if got := hint(c.goos, c.release, c.euid, c.lookPath); !strings.HasPrefix(got, c.want) {
			t.Errorf("%s %q as %d: %q, want %q", c.goos, c.release, c.euid, got, c.want)
		}
	}
}

func TestMajorVersion(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]int{
		"postgres (PostgreSQL) 15.18 (Debian 15.18-0+deb12u1)": 15,
		"postgres (PostgreSQL) 18beta1":                        18,
		"postgres (PostgreSQL) 9.6.24":                         9,
	} {
		if got, err := majorVersion(text); err != nil || got != want {
			t.Errorf("%q: %d, %v; want %d", text, got, err, want)
		}
	}
	if got, err := majorVersion("mysqld 8"); err == nil {
		t.Errorf("mysqld: %d; want an error", got)
	}
}

func TestDatabaseURLInEachForm(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{
		"postgres://u:p@h:1/d":                                     "postgres://u:p@h:1/d",
		"postgresql+psycopg2://u:p@h:1/d":                          "postgresql://u:p@h:1/d",
		"postgresql+asyncpg://u:p@h/d?sslmode=disable":             "postgresql://u:p@h/d?sslmode=disable",
		"jdbc:postgresql://h/d?user=u&password=p":                  "postgresql://h/d?user=u&password=p",
		"host=h port=1 user=u password=p dbname=d sslmode=disable": "postgres://u:p@h:1/d?sslmode=disable",
	} {
		got, err := parseURL(in)
		if err != nil || got.String() != want {
			t.Errorf("%s: %v, %v; want %s", in, got, err, want)
		}
	}
	for _, bad := range []string{"postgres://u:secret@h:port/d", "secret", "postress://u:secret@h/d", "postgres://u:secret@h/d?sslmod=disable"} {
		if _, err := parseURL(bad); err == nil || strings.Contains(err.Error(), "secret") {
			t.Errorf("%s: %v; want an error without the secret", bad, err)
		}
	}
	got, err := WithDatabase("postgres://u:p@h:1/d?sslmode=disable", "other")
	if err != nil || got != "postgres://u:p@h:1/other?sslmode=disable" {
		t.Errorf("another database: %s, %v", got, err)
	}
}

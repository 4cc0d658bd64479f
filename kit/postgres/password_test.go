package postgres_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"orderflow.example/kit/postgres"
	"orderflow.example/kit/testdb"
)

// rotating is a role whose password is in a file, and a way to connect as it.
type rotating struct {
	t      *testing.T
	role   string
	file   string
	config *pgx.ConnConfig
}

// The environment belongs to the process: tests with it do not run beside others.
func newRotating(t *testing.T) *rotating {
	t.Helper()
	r := &rotating{t: t, role: testdb.Role(t, "rotating"), file: filepath.Join(t.TempDir(), "password")}
	testdb.Admin(t, fmt.Sprintf("create role %s login password 'first'", r.role))
	r.write("first")
	t.Setenv("PGPASSWORD_FILE", r.file)
	u := server(t)
	u.User = nil
	query := u.Query()
	query.Set("user", r.role)
	u.RawQuery = query.Encode()
	a, err := postgres.Parse(u.String())
	if err != nil {
		t.Fatal(err)
	}
	r.config = a.Config("test", 30*time.Second)
	return r
}

func (r *rotating) write(text string) {
	r.t.Helper()
	if err := os.WriteFile(r.file, []byte(text), 0o600); err != nil {
		r.t.Fatal(err)
	}
}

func (r *rotating) alter(text string) {
	r.t.Helper()
	testdb.Admin(r.t, fmt.Sprintf("alter role %s password '%s'", r.role, text))
}

// connect tries up to twice: a password that the server does not take yet alternates with the former one.
func (r *rotating) connect() error {
	var err error
	for range 2 {
		var conn *pgx.Conn
		if conn, err = pgx.ConnectConfig(r.t.Context(), r.config.Copy()); err == nil {
			return conn.Close(context.Background())
		}
	}
	return err
}

func TestAPasswordFileIsReadForEachConnection(t *testing.T) {
	r := newRotating(t)
	for _, step := range []struct {
		name string
		do   func()
	}{
		{"as it was at the start", func() {}},
		{"the file first", func() { r.write("second") }},
		{"then the server", func() { r.alter("second") }},
		{"again", func() {}},
		{"back, the server first, with the file after it", func() { r.alter("first"); r.write("first\n") }},
		{"the file is gone for a while", func() {
			if err := os.Remove(r.file); err != nil {
				t.Fatal(err)
			}
		}},
	} {
		step.do()
		if err := r.connect(); err != nil {
			t.Errorf("%s: %v", step.name, err)
		}
	}
	r.alter("third")
	if err := r.connect(); err == nil || !strings.Contains(postgres.Refusal(err), "refuses the password") {
		t.Errorf("a password that is nowhere was taken: %v", err)
	}
}

// A later hook, which a caller puts behind ours, still runs.
func TestAPasswordFileLeavesTheHooksOfOthers(t *testing.T) {
	r := newRotating(t)
	config := r.config.Copy()
	before, calls := config.AfterConnect, 0
	config.AfterConnect = func(ctx context.Context, conn *pgconn.PgConn) error {
		calls++
		return before(ctx, conn)
	}
	conn, err := pgx.ConnectConfig(t.Context(), config)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close(context.Background()) }()
	var security string
	if err := conn.QueryRow(t.Context(), "show row_security").Scan(&security); err != nil || calls != 1 || security != "off" {
		t.Errorf("%d calls, row_security %s: %v", calls, security, err)
	}
}

func TestAPasswordFileThatCannotBeUsed(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	for _, test := range []struct{ file, password, address, says string }{
		{filepath.Join(dir, "none"), "", "postgres://u@h/d", "PGPASSWORD_FILE is the file " + filepath.Join(dir, "none") + ", which cannot be used: no such file"},
		{write("empty", ""), "", "postgres://u@h/d", "the file is empty"},
		{write("space", " s3cret"), "", "postgres://u@h/d", "invisible characters at an end"},
		{write("both", "s3cret"), "other", "postgres://u@h/d", "PGPASSWORD and PGPASSWORD_FILE are both set"},
		{write("good", "s3cret\n"), "", "postgres://u@h/d", ""},
		{write("unused", ""), "", "postgres://u:own@h/d", ""},
	} {
		t.Setenv("PGPASSWORD_FILE", test.file)
		t.Setenv("PGPASSWORD", test.password)
		_, err := postgres.Parse(test.address)
		if test.says == "" && err != nil || test.says != "" && (err == nil || !strings.Contains(err.Error(), test.says) || strings.Contains(err.Error(), "s3cret")) {
			t.Errorf("%s: %v, want %q", test.file, err, test.says)
		}
	}
}

// What is wrong is the file, and not the address: the error says so alone.
func TestAMissingCertificateIsNamed(t *testing.T) {
	t.Parallel()
	for _, parameter := range []string{"sslrootcert", "sslcert", "sslkey"} {
		_, err := postgres.Parse("postgres://u@h/d?sslmode=verify-full&" + parameter + "=/none/ca.crt")
		if err == nil || !strings.HasPrefix(err.Error(), "its "+parameter+" is the file /none/ca.crt, which cannot be read: no such file") {
			t.Errorf("%s: %v", parameter, err)
		} else if s, ok := err.(interface{ Sentence() string }); !ok || s.Sentence() == "" {
			t.Errorf("%s: %T is no sentence of its own", parameter, err)
		}
	}
}

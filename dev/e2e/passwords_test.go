package e2e

import (
	"context"
	"errors"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"orderflow.example/dev/internal/postgres"
	"orderflow.example/dev/internal/stack"
	patience "orderflow.example/kit/await"
	"orderflow.example/kit/testlog"
)

// template is one of the chart's, as it is written.
func template(t *testing.T, name string) string {
	t.Helper()
	chart := os.Getenv("CHART")
	if chart == "" {
		root, err := stack.Root()
		if err != nil {
			t.Fatal(err)
		}
		chart = filepath.Join(root, "deploy/helm/orderflow")
	}
	text, err := os.ReadFile(filepath.Join(chart, "templates", name))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// script is one that the chart has beside its Postgres; its ConfigMap has nothing in them to be filled in.
func script(t *testing.T, name string) string {
	t.Helper()
	text := template(t, "postgres-configmap.yaml")
	found := regexp.MustCompile(`(?m)^  ` + regexp.QuoteMeta(name) + `: \|\n((?:    .*\n|\n)+)`).FindStringSubmatch(text)
	if found == nil || strings.Contains(found[1], "{{") {
		t.Fatalf("%s is not in the ConfigMap, or not as it will be:\n%s", name, text)
	}
	return strings.ReplaceAll("\n"+found[1], "\n    ", "\n")
}

// fixed are those settings of the chart's Postgres that depend on no value. Without its address: ours is the loopback interface.
func fixed(t *testing.T) (settings []string) {
	t.Helper()
	text := regexp.MustCompile(`(?s)\{\{- if .*?\{\{- end \}\}`).ReplaceAllString(template(t, "_postgresconf.tpl"), "")
	for _, found := range regexp.MustCompile(`(?m)^([a-z_]+) = ([^{\n]+)$`).FindAllStringSubmatch(text, -1) {
		if found[1] != "listen_addresses" {
			settings = append(settings, found[1]+"="+strings.Trim(found[2], "'"))
		}
	}
	if len(settings) < 10 {
		t.Fatalf("of the chart's settings only %v were read", settings)
	}
	return settings
}

// The scripts that the chart has beside its Postgres make true what the Secrets say, and what they say later. No password is told to those who
// read the server's log or its statistics, and nobody who is not invited may connect.
func TestThePostgresOfTheChartIsAsItsSecretsSay(t *testing.T) {
	t.Parallel()
	server, err := postgres.Open(t.Context(), postgres.Options{
		Session: programsFor(t).session, From: "local", MaxConnections: 20, Settings: append(
			fixed(t), "logging_collector=on", "log_statement=all", "log_min_duration_statement=0", "shared_preload_libraries=pg_stat_statements",
		),
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := server.Close(context.Background()); err != nil {
			t.Error(err)
		}
	})
	ctx := bounded(t)
	bin, _, err := postgres.Programs(ctx)
	if err != nil {
		t.Fatal(err)
	}
	super, err := pgx.Connect(ctx, server.URL())
	if err != nil {
		t.Fatal(err)
	}
	defer super.Close(context.WithoutCancel(ctx))
	if _, err := super.Exec(ctx, `create extension pg_stat_statements; create role stranger login password 'stranger'`); err != nil {
		t.Fatal(err)
	}
	tell(ctx, t, super, "what is answered is on disk", `select concat_ws(' ', current_setting('fsync'), current_setting('synchronous_commit'), current_setting('full_page_writes'))`, "on on on")
	tell(ctx, t, super, "a slow statement has a value", `select $1::text`, "Jane Customer", "Jane Customer")

	dir := t.TempDir()
	put := func(name, content string) {
		t.Helper()
		path := filepath.Join(dir, name) // which is the old one or the new one, as in a mounted Secret
		if err := errors.Join(os.WriteFile(path+".new", []byte(content), 0o600), os.Rename(path+".new", path)); err != nil {
			t.Fatal(err)
		}
	}
	address, err := url.Parse(server.URL())
	if err != nil {
		t.Fatal(err)
	}
	superuser, _ := address.User.Password() // it stays: in the pod the scripts are let in without one
	passwords := []string{superuser, `it's "the" $owner's\n`, "the other's"}
	put("superuser", passwords[0])
	put("owner", passwords[1])
	put("tls.crt", "one")
	for _, name := range []string{"orderflow.sh", "passwords.sh"} {
		put(name, strings.NewReplacer("/etc/orderflow/scripts", dir, "/etc/orderflow/tls", dir, "sleep 5", "sleep 0.2").Replace(script(t, name)))
	}
	beside := exec.CommandContext(context.WithoutCancel(ctx), "sh", filepath.Join(dir, "passwords.sh"))
	beside.Env = []string{
		"PATH=" + bin + ":" + os.Getenv("PATH"), "PGHOST=127.0.0.1", "PGPORT=" + address.Port(), "PGPASSWORD=" + superuser,
		"POSTGRES_USER=postgres", "POSTGRES_PASSWORD_FILE=" + filepath.Join(dir, "superuser"),
		"OWNER_ROLE=the_owner", "OWNER_DATABASE=shop", "OWNER_PASSWORD_FILE=" + filepath.Join(dir, "owner"),
	}
	var said testlog.Buffer
	beside.Stdout, beside.Stderr = &said, &said
	if err := beside.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = beside.Process.Signal(os.Interrupt)
		if err := beside.Wait(); err != nil || t.Failed() {
			t.Errorf("passwords.sh: %v\n%s", err, &said)
		}
	})

	enter := func(user, password string) error {
		u := *address
		u.User, u.Path = url.UserPassword(user, password), "/shop"
		conn, err := pgx.Connect(ctx, u.String())
		if err != nil {
			return err
		}
		return conn.Close(ctx)
	}
	for _, password := range passwords[1:] {
		put("owner", password)
		await(ctx, t, "the owner enters with the password "+password, func() (bool, error) { err := enter("the_owner", password); return err == nil, err })
	}
	tell(ctx, t, super, "superuser, roles, databases, replication, policies: of these the owner makes roles",
		`select concat_ws(' ', rolsuper, rolcreaterole, rolcreatedb, rolreplication, rolbypassrls) from pg_roles where rolname = 'the_owner'`, "f t f f f")
	if err := enter("the_owner", passwords[1]); err == nil {
		t.Error("the owner's former password is one still")
	}
	if err := enter("stranger", "stranger"); err == nil || !strings.Contains(err.Error(), "42501") {
		t.Errorf("a role that has nothing to do there is let in: %v", err)
	}

	limit, cancel := context.WithTimeout(ctx, patience.Limit())
	defer cancel()
	applied := func(times int) {
		t.Helper()
		await(limit, t, "the script has done what it has to, and the server has read its files again", func() (bool, error) {
			var log string
			err := super.QueryRow(ctx, "select pg_read_file(pg_current_logfile())").Scan(&log)
			return said.Count("superuser, owner and certificate are as their Secrets say") == times &&
				strings.Count(log, "received SIGHUP, reloading configuration files") == times, err
		})
	}
	applied(2) // both passwords of the owner
	put("tls.crt", "two")
	applied(3)

	var log, counted string
	if err := super.QueryRow(ctx, "select pg_read_file(pg_current_logfile()), (select string_agg(query, ';') from pg_stat_statements)").Scan(&log, &counted); err != nil {
		t.Fatal(err)
	}
	for _, secret := range []string{superuser, "$owner", "the other", "Jane Customer"} {
		if in := strings.Contains(log, secret); in || strings.Contains(counted, secret) {
			t.Errorf("what has %s in it is in the log: %v; in pg_stat_statements: %v", secret, in, strings.Contains(counted, secret))
		}
	}
	if !strings.Contains(log, "create role stranger") || !strings.Contains(log, "select $1::text") || !strings.Contains(counted, "create role stranger") {
		t.Error("neither would have shown them")
	}
}

// tell has the server answer, with arguments, what is wanted.
func tell(ctx context.Context, t *testing.T, db *pgx.Conn, what, sql, want string, args ...any) {
	t.Helper()
	var got string
	if err := db.QueryRow(ctx, sql, args...).Scan(&got); err != nil || got != want {
		t.Errorf("%s: %s, want %s, %v", what, got, want, err)
	}
}

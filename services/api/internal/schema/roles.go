package schema

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"

	"github.com/jackc/pgerrcode"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

// Role is a login role for one of the parts. Without a name there is none; without a password it gets none, and one that
// it has already stays.
type Role struct {
	Name     string
	Password string `json:"-"`
}

// String is the role's name. It and the tag keep the password out of whatever prints a Role.
func (r Role) String() string { return r.Name }

// Roles are the least-privilege roles. What each may do is in grants.go.
type Roles struct {
	API      Role // inserts orders and messages; cannot acknowledge any
	Consumer Role // takes messages off the queue and marks orders; cannot insert any
	Metrics  Role // reads
}

func (r Roles) names() []string {
	var names []string
	for _, role := range []Role{r.API, r.Consumer, r.Metrics} {
		if role.Name != "" {
			names = append(names, role.Name)
		}
	}
	return names
}

// WrongRole says what is wrong with one of the roles.
type WrongRole struct {
	Part     int // 0, 1 and 2: API, Consumer and Metrics
	Role     string
	Password bool   // it is the password and not the name
	Must     string // what it must be
}

// Wrong finds what would end in a lock-out or in rights for the wrong one. migrator is the role that migrates.
func (r Roles) Wrong(migrator string) []WrongRole {
	const longestIdentifier = 63 // bytes; Postgres cuts longer ones off without an error

	var all []WrongRole
	seen := make(map[string]bool)
	for part, role := range []Role{r.API, r.Consumer, r.Metrics} {
		name := role.Name
		if name == "" && role.Password == "" {
			continue
		}
		wrong := WrongRole{Part: part, Role: name}
		switch {
		case name == "":
			wrong.Password, wrong.Must = true, "accompanied by the role's name"
		case len(name) > longestIdentifier || strings.ContainsRune(name, 0):
			wrong.Must = fmt.Sprintf("a name of 1 to %d bytes", longestIdentifier)
		case strings.HasPrefix(name, "pg_") || name == "public" || name == "none":
			wrong.Must = "a name that is not reserved by Postgres"
		case name == migrator:
			wrong.Must = "another than the role that migrates: the services need roles of their own"
		case seen[name]:
			wrong.Must = "given once and not twice: each part needs a role of its own"
		case !printableASCII(role.Password):
			wrong.Password, wrong.Must = true, "of printable ASCII characters"
		}
		if wrong.Must != "" {
			all = append(all, wrong)
		}
		seen[name] = true
	}
	return all
}

func (r Roles) validate(migrator string) error {
	var problems []error
	for _, wrong := range r.Wrong(migrator) {
		what := "database role"
		if wrong.Password {
			what = "password of database role"
		}
		problems = append(problems, fmt.Errorf("%s %q: must be %s", what, wrong.Role, wrong.Must))
	}
	return errors.Join(problems...)
}

// timeouts end what a service has given up on already, so that it does not go on holding locks, a connection or the
// vacuum horizon: longest statement, longest wait for a lock, longest pause within a transaction.
type timeouts struct{ statement, lock, idleInTransaction string }

var (
	apiTimeouts      = timeouts{statement: "5s", lock: "2s", idleInTransaction: "10s"}
	consumerTimeouts = timeouts{statement: "30s", lock: "5s", idleInTransaction: "30s"}
	metricsTimeouts  = timeouts{statement: "10s", lock: "1s", idleInTransaction: "10s"}
)

// ensureRoles creates the roles that are named and gives them their rights, all in one transaction. The caller holds the
// lock: concurrent grants on one object fail with "tuple concurrently updated".
func ensureRoles(ctx context.Context, conn *pgx.Conn, opts Options, log *slog.Logger) error {
	if len(opts.Roles.names()) == 0 {
		return nil
	}
	tx, err := conn.Begin(ctx)
	if err != nil {
		return fmt.Errorf("set up the roles: %w", err)
	}
	defer tx.Rollback(ctx)

	objects, err := readObjects(ctx, tx, opts.Queue)
	if err != nil {
		return err
	}
	var missing []string
	for _, part := range []struct {
		role     Role
		timeouts timeouts
		grants   []grant
	}{
		{opts.Roles.API, apiTimeouts, objects.apiGrants()},
		{opts.Roles.Consumer, consumerTimeouts, objects.consumerGrants()},
		{opts.Roles.Metrics, metricsTimeouts, objects.metricsGrants()},
	} {
		if part.role.Name == "" {
			continue
		}
		if err := ensureRole(ctx, tx, part.role, log); err != nil {
			return fmt.Errorf("role %s: %w", part.role, err)
		}
		if err := setTimeouts(ctx, tx, part.role, part.timeouts, log); err != nil {
			return fmt.Errorf("role %s: %w", part.role, err)
		}
		denied, err := objects.apply(ctx, tx, part.role.Name, part.grants)
		if err != nil {
			return fmt.Errorf("role %s: %w", part.role, err)
		}
		missing = append(missing, denied...)
	}
	if opts.Roles.Metrics.Name != "" {
		if err := letMonitor(ctx, tx, opts.Roles.Metrics, log); err != nil {
			return err
		}
	}
	if err := tx.Commit(ctx); err != nil {
		return fmt.Errorf("set up the roles: %w", err)
	}
	if len(missing) > 0 {
		return fmt.Errorf("the role that migrates may not grant these rights: have their owner run: %s;", strings.Join(missing, "; "))
	}
	log.InfoContext(ctx, "roles are in place", "roles", opts.Roles.names())
	return nil
}

// ensureRole creates a role or sets the password of one that is there.
func ensureRole(ctx context.Context, tx pgx.Tx, role Role, log *slog.Logger) error {
	var exists, super, mayCreate bool
	err := tx.QueryRow(ctx, `
		select
			exists (select from pg_catalog.pg_roles where rolname = $1),
			exists (select from pg_catalog.pg_roles where rolname = $1 and rolsuper),
			(select rolsuper or rolcreaterole from pg_catalog.pg_roles where rolname = current_user)`,
		role.Name,
	).Scan(&exists, &super, &mayCreate)
	if err != nil {
		return fmt.Errorf("look for it: %w", err)
	}

	switch {
	case super:
		return errors.New("it is a superuser, whom no grant limits: name another")
	case !exists && !mayCreate:
		return errors.New("it does not exist, and the role that migrates may not create it: create it, or give that role CREATEROLE")
	case exists && !mayCreate:
		log.InfoContext(ctx, "the role exists and the role that migrates has no CREATEROLE: its password stays as it is", "role", role.Name)
		return nil
	}

	verb := "create"
	if exists {
		verb = "alter"
	}
	statement := verb + " role " + pgx.Identifier{role.Name}.Sanitize() + " login"
	if role.Password != "" {
		verifier, err := newVerifier(role.Password)
		if err != nil {
			return err
		}
		// Nothing in a verifier needs quoting, and nothing in it gives the password away to a log of statements.
		statement += " password '" + verifier + "'"
	}
	done, err := tryExec(ctx, tx, statement)
	if err != nil {
		return fmt.Errorf("%s: %w", verb, err)
	}
	if !done && !exists {
		return errors.New("the role that migrates may not create it: create it, or give that role the right")
	}
	if !done {
		// Since Postgres 16 CREATEROLE is for the roles that one has created oneself.
		log.InfoContext(ctx, "the role exists, and the role that migrates may not alter it: its password stays as it is", "role", role.Name)
	}
	return nil
}

// setTimeouts sets a role's timeouts in this database. The services have limits of their own; these are the second line.
func setTimeouts(ctx context.Context, tx pgx.Tx, role Role, t timeouts, log *slog.Logger) error {
	var database string
	if err := tx.QueryRow(ctx, `select current_database()`).Scan(&database); err != nil {
		return fmt.Errorf("set its timeouts: %w", err)
	}
	target := "alter role " + pgx.Identifier{role.Name}.Sanitize() + " in database " + pgx.Identifier{database}.Sanitize()
	for _, setting := range []struct{ name, value string }{
		{"statement_timeout", t.statement},
		{"lock_timeout", t.lock},
		{"idle_in_transaction_session_timeout", t.idleInTransaction},
	} {
		done, err := tryExec(ctx, tx, target+" set "+setting.name+" = '"+setting.value+"'")
		if err != nil {
			return fmt.Errorf("set its %s: %w", setting.name, err)
		}
		if !done {
			log.WarnContext(ctx, "no right to set a role's timeouts: have an administrator set them", "role", role.Name,
				"statement_timeout", t.statement, "lock_timeout", t.lock, "idle_in_transaction_session_timeout", t.idleInTransaction)
			return nil
		}
	}
	return nil
}

// letMonitor makes the metrics role a member of pg_monitor, which sees what holds vacuum back and how far it is. Without
// it the role still sees the queue and the orders.
func letMonitor(ctx context.Context, tx pgx.Tx, role Role, log *slog.Logger) error {
	var member bool
	if err := tx.QueryRow(ctx, `select pg_has_role($1, 'pg_monitor', 'usage')`, role.Name).Scan(&member); err != nil {
		return fmt.Errorf("look at the memberships of role %s: %w", role, err)
	}
	if member {
		return nil
	}
	done, err := tryExec(ctx, tx, "grant pg_monitor to "+pgx.Identifier{role.Name}.Sanitize())
	if err != nil {
		return fmt.Errorf("grant pg_monitor to %s: %w", role, err)
	}
	if !done {
		log.WarnContext(ctx, "no right to grant pg_monitor: the role sees less of other sessions", "role", role.Name)
	}
	return nil
}

// tryExec runs a statement that the role may have no right to. It returns false then, and leaves tx usable.
func tryExec(ctx context.Context, tx pgx.Tx, statement string) (done bool, err error) {
	savepoint, err := tx.Begin(ctx)
	if err != nil {
		return false, err
	}
	defer savepoint.Rollback(ctx)

	_, err = savepoint.Exec(ctx, statement)
	if denied(err) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	return true, savepoint.Commit(ctx)
}

// denied tells whether Postgres refused something for want of rights.
func denied(err error) bool {
	var pgErr *pgconn.PgError
	return errors.As(err, &pgErr) && pgErr.Code == pgerrcode.InsufficientPrivilege
}

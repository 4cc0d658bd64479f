package schema_test

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/jackc/pgx/v5"

	"orderflow.example/kit/await"
	"orderflow.example/kit/testlog"
	"orderflow.example/services/api/internal/schema"
)

func TestMigrateMakesEverythingAServiceNeeds(t *testing.T) {
	t.Parallel()
	forEachFlavour(t, func(t *testing.T, install schema.Install) {
		db := newDatabase(t)

		if got := current(t, db); got != 0 {
			t.Errorf("an empty database is at version %d", got)
		}
		if err := db.migrate(schema.Options{Queue: queue, PGMQ: install}); err != nil {
			t.Fatal(err)
		}
		if got := current(t, db); got != schema.Version {
			t.Errorf("the version after migrating is %d, this build needs %d", got, schema.Version)
		}
		wantTable(t, db.conn, `select queue_name from pgmq.list_queues() order by 1`, "Order-Queue\nOrder-Queue_dlq")
		wantTable(t, db.conn, `
			insert into orders (customer_name, product_name, quantity, price) values ('c', 'p', 1, 12.5)
			returning id, price, status, attempts, effects, message_id, idempotency_key, created_at <= clock_timestamp()`,
			"1|12.50|pending|0|0|∅|∅|t")
		wantTable(t, db.conn, `select pgmq.send('`+queue+`', '{"order_id": 1}')`, "1")
	})
}

func TestVersionIsTheNewestMigration(t *testing.T) {
	t.Parallel()
	if got := slices.Max(migrationNumbers(t)); got != schema.Version {
		t.Errorf("the newest migration is %d, Version is %d", got, schema.Version)
	}
}

// migrationNumbers are the versions that a fresh database has afterwards: goose's own, that of the installation of PGMQ, and the files'.
func migrationNumbers(t *testing.T) []int {
	t.Helper()
	files, err := fs.Glob(os.DirFS("migrations"), "*.sql")
	if err != nil {
		t.Fatal(err)
	}
	numbers := []int{0, 1}
	for _, file := range files {
		digits, _, _ := strings.Cut(file, "_")
		number, err := strconv.Atoi(digits)
		if err != nil {
			t.Fatal(err)
		}
		numbers = append(numbers, number)
	}
	return numbers
}

func TestMigrateAgainChangesNothing(t *testing.T) {
	t.Parallel()
	forEachFlavour(t, func(t *testing.T, install schema.Install) {
		db := migrated(t, install)
		mustExec(t, db.conn, `insert into orders (customer_name, product_name, quantity, price) values ('c', 'p', 1, 2)`)
		mustExec(t, db.conn, `select pgmq.send($1, '{"order_id": 1}')`, queue)

		// The catalog's row versions show whether any DDL ran.
		catalog := `
			select md5(string_agg(line, ',' order by line))
			from (
				select 'class ' || oid || ' ' || xmin || ' ' || ctid as line from pg_class where oid >= 16384
				union all
				select 'proc ' || oid || ' ' || xmin || ' ' || ctid from pg_proc where oid >= 16384
			) _`
		before := ask[string](t, db.conn, catalog)
		if err := db.migrate(schema.Options{Queue: queue, PGMQ: install}); err != nil {
			t.Fatal(err)
		}
		if after := ask[string](t, db.conn, catalog); after != before {
			t.Error("migrating again touched the catalog")
		}
		wantTable(t, db.conn, `select id, status from orders`, "1|pending")
		wantTable(t, db.conn, `select msg_id from pgmq."q_order-queue"`, "1")
	})
}

func TestManyMigrateAnEmptyDatabaseAtOnce(t *testing.T) {
	t.Parallel()
	forEachFlavour(t, func(t *testing.T, install schema.Install) {
		db := newDatabase(t)
		const replicas = 8

		var wg sync.WaitGroup
		start := make(chan struct{})
		errs := make([]error, replicas)
		for i := range replicas {
			wg.Go(func() {
				<-start
				errs[i] = db.migrate(schema.Options{Queue: queue, PGMQ: install})
			})
		}
		close(start)
		wg.Wait()

		if err := errors.Join(errs...); err != nil {
			t.Fatal(err)
		}
		wantTable(t, db.conn, `select version_id from orderflow_migrations order by id`, strings.Trim(strings.ReplaceAll(fmt.Sprint(migrationNumbers(t)), " ", "\n"), "[]"))
	})
}

func TestWaitingForAnotherMigrationEndsWithTheContext(t *testing.T) {
	t.Parallel()
	db := newDatabase(t)
	mustExec(t, db.conn, `select pg_advisory_lock(x'6f72646572666c77'::bigint)`) // another process that migrates

	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error)
	go func() {
		done <- schema.Migrate(ctx, db.cfg, schema.Options{Queue: queue}, logger(db.log))
	}()
	await.True(t, "it says that it waits", func() bool {
		return strings.Contains(db.log.String(), "another process is migrating")
	})
	cancel()
	if err := <-done; !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
}

func TestANewerSchemaIsLeftAlone(t *testing.T) {
	t.Parallel()
	db := migrated(t, schema.InstallSQL)
	mustExec(t, db.conn, `insert into orderflow_migrations (version_id, is_applied) values (99, true)`)

	if err := db.migrate(schema.Options{Queue: queue}); err != nil {
		t.Fatal(err)
	}
	if got := current(t, db); got != 99 {
		t.Errorf("version %d", got)
	}
}

func TestASecondQueueInTheSameDatabase(t *testing.T) {
	t.Parallel()
	db := migrated(t, schema.InstallSQL)

	if err := db.migrate(schema.Options{Queue: "another"}); err != nil {
		t.Fatal(err)
	}
	wantTable(t, db.conn, `select queue_name from pgmq.list_queues() order by 1`,
		"Order-Queue\nOrder-Queue_dlq\nanother\nanother_dlq")
}

func TestMigrateRefusesWrongOptions(t *testing.T) {
	t.Parallel()
	cfg := adminConfig(t)

	for name, test := range map[string]struct {
		opts schema.Options
		want string
	}{
		"a queue name for an injection": {
			schema.Options{Queue: `x"; drop table orders; --`}, "queue name",
		},
		"no queue name":             {schema.Options{}, "queue name"},
		"a queue name too long":     {schema.Options{Queue: strings.Repeat("q", 44)}, "queue name"},
		"a comment in the name":     {schema.Options{Queue: "a--b"}, "queue name"},
		"an unknown way to install": {schema.Options{Queue: "q", PGMQ: "brew"}, "auto, extension and sql"},
		"two parts with one role": {
			schema.Options{Queue: "q", Roles: schema.Roles{API: schema.Role{Name: "a"}, Consumer: schema.Role{Name: "a"}}}, "twice",
		},
		"the migrating role": {
			schema.Options{Queue: "q", Roles: schema.Roles{API: schema.Role{Name: cfg.User}}}, "the role that migrates",
		},
		"a reserved role": {
			schema.Options{Queue: "q", Roles: schema.Roles{API: schema.Role{Name: "pg_monitor"}}}, "reserved",
		},
		"a password without a role": {
			schema.Options{Queue: "q", Roles: schema.Roles{Metrics: schema.Role{Password: "hush-hush"}}}, "accompanied by the role's name",
		},
		"a password that SASLprep might change": {
			schema.Options{Queue: "q", Roles: schema.Roles{API: schema.Role{Name: "a", Password: "hush-hush-ä"}}}, "ASCII",
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			err := schema.Migrate(t.Context(), cfg, test.opts, logger(&testlog.Buffer{}))
			if err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("got %v, want something about %q", err, test.want)
			}
			if err != nil && strings.Contains(err.Error(), "hush-hush") {
				t.Error("the error shows the password")
			}
		})
	}
}

func TestEveryWrongOptionIsNamed(t *testing.T) {
	t.Parallel()
	err := schema.Options{
		Queue: "1st",
		PGMQ:  "brew",
		Roles: schema.Roles{API: schema.Role{Name: "pg_api"}, Consumer: schema.Role{Name: "owner"}},
	}.Validate("owner")
	for _, name := range []string{"1st", "brew", "pg_api", "owner"} {
		if err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("%v does not name %s", err, name)
		}
	}
}

func TestWithoutRightsTheErrorSaysWhichAreNeeded(t *testing.T) {
	t.Parallel()
	db := newDatabase(t)
	name := db.newRole("nobody")
	mustExec(t, db.conn, `create role `+pgx.Identifier{name}.Sanitize()+` login password `+quote(password))
	mustExec(t, db.conn, `revoke create on schema public from public`)

	err := schema.Migrate(t.Context(), db.as(name, password), schema.Options{Queue: queue}, logger(db.log))
	if err == nil || !strings.Contains(err.Error(), "must own the database") {
		t.Errorf("got %v", err)
	}
}

// The migrating sessions are not bound by timeouts that somebody set for the role, the database or the connection.
func TestMigrateIsNotEndedByAStatementTimeout(t *testing.T) {
	t.Parallel()
	db := newDatabase(t)
	// Every change to the schema notes what it runs under.
	mustExec(t, db.conn, `
		create table timeouts (statement text, transaction text, lock text);
		create function note_timeouts() returns event_trigger language plpgsql as $$
		begin
			insert into public.timeouts values (current_setting('statement_timeout'),
				current_setting('idle_in_transaction_session_timeout'), current_setting('lock_timeout'));
		end
		$$;
		create event trigger note_timeouts on ddl_command_end execute function note_timeouts();
		alter database `+db.cfg.Database+` set statement_timeout = '30min';
		alter database `+db.cfg.Database+` set idle_in_transaction_session_timeout = '30min';
		alter database `+db.cfg.Database+` set lock_timeout = '30min'`)

	if err := db.migrate(schema.Options{Queue: queue, PGMQ: schema.InstallSQL}); err != nil {
		t.Fatal(err)
	}
	wantTable(t, db.conn, `select distinct * from timeouts`, "0|0|3s")
}

func TestCurrentWorksInATransaction(t *testing.T) {
	t.Parallel()
	db := newDatabase(t)
	err := pgx.BeginFunc(t.Context(), db.conn, func(tx pgx.Tx) error {
		if _, err := schema.Current(t.Context(), tx); err != nil {
			return err
		}
		_, err := tx.Exec(t.Context(), `select 1`) // fails when a missing table has aborted the transaction
		return err
	})
	if err != nil {
		t.Error(err)
	}
}

func current(t *testing.T, db *database) int64 {
	t.Helper()
	version, err := schema.Current(t.Context(), db.conn)
	if err != nil {
		t.Fatal(err)
	}
	return version
}

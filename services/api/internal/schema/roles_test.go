package schema_test

import (
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"

	"github.com/jackc/pgerrcode"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"orderflow.example/kit/await"
	"orderflow.example/services/api/internal/schema"
)

// password needs quoting wherever it is spliced in by mistake.
const password = `p@ss'w"ord\$1;--%41`

// newOwner creates a login role with the given attributes that owns the database and everything it holds by default.
func (db *database) newOwner(attributes string) string {
	db.t.Helper()
	name := db.newRole("owner")
	quoted := pgx.Identifier{name}.Sanitize()
	mustExec(db.t, db.conn, `create role `+quoted+` login `+attributes+` password `+quote(password))
	mustExec(db.t, db.conn, `alter database `+db.cfg.Database+` owner to `+quoted)
	mustExec(db.t, db.conn, `grant all on schema public to `+quoted) // Postgres 15 takes create from public
	return name
}

// newRoles names a role for each part; none exists yet.
func (db *database) newRoles() schema.Roles {
	db.t.Helper()
	return schema.Roles{
		API:      schema.Role{Name: db.newRole("api"), Password: password},
		Consumer: schema.Role{Name: db.newRole("consumer"), Password: password},
		Metrics:  schema.Role{Name: db.newRole("metrics"), Password: password},
	}
}

// withRoles is a migrated database with its roles, an order and messages in both queues.
func withRoles(t *testing.T, install schema.Install) (*database, schema.Roles) {
	t.Helper()
	db := newDatabase(t)
	roles := db.newRoles()
	if err := db.migrate(schema.Options{Queue: "jobs", PGMQ: install, Roles: roles}); err != nil {
		t.Fatal(err)
	}
	mustExec(t, db.conn, `
		insert into orders (customer_name, product_name, quantity, price, status, dead_at) values ('c', 'p', 1, 1, 'dead', now())`)
	mustExec(t, db.conn, `select pgmq.send('jobs', '{"order_id": 1}')`)
	mustExec(t, db.conn, `select pgmq.send('jobs_dlq', '{"order_id": 1}')`)
	return db, roles
}

const (
	readOrders    = `select id, status from orders`
	countsOrders  = `select last_value from orders_id_seq`
	drawOrderID   = `select nextval('orders_id_seq')`
	insertOrder   = `insert into orders (customer_name, product_name, quantity, price) values ('c', 'p', 1, 1)`
	markOrder     = `update orders set status = 'completed', attempts = 1, effects = effects + 1, last_error = null, started_at = now(), completed_at = now(), processed_by = 'c', dead_at = null`
	changeOrder   = `update orders set price = 0`
	renameOrder   = `update orders set message_id = 2`
	deleteOrder   = `delete from orders`
	truncateTable = `truncate orders`
	send          = `select pgmq.send('jobs', '{}', '{"schema": 1}'::jsonb)`
	sendBatch     = `select pgmq.send_batch('jobs', array['{}']::jsonb[], array['{}']::jsonb[])`
	read          = `select * from pgmq.read('jobs', 0, 1)`
	peek          = `select msg_id, message from pgmq.q_jobs`
	setVT         = `select * from pgmq.set_vt('jobs', 1, 0)`
	nack          = `update pgmq.q_jobs set vt = now(), headers = '{}' where msg_id = 1 and read_ct = 0`
	ack           = `select pgmq.delete('jobs', array[1])`
	archive       = `select pgmq.archive('jobs', 1)`
	purge         = `select pgmq.purge_queue('jobs')`
	bury          = `select pgmq.send('jobs_dlq', '{}', '{"orderflow-dead": {}}'::jsonb)`
	readDead      = `select msg_id, headers from pgmq.q_jobs_dlq`
	deleteDead    = `select pgmq.delete('jobs_dlq', 1)`
	redrive       = `select * from orderflow.redrive('jobs', array[1])`
	removeDead    = `select orderflow.delete_dead_letters('jobs', array[1])`
	holders       = `select * from orderflow.vacuum_holders()`
	metrics       = `select * from pgmq.metrics('jobs')`
	metricsAll    = `select * from pgmq.metrics_all()`
	version       = `select max(version_id) from orderflow_migrations where is_applied`
	fakeVersion   = `insert into orderflow_migrations (version_id, is_applied) values (99, true)`
	createQueue   = `select pgmq.create('mine')`
	dropQueue     = `select pgmq.drop_queue('jobs')`
	createTable   = `create table orderflow.mine ()`
	dropOrders    = `drop table orders`
	listen        = `listen orderflow_jobs`
	readGate      = `select breaker_open from orderflow.gate`
	openBreaker   = `insert into orderflow.gate (queue, revision, breaker_open) values ('jobs', 1, true) on conflict (queue) do update set breaker_open = true`
	readHistory   = `select outcome from orderflow.history`
	forgeHistory  = `delete from orderflow.history`
	noteHistory   = `select orderflow.note_history('[]')`
	pauseQueue    = `select orderflow.pause('jobs', 'me', '')`
	resumeQueue   = `select orderflow.resume('jobs')`
	deleteGate    = `delete from orderflow.gate`
	saysHowItIs   = `select orderflow.report('k', 'jobs', 'consumer', 'c', 1, 2, 'idle', 0, 8, 0, 0, 0, 0, 0, '{}')`
	readProcesses = `select key from orderflow.processes`
	fakeProcess   = `insert into orderflow.processes (key, queue, kind, name, started_at, seen_at, every, state) values ('x', 'jobs', 'api', 'x', now(), now(), 1, 'idle')`
	dropProcess   = `delete from orderflow.processes`
	writeSample   = `insert into orderflow.sampling (queue) values ('jobs')`
	readSamples   = `select step from orderflow.samples`
	countOrders   = `insert into orderflow.order_counts (queue, first_id, completed, dead, under_way, lost) values ('jobs', 0, 0, 0, 0, 0)`
	writeFindings = `insert into orderflow.findings (queue, claimed_at) values ('jobs', now()) on conflict (queue) do update set claimed_at = excluded.claimed_at`
	readFindings  = `select findings from orderflow.findings`
	notify        = `select pg_notify('orderflow_jobs', '')`
	expireOrders  = `select orderflow.expire_orders('jobs', clock_timestamp(), 1, '0s')`
	expireDead    = `select orderflow.expire_dead_letters('jobs', clock_timestamp(), 1, '0s')`
	readRetention = `select due_at from orderflow.retention`
	search        = `select orderflow.look_for_stranded('jobs', 1)`
	stranded      = `select orderflow.without_message('jobs', '{1}')`
	strandedByID  = `select orderflow.without_message_by_id('jobs', '{1}')`
	moveFront     = `select orderflow.move_front('orderflow.front_jobs', 0, 1, true)`
	requeue       = `select orderflow.requeue('jobs', '{1}', clock_timestamp())`
)

// Every statement is tried by every role, so that a right given by mistake shows as much as one that is missing.
func TestEachRoleCanDoJustItsPart(t *testing.T) {
	t.Parallel()
	everything := []string{
		readOrders, countsOrders, drawOrderID, insertOrder, markOrder, changeOrder, renameOrder, deleteOrder, truncateTable,
		send, sendBatch, read, peek, setVT, nack, ack, archive, purge, bury, readDead, deleteDead, redrive, removeDead,
		holders, metrics, metricsAll, version, fakeVersion, createQueue, dropQueue, createTable, dropOrders, listen, notify,
		saysHowItIs, readProcesses, fakeProcess, dropProcess, writeSample, readSamples, countOrders, writeFindings, readFindings,
		readGate, openBreaker, deleteGate, pauseQueue, resumeQueue, readHistory, forgeHistory, noteHistory,
		expireOrders, expireDead, readRetention, search, stranded, strandedByID, requeue, moveFront,
	}
	everyone := []string{readOrders, readGate, peek, readDead, metrics, metricsAll, version, listen, notify}

	forEachFlavour(t, func(t *testing.T, install schema.Install) {
		db, roles := withRoles(t, install)
		for _, part := range []struct {
			role schema.Role
			may  []string
		}{
			{roles.API, []string{
				saysHowItIs, readProcesses, dropProcess, writeSample, readSamples, countOrders, readFindings, readHistory, countsOrders, drawOrderID, insertOrder, send, sendBatch, redrive, removeDead, pauseQueue, resumeQueue,
				expireOrders, expireDead, readRetention, search, stranded, strandedByID, requeue,
			}},
			{roles.Consumer, []string{countsOrders, saysHowItIs, writeFindings, readFindings, noteHistory, openBreaker, pauseQueue, resumeQueue, markOrder, read, setVT, nack, ack, bury, holders, moveFront}},
			{roles.Metrics, []string{readProcesses, readSamples, readFindings, readHistory, countsOrders, holders}},
		} {
			conn := connect(t, db.as(part.role.Name, password))
			allowed := make(map[string]bool)
			for _, statement := range append(part.may, everyone...) {
				allowed[statement] = true
			}
			for _, statement := range everything {
				err := pgx.BeginFunc(t.Context(), conn, func(tx pgx.Tx) error {
					_, err := tx.Exec(t.Context(), statement)
					if err == nil {
						err = errUndo
					}
					return err
				})
				switch {
				case allowed[statement] && !errors.Is(err, errUndo):
					t.Errorf("%s may not: %s: %v", part.role, statement, err)
				case !allowed[statement] && !denied(err):
					t.Errorf("%s is not denied: %s: %v", part.role, statement, err)
				}
			}
		}
	})
}

var errUndo = errors.New("undo what was only tried")

// Postgres lets everybody execute a new function. What runs with the owner's rights is for those whom it was granted to.
func TestNothingThatHasTheOwnersRightsIsForEverybody(t *testing.T) {
	t.Parallel()
	db := migrated(t, schema.InstallSQL)
	const functions = `select count(*) > 10, string_agg(p.oid::regprocedure::text, ', ') filter (where has_function_privilege('public', p.oid, 'execute'))
		from pg_proc p where p.pronamespace = 'orderflow'::regnamespace and p.prosecdef`
	wantTable(t, db.conn, functions, "t|∅")
}

func TestTheConsumersPartOfADatabaseOfTwoQueuesIsItsOwn(t *testing.T) {
	t.Parallel()
	db, roles := withRoles(t, schema.InstallSQL)
	mustExec(t, db.conn, `select pgmq.create('others')`)

	conn := connect(t, db.as(roles.Consumer.Name, password))
	if _, err := conn.Exec(t.Context(), `select * from pgmq.read('others', 0, 1)`); !denied(err) {
		t.Errorf("reading another queue: %v", err)
	}
}

func TestRolesHaveTheirTimeouts(t *testing.T) {
	t.Parallel()
	db, roles := withRoles(t, schema.InstallSQL)
	for role, want := range map[schema.Role]string{
		roles.API:      "5s|2s|10s",
		roles.Consumer: "30s|5s|30s",
		roles.Metrics:  "10s|1s|10s",
	} {
		conn := connect(t, db.as(role.Name, password))
		wantTable(t, conn, `
			select current_setting('statement_timeout'), current_setting('lock_timeout'), current_setting('idle_in_transaction_session_timeout')`, want)
	}
}

func TestTheMetricsRoleSeesWhatHoldsVacuumBack(t *testing.T) {
	t.Parallel()
	db, roles := withRoles(t, schema.InstallSQL)
	if !ask[bool](t, db.conn, `select pg_has_role($1, 'pg_monitor', 'usage')`, roles.Metrics.Name) {
		t.Error("it is not a member of pg_monitor")
	}

	holder := connect(t, db.cfg)
	mustExec(t, holder, `begin isolation level repeatable read; select 1`)
	for _, role := range []schema.Role{roles.Metrics, roles.Consumer} {
		conn := connect(t, db.as(role.Name, password))
		wantTable(t, conn, fmt.Sprintf(`
			select kind, xmin_age >= 0, since <= now(), detail like '%%idle in transaction'
			from orderflow.vacuum_holders() where name = '%d'`, holder.PgConn().PID()), "session|t|t|t")
	}
	mustExec(t, holder, `rollback`)

	// One that only wrote holds its own transaction.
	mustExec(t, holder, `begin`)
	mustExec(t, holder, insertOrder)
	conn := connect(t, db.as(roles.Consumer.Name, password))
	wantTable(t, conn, fmt.Sprintf(`select kind from orderflow.vacuum_holders() where name = '%d'`, holder.PgConn().PID()), "session")
	mustExec(t, holder, `rollback`)
}

func TestRolesAgainChangeNothingButThePassword(t *testing.T) {
	t.Parallel()
	db, roles := withRoles(t, schema.InstallSQL)
	before := ask[string](t, db.conn, `select string_agg(relname || coalesce(relacl::text, ''), ',' order by relname) from pg_class where relnamespace in ('public'::regnamespace, 'pgmq'::regnamespace)`)

	roles.API.Password = "another"
	roles.Consumer.Password = "" // stays
	if err := db.migrate(schema.Options{Queue: "jobs", PGMQ: schema.InstallSQL, Roles: roles}); err != nil {
		t.Fatal(err)
	}
	after := ask[string](t, db.conn, `select string_agg(relname || coalesce(relacl::text, ''), ',' order by relname) from pg_class where relnamespace in ('public'::regnamespace, 'pgmq'::regnamespace)`)
	if before != after {
		t.Errorf("rights before:\n%s\nafter:\n%s", before, after)
	}
	if !ask[bool](t, db.conn, `select rolpassword is not null from pg_authid where rolname = $1`, roles.Consumer.Name) {
		t.Error("a role lost its password")
	}
}

// Roles belong to the server: several databases may set up the same ones at the same time.
func TestOneSetOfRolesForManyDatabasesAtOnce(t *testing.T) {
	t.Parallel()
	roles := newDatabase(t).newRoles() // dropped after the databases below
	databases := make([]*database, 4)
	for i := range databases {
		databases[i] = newDatabase(t)
		if err := databases[i].migrate(schema.Options{Queue: "jobs", PGMQ: schema.InstallSQL}); err != nil {
			t.Fatal(err)
		}
	}
	for range 3 {
		var wg sync.WaitGroup
		for _, db := range databases {
			wg.Go(func() {
				// One that waits for another's transaction for too long is tried again, as the service does.
				await.True(t, "the roles are set up", func() bool {
					err := db.migrate(schema.Options{Queue: "jobs", PGMQ: schema.InstallSQL, Roles: roles})
					var answer *pgconn.PgError
					if errors.As(err, &answer) && answer.Code == pgerrcode.LockNotAvailable {
						return false
					}
					if err != nil {
						t.Error(err)
					}
					return true
				})
			})
		}
		wg.Wait()
	}
}

func TestRightsThatWereTooManyGo(t *testing.T) {
	t.Parallel()
	db, roles := withRoles(t, schema.InstallSQL)
	quoted := pgx.Identifier{roles.Consumer.Name}.Sanitize()
	mustExec(t, db.conn, `grant all on orders, pgmq.q_jobs, pgmq.q_jobs_dlq, orderflow_migrations to `+quoted)

	if err := db.migrate(schema.Options{Queue: "jobs", Roles: roles}); err != nil {
		t.Fatal(err)
	}
	conn := connect(t, db.as(roles.Consumer.Name, password))
	for _, statement := range []string{insertOrder, changeOrder, send, purge, fakeVersion} {
		if _, err := conn.Exec(t.Context(), statement); !denied(err) {
			t.Errorf("%s: %v", statement, err)
		}
	}
}

// A managed database: the one who migrates owns the database and may create roles, and is no superuser.
func TestRightsOfANewerReleaseStay(t *testing.T) {
	t.Parallel()
	db, roles := withRoles(t, schema.InstallSQL)
	mustExec(t, db.conn, fakeVersion)
	mustExec(t, db.conn, `grant delete on orders to `+pgx.Identifier{roles.API.Name}.Sanitize())

	if err := db.migrate(schema.Options{Queue: "jobs", Roles: roles}); err != nil {
		t.Fatal(err)
	}
	if !ask[bool](t, db.conn, `select has_table_privilege($1, 'orders', 'delete')`, roles.API.Name) {
		t.Error("an older build took a right away from a newer release")
	}
	if !strings.Contains(db.log.String(), "newer than this build") {
		t.Errorf("nothing tells of it:\n%s", db.log)
	}
}

func TestAnOwnerWithCreateroleSetsUpTheRoles(t *testing.T) {
	t.Parallel()
	db := newDatabase(t)
	roles := db.newRoles()
	owner := db.newOwner("createrole")

	for range 2 {
		err := schema.Migrate(t.Context(), db.as(owner, password), schema.Options{Queue: "jobs", PGMQ: schema.InstallSQL, Roles: roles}, logger(db.log))
		if err != nil {
			t.Fatal(err)
		}
	}
	conn := connect(t, db.as(roles.API.Name, password))
	mustExec(t, conn, insertOrder)
	mustExec(t, conn, send)
	conn = connect(t, db.as(roles.Consumer.Name, password))
	mustExec(t, conn, ack)
	mustExec(t, conn, markOrder)
}

// A tenant of somebody else's database: no right to create schemas in it, but two that were made for the purpose.
func TestATenantWithReadySchemasMigrates(t *testing.T) {
	t.Parallel()
	db := newDatabase(t)
	name := db.newRole("tenant")
	tenant := pgx.Identifier{name}.Sanitize()
	mustExec(t, db.conn, `
		create role `+tenant+` login password `+quote(password)+`;
		create schema pgmq;
		create schema orderflow;
		grant usage, create on schema public, pgmq, orderflow to `+tenant)

	err := schema.Migrate(t.Context(), db.as(name, password), schema.Options{Queue: "jobs", PGMQ: schema.InstallSQL}, logger(db.log))
	if err != nil {
		t.Fatal(err)
	}
	conn := connect(t, db.as(name, password))
	mustExec(t, conn, insertOrder)
	mustExec(t, conn, send)
}

func TestWithoutCreateroleRolesThatExistGetTheirRights(t *testing.T) {
	t.Parallel()
	db := newDatabase(t)
	roles := db.newRoles()
	for _, role := range []schema.Role{roles.API, roles.Consumer, roles.Metrics} {
		mustExec(t, db.conn, `create role `+pgx.Identifier{role.Name}.Sanitize()+` login password 'set by an administrator'`)
	}
	owner := db.newOwner("nocreaterole")

	err := schema.Migrate(t.Context(), db.as(owner, password), schema.Options{Queue: "jobs", PGMQ: schema.InstallSQL, Roles: roles}, logger(db.log))
	if err != nil {
		t.Fatal(err)
	}
	for _, said := range []string{"its password stays as it is", "no right to set a role's timeouts", "no right to grant pg_monitor"} {
		if !strings.Contains(db.log.String(), said) {
			t.Errorf("the log does not say %q:\n%s", said, db.log)
		}
	}
	conn := connect(t, db.as(roles.API.Name, "set by an administrator"))
	mustExec(t, conn, insertOrder)
	mustExec(t, conn, send)
}

func TestWithoutCreateroleAMissingRoleIsNamed(t *testing.T) {
	t.Parallel()
	db := newDatabase(t)
	owner := db.newOwner("nocreaterole")
	roles := db.newRoles()

	err := schema.Migrate(t.Context(), db.as(owner, password), schema.Options{Queue: "jobs", PGMQ: schema.InstallSQL, Roles: roles}, logger(db.log))
	if err == nil || !strings.Contains(err.Error(), roles.API.Name) || !strings.Contains(err.Error(), "give that role CREATEROLE") {
		t.Errorf("got %v", err)
	}
}

func TestRightsThatCannotBeGivenAreListed(t *testing.T) {
	t.Parallel()
	db := newDatabase(t)
	roles := db.newRoles()
	owner := db.newOwner("createrole")
	as := db.as(owner, password)
	if err := schema.Migrate(t.Context(), as, schema.Options{Queue: "jobs", PGMQ: schema.InstallSQL}, logger(db.log)); err != nil {
		t.Fatal(err)
	}
	mustExec(t, db.conn, `alter table pgmq.q_jobs owner to current_user`)
	opts := schema.Options{Queue: "jobs", PGMQ: schema.InstallSQL, Roles: roles}

	err := schema.Migrate(t.Context(), as, opts, logger(db.log))
	statement := `grant select, insert on table "pgmq"."q_jobs" to ` + pgx.Identifier{roles.API.Name}.Sanitize()
	if err == nil || !strings.Contains(err.Error(), statement) {
		t.Fatalf("got %v", err)
	}

	// With the statements run by somebody who may, all is well.
	_, list, _ := strings.Cut(err.Error(), "have their owner run: ")
	mustExec(t, db.conn, list)
	if err := schema.Migrate(t.Context(), as, opts, logger(db.log)); err != nil {
		t.Error(err)
	}
}

func TestARoleThatIsASuperuserIsRefused(t *testing.T) {
	t.Parallel()
	db := newDatabase(t)
	name := db.newRole("super")
	mustExec(t, db.conn, `create role `+pgx.Identifier{name}.Sanitize()+` superuser`)

	err := db.migrate(schema.Options{Queue: "jobs", Roles: schema.Roles{API: schema.Role{Name: name, Password: password}}})
	if err == nil || !strings.Contains(err.Error(), "superuser") {
		t.Errorf("got %v", err)
	}
}

// A service that migrates at its start with its own small role finds nothing to do and starts.
func TestACurrentSchemaNeedsNoRightsToMigrate(t *testing.T) {
	t.Parallel()
	db, roles := withRoles(t, schema.InstallSQL)
	for _, role := range []schema.Role{roles.API, roles.Consumer} {
		err := schema.Migrate(t.Context(), db.as(role.Name, password), schema.Options{Queue: "jobs"}, logger(db.log))
		if err != nil {
			t.Errorf("%s: %v", role, err)
		}
	}
}

func TestPasswordsAreNotShown(t *testing.T) {
	t.Parallel()
	db, roles := withRoles(t, schema.InstallSQL)
	slog.New(slog.NewJSONHandler(db.log, nil)).Info("as JSON", "role", roles.API, "roles", roles)
	slog.New(slog.NewTextHandler(db.log, nil)).Info("as text", "role", roles.API, "roles", roles)
	shown := db.log.String() + fmt.Sprintf("%v %+v %s", roles, roles, roles.API)
	if strings.Contains(shown, "p@ss") {
		t.Error(shown)
	}
}

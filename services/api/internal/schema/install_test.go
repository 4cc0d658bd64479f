package schema_test

import (
	"strings"
	"testing"

	"orderflow.example/services/api/internal/schema"
)

// fingerprint is everything in the schema pgmq: row versions of its functions, types and tables.
const fingerprint = `
	select md5(string_agg(line, ',' order by line))
	from (
		select 'proc ' || oid || ' ' || xmin as line from pg_proc where pronamespace = to_regnamespace('pgmq')
		union all
		select 'class ' || oid || ' ' || xmin from pg_class
		where relnamespace = to_regnamespace('pgmq') and relname !~* 'order-queue'
		union all
		select 'type ' || oid || ' ' || xmin from pg_type
		where typnamespace = to_regnamespace('pgmq') and typname !~* 'order-queue'
	) _`

func TestWhatIsInstalledStays(t *testing.T) {
	t.Parallel()
	forEachFlavour(t, func(t *testing.T, install schema.Install) {
		for _, asked := range []schema.Install{schema.InstallAuto, schema.InstallExtension, schema.InstallSQL} {
			t.Run("asked for "+string(asked), func(t *testing.T) {
				t.Parallel()
				db := newDatabase(t)
				db.installPGMQ(install)
				before := ask[string](t, db.conn, fingerprint)

				if err := db.migrate(schema.Options{Queue: queue, PGMQ: asked}); err != nil {
					t.Fatal(err)
				}
				if after := ask[string](t, db.conn, fingerprint); after != before {
					t.Error("the installed PGMQ was touched")
				}
			})
		}
	})
}

// A later revision is installed by running the files again, over queues in use.
func TestTheSQLOnlyPGMQCanBeInstalledOverItself(t *testing.T) {
	t.Parallel()
	db := newDatabase(t)
	db.installPGMQ(schema.InstallSQL)
	mustExec(t, db.conn, `select pgmq.create('used')`)
	mustExec(t, db.conn, `select pgmq.send('used', '1')`)

	db.installPGMQ(schema.InstallSQL)
	wantTable(t, db.conn, `select msg_id, read_ct from pgmq.read('used', 0, 9)`, "1|1")
	wantTable(t, db.conn, `select queue_name from pgmq.list_queues()`, "used")
}

// An installation of an earlier revision, with a queue in use, is brought to this one by migrating.
func TestAnOlderSQLOnlyPGMQIsUpgraded(t *testing.T) {
	t.Parallel()
	const of2 = `
		do $$
		declare
			untyped regprocedure;
		begin
			for untyped in
				select p.oid from pg_proc p
				where p.pronamespace = 'pgmq'::regnamespace
				  and (p.proname in ('_orderflow_moment', '_orderflow_ids')
				       or p.proname in ('send', 'send_batch') and p.proargtypes[p.pronargs - 1] = 'text'::regtype
				       or p.proname = 'set_vt' and 'text'::regtype in (p.proargtypes[1], p.proargtypes[2]))
			loop
				execute 'drop function ' || untyped;
			end loop;
		end
		$$;
		create or replace function pgmq._orderflow_revision() returns integer language sql immutable as 'select 2';`
	for revision, older := range map[string]string{
		"1": of2 + `
			create or replace function pgmq._orderflow_revision() returns integer language sql immutable as 'select 1';
			alter type pgmq.message_record drop attribute last_read_at;
			alter table pgmq."q_order-queue" drop column last_read_at;
			alter table pgmq."a_order-queue" drop column last_read_at`,
		"2": of2,
	} {
		t.Run("from "+revision, func(t *testing.T) {
			t.Parallel()
			db := migrated(t, schema.InstallSQL)
			current := ask[string](t, db.conn, `select pgmq._orderflow_revision()::text`)
			mustExec(t, db.conn, `select pgmq.send($1, '1')`, queue)
			mustExec(t, db.conn, older)
			wantTable(t, db.conn, `select pgmq._orderflow_revision()`, revision)
			if _, err := untyped(t, db.conn, `select pgmq.set_vt($1, $2, $3)`, []string{queue, "1", "0"}); err == nil {
				t.Error("it takes untyped parameters")
			}

			if err := db.migrate(schema.Options{Queue: queue}); err != nil {
				t.Fatal(err)
			}
			wantTable(t, db.conn, `select pgmq._orderflow_revision()`, current)
			if got, err := untyped(t, db.conn, `select msg_id from pgmq.set_vt($1, $2, $3)`, []string{queue, "1", "0"}); err != nil || got != "1" {
				t.Errorf("untyped parameters: got %q, %v", got, err)
			}
			wantTable(t, db.conn, `select msg_id, last_read_at is not null from pgmq.read('`+queue+`', 0, 9)`, "1|t")
			wantTable(t, db.conn, `select pgmq.archive('`+queue+`', 1)`, "t")

			before := ask[string](t, db.conn, fingerprint)
			if err := db.migrate(schema.Options{Queue: queue}); err != nil {
				t.Fatal(err)
			}
			if after := ask[string](t, db.conn, fingerprint); after != before {
				t.Error("the current revision was installed again")
			}
		})
	}
}

func TestPGMQInstalledAsSQLByOthersStays(t *testing.T) {
	t.Parallel()
	db := newDatabase(t)
	db.installPGMQ(schema.InstallSQL)
	mustExec(t, db.conn, `drop function pgmq._orderflow_revision()`) // what makes it ours
	before := ask[string](t, db.conn, fingerprint)

	if err := db.migrate(schema.Options{Queue: queue}); err != nil {
		t.Fatal(err)
	}
	if after := ask[string](t, db.conn, fingerprint); after != before {
		t.Error("the foreign PGMQ was touched")
	}
	if !strings.Contains(db.log.String(), "flavour=foreign") {
		t.Error(db.log.String())
	}
}

func TestASchemaPGMQThatIsSomethingElseIsRefused(t *testing.T) {
	t.Parallel()
	db := newDatabase(t)
	mustExec(t, db.conn, `create schema pgmq; create function pgmq.send(text) returns int language sql as 'select 1'`)

	err := db.migrate(schema.Options{Queue: queue})
	if err == nil || !strings.Contains(err.Error(), "not PGMQ 1.5 or later") {
		t.Errorf("got %v", err)
	}
	if got := current(t, db); got != 0 {
		t.Errorf("version %d after a failed migration", got)
	}
}

func TestAnEmptySchemaPGMQIsFilled(t *testing.T) {
	t.Parallel()
	db := newDatabase(t)
	mustExec(t, db.conn, `create schema pgmq`) // by an administrator, for a role that may not create any
	if err := db.migrate(schema.Options{Queue: queue, PGMQ: schema.InstallSQL}); err != nil {
		t.Fatal(err)
	}
}

func TestAutoTakesTheExtensionWhereOffered(t *testing.T) {
	t.Parallel()
	offered := extensionOffered(t)
	db := migrated(t, schema.InstallAuto)

	installed := ask[bool](t, db.conn, `select exists (select from pg_extension where extname = 'pgmq')`)
	if installed != offered {
		t.Errorf("extension offered: %t, installed: %t", offered, installed)
	}
}

func TestExtensionAskedForAndNotOffered(t *testing.T) {
	t.Parallel()
	if extensionOffered(t) {
		return // TestMigrateMakesEverythingAServiceNeeds covers it
	}
	db := newDatabase(t)
	err := db.migrate(schema.Options{Queue: queue, PGMQ: schema.InstallExtension})
	if err == nil || !strings.Contains(err.Error(), "the server does not offer it") {
		t.Errorf("got %v", err)
	}
}

// An owner of the database who is no superuser: where the server has no extension that an owner may create (PGMQ's own control
// file allows it, a packager's need not), all else is there all the same.
func TestAutoFallsBackWithoutTheRightToCreateExtensions(t *testing.T) {
	t.Parallel()
	db := newDatabase(t)
	owner := db.newOwner("")

	err := schema.Migrate(t.Context(), db.as(owner, password), schema.Options{Queue: queue}, logger(db.log))
	if err != nil {
		t.Fatal(err)
	}
	if ask[bool](t, db.conn, `select exists (select from pg_extension where extname = 'pgmq')`) {
		return // an owner may create it here
	}
	if !strings.Contains(db.log.String(), "installing the SQL-only PGMQ") {
		t.Error(db.log.String())
	}
	wantTable(t, db.conn, `select pgmq.send('`+queue+`', '1')`, "1")
}

package mutants

// schemaMutants break what the migration, the adoption of the example's database and looking at the queue promise.
func schemaMutants() []Mutant {
	const (
		dir   = "services/api/internal/schema/"
		queue = "services/api/internal/queue/"
	)
	schemaTest := func(name string) Test { return goTest("services/api", "./internal/schema", name) }
	return []Mutant{
		{
			Breaks: "a name that no index can hold stops the adoption unnamed",
			Edits:  []Edit{{dir + "migrations/00002_orders.sql", "pg_column_size(o.customer_name) > 2684", "pg_column_size(o.customer_name) > 2685"}},
			By:     schemaTest("TestRowsThatBreakTheRulesStopTheAdoption"),
		},
		{
			Breaks: "the adoption rounds prices without a word",
			Edits:  []Edit{{dir + "migrations/00002_orders.sql", "raise warning 'adopted orders", "raise debug 'adopted orders"}},
			By:     schemaTest("TestRoundedPricesAreCountedAndSaid"),
		},
		{
			Breaks: "a migration that waits for a lock asks for it again at once, and nobody writes orders meanwhile",
			Edits:  []Edit{{"services/api/migrate.go", "return 4 * schema.LockPatience", "return 4 * time.Millisecond"}},
			By:     goTest("services/api", ".", "TestAMigrationThatWaitsForALockLetsOthersPass"),
		},
		{
			Breaks: "a service that migrates does not wait until others have had their turn",
			Edits:  []Edit{{"services/api/migrate.go", "case m.now().Before(m.until):", "case m.now().Before(m.until) && m.done:"}},
			By:     goTest("services/api", ".", "TestAMigrationThatWaitsForALockLetsOthersPass"),
		},
		{
			Breaks: "a migration waits for a lock for half a minute",
			Edits:  []Edit{{dir + "session.go", "LockPatience = 3 * time.Second", "LockPatience = 30 * time.Second"}},
			By:     schemaTest("TestMigrateIsNotEndedByAStatementTimeout"),
		},
		{
			Breaks: "the example's utcnow() is taken for local time",
			Edits:  []Edit{{dir + "migrations/00004_created_at.sql", "when (new.message_id is null", "when (new.message_id is not null"}},
			By:     schemaTest("TestAdoptedMomentsAreUTCWhateverTheDatabasesTimezone"),
		},
		{
			Breaks: "a moment computed in the database is taken for the example's utcnow()",
			Edits:  []Edit{{dir + "migrations/00004_created_at.sql", "not in (transaction_timestamp(), statement_timestamp())", "is not null"}},
			By:     schemaTest("TestOtherMomentsStayAsTheyAreWritten"),
		},
		{
			Breaks: "a pause is told to nobody",
			Edits:  []Edit{{dir + "migrations/00009_orderflow.sql", "perform pg_notify('orderflow_' || lower(pause.queue), 'gate');", ""}},
			By:     schemaTest("TestAPauseIsWhatTheFirstOneAskedFor"),
		},
		{
			Breaks: "who pauses a paused queue takes the pause over",
			Edits:  []Edit{{dir + "migrations/00009_orderflow.sql", "    where g.paused_at is null\n", ""}},
			By:     schemaTest("TestAPauseIsWhatTheFirstOneAskedFor"),
		},
		{
			Breaks: "a pause that a trigger holds back is taken for done",
			Edits:  []Edit{{dir + "migrations/00009_orderflow.sql", "    if result.paused_at is null then\n        raise", "    if false then\n        raise"}},
			By:     schemaTest("TestAPauseNoticesWhatIsNotWritten"),
		},
		{
			Breaks: "a database of an earlier build cannot be brought up",
			Edits:  []Edit{{dir + "migrations/00009_orderflow.sql", "create table if not exists orderflow.gate", "create table orderflow.gate"}},
			By:     schemaTest("TestDatabasesOfEarlierReleasesAreBroughtUp"),
		},
		{
			Breaks: "a database of the first release lacks what came since",
			Edits:  []Edit{{dir + "migrations/00009_orderflow.sql", "insert into orderflow.installation default values on conflict do nothing;", ""}},
			By:     schemaTest("TestDatabasesOfEarlierReleasesAreBroughtUp"),
		},
		{
			Breaks: "a redrive sends the message of a letter that stays",
			Edits: []Edit{{
				dir + "migrations/00016_seeing.sql",
				"if written <> 1 then\n            raise insufficient_privilege using message = format('dead letter %s cannot be taken",
				"if written > 1 then\n            raise insufficient_privilege using message = format('dead letter %s cannot be taken",
			}},
			By: schemaTest("TestRedriveNoticesWhatIsNotWritten"),
		},
		{
			Breaks: "a redrive makes another order pending, which has the id by now",
			Edits:  []Edit{{dir + "migrations/00016_seeing.sql", "is distinct from 'other_order'\n          and orderflow.is_about(dead.message, sent_as, o.created_at, o.message_id)", "is distinct from 'no_order'"}},
			By:     schemaTest("TestRedriveLeavesAnotherOrderAlone"),
		},
		{
			Breaks: "a sequence that is brought up gives out the last id that is taken",
			Edits:  []Edit{{dir + "sequences.go", "select setval($1::regclass, $2)", "select setval($1::regclass, $2, false)"}},
			By:     schemaTest("TestSequencesThatAreBehindAreBroughtUp"),
		},
		{
			Breaks: "the api's own role cannot see that a sequence is behind",
			Edits: []Edit{{
				dir + "sequences.go", `coalesce(has_table_privilege(to_regclass(nullif($3, '')), 'select'), false)`, `to_regclass(nullif($3, '')) is not null`,
			}},
			By: goTest("services/api", ".", "TestEverythingAsTheLeastPrivilegedRole"),
		},
		{
			Breaks: "a sequence follows an absurd id to its end",
			Edits:  []Edit{{dir + "sequences.go", `"4611686018427387904"`, `"9223372036854775807"`}},
			By:     schemaTest("TestAnAbsurdIDDoesNotUseTheSequenceUp"),
		},
		{
			Breaks: "an older SQL-only PGMQ is not upgraded",
			Edits:  []Edit{{dir + "pgmq.go", "const pgmqRevision = 3", "const pgmqRevision = 1"}},
			By:     schemaTest("TestAnOlderSQLOnlyPGMQIsUpgraded"),
		},
		{
			Breaks: "untyped seconds are taken for a moment",
			Edits:  []Edit{{dir + "pgmq/08_untyped.sql", `'^\s*[+-]?[0-9]+\s*$'`, `'^\s*[+-]?[0-9]\s*$'`}},
			By:     schemaTest("TestPGMQTakesUntypedParameters"),
		},
		{
			Breaks: "one row's read_ct makes every read of the SQL-only PGMQ an error",
			Edits: []Edit{{
				dir + "pgmq/05_read.sql", "read_ct = case when q.read_ct < 2147483647 then q.read_ct + 1 else q.read_ct end", "read_ct = q.read_ct + 1",
			}},
			By: schemaTest("TestPGMQFunctions"),
		},
		{
			Breaks: "an infinite moment makes a call fail",
			Edits: []Edit{{
				"services/api/internal/isotime/isotime.go",
				`then least(greatest(" + column + ", '0001-01-01 00:00:00+00'), '9999-12-31 23:59:59.999999+00') end"`, `then " + column + " end"`,
			}},
			By: goTest("services/api", ".", "TestNoRowMakesACallFail"),
		},
		{
			Breaks: "an answer has no bound for what it shows of messages",
			Edits:  []Edit{{queue + "excerpt.go", "answerLimit = 1 << 20", "answerLimit = 1 << 30"}},
			By:     goTest("services/api", "./internal/queue", "TestLargeValuesNeverReachThisProcess"),
		},
		{
			Breaks: "the consumer starts on a schema that lacks what it uses",
			Edits:  []Edit{{"services/consumer/internal/queue/queue.go", "const SchemaVersion = ", "const SchemaVersion = -"}},
			By:     goTest("services/consumer", "./internal/queue", "TestSchemaVersionIsThatOfTheNewestMigration"),
		},
		{
			Breaks: "what other programs read makes a message suspect",
			Edits:  []Edit{{"services/consumer/internal/queue/sql/fetch.sql", "{unanswered} + 1", "q.read_ct + 1"}},
			By:     goTest("services/consumer", "./internal/queue", "TestReadsOfOthersAreNoAttempts"),
		},
		{
			Breaks: "a forged count of failures buries a message that nobody has tried",
			Edits:  []Edit{{"services/consumer/internal/message/message.go", "m.Failed = count(value, before)", "m.Failed = count(value, math.MaxInt32)"}},
			By:     goTest("services/consumer", "./internal/message", "TestAttemptsAreStartsThatAreKnown"),
		},
		{
			Breaks: "nobody says that simulating does nothing with an order",
			Edits:  []Edit{{"services/consumer/internal/app/consume.go", `log.Warn("HANDLER=simulate`, `log.Debug("HANDLER=simulate`}},
			By:     goTest("services/consumer", ".", "TestSimulatingIsWarnedOf"),
		},
	}
}

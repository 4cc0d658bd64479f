package mutants

// yearsMutants break what lets a database be kept for years: the search for stranded orders and their mending, and retention.
func yearsMutants() []Mutant {
	const (
		retention = "services/api/internal/schema/migrations/00017_retention.sql" // has the search and both kinds of retention anew
		years     = "services/api/internal/schema/migrations/00012_years.sql"     // has who may do so
		seeing    = "services/api/internal/schema/migrations/00016_seeing.sql"    // has without_message and requeue anew
		schema    = "services/api/internal/schema/"
	)
	schemaTest := func(name string) Test { return goTest("services/api", "./internal/schema", name) }
	return []Mutant{
		{
			Breaks: "an order whose message is in another queue, or a dead letter, is called stranded",
			Edits:  []Edit{{seeing, "    if cardinality(suspect) = 0 then", "    if true then"}},
			By:     schemaTest("TestWhatHasAMessageSomewhereIsNotStranded"),
		},
		{
			Breaks: "a message of another order with the id hides that an order has none",
			Edits:  []Edit{{seeing, "orderflow.order_id(m.message) = o.id and orderflow.is_about(m.message, %s, o.created_at, o.message_id))',", "orderflow.order_id(m.message) = o.id and coalesce(%s, 0) is not null)',"}},
			By:     schemaTest("TestWhatHasAMessageSomewhereIsNotStranded"),
		},
		{
			Breaks: "an order that the example has yet to send is called stranded",
			Edits:  []Edit{{retention, "o.created_at <= began - interval '1 minute'", "o.created_at <= began"}},
			By:     schemaTest("TestWhatHasAMessageSomewhereIsNotStranded"),
		},
		{
			Breaks: "the search passes over an order that is committed late",
			Edits:  []Edit{{retention, "l.virtualtransaction = any (scan.writers))", "l.virtualtransaction = any ('{}'))"}},
			By:     schemaTest("TestAnOrderThatIsCommittedLateIsNotPassedOver"),
		},
		{
			Breaks: "a block stays open when all of its orders are completed, and looks get dearer and dearer",
			Edits:  []Edit{{retention, "where b.block = s.block and s.pending + s.dead = 0", "where b.block = s.block and s.orders = 0"}},
			By:     schemaTest("TestALookCostsWhatIsNewAndWhatIsOpen"),
		},
		{
			Breaks: "orders of a table that was restored alone are not looked at",
			Edits:  []Edit{{retention, "    if scan.filenode <> file then", "    if false then"}},
			By:     schemaTest("TestWhatComesBelowThePositionIsFound"),
		},
		{
			Breaks: "a requeue looks for the message before it has the order's lock",
			Edits: []Edit{
				{seeing, "        where o.id = any (ids)\n          and o.status = 'pending'\n", "        where o.id = any (orderflow.without_message(queue, ids))\n          and o.status = 'pending'\n"},
				{seeing, "    chosen := orderflow.without_message(queue, coalesce(chosen, '{}'));\n", "    chosen := coalesce(chosen, '{}');\n"},
			},
			By: schemaTest("TestRequeueBesideOthersMakesNoSecondMessage"),
		},
		{
			Breaks: "a requeue whose message a trigger has swallowed is taken for done",
			Edits:  []Edit{{seeing, "        if msg_id is null then", "        if false then"}},
			By:     schemaTest("TestRequeueNoticesWhatIsNotWritten"),
		},
		{
			Breaks: "nobody notices that orders were restored without their installation",
			Edits:  []Edit{{schema + "restored.go", "m.version_id = 9 and m.xmin = i.xmin", "m.version_id = 9 and m.xmin <> i.xmin"}},
			By:     schemaTest("TestOrdersThatWereRestoredWithoutTheirInstallationAreNoticed"),
		},
		{
			Breaks: "orders from before Orderflow are taken for restored ones",
			Edits:  []Edit{{schema + "restored.go", "o.processed_by is distinct from 'before orderflow'", "true"}},
			By:     schemaTest("TestOrdersThatWereRestoredWithoutTheirInstallationAreNoticed"),
		},
		{
			Breaks: "a schema that is newer than its migrations' table does not say what has happened",
			Edits:  []Edit{{schema + "migrations.go", "explained(ctx, provider, err)", "err"}},
			By:     schemaTest("TestASchemaThatIsNewerThanItsMigrationsSaysWhatHasHappened"),
		},
		{
			Breaks: "the doctor does not see a sequence that is behind",
			Edits:  []Edit{{"services/consumer/internal/doctor/sql/sequences.sql", "coalesce(pg_sequence_last_value(s.name::regclass), 0) end", "pg_sequence_last_value(s.name::regclass) end"}},
			By:     goTest("services/consumer", "./internal/doctor", "TestWhatIsWrongIsFoundAndAdvisedOn"),
		},
		{
			Breaks: "the doctor does not see that orders were restored without their installation",
			Edits:  []Edit{{"services/consumer/internal/doctor/sql/restored.sql", "interval '1 day'", "interval '1 year'"}},
			By:     goTest("services/consumer", "./internal/doctor", "TestWhatIsWrongIsFoundAndAdvisedOn"),
		},
		{
			Breaks: "an unlogged queue is taken without a word",
			Edits:  []Edit{{schema + "queue.go", "where c.relpersistence = 'u'", "where c.relpersistence = 't'"}},
			By:     goTest("services/api", ".", "TestAnUnloggedQueueIsRefusedUnlessAllowed"),
		},
		{
			Breaks: "api requeue changes something although nobody has told it to",
			Edits:  []Edit{{"services/api/requeue.go", "if !cfg.Apply {", "if cfg.Apply && false {"}},
			By:     goTest("services/api", ".", "TestOrdersWhoseMessageIsGoneAreSeenAndRequeued"),
		},
		{
			Breaks: "retention deletes an order whose message is in the queue",
			Edits:  []Edit{{retention, "              and p.id <> all ($4)\n", ""}},
			By:     schemaTest("TestWhatWasCompletedLongAgoIsDeleted"),
			Quick:  true,
		},
		{
			Breaks: "retention goes by when an order was created",
			Edits:  []Edit{{retention, "              and p.completed_at < $3\n", "              and p.created_at < $3\n"}},
			By:     schemaTest("TestWhatWasCompletedLongAgoIsDeleted"),
		},
		{
			Breaks: "an order's history outlives it",
			Edits:  []Edit{{retention, "        delete from orderflow.history h where h.order_id = any (doomed);\n    end if;\n\n    more := orders_read", "    end if;\n\n    more := orders_read"}},
			By:     schemaTest("TestWhatWasCompletedLongAgoIsDeleted"),
		},
		{
			Breaks: "a pending order's dead letter is deleted",
			Edits:  []Edit{{retention, "        continue when known.status = 'pending';\n", ""}},
			By:     schemaTest("TestADeadOrderGoesWithItsLetter"),
		},
		{
			Breaks: "an order that has died again goes with the letter of before",
			Edits:  []Edit{{retention, "continue when under_way or known.dead_at >= dead_before;", "continue when under_way;"}},
			By:     schemaTest("TestADeadOrderGoesWithItsLetter"),
		},
		{
			Breaks: "each pass reads the whole table",
			Edits:  []Edit{{retention, "more := orders_read = most and young < orders_read;", "more := orders_read = most;"}},
			By:     schemaTest("TestWhatWasCompletedLongAgoIsDeleted"),
		},
		{
			Breaks: "retention ends at orders of a clock far ahead",
			Edits:  []Edit{{retention, " and p.created_at < clock_timestamp() + interval '1 day')", ")"}},
			By:     schemaTest("TestAPassGoesOnBeyondOrdersOfAClockFarAhead"),
		},
		{
			Breaks: "no order is deleted until the time that a clock far ahead has told",
			Edits: []Edit{{
				retention, "r.what = 'orders' for update skip locked;\n    if pass.what is null or pass.position = 0 and pass.due_at > clock_timestamp() and pass.due_at <= clock_timestamp() + rest then",
				"r.what = 'orders' for update skip locked;\n    if pass.what is null or pass.position = 0 and pass.due_at > clock_timestamp() then",
			}},
			By: schemaTest("TestAPassThatIsDueLaterThanAfterARestIsDue"),
		},
		{
			Breaks: "no letter is deleted until the time that a clock far ahead has told",
			Edits: []Edit{{
				retention, "r.what = 'dead letters' for update skip locked;\n    if pass.what is null or pass.position = 0 and pass.due_at > clock_timestamp() and pass.due_at <= clock_timestamp() + rest then",
				"r.what = 'dead letters' for update skip locked;\n    if pass.what is null or pass.position = 0 and pass.due_at > clock_timestamp() then",
			}},
			By: schemaTest("TestAPassThatIsDueLaterThanAfterARestIsDue"),
		},
		{
			Breaks: "a block is not looked at until the time that a clock far ahead has told",
			Edits:  []Edit{{retention, "        where b.due_at <= began or b.due_at > far\n", "        where b.due_at <= began\n"}},
			By:     schemaTest("TestABlockThatIsDueLaterThanAnyCanBeIsLookedAt"),
		},
		{
			Breaks: "a look ends although blocks of a clock far ahead are left",
			Edits:  []Edit{{retention, "where b.due_at <= began or b.due_at > far);", "where b.due_at <= began);"}},
			By:     schemaTest("TestABlockThatIsDueLaterThanAnyCanBeIsLookedAt"),
		},
		{
			Breaks: "blocks of a clock far ahead wait for all others",
			Edits:  []Edit{{retention, "order by b.due_at <= began, b.due_at, b.block", "order by b.due_at, b.block"}},
			By:     schemaTest("TestABlockThatIsDueLaterThanAnyCanBeIsLookedAt"),
		},
		{
			Breaks: "a dead order outlives its letter",
			Edits:  []Edit{{retention, "            delete from public.orders o where o.id = known.id;\n            get diagnostics written = row_count;\n", "            written := 1;\n"}},
			By:     schemaTest("TestADeadOrderGoesWithItsLetter"),
		},
		{
			Breaks: "two pods delete at the same time",
			Edits:  []Edit{{retention, "where r.what = 'orders' for update skip locked;", "where r.what = 'orders';"}},
			By:     schemaTest("TestAPassIsOneForAll"),
		},
		{
			Breaks: "a step of retention waits for whoever has locked an order",
			Edits:  []Edit{{retention, "            for update of o skip locked\n", ""}},
			By:     schemaTest("TestAStepWaitsForNobody"),
		},
		{
			Breaks: "a step of retention waits for whoever has locked a dead letter",
			Edits:  []Edit{{retention, "limit $3 for update skip locked", "limit $3 for update"}},
			By:     schemaTest("TestAStepWaitsForNobody"),
		},
		{
			Breaks: "a step of retention waits for whoever has locked a dead order that has no letter",
			Edits:  []Edit{{retention, "and o.status = 'dead' order by o.id for update skip locked", "and o.status = 'dead' order by o.id for update"}},
			By:     schemaTest("TestAStepWaitsForNobody"),
		},
		{
			Breaks: "every role may delete all completed orders",
			Edits:  []Edit{{years, "revoke execute on function orderflow.expire_orders(text, timestamptz, integer, interval)       from public;\n", ""}},
			By:     schemaTest("TestNothingThatHasTheOwnersRightsIsForEverybody"),
		},
		{
			Breaks: "every role may delete all dead letters",
			Edits:  []Edit{{years, "revoke execute on function orderflow.expire_dead_letters(text, timestamptz, integer, interval) from public;", ""}},
			By:     schemaTest("TestEachRoleCanDoJustItsPart"),
		},
		{
			Breaks: "every role may requeue orders",
			Edits:  []Edit{{years, "revoke execute on function orderflow.requeue(text, bigint[], timestamptz)                           from public;\n", ""}},
			By:     schemaTest("TestEachRoleCanDoJustItsPart"),
		},
		{
			Breaks: "the api's role may not see how far retention has come",
			Edits:  []Edit{{schema + "grants.go", "		grant{on: onTable, object: retentionTable, privileges: []string{\"select\"}},\n", ""}},
			By:     schemaTest("TestEachRoleCanDoJustItsPart"),
		},
		{
			Breaks: "an order that a trigger keeps is counted as deleted",
			Edits:  []Edit{{retention, "        if orders_deleted <> cardinality(doomed) then", "        if false then"}},
			By:     schemaTest("TestADeletionThatATriggerKeepsIsAnError"),
		},
		{
			Breaks: "orders whose deletion was rolled back are counted as deleted",
			Edits:  []Edit{{"services/api/internal/housekeeping/housekeeping.go", "if err == nil && news != nil {", "if news != nil {"}},
			By:     goTest("services/api", "./internal/housekeeping", "TestWhatIsRolledBackIsNotCounted"),
		},
		{
			Breaks: "without settings orders are deleted",
			Edits:  []Edit{{"services/api/internal/housekeeping/housekeeping.go", "if k.opts.OrderRetention > 0 {", "if k.opts.OrderRetention >= 0 {"}},
			By:     goTest("services/api", ".", "TestTheAPIDeletesWhatHasBeenKeptForLongEnough"),
		},
		{
			Breaks: "a customer's dead orders are looked for among all dead ones, or all of the customer's, at once",
			Edits:  []Edit{{"services/api/internal/orders/store.go", "return f == Filter{Status: StatusDead}", "return f.Status == StatusDead"}},
			By:     goTest("services/api", "./internal/dashboard", "TestNoListingGrowsWithTheTables"),
		},
		{
			Breaks: "a search among orders looks at all of them in one statement",
			Edits:  []Edit{{"services/api/internal/orders/store.go", "scanWindow = 5_000\n", "scanWindow = 5_000_000\n"}},
			By:     goTest("services/api", "./internal/dashboard", "TestNoListingGrowsWithTheTables"),
		},
		{
			Breaks: "a search among dead letters looks at all of them in one statement",
			Edits:  []Edit{{"services/api/internal/queue/deadletters.go", "scanWindow = 5_000\n", "scanWindow = 5_000_000\n"}},
			By:     goTest("services/api", "./internal/dashboard", "TestNoListingGrowsWithTheTables"),
		},
		{
			Breaks: "the bundled server compresses its log by pglz",
			Edits:  []Edit{{"deploy/helm/orderflow/templates/_postgresconf.tpl", `ternary "on" "lz4"`, `ternary "on" "on"`}},
			By:     suite("postgres"),
		},
		{
			Breaks: "PostgreSQL 14 is told to compress its log by lz4, and does not start",
			Edits:  []Edit{{"deploy/helm/orderflow/templates/_postgresconf.tpl", `ternary "on" "lz4"`, `ternary "lz4" "lz4"`}},
			By:     suite("postgres"),
		},
		{
			Breaks: "a dump that breaks off takes the place of a whole one",
			Edits:  []Edit{{"deploy/helm/orderflow/templates/backup.yaml", "--file=\"$name.part\"", "--file=\"$name\""}},
			By:     suite("backup"),
		},
		{
			Breaks: "the doctor finds nothing to do about stranded orders",
			Edits:  []Edit{{"services/consumer/internal/doctor/findings.go", "case f.Stranded.First != nil:", "case false:"}},
			By:     goTest("services/consumer", "./internal/doctor", "TestWhatIsWrongIsFoundAndAdvisedOn"),
		},
	}
}

package schema

import (
	"context"
	"fmt"
	"strings"

	"github.com/jackc/pgx/v5"
)

// grant is one right on one object. The object is written as the has_..._privilege functions take it: databases and
// schemas as bare names, everything else quoted where it must be.
type grant struct {
	on         objectKind
	object     string
	privileges []string
	columns    []string // of a table, when the right is not to all of them
}

type objectKind string

const (
	onSchema   objectKind = "schema"
	onTable    objectKind = "table"
	onSequence objectKind = "sequence"
	onFunction objectKind = "function"
	onDatabase objectKind = "database"
)

// Names of what is the same in every database.
const (
	ordersTable        = "public.orders"
	metaTable          = "pgmq.meta"
	redrive            = "orderflow.redrive(text, bigint[])"
	deleteDeadLetters  = "orderflow.delete_dead_letters(text, bigint[])"
	vacuumHolders      = "orderflow.vacuum_holders()"
	standbys           = "orderflow.standbys()"
	notWritten         = "orderflow.not_written(text, bigint[])"
	installation       = "orderflow.installation"
	historyTable       = "orderflow.history"
	noteHistory        = "orderflow.note_history(jsonb)"
	gateTable          = "orderflow.gate"
	processesTable     = "orderflow.processes"
	samplesTable       = "orderflow.samples"
	samplingTable      = "orderflow.sampling"
	orderCountsTable   = "orderflow.order_counts"
	findingsTable      = "orderflow.findings"
	report             = "orderflow.report(text, text, text, text, double precision, double precision, text, integer, integer, bigint, bigint, bigint, bigint, bigint, bigint[])"
	pauseQueue         = "orderflow.pause(text, text, text)"
	resumeQueue        = "orderflow.resume(text)"
	openBlocks         = "orderflow.open_blocks"
	orderScan          = "orderflow.order_scan"
	retentionTable     = "orderflow.retention"
	withoutMessage     = "orderflow.without_message(text, bigint[], text)"
	withoutMessageByID = "orderflow.without_message_by_id(text, bigint[], text)"
	lookForStranded    = "orderflow.look_for_stranded(text, integer)"
	requeue            = "orderflow.requeue(text, bigint[], timestamptz)"
	expireOrders       = "orderflow.expire_orders(text, timestamptz, integer, interval)"
	moveFront          = "orderflow.move_front(regclass, bigint, bigint, boolean)"
	expireDeadLetters  = "orderflow.expire_dead_letters(text, timestamptz, integer, interval)"
)

// ordersMarks are the columns that processing an order changes; nothing of what the customer ordered is among them.
var ordersMarks = []string{"status", "attempts", "effects", "last_error", "started_at", "completed_at", "processed_by", "dead_at"}

// objects are the names of what belongs to one database and one queue of it: tables, and the sequences of their ids.
type objects struct {
	database, orderIDs         string
	queue, queueIDs            string
	front                      string // empty: there is none
	deadLetters, deadLetterIDs string
}

// readObjects finds them. Sequences are asked for, because their names are Postgres' choice.
func readObjects(ctx context.Context, tx pgx.Tx, queue string) (objects, error) {
	o := objects{
		queue:       pgx.Identifier{"pgmq", queueTable(queue)}.Sanitize(),
		deadLetters: pgx.Identifier{"pgmq", queueTable(deadLetterQueue(queue))}.Sanitize(),
	}
	err := tx.QueryRow(ctx, `
		select
			current_database(),
			pg_get_serial_sequence($1, 'id'),
			pg_get_serial_sequence($2, 'msg_id'),
			pg_get_serial_sequence($3, 'msg_id'),
			case when to_regclass($4) is not null then $4 else '' end`,
		ordersTable, o.queue, o.deadLetters, frontSequence(queue),
	).Scan(&o.database, &o.orderIDs, &o.queueIDs, &o.deadLetterIDs, &o.front)
	if err != nil {
		return objects{}, fmt.Errorf("look for what the roles need: %w", err)
	}
	return o, nil
}

// everyone is what each of the roles needs: to get in, and to know the schema's version, the queues' figures, and how far ids have been given out.
func (o objects) everyone() []grant {
	return []grant{
		{on: onDatabase, object: o.database, privileges: []string{"connect"}},
		{on: onSchema, object: "public", privileges: []string{"usage"}},
		{on: onSchema, object: "pgmq", privileges: []string{"usage"}},
		{on: onSchema, object: "orderflow", privileges: []string{"usage"}},
		{on: onFunction, object: standbys, privileges: []string{"execute"}},
		{on: onTable, object: versionTable, privileges: []string{"select"}},
		{on: onTable, object: metaTable, privileges: []string{"select"}},
		{on: onSequence, object: o.orderIDs, privileges: []string{"select"}},
		{on: onSequence, object: o.queueIDs, privileges: []string{"select"}},
		{on: onSequence, object: o.deadLetterIDs, privileges: []string{"select"}},
		{on: onTable, object: openBlocks, privileges: []string{"select"}},
		{on: onTable, object: orderScan, privileges: []string{"select"}},
	}
}

// apiGrants: the api inserts orders and messages and reads. It changes and deletes neither; what it does to dead letters and
// to the gate goes through functions that know what is allowed.
func (o objects) apiGrants() []grant {
	return append(o.everyone(),
		grant{on: onTable, object: ordersTable, privileges: []string{"select", "insert"}},
		// Ids are drawn before the insert, so that the message and its order can name each other.
		grant{on: onSequence, object: o.orderIDs, privileges: []string{"usage"}},
		grant{on: onSequence, object: o.queueIDs, privileges: []string{"usage"}},
		grant{on: onTable, object: o.queue, privileges: []string{"select", "insert"}},
		grant{on: onTable, object: o.deadLetters, privileges: []string{"select"}},
		grant{on: onTable, object: gateTable, privileges: []string{"select"}},
		grant{on: onTable, object: historyTable, privileges: []string{"select"}},
		// The dashboard's. The api takes the samples, and removes what processes have left that are gone.
		grant{on: onTable, object: processesTable, privileges: []string{"select", "delete"}},
		grant{on: onFunction, object: report, privileges: []string{"execute"}},
		grant{on: onTable, object: samplesTable, privileges: []string{"select", "insert", "update"}},
		grant{on: onTable, object: samplingTable, privileges: []string{"select", "insert", "update"}},
		grant{on: onTable, object: orderCountsTable, privileges: []string{"select", "insert", "update", "delete"}},
		grant{on: onTable, object: findingsTable, privileges: []string{"select"}},
		grant{on: onFunction, object: redrive, privileges: []string{"execute"}},
		grant{on: onFunction, object: deleteDeadLetters, privileges: []string{"execute"}},
		grant{on: onFunction, object: pauseQueue, privileges: []string{"execute"}},
		grant{on: onFunction, object: resumeQueue, privileges: []string{"execute"}},
		grant{on: onTable, object: retentionTable, privileges: []string{"select"}},
		grant{on: onFunction, object: withoutMessage, privileges: []string{"execute"}},
		grant{on: onFunction, object: withoutMessageByID, privileges: []string{"execute"}},
		grant{on: onFunction, object: lookForStranded, privileges: []string{"execute"}},
		grant{on: onFunction, object: requeue, privileges: []string{"execute"}},
		grant{on: onFunction, object: expireOrders, privileges: []string{"execute"}},
		grant{on: onFunction, object: expireDeadLetters, privileges: []string{"execute"}},
	)
}

// consumerGrants: the consumer leases, delays and deletes messages, buries dead ones, and marks orders.
func (o objects) consumerGrants() []grant {
	all := o.everyone()
	if o.front != "" {
		all = append(all,
			grant{on: onSequence, object: o.front, privileges: []string{"select", "update"}},
			grant{on: onFunction, object: moveFront, privileges: []string{"execute"}})
	}
	return append(all,
		grant{on: onTable, object: ordersTable, privileges: []string{"select"}},
		grant{on: onTable, object: ordersTable, privileges: []string{"update"}, columns: ordersMarks},
		grant{on: onTable, object: o.queue, privileges: []string{"select", "update", "delete"}},
		// Sending returns the new id, which takes select.
		grant{on: onTable, object: o.deadLetters, privileges: []string{"select", "insert"}},
		grant{on: onTable, object: installation, privileges: []string{"select"}},
		// Whoever opens or closes the breaker does so for all.
		grant{on: onTable, object: gateTable, privileges: []string{"select", "insert", "update"}},
		// What it says of itself, and what the doctor finds.
		grant{on: onFunction, object: report, privileges: []string{"execute"}},
		grant{on: onTable, object: findingsTable, privileges: []string{"select", "insert", "update"}},
		grant{on: onFunction, object: pauseQueue, privileges: []string{"execute"}},
		grant{on: onFunction, object: resumeQueue, privileges: []string{"execute"}},
		grant{on: onFunction, object: noteHistory, privileges: []string{"execute"}},
		grant{on: onFunction, object: notWritten, privileges: []string{"execute"}},
		grant{on: onFunction, object: vacuumHolders, privileges: []string{"execute"}},
	)
}

// metricsGrants: exporters, dashboards and autoscalers read.
func (o objects) metricsGrants() []grant {
	return append(o.everyone(),
		grant{on: onTable, object: ordersTable, privileges: []string{"select"}},
		grant{on: onTable, object: o.queue, privileges: []string{"select"}},
		grant{on: onTable, object: o.deadLetters, privileges: []string{"select"}},
		grant{on: onTable, object: gateTable, privileges: []string{"select"}},
		grant{on: onTable, object: historyTable, privileges: []string{"select"}},
		grant{on: onTable, object: processesTable, privileges: []string{"select"}},
		grant{on: onTable, object: samplesTable, privileges: []string{"select"}},
		grant{on: onTable, object: samplingTable, privileges: []string{"select"}},
		grant{on: onTable, object: orderCountsTable, privileges: []string{"select"}},
		grant{on: onTable, object: findingsTable, privileges: []string{"select"}},
		grant{on: onFunction, object: vacuumHolders, privileges: []string{"execute"}},
	)
}

// apply makes a role's rights on our tables exactly these: those that an earlier release gave and this one does not, go.
// It returns, as statements, those that the migrating role could not give and that the role does not have.
func (o objects) apply(ctx context.Context, tx pgx.Tx, role string, grants []grant) (denied []string, err error) {
	quoted := pgx.Identifier{role}.Sanitize()

	for _, table := range []string{
		ordersTable, versionTable, installation, gateTable, historyTable, processesTable, samplesTable, samplingTable, orderCountsTable, findingsTable,
		openBlocks, orderScan, retentionTable,
		o.queue, o.deadLetters,
	} {
		if _, err := tryExec(ctx, tx, "revoke all on table "+table+" from "+quoted); err != nil {
			return nil, fmt.Errorf("revoke rights on %s: %w", table, err)
		}
	}
	for _, g := range grants {
		statement := g.statement(quoted)
		if _, err := tryExec(ctx, tx, statement); err != nil {
			return nil, fmt.Errorf("%s: %w", statement, err)
		}
		// Asked even after success: without the right to grant, Postgres may only warn.
		held, err := g.held(ctx, tx, role)
		if err != nil {
			return nil, fmt.Errorf("look at rights on %s: %w", g.object, err)
		}
		if !held {
			denied = append(denied, statement)
		}
	}
	return denied, nil
}

func (g grant) statement(role string) string {
	privileges := strings.Join(g.privileges, ", ")
	if len(g.columns) > 0 {
		privileges += " (" + strings.Join(g.columns, ", ") + ")"
	}
	object := g.object
	if g.on == onDatabase || g.on == onSchema {
		object = pgx.Identifier{object}.Sanitize()
	}
	return "grant " + privileges + " on " + string(g.on) + " " + object + " to " + role
}

// held tells whether a role has the right, however it came by it.
func (g grant) held(ctx context.Context, tx pgx.Tx, role string) (bool, error) {
	for _, privilege := range g.privileges {
		var held bool
		var err error
		if len(g.columns) > 0 {
			err = tx.QueryRow(ctx,
				`select bool_and(has_column_privilege($1, $2::text, c, $4)) from unnest($3::text[]) c`,
				role, g.object, g.columns, privilege).Scan(&held)
		} else {
			err = tx.QueryRow(ctx, `select has_`+string(g.on)+`_privilege($1, $2::text, $3)`,
				role, g.object, privilege).Scan(&held)
		}
		if err != nil || !held {
			return false, err
		}
	}
	return true, nil
}

package effect

import (
	"context"
	_ "embed"
	"errors"
	"fmt"
	"regexp"
	"strings"
	"sync"

	"github.com/jackc/pgerrcode"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"orderflow.example/services/consumer/internal/message"
)

// Function is the work of HANDLER=sql: a function in the database, which is called with the orders of a transaction. Either it takes
// them all at once, as public.orders[], or one at a time, as public.orders.
type Function struct {
	name pgx.Identifier

	mu   sync.Mutex
	call string // statement; empty: to be found out
}

// NewFunction takes a name as ParseName returns it.
func NewFunction(name pgx.Identifier) *Function { return &Function{name: name} }

const identifier = `([A-Za-z_][A-Za-z0-9_$]*|"(?:[^"\x00]|"")+")`

var qualified = regexp.MustCompile(`^` + identifier + `\.` + identifier + `$`)

// ParseName reads a function's name as SQL writes it, with its schema.
func ParseName(text string) (pgx.Identifier, error) {
	parts := qualified.FindStringSubmatch(text)
	if parts == nil {
		return nil, errors.New("not schema.function")
	}
	var name pgx.Identifier
	for _, part := range parts[1:] {
		if quoted, ok := strings.CutPrefix(part, `"`); ok {
			part = strings.ReplaceAll(strings.TrimSuffix(quoted, `"`), `""`, `"`)
		} else {
			part = strings.ToLower(part)
		}
		name = append(name, part)
	}
	return name, nil
}

// String is the name as SQL takes it, without quotes where it needs none.
func (f *Function) String() string {
	var parts []string
	for _, part := range f.name {
		if part != strings.ToLower(part) || !qualified.MatchString("x."+part) {
			part = pgx.Identifier{part}.Sanitize()
		}
		parts = append(parts, part)
	}
	return strings.Join(parts, ".")
}

// Calls. Orders come sorted by id. An array is one argument and one call; row by row it is one call an order, in one statement.
const (
	callWithAll = `select %s(array(select o from public.orders as o where o.id = any ($1::bigint[]) order by o.id))`
	callWithOne = `select %s(o) from public.orders as o where o.id = any ($1::bigint[]) order by o.id`
)

// Description is what the database has under the function's name.
type Description struct {
	Missing  bool   // no such function
	Problem  string // why it cannot be called; empty: it can be
	Advice   string // what to do about it, or about what is not well although it can be called
	Argument string // "orders" for all at once, "order" for one at a time
}

//go:embed describe.sql
var describe string

// Describe looks for the function, as the role that is connected.
func (f *Function) Describe(ctx context.Context, conn *pgx.Conn) (Description, error) {
	var d Description
	var b pgx.Batch
	f.Ask(&b, &d)
	if err := conn.SendBatch(ctx, &b).Close(); err != nil {
		return Description{}, fmt.Errorf("look for EFFECT_FUNCTION: %w", err)
	}
	return d, nil
}

// Ask puts what [Function.Describe] asks into somebody else's batch.
func (f *Function) Ask(b *pgx.Batch, d *Description) {
	var role string
	var schema, usage bool
	b.Queue(`select current_user, oid is not null, coalesce(has_schema_privilege(oid, 'usage'), false)
		from (select (select oid from pg_catalog.pg_namespace where nspname = $1)) as n (oid)`, f.name[0]).QueryRow(func(row pgx.Row) error {
		return row.Scan(&role, &schema, &usage)
	})
	b.Queue(describe, f.name[0], f.name[1]).Query(func(rows pgx.Rows) (err error) {
		*d, err = f.judge(rows, role, schema, usage)
		return err
	})
}

// judge says what the functions of that name are good for, and what the role may do with them.
func (f *Function) judge(rows pgx.Rows, role string, schema, usage bool) (Description, error) {
	var d Description
	var others []string
	var signature, argument string
	var volatile, executable, unsafe bool
	if _, err := pgx.ForEachRow(rows, []any{&signature, &argument, &volatile, &executable, &unsafe}, func() error {
		if argument == "other" {
			others = append(others, signature)
			return nil
		}
		if d.Argument == "orders" {
			return nil // all at once is the quicker way, if there are both
		}
		d = Description{Argument: argument}
		switch {
		case !executable:
			d.Problem = fmt.Sprintf("role %s may not execute %s", role, signature)
			d.Advice = fmt.Sprintf("grant execute on function %s to %s;", signature, pgx.Identifier{role}.Sanitize())
		case !volatile:
			d.Problem = signature + " is declared STABLE or IMMUTABLE, so it can write nothing"
			d.Advice = fmt.Sprintf("alter function %s volatile;", signature)
		case unsafe:
			d.Advice = fmt.Sprintf("it is SECURITY DEFINER without a search_path of its own, so whoever may create objects can have it run theirs: "+
				"alter function %s set search_path = pg_catalog, pg_temp; and write every table's schema", signature)
		}
		return nil
	}); err != nil {
		return d, err
	}
	switch {
	case d.Argument != "" && !usage:
		d.Problem = fmt.Sprintf("role %s may not use the schema %s", role, f.name[0])
		d.Advice = fmt.Sprintf("grant usage on schema %s to %s;", pgx.Identifier{f.name[0]}.Sanitize(), pgx.Identifier{role}.Sanitize())
	case d.Argument != "":
	case !schema:
		d.Missing, d.Problem = true, "there is no schema "+f.name[0]
		d.Advice = fmt.Sprintf("create it and in it %s(orders public.orders[]), or fix EFFECT_FUNCTION", f)
	case len(others) > 0:
		d.Missing, d.Problem = true, fmt.Sprintf("%s exists, and takes neither public.orders[] nor public.orders", strings.Join(others, ", "))
		d.Advice = fmt.Sprintf("create a function %s(orders public.orders[])", f)
	default:
		d.Missing, d.Problem = true, fmt.Sprintf("there is no function %s", f)
		d.Advice = fmt.Sprintf("create it as %s(orders public.orders[]) or %s(o public.orders), or fix EFFECT_FUNCTION", f, f)
	}
	return d, nil
}

// Prepare finds out how the function is to be called, once.
func (f *Function) Prepare(ctx context.Context, conn *pgx.Conn) error {
	_, err := f.statement(ctx, conn)
	return err
}

func (f *Function) statement(ctx context.Context, conn *pgx.Conn) (string, error) {
	if call := f.known(); call != "" {
		return call, nil
	}
	d, err := f.Describe(ctx, conn)
	if err != nil {
		return "", err
	}
	if d.Problem != "" {
		return "", &UnfitError{"EFFECT_FUNCTION: " + d.Problem + ": " + d.Advice}
	}
	call := callWithAll
	if d.Argument == "order" {
		call = callWithOne
	}
	call = "/* orderflow consumer: effect */ " + fmt.Sprintf(call, f.name.Sanitize())
	f.learn(call)
	return call, nil
}

// Run calls it. It is one statement, so that an error cannot name the order at fault.
func (f *Function) Run(ctx context.Context, conn *pgx.Conn, orders []Order) error {
	call, err := f.statement(ctx, conn)
	if err != nil {
		return err
	}
	ids := make([]int64, len(orders))
	for i, o := range orders {
		ids[i] = o.ID
	}
	_, err = conn.Exec(ctx, call, ids)
	if f.uncallable(err) {
		f.learn("") // it may be another one when it is there again
		return &UnfitError{"EFFECT_FUNCTION: " + err.Error()}
	}
	if err != nil {
		return fmt.Errorf("%s: %w", f, err)
	}
	return nil
}

// uncallable says whether the call itself was refused, and not something that the function does: an error in there comes with the
// context of the function.
func (f *Function) uncallable(err error) bool {
	var answer *pgconn.PgError
	if !errors.As(err, &answer) || answer.Where != "" {
		return false
	}
	switch answer.Code {
	case pgerrcode.UndefinedFunction, pgerrcode.InsufficientPrivilege, pgerrcode.InvalidSchemaName, pgerrcode.AmbiguousFunction,
		pgerrcode.WrongObjectType, pgerrcode.UndefinedTable, pgerrcode.UndefinedObject,
		pgerrcode.FeatureNotSupported: // it returns something else than when the call was prepared
		return true
	}
	return false
}

func (f *Function) known() string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.call
}

func (f *Function) learn(call string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.call = call
}

// Handle has nothing to do: the work is the transaction's. Every order has some.
func (f *Function) Handle(context.Context, message.Message) error { return nil }

// HandleForAck leaves the call.
func (f *Function) HandleForAck(context.Context, message.Message) (work any, err error) {
	return f, nil
}

// Runner calls it.
func (f *Function) Runner() Runner { return f }

package orders

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"orderflow.example/services/api/internal/cursor"
	"orderflow.example/services/api/internal/database"
	"orderflow.example/services/api/internal/isotime"
)

// ErrNotFound is an order that does not exist.
var ErrNotFound = errors.New("order not found")

// Store finds orders again. It reads only.
type Store struct{ db *pgxpool.Pool }

// NewStore makes a store that reads through db.
func NewStore(db *pgxpool.Pool) *Store { return &Store{db} }

// columns are what scan reads: of texts, the first so many characters. Those of our own orders are shorter; an adopted one's, or what
// somebody has put into the table, need not be, and must not fill this process's memory. Nor need there be any, where a hand has dropped a
// constraint of the table.
func columns(most int, as database.ShownAs) string {
	text := func(column string) string { return as("left(" + column + ", " + strconv.Itoa(most) + ")") }
	some := func(text string) string { return "coalesce(" + text + ", '')" }
	number := func(column string) string { return "coalesce(" + column + ", 0)" }
	return strings.Join([]string{
		"o.id", some(text("o.customer_name")), some(text("o.product_name")), number("o.quantity"), cents, CreatedAt, number("o.message_id"),
		some(text("o.status")), number("o.attempts"), number("o.effects"), text("o.last_error"), isotime.Bounded("o.completed_at"),
		text("o.processed_by"), text("o.idempotency_key"),
	}, ", ")
}

// CreatedAt is the SQL of when the order o was created; in the year 1 where that is null.
var CreatedAt = "coalesce(" + isotime.Bounded("o.created_at") + ", '0001-01-01 00:00:00+00')"

// How many characters of a text are shown: of one order, and of each in a list of up to a thousand.
const (
	textOfOne  = 16_384
	textOfMany = 500
)

// cents is the price in hundredths. A constraint keeps NaN out, which numeric(12,2) would hold, but not what was there before it.
const cents = `coalesce((nullif(o.price, 'NaN') * 100)::bigint, 0)`

func scan(row pgx.CollectableRow) (Order, error) {
	var o Order
	err := row.Scan(&o.ID, &o.CustomerName, &o.ProductName, &o.Quantity, &o.Price, &o.CreatedAt,
		&o.MessageID, &o.Status, &o.Attempts, &o.Effects, &o.LastError, &o.CompletedAt, &o.ProcessedBy, &o.IdempotencyKey)
	return o, err
}

// Get returns the order with the id, or ErrNotFound.
func (s *Store) Get(ctx context.Context, id int64) (order Order, err error) {
	err = database.Legibly(func(as database.ShownAs) error {
		rows, err := s.db.Query(ctx, `select `+columns(textOfOne, as)+` from public.orders o where o.id = $1`, id)
		if err != nil {
			return err
		}
		order, err = pgx.CollectExactlyOneRow(rows, scan)
		return err
	})
	switch {
	case errors.Is(err, pgx.ErrNoRows):
		return Order{}, ErrNotFound
	case err != nil:
		return Order{}, fmt.Errorf("get order: %w", err)
	}
	return order, nil
}

// Filter chooses the orders of a list. The zero value is all of them, newest first.
type Filter struct {
	Status       string
	CustomerName string
	// KeyPrefix chooses orders by the beginning of their idempotency key, in the order of the keys.
	KeyPrefix string
}

func (f Filter) scope() []string { return []string{"orders", f.Status, f.CustomerName, f.KeyPrefix} }

// Page is a part of a list. Next is the cursor of the part after it, empty when there is none. A page can hold fewer
// orders than were asked for, or none, and still have a next one.
type Page struct {
	Orders []Order
	Next   string
}

// scanWindow bounds how many rows are looked at in one statement for those that pass. The status has no index, on purpose (it would make each
// completion an index write), and two filters together have none, so the rare among millions are looked for in steps; see [cursor.Fill].
const scanWindow = 5_000

// List returns up to limit orders after the cursor of the page before, which is empty for the first. The error is
// cursor.ErrInvalid for a cursor that is not one of this list.
func (s *Store) List(ctx context.Context, filter Filter, limit int, after string) (page Page, err error) {
	if after != "" {
		position, err := cursor.Read(after, filter.scope()...)
		if err != nil {
			return Page{}, err
		}
		if !filter.reaches(position) {
			return Page{}, cursor.ErrInvalid
		}
		after = position
	}
	err = database.Legibly(func(as database.ShownAs) (err error) {
		if !filter.searched() {
			page, err = list(ctx, s.db, filter, limit, after, as)
			return err
		}
		// One snapshot: what is inserted meanwhile must not move the end of a window whose orders are already on the page.
		return pgx.BeginTxFunc(ctx, s.db, pgx.TxOptions{IsoLevel: pgx.RepeatableRead, AccessMode: pgx.ReadOnly}, func(tx pgx.Tx) (err error) {
			page, err = list(ctx, tx, filter, limit, after, as)
			return err
		})
	})
	if err != nil {
		return Page{}, fmt.Errorf("list orders: %w", err)
	}
	return page, nil
}

// querier is a pool or a transaction.
type querier interface {
	Query(ctx context.Context, sql string, args ...any) (pgx.Rows, error)
	QueryRow(ctx context.Context, sql string, args ...any) pgx.Row
}

func list(ctx context.Context, db querier, filter Filter, limit int, after string, as database.ShownAs) (Page, error) {
	open, err := openOrders(ctx, db, filter)
	if err != nil {
		return Page{}, err
	}
	look := func(after string, most int) ([]Order, string, error) {
		if open.reached(after) {
			return openWindow(ctx, db, filter, most, after, as)
		}
		return window(ctx, db, filter, most, after, as)
	}
	found, next, err := cursor.Fill(limit, after, look, filter.position)
	if next != "" {
		next = cursor.Make(next, filter.scope()...)
	}
	return Page{found, next}, err
}

// position is where an order stands in the list.
func (f Filter) position(o *Order) string {
	if f.KeyPrefix != "" && o.IdempotencyKey != nil {
		return *o.IdempotencyKey
	}
	return strconv.FormatInt(o.ID, 10)
}

// reaches tells whether an order of the list can stand at a position, which the client may have made up: an id, or a key that begins
// with the prefix and that PostgreSQL can hold.
func (f Filter) reaches(position string) bool {
	if f.KeyPrefix != "" {
		return strings.HasPrefix(position, f.KeyPrefix) && utf8.ValidString(position) && !strings.Contains(position, "\x00")
	}
	_, err := strconv.ParseInt(position, 10, 64)
	return err == nil
}

// window looks for orders among the scanWindow that come after a position. last is the position of the last one that was
// looked at, empty when the end of the list was reached.
func window(ctx context.Context, db querier, filter Filter, limit int, after string, as database.ShownAs) (found []Order, last string, err error) {
	sql, args := statement(filter, limit, after, as)
	rows, err := db.Query(ctx, sql, args...)
	if err != nil {
		return nil, "", err
	}
	found, err = pgx.CollectRows(rows, scan)
	if err != nil || len(found) == limit || !filter.searched() {
		return found, "", err
	}
	// Fewer than were asked for among the rows of the window: where did it end?
	query := newQuery(filter, after, as)
	position := `o.id::text`
	if filter.KeyPrefix != "" {
		position = `o.idempotency_key`
	}
	err = db.QueryRow(ctx, query.sql(position)+` offset `+strconv.Itoa(scanWindow-1)+` limit 1`, query.args...).Scan(&last)
	if errors.Is(err, pgx.ErrNoRows) {
		return found, "", nil
	}
	return found, last, err
}

// The dead have an index of their own, by their ids. With a customer or a prefix, theirs is the index that is followed.
func (f Filter) allDead() bool { return f == Filter{Status: StatusDead} }

// passes are what a row of the index that is followed has to be, besides: it is looked at and perhaps passed over.
func (f Filter) passes(q *query) (conditions []string) {
	if f.KeyPrefix != "" && f.CustomerName != "" {
		conditions = append(conditions, "o.customer_name = "+q.arg(f.CustomerName))
	}
	if f.Status != "" && !f.allDead() {
		conditions = append(conditions, "o.status = "+q.arg(f.Status))
	}
	return conditions
}

// searched tells whether rows have to be looked at and passed over.
func (f Filter) searched() bool { return len(f.passes(&query{})) > 0 }

// statement finds up to limit orders after a position.
func statement(filter Filter, limit int, after string, as database.ShownAs) (sql string, args []any) {
	query := newQuery(filter, after, as)
	if filter.searched() {
		sql = `select ` + columns(textOfMany, as) + ` from (` + query.sql("o.*") + ` limit ` + strconv.Itoa(scanWindow) + `) o where ` +
			strings.Join(filter.passes(query), " and ") + ` order by ` + query.order
	} else {
		sql = query.sql(columns(textOfMany, as))
	}
	return sql + ` limit ` + query.arg(limit), query.args
}

// query is a statement over orders in the order of a list. Each combination of filters is a text of its own, so that each
// has a plan of its own: (id), (customer_name, id), (idempotency_key) or the dead orders' index.
type query struct {
	where []string
	order string
	args  []any
}

func newQuery(filter Filter, after string, as database.ShownAs) *query {
	q := &query{order: "o.id desc"}
	if filter.CustomerName != "" && filter.KeyPrefix == "" {
		q.where = append(q.where, "o.customer_name = "+q.arg(filter.CustomerName))
	}
	if filter.allDead() {
		q.where = append(q.where, "o.dead_at is not null and o.status = 'dead'")
	}
	switch {
	case filter.KeyPrefix != "":
		// Keys sort by their bytes and consist of ASCII, so that a prefix is a range.
		end := filter.KeyPrefix[:len(filter.KeyPrefix)-1] + string(filter.KeyPrefix[len(filter.KeyPrefix)-1]+1)
		// A longer key than any of ours would be shown in part, or one that is not ASCII perhaps otherwise than it is, and a page could not end at it.
		q.where = append(q.where, "o.idempotency_key >= "+q.arg(filter.KeyPrefix), "o.idempotency_key < "+q.arg(end),
			"length(o.idempotency_key) <= "+strconv.Itoa(textOfMany), as("o.idempotency_key")+" = o.idempotency_key")
		q.order = "o.idempotency_key"
		if after != "" {
			q.where = append(q.where, "o.idempotency_key > "+q.arg(after))
		}
	case after != "":
		id, _ := strconv.ParseInt(after, 10, 64) // made by position, or checked by reaches
		q.where = append(q.where, "o.id < "+q.arg(id))
	}
	return q
}

// arg adds a parameter and returns its name.
func (q *query) arg(value any) string {
	q.args = append(q.args, value)
	return "$" + strconv.Itoa(len(q.args))
}

func (q *query) sql(columns string) string {
	sql := "select " + columns + " from public.orders o"
	if len(q.where) > 0 {
		sql += " where " + strings.Join(q.where, " and ")
	}
	return sql + " order by " + q.order
}

// KeyLike tells whether an idempotency key can begin so: visible ASCII, and what separates a batch's key from the place.
func KeyLike(prefix string) bool {
	for i := range len(prefix) {
		if (prefix[i] <= ' ' || prefix[i] > '~') && prefix[i] != 0x1f {
			return false
		}
	}
	return true
}

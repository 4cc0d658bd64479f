package orders

import (
	"context"
	_ "embed"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"orderflow.example/kit/postgres"
	"orderflow.example/services/api/internal/database"
)

//go:embed publish.sql
var publishTemplate string

// publishSQL is publish.sql for one queue.
func publishSQL(queue string) string {
	return strings.ReplaceAll(publishTemplate, "{queue}", pgx.Identifier{"pgmq", "q_" + strings.ToLower(queue)}.Sanitize())
}

// keySeparator stands between a batch's key and an order's place in it: the unit separator, which no key can contain.
const keySeparator = "\x1f"

// publisher is the connection that writes, with its statement prepared and its arrays' memory kept.
type publisher struct {
	conn         *pgx.Conn
	unreplicated *atomic.Bool // a commit did not wait for its standby
	args         publishArgs
	sources      []source // of each element of the arrays
}

// publishArgs are the columns of publish.sql's input.
type publishArgs struct {
	unit         []int32
	lookupOnly   []bool
	customer     []string
	product      []string
	quantity     []int32
	cents        []int64
	key          []*string
	traceparents []string
}

// source says which order of which unit an element is.
type source struct{ unit, order int }

// outcome is what became of one unit.
type outcome struct {
	orders  []Order
	fresh   bool // written now; otherwise found
	partial bool // what was found is not as many orders as were asked for
	err     error
}

// The plan of the statement is made once and kept (everything in it is by parameter), possibly while the tables are empty
// or their statistics old. These settings leave it no choice that grows with the tables.
var publishSession = database.Session{
	"plan_cache_mode":   "force_generic_plan",
	"enable_seqscan":    "off",
	"enable_bitmapscan": "off",
	"jit":               "off",
}

func connectPublisher(cfg *pgx.ConnConfig, queue string, timeout time.Duration) (*publisher, error) {
	unreplicated := new(atomic.Bool)
	cfg = cfg.Copy()
	cfg.OnNotice = func(_ *pgconn.PgConn, n *pgconn.Notice) {
		if database.Unreplicated(n) {
			unreplicated.Store(true)
		}
	}
	// The server gives up before the client does: then it is certain that nothing was written.
	conn, err := database.Connect(context.Background(), cfg, database.Timeouts(timeout*4/5).With(publishSession))
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(context.Background(), cfg.ConnectTimeout)
	defer cancel()
	if _, err := conn.Prepare(ctx, "publish", publishSQL(queue)); err != nil {
		database.Discard(conn)
		return nil, fmt.Errorf("prepare to publish: %w", err)
	}
	p := &publisher{conn: conn, unreplicated: unreplicated}
	if err := waitForDisk(ctx, conn); err != nil {
		p.close()
		return nil, err
	}
	// Nothing, written, takes most of what orders take: a server that is no standby, the table, the right to insert into it.
	if _, err := p.publish(nil, timeout); err != nil {
		p.close()
		return nil, err
	}
	return p, nil
}

// waitForDisk makes a commit wait for the disk, also where somebody has decided otherwise for the database, the role or the address,
// because an order that was answered must outlive a crash. What promises more than that stays.
func waitForDisk(ctx context.Context, conn *pgx.Conn) error {
	const name = "synchronous_commit"
	wanted, err := postgres.Setting(ctx, conn, name)
	if err != nil {
		return err
	}
	if wanted == "off" || wanted == "local" {
		wanted = "on"
	}
	return postgres.Set(ctx, conn.PgConn(), postgres.Settings{name: wanted})
}

func (p *publisher) close()                         { database.Discard(p.conn) }
func (p *publisher) closed() bool                   { return p.conn.IsClosed() }
func (p *publisher) ping(ctx context.Context) error { return p.conn.Ping(ctx) }

// rehearse writes an order and its message, has what a commit would check checked, and undoes it. An order that a rule about orders
// refuses has got past everything that this is about.
func (p *publisher) rehearse(order *Draft, timeout time.Duration) error {
	ctx, cancel := context.WithTimeout(context.Background(), timeout)
	defer cancel()
	tx, err := p.conn.Begin(ctx)
	if err != nil {
		return fmt.Errorf("rehearse: %w", err)
	}
	_, err = p.publish([]*unit{{Request: Request{Orders: []Draft{*order}}}}, timeout)
	if err == nil {
		_, err = tx.Exec(ctx, "set constraints all immediate")
	}
	if undo := tx.Rollback(ctx); undo != nil && err == nil {
		err = undo
	}
	if err != nil && !breaksRule(err) && !isUnfit(err) {
		return fmt.Errorf("rehearse: %w", err)
	}
	if err := p.awaitStandby(ctx); err != nil {
		return fmt.Errorf("rehearse: %w", err)
	}
	return nil
}

// awaitStandby commits something, which waits for a standby when commits have to.
func (p *publisher) awaitStandby(ctx context.Context) error {
	p.unreplicated.Store(false)
	_, err := p.conn.Exec(ctx, `
		select case when current_setting('synchronous_standby_names') <> '' then pg_logical_emit_message(true, 'orderflow', 'rehearsal') end`)
	if p.unreplicated.Load() || ctx.Err() != nil {
		return database.ErrUnreplicated
	}
	return err
}

// publish writes units in one transaction and returns what became of each.
func (p *publisher) publish(units []*unit, timeout time.Duration) ([]outcome, error) {
	ctx, cancel := context.WithTimeout(context.Background(), timeout)
	defer cancel()
	p.fill(units)
	p.unreplicated.Store(false)
	a := &p.args
	rows, err := p.conn.Query(ctx, "publish", a.unit, a.lookupOnly, a.customer, a.product, a.quantity, a.cents, a.key, a.traceparents)
	if err != nil {
		return nil, fmt.Errorf("publish: %w", err)
	}
	outcomes, err := p.read(rows, units)
	if err != nil {
		return nil, fmt.Errorf("publish: %w", err)
	}
	if p.unreplicated.Load() {
		return nil, fmt.Errorf("publish: %w", database.ErrUnreplicated)
	}
	if p.conn.IsClosed() {
		// The commit is certain only when the server is ready for the next statement.
		return nil, fmt.Errorf("publish: %w", database.ErrLost)
	}
	return outcomes, nil
}

func (p *publisher) fill(units []*unit) {
	a := &p.args
	*a = publishArgs{
		a.unit[:0], a.lookupOnly[:0], a.customer[:0], a.product[:0], a.quantity[:0], a.cents[:0], a.key[:0], a.traceparents[:0],
	}
	p.sources = p.sources[:0]
	for i, u := range units {
		for j := range u.Orders {
			p.add(i, j, u, &u.Orders[j], false)
		}
		if u.Batch && u.Key != "" {
			p.add(i, len(u.Orders), u, &Draft{}, true)
		}
	}
}

func (p *publisher) add(unit, order int, u *unit, o *Draft, lookupOnly bool) {
	a := &p.args
	a.unit = append(a.unit, int32(unit)) //nolint:gosec // bounded by the queue's size
	a.lookupOnly = append(a.lookupOnly, lookupOnly)
	a.customer = append(a.customer, o.CustomerName)
	a.product = append(a.product, o.ProductName)
	a.quantity = append(a.quantity, o.Quantity)
	a.cents = append(a.cents, int64(o.Price))
	a.key = append(a.key, u.keyOf(order))
	a.traceparents = append(a.traceparents, u.Traceparent)
	p.sources = append(p.sources, source{unit, order})
}

// keyOf is the idempotency key under which the unit's order is stored.
func (u *unit) keyOf(order int) *string {
	switch {
	case u.Key == "":
		return nil
	case !u.Batch:
		return &u.Key
	}
	key := u.Key + keySeparator + strconv.Itoa(order)
	return &key
}

// read takes the statement's rows apart by unit.
func (p *publisher) read(rows pgx.Rows, units []*unit) ([]outcome, error) {
	defer rows.Close()
	var (
		n, id, messageID  int64
		createdAt         time.Time
		customer, product *string
		quantity          *int32
		cents             *int64
		outcomes          = make([]outcome, len(units))
		count             = make([]int, len(units))
		all               = make([]Order, len(p.sources)) // one allocation for the batch
	)
	for i, at := 0, 0; i < len(units); i++ {
		size := len(units[i].Orders)
		outcomes[i].orders = all[at : at+size : at+size]
		at += size
	}
	for rows.Next() {
		if err := rows.Scan(&n, &id, &messageID, &createdAt, &customer, &product, &quantity, &cents); err != nil {
			return nil, err
		}
		at := p.sources[n-1]
		u, o := units[at.unit], &outcomes[at.unit]
		o.fresh = customer == nil
		if at.order == len(u.Orders) {
			o.partial = true // an order was found after the last one
			continue
		}
		order := u.Orders[at.order]
		if !o.fresh {
			order = Draft{*customer, *product, *quantity, Cents(*cents)}
		}
		o.orders[at.order] = Order{
			ID: id, Draft: order, CreatedAt: createdAt, MessageID: messageID, Status: StatusPending, IdempotencyKey: u.keyOf(at.order),
		}
		count[at.unit]++
	}
	if err := rows.Err(); err != nil {
		return nil, err
	}
	for i := range outcomes {
		switch o := &outcomes[i]; {
		case count[i] == len(units[i].Orders):
		case count[i] == 0 && !o.partial || o.fresh:
			o.err = errors.New("publish: the statement returned nothing for an order")
		default:
			o.partial = true
		}
	}
	return outcomes, nil
}

package orders

import (
	"context"
	_ "embed"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"

	"orderflow.example/services/api/internal/database"
	"orderflow.example/services/api/internal/queue"
)

//go:embed publish.sql
var publishTemplate string

// publishSQL is publish.sql for one queue.
func publishSQL(name string) string {
	table, _ := queue.Tables(name)
	return strings.ReplaceAll(publishTemplate, "{queue}", table)
}

// publisher is the connection that writes, with its statement prepared and its arrays' memory kept.
type publisher struct {
	*pgx.Conn
	timeout      time.Duration // of a statement
	unreplicated *atomic.Bool  // a commit did not wait for its standby; that ends the connection
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

// publish writes units in one transaction and returns what became of each.
func (p *publisher) publish(units []*unit) ([]outcome, error) {
	ctx, cancel := context.WithTimeout(context.Background(), p.timeout)
	defer cancel()
	p.fill(units)
	a := &p.args
	rows, err := p.Query(ctx, "publish", a.unit, a.lookupOnly, a.customer, a.product, a.quantity, a.cents, a.key, a.traceparents)
	if err != nil {
		return nil, fmt.Errorf("publish: %w", err)
	}
	outcomes, err := p.read(rows, units)
	switch {
	case err != nil:
		return nil, fmt.Errorf("publish: %w", err)
	case p.unreplicated.Load():
		return nil, fmt.Errorf("publish: %w", database.ErrUnreplicated)
	case p.IsClosed(): // the commit is certain only when the server is ready for the next statement
		return nil, fmt.Errorf("publish: %w", database.ErrLost)
	}
	return outcomes, nil
}

// fill makes the statement's arrays: an element for each order, and for a batch with a key one more, which is only looked up.
func (p *publisher) fill(units []*unit) {
	a := &p.args
	*a = publishArgs{
		a.unit[:0], a.lookupOnly[:0], a.customer[:0], a.product[:0], a.quantity[:0], a.cents[:0], a.key[:0], a.traceparents[:0],
	}
	p.sources = p.sources[:0]
	for i, u := range units {
		elements := len(u.Orders)
		if u.Batch && u.Key != "" {
			elements++
		}
		for j := range elements {
			order, lookupOnly := Draft{}, j == len(u.Orders)
			if !lookupOnly {
				order = u.Orders[j]
			}
			a.unit = append(a.unit, int32(i)) //nolint:gosec // bounded by the queue's size
			a.lookupOnly = append(a.lookupOnly, lookupOnly)
			a.customer = append(a.customer, order.CustomerName)
			a.product = append(a.product, order.ProductName)
			a.quantity = append(a.quantity, order.Quantity)
			a.cents = append(a.cents, int64(order.Price))
			a.key = append(a.key, u.keyOf(j))
			a.traceparents = append(a.traceparents, u.Traceparent)
			p.sources = append(p.sources, source{i, j})
		}
	}
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

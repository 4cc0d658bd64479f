package bench

import (
	"context"
	"errors"
	"fmt"
)

const (
	oldOrders = 300_000 // that were completed long ago, the last of them a second ago and each a second after the one before
	kept      = "1h"    // so almost all of them are to be deleted
)

// retaining compares publishing while nothing is deleted with publishing while the api deletes what has been kept for long enough.
func (b *Bench) retaining() []group {
	note := fmt.Sprintf("%d old orders are there. What is deleted is the last column of the second table, for each order that comes in.", oldOrders)
	var groups []group
	for _, connections := range []int{1, 64} {
		groups = append(groups, group{
			name: fmt.Sprintf("retention-%d", connections), title: "POST /orders beside retention, " + onConnections(connections), note: note,
			contenders: []contender{
				b.besideOldOrders("nothing is deleted", connections, "0s"),
				b.besideOldOrders("ORDER_RETENTION="+kept, connections, kept),
			},
		})
	}
	return groups
}

// besideOldOrders publishes on a number of connections while the api has old orders to delete, or leaves them alone.
func (b *Bench) besideOldOrders(name string, connections int, retention string) contender {
	return contender{name: name, measure: func(ctx context.Context) (figures, error) {
		if err := b.fillOld(ctx); err != nil {
			return figures{}, err
		}
		with := *b
		with.settings = append([]string{"ORDER_RETENTION=" + retention}, b.settings...)
		got, err := with.publish(connections, 1).measure(ctx)
		if err != nil {
			return figures{}, err
		}
		if deletes := retention != "0s"; deletes != (got.cost.deleted > 0) {
			return figures{}, errors.New("what was to be deleted was not, or what was to stay did not")
		}
		return got, nil
	}}
}

// fillOld makes the table as it is when retention is switched on late, with the next pass due at once.
func (b *Bench) fillOld(ctx context.Context) error {
	for n := 0; n < oldOrders; n += chunk {
		if err := b.execute(ctx, past(n+1, min(n+chunk, oldOrders), oldOrders)); err != nil {
			return err
		}
	}
	return b.execute(ctx,
		fmt.Sprintf(`select setval(pg_get_serial_sequence('public.orders', 'id'), greatest(nextval(pg_get_serial_sequence('public.orders', 'id')), %d))`, oldOrders),
		`update orderflow.retention set position = 0, due_at = '-infinity' where what = 'orders'`,
		"vacuum (analyze) public.orders", "checkpoint")
}

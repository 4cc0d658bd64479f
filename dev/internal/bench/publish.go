package bench

import (
	"context"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5"
)

// publishing compares POST /orders with the same orders written straight to Postgres.
func (b *Bench) publishing() []group {
	var groups []group
	for _, connections := range []int{1, 64, 256} {
		groups = append(groups, group{
			name: fmt.Sprintf("publish-%d", connections), title: "POST /orders, " + onConnections(connections),
			contenders: append([]contender{b.publishDirectly(connections), b.publish(connections, 1)}, b.riverInserts(connections)...),
		})
	}
	return append(groups, group{
		name: "batch", title: "POST /orders/batch, 100 orders each",
		contenders: append([]contender{b.publishDirectly(64), b.publish(4, 100), b.publish(16, 100)}, b.riverBatches()...),
	}, group{
		name: "publish-backlog", title: "POST /orders beside a backlog, 64 connections",
		note:       "The orders of the backlog wait and nobody works on them, while the api counts them for the dashboard and looks after them.",
		contenders: []contender{b.publishBeside("nothing waits", 0), b.publishBeside("1,000,000 wait", 1_000_000)},
	})
}

// publishBeside is publish over 64 connections while so many orders wait.
func (b *Bench) publishBeside(name string, waiting int) contender {
	return contender{name: name, measure: func(ctx context.Context) (figures, error) {
		if err := b.fill(ctx, waiting, 0); err != nil {
			return figures{}, err
		}
		return b.publish(64, 1).measure(ctx)
	}}
}

// publish sends orders to one api as fast as they are answered, so many in a request.
func (b *Bench) publish(connections, orders int) contender {
	name := "POST /orders, " + onConnections(connections)
	if orders > 1 {
		name = fmt.Sprintf("POST /orders/batch of %d, %s", orders, onConnections(connections))
	}
	return contender{name: name, measure: func(ctx context.Context) (got figures, err error) {
		last, err := b.lastOrder(ctx)
		if err != nil {
			return figures{}, err
		}
		meter, err := b.meter(ctx)
		if err != nil {
			return figures{}, err
		}
		s := b.stack()
		defer s.Stop(context.WithoutCancel(ctx)) //nolint:errcheck // stopped below, too, where it counts
		api, err := s.StartAPI(ctx, "api")
		if err != nil {
			return figures{}, err
		}
		look := b.look(ctx, api)
		got, err = b.post(ctx, api.URL(), connections, orders)
		if err := errors.Join(err, look.end()); err != nil {
			return figures{}, err
		}
		meter.look(s)
		if err := s.Stop(context.WithoutCancel(ctx)); err != nil {
			return figures{}, err
		}
		var written int
		if err := b.with(ctx, func(conn *pgx.Conn) error {
			return conn.QueryRow(ctx, "select count(*) from public.orders where id > $1", last).Scan(&written)
		}); err != nil {
			return figures{}, err
		}
		got.cost, err = meter.read(ctx, written)
		return got, err
	}}
}

// lastOrder is the highest id: a measurement's own orders come after it, however many were there before.
func (b *Bench) lastOrder(ctx context.Context) (id int64, err error) {
	err = b.with(ctx, func(conn *pgx.Conn) error {
		return conn.QueryRow(ctx, "select coalesce(max(id), 0) from public.orders").Scan(&id)
	})
	return id, err
}

package bench

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
)

// together follows orders from POST to completed at rates that the system is not asked to exceed (an open model), and says what an order
// costs.
func (b *Bench) together() group {
	g := group{
		name: "together", title: "From POST to completed",
		note: "One api and one consumer as shipped, without work. Ratios are those of the rates, which are given.",
	}
	for _, rate := range []int{200, 2000, 5000} {
		g.contenders = append(g.contenders, contender{
			name: fmt.Sprintf("%d orders/s", rate), measure: func(ctx context.Context) (figures, error) { return b.follow(ctx, rate) },
		})
	}
	return g
}

func (b *Bench) follow(ctx context.Context, rate int) (figures, error) {
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
	if _, err := s.StartConsumer(ctx, "consumer", asShipped...); err != nil {
		return figures{}, err
	}
	look := b.look(ctx, api)
	load, err := s.Loadgen(api, nil, "ORDERS=0", fmt.Sprintf("RATE=%d", rate), "DURATION="+b.Span.String(), "PROGRESS=off", "RUN_ID=bench")
	if err != nil {
		return figures{}, err
	}
	code, err := load.Wait(ctx)
	if err := errors.Join(err, look.end()); err != nil {
		load.Kill()
		return figures{}, err
	}
	if code != 0 {
		return figures{}, load.Failure()
	}
	meter.look(s)
	if err := s.Stop(context.WithoutCancel(ctx)); err != nil {
		return figures{}, err
	}

	var got figures
	var orders int
	var p50, p99 float64
	err = b.with(ctx, func(conn *pgx.Conn) error {
		return conn.QueryRow(ctx, `
			select count(*), count(*) / greatest(extract(epoch from max(created_at) - min(created_at)), 0.001)::float8,
			       percentile_cont(0.5) within group (order by extract(epoch from completed_at - created_at))::float8,
			       percentile_cont(0.99) within group (order by extract(epoch from completed_at - created_at))::float8
			from public.orders`).Scan(&orders, &got.rate, &p50, &p99)
	})
	if err != nil {
		return figures{}, err
	}
	got.p50, got.p99 = time.Duration(p50*float64(time.Second)), time.Duration(p99*float64(time.Second))
	got.cost, err = meter.read(ctx, orders)
	return got, err
}

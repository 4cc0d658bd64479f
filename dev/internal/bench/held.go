package bench

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
)

// Span is a part of the time for which a snapshot was held, or before or after it.
type Span struct {
	What     string
	Rate     float64 // orders completed in a second
	P50, P99 time.Duration
	Dead     int64 // rows of the queue's table that nobody sees any more, at its end
}

// heldRate is how many orders a second are sent meanwhile: what a small system has at its busiest.
const heldRate = 500

// hold has a transaction keep its snapshot for a while, so that vacuum can remove nothing, while orders come at a steady rate; and sees how
// the system is before, meanwhile and afterwards.
func (g *Growth) hold(ctx context.Context) (spans []Span, err error) {
	if err := g.calm(ctx, false); err != nil { // what the last measurement has left would be worked on first
		return nil, err
	}
	s := g.stack()
	defer s.Stop(context.WithoutCancel(ctx)) //nolint:errcheck // the figures stand
	api, err := s.StartAPI(ctx, "api")
	if err != nil {
		return nil, err
	}
	if _, err := s.StartConsumer(ctx, "consumer", asShipped...); err != nil {
		return nil, err
	}
	part := max(g.Held/5, 2*time.Second)
	total := part + g.Held + 2*part
	load, err := s.Loadgen(api, nil, "ORDERS=0", fmt.Sprintf("RATE=%d", heldRate), "DURATION="+total.String(), "PROGRESS=off", "RUN_ID=held")
	if err != nil {
		return nil, err
	}
	defer load.Kill()
	look := func(what string, d time.Duration) error {
		span, err := g.span(ctx, what, d)
		spans = append(spans, span)
		g.Say("growth: %s: %.0f orders/s, p99 %s, %d dead rows", what, span.Rate, rough(span.P99), span.Dead)
		return err
	}
	if err := look("before", part); err != nil {
		return spans, err
	}
	err = g.with(ctx, func(conn *pgx.Conn) error {
		tx, err := conn.BeginTx(ctx, pgx.TxOptions{IsoLevel: pgx.RepeatableRead})
		if err != nil {
			return err
		}
		if _, err := tx.Exec(ctx, "select 1 from public.orders limit 1"); err != nil {
			return err
		}
		for at := part; at <= g.Held; at += part {
			if err := look(fmt.Sprintf("held for %s", at.Round(time.Second)), part); err != nil {
				return err
			}
		}
		return tx.Rollback(ctx)
	})
	for _, what := range []string{"let go of", "a while after"} {
		if err == nil {
			err = look(what, part)
		}
	}
	if err != nil {
		return spans, err
	}
	code, err := load.Wait(ctx)
	if err == nil && code != 0 {
		err = load.Failure()
	}
	return spans, errors.Join(err, s.Stop(context.WithoutCancel(ctx)))
}

// span looks at what is completed in a time.
func (g *Growth) span(ctx context.Context, what string, d time.Duration) (Span, error) {
	s := Span{What: what}
	began := time.Now()
	select {
	case <-time.After(d):
	case <-ctx.Done():
		return s, context.Cause(ctx)
	}
	err := g.with(ctx, func(conn *pgx.Conn) error {
		var completed int64
		var p50, p99 float64
		err := conn.QueryRow(ctx, `
			select count(*), coalesce(percentile_cont(0.5) within group (order by extract(epoch from completed_at - created_at)), 0)::float8,
			       coalesce(percentile_cont(0.99) within group (order by extract(epoch from completed_at - created_at)), 0)::float8
			  from (select * from public.orders order by id desc limit $2) as o where completed_at > $1`, began, int(heldRate*d.Seconds()*3)).Scan(&completed, &p50, &p99)
		if err != nil {
			return err
		}
		s.Rate, s.P50, s.P99 = float64(completed)/d.Seconds(), time.Duration(p50*float64(time.Second)), time.Duration(p99*float64(time.Second))
		return conn.QueryRow(ctx, `select n_dead_tup from pg_stat_user_tables where relid = 'pgmq.q_order_queue'::regclass`).Scan(&s.Dead)
	})
	return s, err
}

package stack

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/jackc/pgx/v5"

	"orderflow.example/kit/postgres"
)

// effectFunction is what consumers with HANDLER=sql call, and effectTable what it writes: a row for each order that it is called with.
// Nothing keeps it from writing a second one.
const (
	effectFunction = "shop.fulfil"
	effectTable    = `create table shop.effects (order_id bigint not null, created_at timestamptz not null, effect_at timestamptz not null default clock_timestamp())`
)

// CreateEffects makes the function and the table. A call takes so long, however many orders it is about; failing are those that fail: each
// with a message that is divisible by 10 at its first attempt, and each with one that is divisible by 30 at the second, too. The example's rule is
// 2 and 6; but who fails in a transaction of many is looked for by halves, so that nearly every order would have one of its own.
func CreateEffects(ctx context.Context, databaseURL string, work time.Duration, failing bool) error {
	conn, err := connect(ctx, databaseURL)
	if err != nil {
		return fmt.Errorf("create the effects' table: %w", err)
	}
	defer conn.Close(context.WithoutCancel(ctx))
	for _, statement := range []string{`create schema shop`, effectTable, `
		create function ` + effectFunction + `(orders public.orders[]) returns void language plpgsql as $$
		declare
			failed bigint;
		begin
			if ` + strconv.FormatBool(failing) + ` then
				select o.id into failed from unnest(orders) as o
				 where o.message_id % 10 = 0 and o.attempts < 2 or o.message_id % 30 = 0 and o.attempts < 3 limit 1;
				if failed is not null then
					raise exception 'simulated failure of order %', failed;
				end if;
			end if;
			insert into shop.effects (order_id, created_at) select o.id, o.created_at from unnest(orders) as o;
			perform pg_sleep(` + strconv.FormatFloat(work.Seconds(), 'f', 3, 64) + `);
		end $$`} {
		if _, err := conn.Exec(ctx, statement); err != nil {
			return fmt.Errorf("create the effects' table: %w", err)
		}
	}
	return nil
}

// connect leads to the server that takes writes, of several: a standby may be behind, and not know of a second row yet.
func connect(ctx context.Context, databaseURL string) (*pgx.Conn, error) {
	a, err := postgres.Parse(databaseURL)
	if err != nil {
		return nil, err
	}
	return pgx.ConnectConfig(ctx, a.Config("effects", 5*time.Second))
}

// InTransaction are a consumer's settings that call the function.
func InTransaction() []string { return []string{"HANDLER=sql", "EFFECT_FUNCTION=" + effectFunction} }

// Effects compares the rows that the function has written with the orders.
type Effects struct {
	Rows    int64 // in all
	Twice   int64 // orders with more than one
	Missing int64 // completed orders without one
	Foreign int64 // rows of orders that are not completed, or not there
}

// CountEffects counts them.
func CountEffects(ctx context.Context, databaseURL string) (e Effects, err error) {
	conn, err := connect(ctx, databaseURL)
	if err != nil {
		return e, fmt.Errorf("count the effects: %w", err)
	}
	err = conn.QueryRow(ctx, `
		with effect as (select order_id, created_at, count(*) as times from shop.effects group by 1, 2)
		select coalesce(sum(times), 0)::bigint,
		       count(*) filter (where times > 1),
		       count(*) filter (where o.status = 'completed' and times is null),
		       count(*) filter (where times is not null and o.status is distinct from 'completed')
		  from effect full join public.orders as o on o.id = effect.order_id and o.created_at = effect.created_at`).
		Scan(&e.Rows, &e.Twice, &e.Missing, &e.Foreign)
	if err = errors.Join(err, conn.Close(context.WithoutCancel(ctx))); err != nil {
		return e, fmt.Errorf("count the effects: %w", err)
	}
	return e, nil
}

package chaos

import (
	"context"
	"fmt"
	"strconv"
	"time"

	"github.com/jackc/pgx/v5"
)

func loadFaults() []Fault {
	return []Fault{
		{Name: "burst", Title: "20,000 orders at once into an idle system", Measures: true, Recovery: fiveSeconds, Run: burst},
		{Name: "poison", Title: "10 % of the messages are not orders", Recovery: fiveSeconds, Run: poison},
		{Name: "held-xmin", Title: "an idle transaction holds vacuum back for 60 s", Recovery: fiveSeconds, Run: heldXmin},
	}
}

func burst(ctx context.Context, r *Rig) error {
	orders := pick(r.plan, 20_000, 3_000)
	if err := r.up(ctx, settings{consumers: 1, consumer: []string{"SIMULATE_WORK=0", "SIMULATE_FAILURES=none"}}); err != nil {
		return err
	}
	if err := r.workedOff(ctx); err != nil {
		return err
	}
	err := r.loadFor(ctx, 0, "RATE=0", "DURATION=0s", "ORDERS="+strconv.Itoa(orders), "CONCURRENCY=100")
	if err != nil {
		return err
	}
	// The cause ends when the last order of the burst is in.
	err = r.until(ctx, "the burst is in", func() (bool, error) {
		n, err := r.scalar(ctx, `select count(*) from public.orders where idempotency_key like 'load-%'`)
		return n >= int64(orders), err
	})
	if err != nil {
		return err
	}
	r.ended()
	return r.account(ctx)
}

// workedOff leaves the queue as autovacuum finds it after a busy hour: pages, and not one row. From that the planner
// concludes that whatever comes is one row, and a statement that trusts it reads the whole queue for every message.
func (r *Rig) workedOff(ctx context.Context) error {
	conn, err := r.connect(ctx)
	if err != nil {
		return err
	}
	defer conn.Close(ctx)
	for _, statement := range []string{
		`with sent as materialized (select pgmq.send_batch('order_queue', array_fill('{}'::jsonb, array[10000]), 3600)) select count(*) from sent`,
		`delete from pgmq.q_order_queue where vt > now() + interval '30 minutes'`,
		`vacuum analyze pgmq.q_order_queue`,
	} {
		if _, err := conn.Exec(ctx, statement); err != nil {
			return err
		}
	}
	return nil
}

// poisons are messages that no order can be made of, by the reason that their dead letters must bear.
var poisons = []struct{ message, reason string }{
	{`"an order, please"`, "not_an_object"},
	{`[1, 2, 3]`, "not_an_object"},
	{`null`, "not_an_object"},
	{`{"order_id": "one"}`, "bad_message"},
	{`{"customer_name": "nobody"}`, "bad_message"},
	{`{"order_id": 9000000000000000, "customer_name": "x", "product_name": "y", "quantity": 1, "price": 1.5, "created_at": "2026-01-07T19:48:03.123456+00:00"}`, "unknown_order"},
}

func poison(ctx context.Context, r *Rig) error {
	if err := r.up(ctx, settings{consumers: 2, consumer: r.work()}); err != nil {
		return err
	}
	if err := r.load(ctx); err != nil {
		return err
	}
	conn, err := r.connect(ctx)
	if err != nil {
		return err
	}
	defer conn.Close(context.WithoutCancel(ctx))
	sent := map[string]int64{}
	total := int64(0)
	// One message in ten: per nine orders, those of the prober included, one that is none.
	interval := time.Duration(float64(time.Second) * 9 / (r.plan.Rate + float64(time.Second/probeInterval)))
	err = r.every(ctx, interval, func(int) error {
		p := poisons[r.rand.IntN(len(poisons))]
		sent[p.reason]++
		total++
		_, err := conn.Exec(ctx, `select pgmq.send('order_queue', $1::jsonb)`, pgx.QueryExecModeExec, p.message)
		return err
	})
	if err != nil {
		return err
	}
	r.ended()
	if err := r.account(ctx); err != nil {
		return err
	}
	for reason, want := range sent {
		got, err := r.scalar(ctx, `select count(*) from pgmq.q_order_queue_dlq where headers->'orderflow-dead'->>'reason' = $1`, reason)
		if err != nil {
			return err
		}
		r.check(got == want, "dead letters with the reason "+reason, got, want)
	}
	all, err := r.scalar(ctx, `select count(*) from pgmq.q_order_queue_dlq`)
	if err != nil {
		return err
	}
	r.check(all == total, "dead letters", all, fmt.Sprintf("%d, one of each poison and no order", total))
	r.check(r.result.Retried == 0, "orders disturbed by their neighbours", r.result.Retried, 0)
	return nil
}

func heldXmin(ctx context.Context, r *Rig) error {
	if err := r.up(ctx, settings{consumers: 2, consumer: []string{"SIMULATE_WORK=0", "SIMULATE_FAILURES=none"}}); err != nil {
		return err
	}
	conn, err := r.connect(ctx)
	if err != nil {
		return err
	}
	defer conn.Close(context.WithoutCancel(ctx))
	held := pick(r.plan, max(r.plan.Duration, 60*time.Second), r.plan.Duration)
	if err := r.loadFor(ctx, held+r.tail()); err != nil {
		return err
	}
	// A snapshot that stays: no dead version of a message can be removed as long as it is there.
	tx, err := conn.BeginTx(ctx, pgx.TxOptions{IsoLevel: pgx.RepeatableRead})
	if err != nil {
		return err
	}
	if _, err := tx.Exec(ctx, "select count(*) from public.orders"); err != nil {
		return err
	}
	if err := r.wait(ctx, held); err != nil {
		return err
	}
	if err := tx.Rollback(ctx); err != nil {
		return err
	}
	_, err = r.endQuick(ctx, "slowest order from POST to completed meanwhile")
	return err
}

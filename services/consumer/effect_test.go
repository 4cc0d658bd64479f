package main

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"

	"orderflow.example/kit/await"
	"orderflow.example/services/consumer/internal/dbtest"
)

// A consumer that is killed in the middle of its transactions, over and over, leaves each order with one effect. The shop's table has no
// constraint that a second one could run into.
func TestKilledConsumersLeaveOneEffectAnOrder(t *testing.T) {
	t.Parallel()
	db := dbtest.New(t)
	db.Exec(`create schema shop;
		create table shop.shipments (order_id bigint, quantity integer);
		create function shop.fulfil(orders public.orders[]) returns void language plpgsql as $$ begin
			insert into shop.shipments select o.id, o.quantity from unnest(orders) as o;
			perform pg_sleep(0.02);
		end $$`)
	const orders, kills = 2000, 8
	program := filepath.Join(t.TempDir(), "consumer")
	if output, err := exec.CommandContext(t.Context(), "go", "build", "-o", program, ".").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, output)
	}
	var log bytes.Buffer
	start := func() *exec.Cmd {
		c := exec.CommandContext(t.Context(), program)
		c.Env = append(os.Environ(), "DATABASE_URL="+db.URL, "HANDLER=sql", "EFFECT_FUNCTION=shop.fulfil", "VT=1", "METRICS_PORT=-1", "LOG_FORMAT=json")
		c.Stderr, c.Stdout = &log, &log
		if err := c.Start(); err != nil {
			t.Fatal(err)
		}
		return c
	}
	db.Publish(orders)
	for kill := range kills {
		c := start()
		await.True(t, "it gets on", func() bool { return db.Audit().Completed > kill*orders/20 })
		if err := c.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		_ = c.Wait() // killed
	}
	c := start()
	await.True(t, "all orders are completed", func() bool { return db.Audit().Completed == orders })
	_ = c.Process.Signal(syscall.SIGTERM)
	if err := c.Wait(); err != nil {
		t.Errorf("%v\n%s", err, &log)
	}
	if a := db.Audit(); a.Queued != 0 || a.Letters != 0 || a.Duplicated != 0 {
		t.Errorf("%+v", a)
	}
	if effects, orders := dbtest.One[int](db, `select count(*) from shop.shipments`), dbtest.One[int](db, `select count(distinct order_id) from shop.shipments`); effects != 2000 || orders != 2000 {
		t.Errorf("%d effects of %d orders", effects, orders)
	}
}

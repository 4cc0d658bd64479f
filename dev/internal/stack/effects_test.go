package stack_test

import (
	"context"
	"net/url"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"orderflow.example/dev/internal/postgres"
	"orderflow.example/dev/internal/session"
	"orderflow.example/dev/internal/stack"
	"orderflow.example/kit/testdb"
)

// What is not one row for each completed order is counted for what it is.
func TestCountEffects(t *testing.T) {
	t.Parallel()
	database := testdb.New(t)
	if err := stack.CreateEffects(t.Context(), database, 0, false); err != nil {
		t.Fatal(err)
	}
	conn, err := pgx.Connect(t.Context(), database)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(t.Context())
	for _, statement := range []string{
		`insert into public.orders (customer_name, product_name, quantity, price, status) select 'c', 'p', 1, 1, case when n <= 8 then 'completed' else 'dead' end from generate_series(1, 10) as n`,
		`select shop.fulfil(array_agg(o)) from public.orders as o where o.status = 'completed' and o.product_name = 'p'`,
	} {
		if _, err := conn.Exec(t.Context(), statement); err != nil {
			t.Fatal(err)
		}
	}
	expect := func(want stack.Effects) {
		t.Helper()
		if got, err := stack.CountEffects(t.Context(), database); err != nil || got != want {
			t.Errorf("%+v, %v, want %+v", got, err, want)
		}
	}
	expect(stack.Effects{Rows: 8})
	for _, statement := range []string{
		`delete from shop.effects where order_id = (select min(order_id) from shop.effects)`,
		`select shop.fulfil(array_agg(o)) from public.orders as o where o.status = 'dead'`,
		`insert into shop.effects (order_id, created_at) select order_id, created_at from shop.effects order by order_id limit 1`,
		`insert into shop.effects (order_id, created_at) select max(id), '2000-01-01' from public.orders`,
	} {
		if _, err := conn.Exec(t.Context(), statement); err != nil {
			t.Fatal(err)
		}
	}
	expect(stack.Effects{Rows: 11, Twice: 1, Missing: 1, Foreign: 3})
}

// After a failover the first host of an address may be a standby, and behind: what has been written twice is on the server that takes writes.
func TestEffectsAreCountedWhereTheyAreWritten(t *testing.T) {
	t.Parallel()
	s, err := session.Open()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	g, err := postgres.StartGroup(t.Context(), postgres.Options{Session: s}, 2, "remote_write")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := g.Close(context.WithoutCancel(t.Context())); err != nil {
			t.Error(err)
		}
	})
	standby := g.Standbys()[0]
	exec := func(m *postgres.Member, sql string) {
		t.Helper()
		if err := m.Exec(t.Context(), sql); err != nil {
			t.Fatal(err)
		}
	}
	exec(g.Primary, `create table public.orders (id bigint, created_at timestamptz, status text, message_id bigint, attempts integer)`)
	exec(g.Primary, `insert into public.orders values (1, now(), 'completed', 1, 1)`)
	hosts := strings.Split(host(t, g.URL()), ",")
	standbyFirst := strings.Replace(g.URL(), strings.Join(hosts, ","), hosts[1]+","+hosts[0], 1)
	if err := stack.CreateEffects(t.Context(), standbyFirst, 0, false); err != nil {
		t.Fatal(err)
	}
	exec(standby, `select pg_wal_replay_pause()`)
	exec(g.Primary, `select shop.fulfil(array_agg(o)) from public.orders as o, generate_series(1, 2)`)
	if got, err := stack.CountEffects(t.Context(), standbyFirst); err != nil || got != (stack.Effects{Rows: 2, Twice: 1}) {
		t.Errorf("%+v, %v", got, err)
	}
}

func host(t *testing.T, address string) string {
	t.Helper()
	u, err := url.Parse(address)
	if err != nil {
		t.Fatal(err)
	}
	return u.Host
}

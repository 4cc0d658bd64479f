package dashboard

import (
	"slices"
	"testing"

	"orderflow.example/kit/testdb"
)

// An id at the end of what a column can hold, which a hand has written, keeps nobody from counting the others.
func TestAbsurdIdsAreNotInTheBalancesWay(t *testing.T) {
	t.Parallel()
	s, url := openStore(t)
	counter := &sampler{store: s}
	conn := testdb.Connect(t, url)
	for _, ids := range []string{
		`-9223372036854775808, 9223372036854775807, 4611686018427387904, -4611686018427387905`,
		`1, 2, 10001, -1`, // and those that come later
	} {
		if _, err := conn.Exec(t.Context(), `
			insert into public.orders (id, customer_name, product_name, quantity, price, status) select id, 'c', 'p', 1, 1, 'completed' from unnest(array[`+ids+`]) id`); err != nil {
			t.Fatal(err)
		}
		if err := counter.recount(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	found, err := s.look(t.Context(), 0, nil)
	if err != nil {
		t.Fatal(err)
	}
	if b := found.counts.balance(found.now); b.State != stateBalanced || b.Completed != 4 {
		t.Errorf("%+v", b)
	}
}

// A clock that was far ahead for a while has told when ranges were looked at. They are not left until then, nor until all others have been.
func TestWhatAClockAheadHasCountedIsCountedAgain(t *testing.T) {
	t.Parallel()
	s, url := openStore(t)
	counter := &sampler{store: s}
	conn := testdb.Connect(t, url)
	if _, err := conn.Exec(t.Context(), `
		insert into orders (id, customer_name, product_name, quantity, price, status, completed_at)
		select g * 10000 + 1, 'Zoë', 'tea', 1, 1, case when g < 2 then 'completed' else 'pending' end, case when g < 2 then now() end
		from generate_series(0, 4) g`); err != nil {
		t.Fatal(err)
	}
	for first := range int64(5) {
		if err := counter.count(t.Context(), first*rangeSize); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := conn.Exec(t.Context(), `
		update orderflow.order_counts
		set begun_at = now() - interval '1 hour', checked_at = now() + case first_id when 0 then interval '1 year' when 30000 then '2 years' else '-1 hour' end`); err != nil {
		t.Fatal(err)
	}
	due, err := counter.due(t.Context())
	if want := []int64{40_000, 30_000, 20_000, 0, 30_000}; err != nil || !slices.Equal(due, want) {
		t.Errorf("due are %v, want %v (%v)", due, want, err)
	}
}

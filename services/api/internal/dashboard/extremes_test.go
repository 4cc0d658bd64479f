package dashboard

import (
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

package dashboard

import (
	"testing"
	"time"

	"orderflow.example/kit/testdb"
	"orderflow.example/services/api/internal/database"
	"orderflow.example/services/api/internal/queue"
)

// An id at the end of what a column can hold, which a hand has written, keeps nobody from counting the others.
func TestAbsurdIdsAreNotInTheBalancesWay(t *testing.T) {
	t.Parallel()
	url := testdb.New(t)
	pool, err := database.NewPool(t.Context(), testdb.Config(t, url, time.Minute), 2, database.Timeouts(time.Minute))
	if err != nil {
		t.Fatal(err)
	}
	defer pool.Close()
	messages := queue.New(pool, "order_queue")
	watcher := queue.NewWatcher(messages)
	defer watcher.Close()
	s := &store{db: pool, queue: messages, watcher: watcher}
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

package chaos

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"orderflow.example/kit/await"
	"orderflow.example/kit/testdb"
)

// The prober's orders have no key. Still what is written twice is seen, and what is lost, also behind an id that another order has got since.
func TestTheProbersOrdersAreKnown(t *testing.T) {
	t.Parallel()
	const (
		columns = `customer_name, product_name, quantity, price, status, effects, attempts, created_at, completed_at`
		again   = `insert into orders (` + columns + `) select ` + columns + ` from orders where product_name = `
	)
	for name, test := range map[string]struct {
		after              string // what is done to the orders, three of which were answered 201, and a fourth one with nothing that says what became of it
		doubled, completed int64
	}{
		"as they were answered":                       {completed: 3},
		"one is written twice":                        {again + `'Probe 1'`, 1, 3},
		"the one whose end nobody knows, twice":       {again + `'Probe 4'`, 1, 3},
		"and not at all":                              {`delete from orders where product_name = 'Probe 4'`, 0, 3},
		"two, three times":                            {again + `'Probe 1'; ` + again + `'Probe 2'; ` + again + `'Probe 3'`, 3, 3},
		"another prober's":                            {`insert into orders (customer_name, product_name, quantity, price) values ('Prober 2', 'Probe 1', 1, 1)`, 0, 3},
		"somebody's who posts the same twice":         {`insert into orders (customer_name, product_name, quantity, price) values ('c', 'Probe 1', 1, 1), ('c', 'Probe 1', 1, 1)`, 0, 3},
		"one is lost":                                 {`delete from orders where product_name = 'Probe 2'`, 0, 2},
		"one is lost, and its id was given again":     {`update orders set created_at = created_at + interval '1 microsecond' where product_name = 'Probe 2'`, 0, 2},
		"to another one of the prober's, at once":     {`update orders set product_name = 'Probe 9' where product_name = 'Probe 2'`, 0, 2},
		"to another customer's":                       {`update orders set customer_name = 'c' where product_name = 'Probe 2'`, 0, 2},
		"one is pending":                              {`update orders set status = 'pending', completed_at = null where product_name = 'Probe 2'`, 0, 2},
		"one is lost, and another one is there twice": {`delete from orders where product_name = 'Probe 2'; ` + again + `'Probe 1'`, 1, 2},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := &Rig{databaseURL: testdb.New(t)}
			server := httptest.NewServer(shop(t, r))
			t.Cleanup(server.Close)
			p := newProber(1, server.URL)
			t.Cleanup(p.client.CloseIdleConnections)
			p.client.Timeout = await.Limit() // none of the answers is late
			for range 4 {
				p.post(t.Context())
			}
			if test.after != "" {
				if err := r.sql(t.Context(), test.after); err != nil {
					t.Fatal(err)
				}
			}
			l, err := r.readLedger(t.Context())
			if err != nil || l.doubled != test.doubled {
				t.Errorf("%d there twice, %v; want %d", l.doubled, err, test.doubled)
			}
			accepted := p.accepted()
			if n, err := r.completed(t.Context(), p.customer, accepted); err != nil || len(accepted) != 3 || n != test.completed {
				t.Errorf("%d completed of %d, %v; want %d of 3", n, len(accepted), err, test.completed)
			}
		})
	}
}

// shop takes orders and completes them at once. Of the fourth it does not say so.
func shop(t *testing.T, r *Rig) http.Handler {
	t.Helper()
	return http.HandlerFunc(func(w http.ResponseWriter, request *http.Request) {
		var order struct {
			Customer string `json:"customer_name"`
			Product  string `json:"product_name"`
		}
		err := json.NewDecoder(request.Body).Decode(&order)
		if err != nil {
			t.Error(err)
		}
		conn, err := r.connect(request.Context())
		if err != nil {
			t.Error(err)
			return
		}
		defer conn.Close(request.Context())
		var id int64
		var created time.Time
		err = conn.QueryRow(request.Context(), `insert into orders (customer_name, product_name, quantity, price, status, effects, attempts, completed_at)
			values ($1, $2, 1, 1.5, 'completed', 1, 1, clock_timestamp()) returning id, created_at`, order.Customer, order.Product).Scan(&id, &created)
		if err != nil {
			t.Error(err)
			return
		}
		if order.Product == "Probe 4" {
			w.WriteHeader(http.StatusServiceUnavailable)
			return
		}
		w.WriteHeader(http.StatusCreated)
		fmt.Fprintf(w, `{"id": %d, "created_at": %q}`, id, created.UTC().Format("2006-01-02T15:04:05.000000-07:00")) // as the api writes times
	})
}

package orders_test

import (
	"encoding/json"
	"os"
	"regexp"
	"testing"

	"orderflow.example/services/api/internal/orders"
)

// What is published is what testdata/message.json says, of which the consumer has a copy.
func TestMessagesAreTheGoldenOnes(t *testing.T) {
	t.Parallel()
	raw, err := os.ReadFile("../../testdata/message.json")
	if err != nil {
		t.Fatal(err)
	}
	var golden []struct {
		Name          string
		Body, Headers json.RawMessage
	}
	if err := json.Unmarshal(raw, &golden); err != nil {
		t.Fatal(err)
	}
	b := newWriter(t, nil)
	timestamp := regexp.MustCompile(`^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}\+00:00$`)
	for _, g := range golden {
		var body struct {
			OrderID      int64           `json:"order_id"`
			CustomerName json.RawMessage `json:"customer_name"`
			ProductName  json.RawMessage `json:"product_name"`
			Quantity     json.RawMessage `json:"quantity"`
			Price        json.RawMessage `json:"price"`
			CreatedAt    string          `json:"created_at"`
		}
		var headers struct{ Traceparent string }
		if err := json.Unmarshal(g.Body, &body); err != nil {
			t.Fatal(err)
		}
		if err := json.Unmarshal(g.Headers, &headers); err != nil {
			t.Fatal(err)
		}
		request, err := json.Marshal(map[string]json.RawMessage{
			"customer_name": body.CustomerName, "product_name": body.ProductName, "quantity": body.Quantity, "price": body.Price,
		})
		if err != nil {
			t.Fatal(err)
		}
		order, _, err := (orders.Input{}).Decode(request)
		if err != nil {
			t.Fatalf("%s: %v", g.Name, err)
		}
		if _, err := b.db.Exec(t.Context(), `select setval('orders_id_seq', $1, false)`, body.OrderID); err != nil {
			t.Fatal(err)
		}
		result := b.mustWrite(t, orders.Request{Orders: []orders.Draft{order}, Traceparent: headers.Traceparent})
		var createdAt string
		var sameBody, sameText, sameHeaders bool
		err = b.db.QueryRow(t.Context(), `
			select
				q.message ->> 'created_at',
				q.message = $2::text::jsonb || jsonb_build_object('created_at', q.message -> 'created_at'),
				(q.message -> 'price')::text = ($2::text::jsonb -> 'price')::text,
				q.headers = $3::text::jsonb
			from pgmq.q_order_queue q
			where q.msg_id = $1`, result.Orders[0].MessageID, string(g.Body), string(g.Headers)).Scan(&createdAt, &sameBody, &sameText, &sameHeaders)
		if err != nil {
			t.Fatal(err)
		}
		if !sameBody || !sameText || !sameHeaders || !timestamp.MatchString(createdAt) || !timestamp.MatchString(body.CreatedAt) {
			t.Errorf("%s: body %v, price %v, headers %v, created_at %s", g.Name, sameBody, sameText, sameHeaders, createdAt)
		}
	}
}

// A consumer marks its first read of a message by making enqueued_at a microsecond later than created_at, and has nothing to write behind the
// body for it. So the two are the same when it is sent, in each of a batch.
func TestAMessageIsEnqueuedWhenItsOrderIsCreated(t *testing.T) {
	t.Parallel()
	b := newWriter(t, nil)
	order, _, err := (orders.Input{}).Decode([]byte(`{"customer_name": "A", "product_name": "B", "quantity": 1, "price": 2}`))
	if err != nil {
		t.Fatal(err)
	}
	b.mustWrite(t, orders.Request{Orders: []orders.Draft{order, order, order}})
	var messages, same int
	if err := b.db.QueryRow(t.Context(), `
		select count(*), count(*) filter (where q.enqueued_at = o.created_at and q.vt = o.created_at
			and q.message ->> 'created_at' = to_char(q.enqueued_at at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"+00:00"'))
		from pgmq.q_order_queue q join public.orders o on o.message_id = q.msg_id`).Scan(&messages, &same); err != nil {
		t.Fatal(err)
	}
	if messages != 3 || same != 3 {
		t.Errorf("%d messages, %d of them enqueued when their orders were created", messages, same)
	}
}

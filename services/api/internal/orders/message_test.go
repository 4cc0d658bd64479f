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

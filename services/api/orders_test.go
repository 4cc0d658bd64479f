package main

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"orderflow.example/kit/await"
	"orderflow.example/kit/testdb"
)

func TestPostWritesOrderAndMessageTogether(t *testing.T) {
	t.Parallel()
	url := testdb.New(t)
	s := started(t, map[string]string{"DATABASE_URL": url})

	const parent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
	created := s.post(t, "/orders", `{"customer_name":"Zoë","product_name":"寿司 🍣","quantity":3,"price":1e1}`, "traceparent", parent)
	if created.status != http.StatusCreated {
		t.Fatalf("got %d %s", created.status, created.body)
	}
	order := created.json(t)
	for field, want := range map[string]string{
		"customer_name": "Zoë", "product_name": "寿司 🍣", "quantity": "3", "price": "10.00", "status": "pending",
		"attempts": "0", "effects": "0", "last_error": "<nil>", "completed_at": "<nil>", "processed_by": "<nil>", "idempotency_key": "<nil>",
	} {
		if got := fmt.Sprint(order[field]); got != want {
			t.Errorf("%s is %s, want %s", field, got, want)
		}
	}
	if location := created.header.Get("Location"); location != fmt.Sprintf("/orders/%s", order["id"]) {
		t.Errorf("Location is %s", location)
	}
	if stored := s.get(t, created.header.Get("Location")); stored.status != http.StatusOK || strings.TrimSpace(stored.body) != created.body {
		t.Errorf("GET answers\n%s\nPOST answered\n%s", stored.body, created.body)
	}

	messages := s.get(t, "/messages?limit=5").json(t)["messages"].([]any)
	if len(messages) != 1 {
		t.Fatalf("%d messages", len(messages))
	}
	message := messages[0].(map[string]any)
	if fmt.Sprint(message["msg_id"]) != fmt.Sprint(order["message_id"]) || fmt.Sprint(message["read_ct"]) != "0" {
		t.Errorf("message is %v", message)
	}
	body := message["message"].(map[string]any)
	if len(body) != 6 {
		t.Errorf("the message has other fields than the example's: %v", body)
	}
	for field, of := range map[string]string{
		"order_id": "id", "customer_name": "customer_name", "product_name": "product_name", "quantity": "quantity", "price": "price", "created_at": "created_at",
	} {
		if fmt.Sprint(body[field]) != fmt.Sprint(order[of]) {
			t.Errorf("the message's %s is %v, the order's %v", field, body[field], order[of])
		}
	}
	headers := message["headers"].(map[string]any)
	handed, _ := headers["traceparent"].(string)
	if fmt.Sprint(headers["schema"]) != "1" || handed != parent {
		t.Errorf("headers are %v", headers)
	}
}

// One request each. None may leave a row behind, and every answer names what is wrong.
func TestBadInputIsRefusedByName(t *testing.T) {
	t.Parallel()
	url := testdb.New(t)
	s := started(t, map[string]string{"DATABASE_URL": url, "BODY_LIMIT": "2MiB"})
	with := func(field, value string) string {
		fields := map[string]string{"customer_name": `"c"`, "product_name": `"p"`, "quantity": "1", "price": "1"}
		fields[field] = value
		return fmt.Sprintf(`{"customer_name":%s,"product_name":%s,"quantity":%s,"price":%s}`,
			fields["customer_name"], fields["product_name"], fields["quantity"], fields["price"])
	}
	good := with("price", "1")
	tests := []struct {
		name, method, path, body, headers string
		status                            int
		location                          string
	}{
		{name: "malformed JSON", body: `{"customer_name":`, status: 400, location: "body.customer_name"},
		{name: "cut off", body: `{"customer_name":"c"`, status: 400, location: "body"},
		{name: "malformed value", body: with("price", "1.2.3"), status: 400, location: "body"},
		{name: "no body", body: ``, status: 400, location: "body"},
		{name: "array", body: `[` + good + `]`, status: 422, location: "body"},
		{name: "missing field", body: `{"customer_name":"c","product_name":"p","quantity":1}`, status: 422, location: "body.price"},
		{name: "string for a number", body: with("quantity", `"one"`), status: 422, location: "body.quantity"},
		{name: "number for a string", body: with("customer_name", `1`), status: 422, location: "body.customer_name"},
		{name: "null", body: with("product_name", `null`), status: 422, location: "body.product_name"},
		{name: "empty string", body: with("customer_name", `""`), status: 422, location: "body.customer_name"},
		{name: "blank string", body: with("product_name", `"  "`), status: 422, location: "body.product_name"},
		{name: "name of 10 KB", body: with("customer_name", `"`+strings.Repeat("x", 10<<10)+`"`), status: 422, location: "body.customer_name"},
		{name: "name of 1 MB", body: with("customer_name", `"`+strings.Repeat("x", 1<<20)+`"`), status: 413, location: "body"},
		{name: "escaped NUL", body: with("customer_name", `"a\u0000"`), status: 422, location: "body.customer_name"},
		{name: "raw NUL", body: with("customer_name", "\"a\x00\""), status: 400, location: "body.customer_name"},
		{name: "quantity 0", body: with("quantity", "0"), status: 422, location: "body.quantity"},
		{name: "quantity -1", body: with("quantity", "-1"), status: 422, location: "body.quantity"},
		{name: "quantity 2^31", body: with("quantity", "2147483648"), status: 422, location: "body.quantity"},
		{name: "quantity 1.5", body: with("quantity", "1.5"), status: 422, location: "body.quantity"},
		{name: "price -1", body: with("price", "-1"), status: 422, location: "body.price"},
		{name: "price 0.001", body: with("price", "0.001"), status: 422, location: "body.price"},
		{name: "price NaN", body: with("price", "NaN"), status: 422, location: "body.price"},
		{name: "price 1e400", body: with("price", "1e400"), status: 422, location: "body.price"},
		{name: "price too large", body: with("price", "1e10"), status: 422, location: "body.price"},
		{name: "unknown field", body: with("price", `1,"colour":"red"`), status: 422, location: "body.colour"},
		{name: "field given twice", body: with("price", `1,"price":2`), status: 422, location: "body.price"},
		{name: "wrong content type", body: good, headers: "Content-Type: text/plain", status: 415, location: "header.Content-Type"},
		{name: "form", body: "customer_name=c", headers: "Content-Type: application/x-www-form-urlencoded", status: 415, location: "header.Content-Type"},
		{name: "compressed", body: good, headers: "Content-Encoding: gzip", status: 415, location: "header.Content-Encoding"},
		{name: "body too large", body: with("customer_name", `"`+strings.Repeat("x", 3<<20)+`"`), status: 413, location: "body"},
		{name: "long key", body: good, headers: "Idempotency-Key: " + strings.Repeat("k", 201), status: 422, location: "header.Idempotency-Key"},
		{name: "key with a space", body: good, headers: "Idempotency-Key: a b", status: 422, location: "header.Idempotency-Key"},
		{name: "key that is not ASCII", body: good, headers: "Idempotency-Key: kéy", status: 422, location: "header.Idempotency-Key"},
		{name: "batch without orders", path: "/orders/batch", body: `{"orders":[]}`, status: 422, location: "body.orders"},
		{name: "batch with a wrong one", path: "/orders/batch", body: `{"orders":[` + good + `,` + with("price", "-1") + `]}`, status: 422, location: "body.orders[1].price"},
		{name: "batch too long", path: "/orders/batch", body: `{"orders":[` + strings.Repeat(good+",", 1000) + good + `]}`, status: 422, location: "body.orders"},
		{name: "id abc", method: "GET", path: "/orders/abc", status: 422, location: "path.id"},
		{name: "id -1", method: "GET", path: "/orders/-1", status: 422, location: "path.id"},
		{name: "id 0", method: "GET", path: "/orders/0", status: 422, location: "path.id"},
		{name: "id beyond bigint", method: "GET", path: "/orders/99999999999999999999", status: 422, location: "path.id"},
		{name: "limit 0", method: "GET", path: "/orders?limit=0", status: 422, location: "query.limit"},
		{name: "limit 1001", method: "GET", path: "/orders?limit=1001", status: 422, location: "query.limit"},
		{name: "limit abc", method: "GET", path: "/messages?limit=abc", status: 422, location: "query.limit"},
		{name: "status", method: "GET", path: "/orders?status=lost", status: 422, location: "query.status"},
		{name: "forged cursor", method: "GET", path: "/orders?cursor=MTIzNDU2Nzg5MDEyMzQ1", status: 422, location: "query.cursor"},
		{name: "cursor that is no base64", method: "GET", path: "/orders?cursor=%27%3Bdrop", status: 422, location: "query.cursor"},
		{name: "NUL in a filter", method: "GET", path: "/orders?customer_name=a%00", status: 422, location: "query.customer_name"},
		{name: "filter that is not UTF-8", method: "GET", path: "/orders?customer_name=%ff", status: 422, location: "query.customer_name"},
		{name: "prefix that no key has", method: "GET", path: "/orders?idempotency_key_prefix=%C3%A9", status: 422, location: "query.idempotency_key_prefix"},
		{name: "misspelt filter", method: "GET", path: "/orders?statuss=dead", status: 422, location: "query.statuss"},
		{name: "filter of nothing", method: "GET", path: "/queue?x=1", status: 422, location: "query.x"},
		{name: "parameter that creating has not", path: "/orders?x=1", body: good, status: 422, location: "query.x"},
		{name: "parameter that a batch has not", path: "/orders/batch?dry_run=true", body: `{"orders":[` + good + `]}`, status: 422, location: "query.dry_run"},
		{name: "limit without a value", method: "GET", path: "/messages?limit=", status: 422, location: "query.limit"},
		{name: "limit that is only named", method: "GET", path: "/orders?limit", status: 422, location: "query.limit"},
		{name: "status without a value", method: "GET", path: "/orders?status=", status: 422, location: "query.status"},
		{name: "limit twice", method: "GET", path: "/orders?limit=1&limit=2", status: 422, location: "query.limit"},
		{name: "id that is not decoded to a number", method: "GET", path: "/orders/1%2F2", status: 422, location: "path.id"},
		{name: "id that is not UTF-8", method: "GET", path: "/orders/%ff", status: 422, location: "path.id"},
		{name: "zero-width name", body: with("customer_name", `"\u200b\u200d\ufeff"`), status: 422, location: "body.customer_name"},
		{name: "forged cursor of dead letters", method: "GET", path: "/dead-letters?cursor=x", status: 422, location: "query.cursor"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			method, path := test.method, test.path
			if method == "" {
				method = http.MethodPost
			}
			if path == "" {
				path = "/orders"
			}
			var headers []string
			if name, value, found := strings.Cut(test.headers, ": "); found {
				headers = []string{name, value}
			}
			if test.body == "" && method == http.MethodPost {
				headers = append(headers, "Content-Type", "application/json")
			}
			a := s.do(t, method, path, test.body, headers)
			if a.status != test.status || a.header.Get("Content-Type") != "application/problem+json" {
				t.Fatalf("got %d %s: %.300s", a.status, a.header.Get("Content-Type"), a.body)
			}
			if len(a.body) > 2000 {
				t.Errorf("the answer has %d bytes", len(a.body))
			}
			problem := a.json(t)
			if id, _ := problem["trace_id"].(string); len(id) != 32 {
				t.Errorf("trace_id is %v", problem["trace_id"])
			}
			wrong, _ := problem["errors"].([]any)
			if len(wrong) == 0 {
				t.Fatalf("nothing is named: %s", a.body)
			}
			if first := wrong[0].(map[string]any); first["location"] != test.location || first["message"] == "" {
				t.Errorf("names %v (%v), want %s", first["location"], first["message"], test.location)
			}
		})
	}
	if n := count(t, url, "select (select count(*) from orders) + (select count(*) from pgmq.q_order_queue)"); n != 0 {
		t.Errorf("%d rows were left behind", n)
	}
}

func TestMoreIsWrongThanIsNamed(t *testing.T) {
	t.Parallel()
	s := started(t, map[string]string{"DATABASE_URL": testdb.New(t)})
	a := s.post(t, "/orders/batch", `{"orders":[`+strings.Repeat(`{},`, 30)+`{}]}`)
	if got := a.json(t)["detail"]; got != "at least 20 values are wrong" {
		t.Errorf("got %v", got)
	}
}

func TestPathsAndMethodsThatAreNot(t *testing.T) {
	t.Parallel()
	s := started(t, map[string]string{"DATABASE_URL": testdb.New(t)})
	for _, test := range []struct {
		method, path string
		status       int
	}{
		{"GET", "/nothing", 404},
		{"GET", "/orders/1", 404},
		{"POST", "/health", 405},
		{"PUT", "/orders", 405},
		{"DELETE", "/orders/1", 405},
		{"PATCH", "/", 405},
		{"GET", "/orders/1/2", 404},
	} {
		a := s.do(t, test.method, test.path, "", []string{"traceparent", "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"})
		if a.status != test.status || a.header.Get("Content-Type") != "application/problem+json" {
			t.Errorf("%s %s: got %d %s %s", test.method, test.path, a.status, a.header.Get("Content-Type"), a.body)
			continue
		}
		if id := a.json(t)["trace_id"]; id != "4bf92f3577b34da6a3ce929d0e0e4736" {
			t.Errorf("%s %s: trace_id is %v, not the caller's", test.method, test.path, id)
		}
		if test.status == 405 && a.header.Get("Allow") == "" {
			t.Errorf("%s %s: no Allow header", test.method, test.path)
		}
	}
	if got := s.get(t, "/orders/1").json(t)["detail"]; got != "Order not found" {
		t.Errorf("the detail of an order that is not there is %v", got)
	}
	if a := s.do(t, "OPTIONS", "/orders", "", nil); a.status != 204 || a.header.Get("Allow") != "GET, HEAD, POST" {
		t.Errorf("OPTIONS: got %d, Allow %q", a.status, a.header.Get("Allow"))
	}
	if a := s.do(t, "HEAD", "/health", "", nil); a.status != 200 || a.body != "" {
		t.Errorf("HEAD: got %d %q", a.status, a.body)
	}
	if a := s.get(t, "/health"); a.body != `{"status":"ok"}` || a.header.Get("Content-Type") != "application/json" {
		t.Errorf("GET /health: got %q", a.body)
	}
}

// On the extension, where there is one, and on the SQL-only PGMQ: each order gets the message that is about it.
func TestBothFlavoursOfPGMQ(t *testing.T) {
	t.Parallel()
	for _, install := range []string{"auto", "sql"} {
		t.Run(install, func(t *testing.T) {
			t.Parallel()
			db := testdb.Empty(t)
			s := started(t, map[string]string{"DATABASE_URL": db, "MIGRATE_ON_START": "true", "PGMQ_INSTALL": install})
			var batch []string
			for i := range 300 {
				batch = append(batch, orderJSON(i))
			}
			body := `{"orders":[` + strings.Join(batch, ",") + `]}`
			s.place(t, "/orders/batch", body, "Idempotency-Key", "k")
			if a := s.post(t, "/orders/batch", body, "Idempotency-Key", "k"); a.status != http.StatusCreated || a.header.Get("Idempotency-Replayed") != "true" {
				t.Errorf("replay: got %d %.200s", a.status, a.body)
			}
			if a := s.post(t, "/orders", orderJSON(1)); a.status != http.StatusCreated {
				t.Errorf("got %d %s", a.status, a.body)
			}
			if n := count(t, db, `
				select count(*) from orders o join pgmq.q_order_queue q on q.msg_id = o.message_id
				where (q.message ->> 'order_id')::bigint = o.id and q.message ->> 'customer_name' = o.customer_name`); n != 301 {
				t.Errorf("%d orders have their message", n)
			}
			for _, path := range []string{"/messages", "/queue", "/dead-letters"} {
				if a := s.get(t, path); a.status != http.StatusOK {
					t.Errorf("GET %s: %d %s", path, a.status, a.body)
				}
			}
		})
	}
}

// The queue's name appears in table names, a channel and functions' arguments. Whatever a name may be, all calls work.
func TestQueueOfAnotherName(t *testing.T) {
	t.Parallel()
	s := started(t, map[string]string{
		"DATABASE_URL": testdb.Empty(t), "MIGRATE_ON_START": "true", "QUEUE_NAME": "_My-Queue_With-A-Name-That-Is-As-Long-As-43", "ADMIN_TOKEN": "sesame",
	})
	s.place(t, "/orders", orderJSON(1))
	for _, path := range []string{"/messages", "/queue", "/dead-letters"} {
		if a := s.get(t, path); a.status != http.StatusOK {
			t.Errorf("GET %s: %d %s", path, a.status, a.body)
		}
	}
	await.True(t, "the order is counted", func() bool { // what was seen of the queue is kept for a moment
		return fmt.Sprint(s.get(t, "/queue").json(t)["depth"]) == "1"
	})
	if a := s.post(t, "/dead-letters/redrive", `{"all":true}`, "Authorization", "Bearer sesame"); a.status != http.StatusOK {
		t.Errorf("redrive: %d %s", a.status, a.body)
	}
	if a := s.do(t, http.MethodDelete, "/dead-letters/1", "", []string{"Authorization", "Bearer sesame"}); a.status != http.StatusNotFound {
		t.Errorf("delete: %d %s", a.status, a.body)
	}
}

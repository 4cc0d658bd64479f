package main

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"net/http"
	"os"
	"strconv"
	"strings"
	"testing"

	"orderflow.example/kit/testdb"
)

// exampleCase is a request in testdata/example.json, with what the FastAPI example answers to it; the file says how that was
// found out.
type exampleCase struct {
	Name, Method, Path string
	ContentType        string `json:"content_type"`
	Body               string
	BodyHex            string `json:"body_hex"`
	Recorded           struct {
		Status int
		Price  float64
		Detail json.RawMessage
	}
	Pydantic2 *struct {
		Status int
		Loc    []any
	}
	Departs  *struct{ Status int }
	Default  int
	Price    string
	Quantity int
	Customer *string
}

type exampleDetail struct {
	Loc  []any
	Type string
	Msg  string
}

func exampleCases(t *testing.T) []exampleCase {
	t.Helper()
	raw, err := os.ReadFile("testdata/example.json")
	if err != nil {
		t.Fatal(err)
	}
	var file struct{ Cases []exampleCase }
	if err := json.Unmarshal(raw, &file); err != nil {
		t.Fatal(err)
	}
	if len(file.Cases) < 100 {
		t.Fatalf("%d cases", len(file.Cases))
	}
	return file.Cases
}

func (s *service) example(t *testing.T, c *exampleCase) answer {
	t.Helper()
	body := c.Body
	if c.BodyHex != "" {
		raw, err := hex.DecodeString(c.BodyHex)
		if err != nil {
			t.Fatal(err)
		}
		body = string(raw)
	}
	req, err := http.NewRequestWithContext(context.Background(), c.Method, s.url+c.Path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	if c.ContentType != "" {
		req.Header.Set("Content-Type", c.ContentType)
	}
	resp, err := client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	raw, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return answer{resp.StatusCode, resp.Header, string(raw)}
}

// stored checks an accepted order against what the table says is stored.
func (s *service) stored(t *testing.T, c *exampleCase, a answer) {
	t.Helper()
	order := s.get(t, a.header.Get("Location")).json(t)
	if c.Price != "" && fmt.Sprint(order["price"]) != c.Price {
		t.Errorf("the price is %v, want %s", order["price"], c.Price)
	}
	if c.Quantity != 0 && fmt.Sprint(order["quantity"]) != strconv.Itoa(c.Quantity) {
		t.Errorf("the quantity is %v, want %d", order["quantity"], c.Quantity)
	}
	if c.Customer != nil && order["customer_name"] != *c.Customer {
		t.Errorf("the customer is %q, want %q", order["customer_name"], *c.Customer)
	}
}

func TestStrictInputAgainstTheExample(t *testing.T) {
	t.Parallel()
	s := started(t, map[string]string{"DATABASE_URL": testdb.New(t)})
	s.place(t, "/orders", orderJSON(1))
	for _, c := range exampleCases(t) {
		t.Run(c.Name, func(t *testing.T) {
			a := s.example(t, &c)
			if a.status != c.Default {
				t.Fatalf("got %d %.300s, want %d", a.status, a.body, c.Default)
			}
			switch {
			case a.status == http.StatusCreated:
				s.stored(t, &c, a)
				if strings.Contains(a.body, "warnings") {
					t.Errorf("something was changed: %s", a.body)
				}
			case a.status >= 400 && a.header.Get("Content-Type") != "application/problem+json":
				t.Errorf("the answer is %s", a.header.Get("Content-Type"))
			}
		})
	}
}

func TestExampleInputAgainstTheExample(t *testing.T) {
	t.Parallel()
	s := started(t, map[string]string{"DATABASE_URL": testdb.New(t), "INPUT": "example"})
	s.place(t, "/orders", orderJSON(1))
	for _, c := range exampleCases(t) {
		t.Run(c.Name, func(t *testing.T) {
			want := c.Recorded.Status
			if c.Pydantic2 != nil {
				want = c.Pydantic2.Status
			}
			if c.Departs != nil {
				want = c.Departs.Status
			}
			a := s.example(t, &c)
			if a.status != want {
				t.Fatalf("got %d %.300s, want %d", a.status, a.body, want)
			}
			switch a.status {
			case http.StatusCreated:
				s.stored(t, &c, a)
				price, _ := strconv.ParseFloat(c.Price, 64)
				rounded := c.Price != "" && math.Abs(price-c.Recorded.Price) > 1e-6
				warnings, _ := a.json(t)["warnings"].([]any)
				if rounded != (len(warnings) == 1 && strings.Contains(fmt.Sprint(warnings[0]), " was rounded from ")) || !rounded && len(warnings) > 0 {
					t.Errorf("rounded: %v, and the answer says %v", rounded, warnings)
				}
			case http.StatusUnprocessableEntity:
				var got struct{ Detail []exampleDetail }
				if err := json.Unmarshal([]byte(a.body), &got); err != nil || len(got.Detail) == 0 || a.header.Get("Content-Type") != "application/json" {
					t.Fatalf("the answer is not FastAPI's: %v, %s %s", err, a.header.Get("Content-Type"), a.body)
				}
				for _, d := range got.Detail {
					if len(d.Loc) == 0 || d.Type == "" || d.Msg == "" {
						t.Errorf("an error without its location, type or message: %s", a.body)
					}
				}
				c.compare(t, got.Detail)
			case http.StatusNotFound:
				if detail, _ := a.json(t)["detail"].(string); strings.HasPrefix(c.Path, "/orders/") && detail != "Order not found" {
					t.Errorf("the detail is %q", detail)
				}
			}
		})
	}
}

// compare holds the errors against the example's.
func (c *exampleCase) compare(t *testing.T, got []exampleDetail) {
	t.Helper()
	var want []exampleDetail
	if json.Unmarshal(c.Recorded.Detail, &want) != nil || c.Departs != nil {
		return // it answered with something else
	}
	if c.Pydantic2 != nil && c.Pydantic2.Loc != nil {
		want = []exampleDetail{{Loc: c.Pydantic2.Loc}}
	}
	if len(got) != len(want) {
		t.Fatalf("%d errors, want %v", len(got), want)
	}
	for i := range want {
		if strings.HasSuffix(want[i].Type, ".jsondecode") {
			if got[i].Type != "json_invalid" || got[i].Loc[0] != "body" {
				t.Errorf("got %v for malformed JSON", got[i])
			}
			continue
		}
		if fmt.Sprint(got[i].Loc) != fmt.Sprint(want[i].Loc) || strings.HasSuffix(want[i].Type, ".missing") != (got[i].Type == "missing") && c.Pydantic2 == nil {
			t.Errorf("got %v, want %v", got[i], want[i])
		}
	}
}

// A batch is read as an order is, and says of each what was changed.
func TestExampleInputInABatch(t *testing.T) {
	t.Parallel()
	s := started(t, map[string]string{"DATABASE_URL": testdb.New(t), "INPUT": "example"})
	a := s.post(t, "/orders/batch", `{"orders":[`+orderJSON(1)+`,{"customer_name":"c","product_name":"p","quantity":"2","price":3.3333333333333335,"x":1}]}`, "Idempotency-Key", "k")
	if a.status != http.StatusCreated {
		t.Fatalf("got %d %s", a.status, a.body)
	}
	answer := a.json(t)
	if warnings := fmt.Sprint(answer["warnings"]); warnings != "[body.orders[1].price was rounded from 3.3333333333333335 to 3.33]" {
		t.Errorf("it says %s", warnings)
	}
	if price := fmt.Sprint(answer["orders"].([]any)[1].(map[string]any)["price"]); price != "3.33" {
		t.Errorf("the price is %s", price)
	}
	a = s.post(t, "/orders/batch", `{"orders":[{"customer_name":"c","product_name":"p","quantity":0,"price":1}]}`)
	if a.status != http.StatusUnprocessableEntity || !strings.Contains(a.body, `"loc":["body","orders",0,"quantity"]`) {
		t.Errorf("got %d %s", a.status, a.body)
	}
}

package orders_test

import (
	"bytes"
	"encoding/json"
	"math"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"orderflow.example/services/loadgen/internal/orders"
)

func TestOrdersHaveTheExamplesData(t *testing.T) {
	t.Parallel()
	for n, want := range map[int]string{
		0:   `{"customer_name":"Customer 0","product_name":"Product 0","quantity":1,"price":10.0}`,
		99:  `{"customer_name":"Customer 99","product_name":"Product 99","quantity":10,"price":59.0}`,
		123: `{"customer_name":"Customer 123","product_name":"Product 123","quantity":4,"price":33.0}`,
	} {
		if got := string(orders.AppendJSON(nil, n)); got != want {
			t.Errorf("%d: %s", n, got)
		}
	}
}

func TestAnOrderIsRecognisedByItsData(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		index, n := rapid.IntRange(0, 1000).Draw(t, "index"), rapid.IntRange(0, 99_999_999).Draw(t, "n")
		var d orders.Data
		if err := json.Unmarshal(orders.AppendJSON(nil, orders.Number(index, n)), &d); err != nil {
			t.Fatal(err)
		}
		number, ok := d.Number()
		if i, m := orders.Place(number); !ok || i != index || m != n {
			t.Fatalf("%+v: %d of %d, %v", d, m, i, ok)
		}
		if text := d.Deviation(orders.Of(number)); text != "" {
			t.Fatalf("%+v: %s", d, text)
		}
		for field, change := range map[string]func(d *orders.Data){
			"customer_name ": func(d *orders.Data) { d.Customer += "0" }, "product_name ": func(d *orders.Data) { d.Product = "" },
			"quantity ": func(d *orders.Data) { d.Quantity++ }, "price ": func(d *orders.Data) { d.Price -= 0.01 },
		} {
			other := d
			change(&other)
			if text := other.Deviation(d); !strings.HasPrefix(text, field) {
				t.Fatalf("another %s: %q", field, text)
			}
			if m, ok := other.Number(); ok {
				t.Fatalf("%+v is taken for order %d", other, m)
			}
		}
	})
	for _, name := range []string{"Customer ", "Customer x", "Customer 01", "Customer -1", "customer 1", "Customer 99999999999999999999", "Customer 1 "} {
		d := orders.Of(1)
		d.Customer = name
		if _, ok := d.Number(); ok {
			t.Errorf("%q is nobody's", name)
		}
	}
}

func TestKeysAreParsedAndSortAsSent(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		run := rapid.StringMatching(`[A-Za-z0-9._-]{1,20}`).Draw(t, "run")
		k := orders.Keys{Run: run, Index: rapid.IntRange(0, 99_999).Draw(t, "index")}
		n, bulk := rapid.IntRange(0, 1_000_000_000).Draw(t, "n"), rapid.IntRange(1, 1000).Draw(t, "bulk")
		key := k.String(n, bulk)
		index, got, ok := orders.Parse(run, key)
		if !ok || index != k.Index || got != n || !strings.HasPrefix(key, k.Prefix()) {
			t.Fatalf("%q: %d of %d, %v", key, got, index, ok)
		}
		if bulk > 1 && orders.Element(key) != n%bulk {
			t.Fatalf("%q is element %d", key, orders.Element(key))
		}
		if bulk == 1 && n < 999_999_999 && key >= k.String(n+1, 1) {
			t.Fatalf("%q does not sort before the next", key)
		}
		// Another run's keys are never this one's, also when its id begins with this one's or the other way round.
		other := orders.Keys{Run: run + "-" + rapid.StringMatching(`[0-9]{1,3}`).Draw(t, "more"), Index: rapid.IntRange(0, 99).Draw(t, "other index")}
		if _, _, ok := orders.Parse(run, other.String(n, bulk)); ok {
			t.Fatalf("%q is taken for one of %q", other.String(n, bulk), run)
		}
		if _, _, ok := orders.Parse(run, string(k.AppendWrong(nil, n))); ok {
			t.Fatal("the key of a wrong request is no order's")
		}
		for _, wrong := range []string{string(k.AppendWrong(nil, n)), string(k.AppendWrong(nil, n)) + orders.ElementSeparator + "3"} {
			if index, ok := orders.ParseWrong(run, wrong); !ok || index != k.Index {
				t.Fatalf("%q: %d, %v", wrong, index, ok)
			}
		}
		for _, none := range []string{key, string(other.AppendWrong(nil, n)), k.Prefix() + "x", k.Prefix() + "xyz"} {
			if _, ok := orders.ParseWrong(run, none); ok {
				t.Fatalf("%q is taken for the key of a wrong request of %q", none, run)
			}
		}
	})
}

func FuzzParseKey(f *testing.F) {
	f.Add("run", "run-0-000000001")
	f.Add("run", "run-3-000000064\x1f5")
	f.Add("a-0", "a-0-0-000000001")
	f.Fuzz(func(t *testing.T, run, key string) {
		if index, n, ok := orders.Parse(run, key); ok && (index < 0 || n < 0 || !strings.HasPrefix(key, run+"-")) {
			t.Fatalf("%q of %q: %d, %d", key, run, index, n)
		}
	})
}

func TestMixKeepsItsShares(t *testing.T) {
	t.Parallel()
	m := orders.Mix{Seed: 42, Poison: 0.1, Duplicate: 0.3}
	const all = 100_000
	counts := map[orders.Kind]int{}
	for i := range all {
		counts[m.Kind(i)]++
	}
	for kind, share := range map[orders.Kind]float64{orders.Valid: 0.6, orders.Poison: 0.1, orders.Duplicate: 0.3} {
		if got := float64(counts[kind]) / all; math.Abs(got-share) > 0.005 {
			t.Errorf("%s: %.4f", kind, got)
		}
	}
}

// Every poison is wrong in just the way that its name says, and none is an order.
func TestPoisonsAreNoOrders(t *testing.T) {
	t.Parallel()
	seen := map[string]bool{}
	for seq := range 200 {
		text := orders.AppendPoison(nil, 1, seq, 1)
		seen[orders.PoisonName(1, seq)] = true
		var d orders.Data
		if err := json.Unmarshal(text, &d); err == nil && d.Quantity > 0 && d.Price >= 0 && strings.TrimSpace(d.Customer) != "" && d.Product != "" &&
			!strings.Contains(d.Customer, "\x00") && len(d.Customer) < 1000 {
			t.Errorf("%s is an order", text)
		}
		if batch := orders.AppendPoison(nil, 1, seq, 3); !bytes.Contains(batch, text) {
			t.Errorf("%s does not hold %s", batch, text)
		}
	}
	if len(seen) != 10 {
		t.Errorf("kinds of poison: %v", seen)
	}
}

package client

import (
	"bytes"
	"encoding/json"
	"strconv"
	"testing"
)

// What the quick reader finds in an order, encoding/json finds too, and the other way round.
func FuzzReceipts(f *testing.F) {
	for _, seed := range []string{
		`{"id":1}`, `{"a":"id","id":12345678901,"b":{"id":2}}`, `{"x":"\"id\":5","id":"7"}`, `{"id":null}`, `{"id":1.5}`, `[{"id":1},{"id":2}]`, `{"orders":[{"id":3}]}`,
		`{"id"  :  9 }`, `{"\u0069d":4}`, `{"a":[1,"id",{"id":3}],"id":8}`, `{`, `}`, `"`, ``, `{"a":{"b":{"c":{"d":{"e":1}}}},"id":6}`,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		orders := appendReceipts(nil, body)
		var order map[string]json.RawMessage
		if json.Unmarshal(body, &order) != nil {
			return // not an order: nothing is promised but that it ends
		}
		if all, different := countNames(body); all != different || bytes.Contains(body, []byte(`\u`)) {
			return // a name twice, or in escapes: encoding/json takes the last one, this reader the first plain one
		}
		var want whole
		if raw, ok := order["id"]; ok {
			_ = json.Unmarshal(raw, &want)
		}
		plain := strconv.FormatInt(int64(want), 10)
		if raw := string(order["id"]); want > 0 && (raw == plain || raw == `"`+plain+`"`) && (len(orders) != 1 || orders[0].id != int64(want)) {
			t.Fatalf("%s: found %v, not %d", body, orders, want)
		}
	})
}

// countNames is how many names the object has, and how many of them are different.
func countNames(body []byte) (all, different int) {
	names := map[string]bool{}
	d := json.NewDecoder(bytes.NewReader(body))
	depth, isName := 0, false
	for {
		token, err := d.Token()
		if err != nil {
			return all, len(names)
		}
		switch x := token.(type) {
		case json.Delim:
			if x == '{' || x == '[' {
				depth++
			} else {
				depth--
			}
			isName = depth == 1
		case string:
			if depth == 1 && isName {
				all++
				names[x] = true
				isName = false
				continue
			}
			isName = depth == 1
		default:
			isName = depth == 1
		}
	}
}

package orders

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"math/big"
	"strconv"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"orderflow.example/services/api/internal/strictjson"
)

const good = `{"customer_name":"Customer 1","product_name":"Product 1","quantity":2,"price":11.0}`

func TestDecodeTakesTheExamplesOrder(t *testing.T) {
	t.Parallel()
	order, _, err := (Input{}).Decode([]byte(good))
	if err != nil {
		t.Fatal(err)
	}
	if want := (Draft{"Customer 1", "Product 1", 2, 1100}); order != want {
		t.Fatalf("got %+v, want %+v", order, want)
	}
}

func body(field, value string) string {
	fields := map[string]string{"customer_name": `"c"`, "product_name": `"p"`, "quantity": "1", "price": "1"}
	fields[field] = value
	return fmt.Sprintf(`{"customer_name":%s,"product_name":%s,"quantity":%s,"price":%s}`,
		fields["customer_name"], fields["product_name"], fields["quantity"], fields["price"])
}

func TestDecodeNamesEveryFault(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name, body string
		want       []string // "location: message" of each fault
	}{
		{"array", `[]`, []string{"body: must be an object, not an array"}},
		{"null", `null`, []string{"body: must be an object, not null"}},
		{"string", `"x"`, []string{"body: must be an object, not a string"}},
		{"empty object", `{}`, []string{
			"body.customer_name: is required", "body.product_name: is required", "body.quantity: is required", "body.price: is required",
		}},
		{"one missing", `{"customer_name":"c","product_name":"p","quantity":1}`, []string{"body.price: is required"}},
		{"name of wrong type", body("customer_name", "1"), []string{"body.customer_name: must be a string, not a number"}},
		{"name null", body("product_name", "null"), []string{"body.product_name: must be a string, not null"}},
		{"name empty", body("customer_name", `""`), []string{"body.customer_name: must not be empty or blank"}},
		{"name blank", body("product_name", `" \t\u00a0"`), []string{"body.product_name: must not be empty or blank"}},
		{"name too long", body("customer_name", `"`+strings.Repeat("ü", 201)+`"`), []string{"body.customer_name: must have at most 200 characters"}},
		{"name of 1 MB", body("customer_name", `"`+strings.Repeat("x", 1<<20)+`"`), []string{"body.customer_name: must have at most 200 characters"}},
		{"NUL", body("customer_name", `"a\u0000b"`), []string{"body.customer_name: must not have a NUL character"}},
		{"half a surrogate pair", body("customer_name", `"\ud83d"`), []string{"body.customer_name: must be Unicode: it has half of a surrogate pair"}},
		{"quantity 0", body("quantity", "0"), []string{"body.quantity: must be at least 1"}},
		{"quantity -1", body("quantity", "-1"), []string{"body.quantity: must be at least 1"}},
		{"quantity 2^31", body("quantity", "2147483648"), []string{"body.quantity: must be at most 2147483647"}},
		{"quantity 1.5", body("quantity", "1.5"), []string{"body.quantity: must be a whole number"}},
		{"quantity in words", body("quantity", `"one"`), []string{"body.quantity: must be a number: the string is not one"}},
		{"quantity with space around it", body("quantity", `" 1"`), []string{"body.quantity: must be a number: the string is not one"}},
		{"quantity string", body("quantity", `"0"`), []string{"body.quantity: must be at least 1"}},
		{"quantity true", body("quantity", `true`), []string{"body.quantity: must be a number, not a boolean"}},
		{"quantity NaN", body("quantity", `NaN`), []string{"body.quantity: must be a finite number"}},
		{"price -1", body("price", "-1"), []string{"body.price: must not be negative"}},
		{"price 0.001", body("price", "0.001"), []string{"body.price: must have at most 2 decimals"}},
		{"price NaN", body("price", "NaN"), []string{"body.price: must be a finite number"}},
		{"price Infinity", body("price", "-Infinity"), []string{"body.price: must be a finite number"}},
		{"price 1e400", body("price", "1e400"), []string{"body.price: must be at most 9999999999.99"}},
		{"price 1e-400", body("price", "1e-400"), []string{"body.price: must have at most 2 decimals"}},
		{"price too large", body("price", "10000000000"), []string{"body.price: must be at most 9999999999.99"}},
		{"price string", body("price", `"1.001"`), []string{"body.price: must have at most 2 decimals"}},
		{"price with a comma", body("price", `"1,00"`), []string{"body.price: must be a number: the string is not one"}},
		{"price of infinity in a string", body("price", `"-Infinity"`), []string{"body.price: must be a number: the string is not one"}},
		{"price from dividing", body("price", `3.3333333333333335`), []string{"body.price: must have at most 2 decimals"}},
		{"price from dividing, below 0", body("price", `-3.3333333333333335`), []string{"body.price: must not be negative"}},
		{"price that nobody calculated", body("price", `10.0000001`), []string{"body.price: must have at most 2 decimals"}},
		{"noise beyond the limit", body("price", `9999999999.9999981`), []string{"body.price: must be at most 9999999999.99"}},
		{"unknown field", body("price", `1,"id":7`), []string{"body.id: is not a known field"}},
		{"other case", `{"Customer_Name":"c","product_name":"p","quantity":1,"price":1}`, []string{
			"body.Customer_Name: is not a known field", "body.customer_name: is required",
		}},
		{"given twice", body("price", `1,"price":2`), []string{"body.price: is given twice"}},
		{"all at once", `{"customer_name":"","product_name":7,"quantity":0,"price":-1,"x":{"y":[1,2,{}]}}`, []string{
			"body.customer_name: must not be empty or blank", "body.product_name: must be a string, not a number",
			"body.quantity: must be at least 1", "body.price: must not be negative", "body.x: is not a known field",
		}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			_, _, err := (Input{}).Decode([]byte(test.body))
			var invalid *strictjson.InvalidError
			if !errors.As(err, &invalid) {
				t.Fatalf("got %v, want an InvalidError", err)
			}
			var got []string
			for _, f := range invalid.Faults {
				got = append(got, f.Location+": "+f.Message)
				if f.Value != nil && (!json.Valid(f.Value) || len(f.Value) > 256) {
					t.Errorf("the value sent back is not short JSON: %s", f.Value)
				}
			}
			if strings.Join(got, "\n") != strings.Join(test.want, "\n") {
				t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(test.want, "\n"))
			}
		})
	}
}

func TestDecodeSaysWhereJSONEnds(t *testing.T) {
	t.Parallel()
	for _, test := range []struct{ body, location string }{
		{``, "body"},
		{`{`, "body"},
		{`{"customer_name"`, "body"},
		{`{"customer_name":"a`, "body.customer_name"},
		{"{\"customer_name\":\"a\x00b\"}", "body.customer_name"},
		{"{\"customer_name\":\"a\xff\"}", "body.customer_name"},
		{`{"quantity":01}`, "body"},
		{`{"price":.5}`, "body.price"},
		{`{"price":1.}`, "body.price"},
		{`{"price":+1}`, "body.price"},
		{`{"price":1,}`, "body"},
		{`{"price":Nope}`, "body.price"},
		{`{'price':1}`, "body"},
		{good + `x`, "body"},
		{good + good, "body"},
		{`{"x":` + strings.Repeat("[", 1<<16), "body.x"},
		{`{"x":` + strings.Repeat("[", 200) + strings.Repeat("]", 200) + `}`, "body.x"}, // too deep
	} {
		_, _, err := (Input{}).Decode([]byte(test.body))
		var malformed *strictjson.MalformedError
		if !errors.As(err, &malformed) {
			t.Errorf("%.40q: got %v, want a MalformedError", test.body, err)
			continue
		}
		if malformed.Location != test.location {
			t.Errorf("%.40q: location is %s, want %s", test.body, malformed.Location, test.location)
		}
	}
}

func TestDecodeBatch(t *testing.T) {
	t.Parallel()
	many := func(n int) string { return `{"orders":[` + strings.TrimSuffix(strings.Repeat(good+",", n), ",") + `]}` }
	for _, test := range []struct{ name, body, want string }{
		{"one", many(1), ""},
		{"the most", many(MaxBatch), ""},
		{"too many", many(MaxBatch + 1), "body.orders: must hold at most 1000 orders"},
		{"none", many(0), "body.orders: must hold at least 1 order"},
		{"missing", `{}`, "body.orders: is required"},
		{"array", `[]`, "body: must be an object, not an array"},
		{"object", `{"orders":{}}`, "body.orders: must be an array, not an object"},
		{"twice", `{"orders":[` + good + `],"orders":[]}`, "body.orders: is given twice"},
		{"unknown", `{"orders":[` + good + `],"dry_run":true}`, "body.dry_run: is not a known field"},
		{"one wrong", `{"orders":[` + good + `,` + body("price", "-1") + `]}`, "body.orders[1].price: must not be negative"},
		{"an element that is none", `{"orders":[` + good + `,7]}`, "body.orders[1]: must be an object, not a number"},
		{"malformed within", `{"orders":[` + good + `,{"price":x}]}`, "malformed JSON: expected a value at byte 104"},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			batch, _, err := (Input{}).DecodeBatch([]byte(test.body))
			got := ""
			if err != nil {
				got = err.Error()
			}
			if got != test.want {
				t.Errorf("got %q, want %q", got, test.want)
			}
			if err == nil && len(batch) == 0 {
				t.Error("no orders")
			}
		})
	}
}

// A name is what a person can see something of.
func TestNamesCanBeSeen(t *testing.T) {
	t.Parallel()
	for name, seen := range map[string]bool{
		"x": true, "Ünal": true, "寿司": true, "🍣": true, "—": true, "é": true, "न\u093f": true,
		"👩\u200d🚀": true, "\u200ba\u200b": true, "\uf8ff": true, "\U0001fae9": true,
		"":               false,
		"\u200b":         false, // zero-width space
		"\u200c\u200d":   false, // joiners
		"\ufeff":         false, // byte-order mark
		"\u2060 \u2063":  false, // word joiner, invisible separator
		"\u00ad":         false, // soft hyphen
		"\u202e\u202c":   false, // direction marks
		"\x01\x7f":       false, // controls
		"\u0085":         false, // a control that is white space
		"\u3164":         false, // Hangul filler, which counts as a letter
		"\u115f\u1160":   false,
		"\uffa0":         false,
		"\ufe0f":         false, // variation selectors
		"\U000e0101":     false,
		"\U000e0041":     false, // tags
		"\u2800":         false, // Braille without a dot, which counts as a symbol
		"\U0001d159":     false, // a note without a head, a symbol as well
		"\U00013441":     false, // blanks between hieroglyphs, which count as letters
		"\U00013442 ":    false,
		"\U00013443":     true,  // a hieroglyph that is lost: a hatched square
		"\u0301":         false, // an accent on nothing
		"\u3000":         false, // ideographic space
		"\u2028\u2029\n": false,
	} {
		quoted, err := json.Marshal(name)
		if err != nil {
			t.Fatal(err)
		}
		if _, _, err := (Input{}).Decode([]byte(body("customer_name", string(quoted)))); (err == nil) != seen {
			t.Errorf("%+q: %v", name, err)
		}
	}
}

// Calculating with floats leaves noise. Whatever sums and products of cents come to, the cents are read from it; and what is
// no number of cents is never taken for one.
func TestNoiseOfFloatsIsNotAPrice(t *testing.T) {
	t.Parallel()
	read := func(price string) (Cents, error) {
		order, _, err := (Input{}).Decode([]byte(body("price", price)))
		return order.Price, err
	}
	for text, want := range map[string]Cents{
		"0.30000000000000004": 30, "3.3000000000000003": 330, "1998.9999999999998": 199900, "99.9999999999986": 10000,
		"5.551115123125783e-17": 0, "-5.551115123125783e-17": 0, "4.4E-16": -1, "9999999999.990001": MaxPrice,
		"3.3333333333333335": -1, "0.6666666666666666": -1, "1.005000000000000004": -1,
		"0.1000000000000000055511151231257827021181583404541015625": 10, `"0.30000000000000004"`: 30,
	} {
		got, err := read(text)
		if want < 0 != (err != nil) || err == nil && got != want {
			t.Errorf("%s: %s, %v", text, got, err)
		}
	}
	rapid.Check(t, func(t *rapid.T) {
		sum, exact := 0.0, int64(0)
		for range rapid.IntRange(1, 200).Draw(t, "terms") {
			cents, times := rapid.Int64Range(0, 1_000_000).Draw(t, "cents"), rapid.Int64Range(1, 9).Draw(t, "times")
			sum += float64(cents) / 100 * float64(times)
			exact += cents * times
		}
		text := strconv.FormatFloat(sum, 'g', -1, 64)
		if got, err := read(text); err != nil || int64(got) != exact {
			t.Fatalf("%s: %s, %v, want %d cents", text, got, err, exact)
		}
	})
	rapid.Check(t, func(t *rapid.T) {
		// At least a hundredth of a cent beside any cent.
		cents, off := rapid.Int64Range(0, 99_999_999).Draw(t, "cents"), rapid.OneOf(rapid.Just(int64(50)), rapid.Int64Range(1, 99)).Draw(t, "off")
		text := strconv.FormatFloat(float64(cents*100+off)/10_000, 'f', -1, 64)
		if got, err := read(text); err == nil {
			t.Fatalf("%s was taken for %s", text, got)
		}
		order, notes, err := Input{Example: true}.Decode([]byte(body("price", text)))
		want := cents
		if off > 50 || off == 50 && cents%2 == 1 {
			want++
		}
		if err != nil || int64(order.Price) != want || len(notes) != 1 || !strings.HasPrefix(notes[0], "body.price was rounded from "+text+" to ") {
			t.Fatalf("%s: %s, %v, %v", text, order.Price, notes, err)
		}
	})
}

// Of a member that is given twice, the last counts: also when the first was wrong, or was rounded.
func TestExampleTakesTheLast(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		body("price", `"x","price":2`): "2.00 []", body("price", `1.005,"price":2`): "2.00 []", body("price", `2,"price":1.005`): "1.00 [body.price was rounded from 1.005 to 1.00]",
		body("price", `1,"price":"x"`): "body.price: must be a number: the string is not one",
	} {
		order, notes, err := (Input{Example: true}).Decode([]byte(text))
		got := fmt.Sprint(order.Price, " ", notes)
		if err != nil {
			got = err.Error()
		}
		if got != want {
			t.Errorf("%s: %s, want %s", text, got, want)
		}
	}
}

func TestReadInt(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]int64{
		"1": 1, "0": 0, "-1": -1, "01": 1, "+1": 1, " 1 ": 1, "1.0": 1, "1_0": 10, "-007": -7, "99999999999999999999": 1<<63 - 1, "-99999999999999999999": -1 << 63, "00": 0, //nolint:gocritic // white space is what is tried
	} {
		if got, ok := ReadInt(text); !ok || got != want {
			t.Errorf("%q: %d, %v", text, got, ok)
		}
	}
	for _, text := range []string{"", " ", "abc", "1.5", "1e3", "0x1", "--1", "+-1", "1_", "_1", "1__0", "1 0", ".", "-", "1.a", "١"} {
		if got, ok := ReadInt(text); ok {
			t.Errorf("%q was read as %d", text, got)
		}
	}
}

// What fixedPoint says must be what exact arithmetic says, for any number JSON can write.
func TestPriceIsExact(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		number := rapid.StringMatching(`-?(0|[1-9][0-9]{0,14})(\.[0-9]{1,6})?([eE][+-]?[0-9]{1,2})?`).Draw(t, "number")
		exact, ok := new(big.Rat).SetString(number)
		if !ok {
			t.Fatalf("big.Rat does not read %s", number)
		}
		exact.Mul(exact, big.NewRat(100, 1))
		value, fault := fixedPoint(number, 2, int64(MaxPrice))
		fits := exact.Sign() >= 0 && exact.IsInt() && exact.Cmp(big.NewRat(int64(MaxPrice), 1)) <= 0
		switch {
		case fits != (fault == numberFits):
			t.Fatalf("%s: fault %d, want fits = %v", number, fault, fits)
		case fits && exact.Cmp(big.NewRat(value, 1)) != 0:
			t.Fatalf("%s: read as %d hundredths", number, value)
		case !fits && exact.Sign() < 0 && fault != numberNegative:
			t.Fatalf("%s: fault %d, want negative", number, fault)
		}
	})
}

func FuzzDecode(f *testing.F) {
	for _, seed := range []string{good, `{"price":NaN}`, `[]`, `{"a":"\ud83d\ude00"}`, body("price", "1e400"), body("quantity", "-0.0e5"), "{\"x\":\"\xff\"}", "\ufeff" + body("price", `"0.30000000000000004"`), body("quantity", `"3"`)} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, in []byte) {
		order, _, err := (Input{}).Decode(in)
		var malformed *strictjson.MalformedError
		switch {
		case err == nil:
			// What is taken, encoding/json takes as well, and it comes out as it went in.
			var plain struct {
				CustomerName string      `json:"customer_name"`
				ProductName  string      `json:"product_name"`
				Quantity     json.Number // a number in a string, too
				Price        json.Number
			}
			if err := json.Unmarshal(bytes.TrimPrefix(in, []byte("\ufeff")), &plain); err != nil {
				t.Fatalf("took what is not JSON: %v", err)
			}
			quantity, ok := new(big.Rat).SetString(plain.Quantity.String())
			if plain.CustomerName != order.CustomerName || plain.ProductName != order.ProductName || ok && quantity.Cmp(big.NewRat(int64(order.Quantity), 1)) != 0 {
				t.Fatalf("read %+v as %+v", plain, order)
			}
			if exact, ok := new(big.Rat).SetString(plain.Price.String()); ok {
				off := exact.Sub(exact, big.NewRat(int64(order.Price), 100))
				if off.Sign() != 0 && (off.Abs(off).Cmp(big.NewRat(1, 100_000)) > 0 || len(plain.Price.String()) < 15) {
					t.Fatalf("read the price %s as %s", plain.Price, order.Price)
				}
			}
			if order.Quantity < 1 || order.Price < 0 || order.Price > MaxPrice || strings.TrimSpace(order.CustomerName) == "" {
				t.Fatalf("took wrong values: %+v", order)
			}
		case errors.As(err, &malformed):
			if json.Valid(bytes.TrimPrefix(in, []byte("\ufeff"))) && !strings.Contains(malformed.Message, "nested too deeply") && !strings.Contains(malformed.Message, "not UTF-8") {
				t.Fatalf("refused as malformed what is JSON: %v", err)
			}
		default:
			var invalid *strictjson.InvalidError
			if !errors.As(err, &invalid) || len(invalid.Faults) == 0 {
				t.Fatalf("a fault of another kind: %v", err)
			}
			text := string(in)
			if !json.Valid(bytes.TrimPrefix(in, []byte("\ufeff"))) && !strings.Contains(text, "NaN") && !strings.Contains(text, "Infinity") {
				t.Fatalf("took what is not JSON for JSON: %v", err)
			}
			for _, fault := range invalid.Faults {
				if fault.Value != nil && !json.Valid(fault.Value) {
					t.Fatalf("sends back what is not JSON: %s", fault.Value)
				}
			}
		}
	})
}

func FuzzString(f *testing.F) {
	f.Add("a\"b\\c\n\x00\u2028<script>\xff🍣")
	f.Fuzz(func(t *testing.T, in string) {
		var out string
		if err := json.Unmarshal(appendString(nil, in), &out); err != nil {
			t.Fatal(err)
		}
		if out != strings.ToValidUTF8(in, "\ufffd") && strings.ToValidUTF8(in, "") == in {
			t.Fatalf("%q became %q", in, out)
		}
	})
}

// BenchmarkDecode reads and validates an order, a batch, and an order of which every field is wrong.
func BenchmarkDecode(b *testing.B) {
	run := func(name, body string, valid bool, decode func([]byte) error) {
		b.Run(name, func(b *testing.B) {
			in := []byte(body)
			b.ReportAllocs()
			for b.Loop() {
				if err := decode(in); (err == nil) != valid {
					b.Fatal(err)
				}
			}
		})
	}
	order := func(in []byte) error {
		_, _, err := Input{}.Decode(in)
		return err
	}
	run("order", good, true, order)
	run("batch=100", `{"orders":[`+good+strings.Repeat(","+good, 99)+`]}`, true, func(in []byte) error {
		_, _, err := Input{}.DecodeBatch(in)
		return err
	})
	run("refused", `{"customer_name":"","product_name":7,"quantity":0,"price":-1}`, false, order)
}

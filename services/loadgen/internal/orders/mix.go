package orders

import (
	"strconv"
	"strings"
)

// Kind is what a request is meant to be.
type Kind uint8

// The kinds of requests.
const (
	Valid     Kind = iota // an order, to be accepted
	Poison                // an invalid order, to be refused with a 4xx that says so
	Duplicate             // an order that was sent before, to be answered as it was
)

func (k Kind) String() string { return [...]string{"valid", "poison", "duplicate"}[k] }

// Mix says which of a run's requests are of which kind. It follows from the seed and the request's number alone, so that workers
// need not agree on anything and a second run makes the same choice.
type Mix struct {
	Seed              uint64
	Poison, Duplicate float64 // shares, 0 to 1
}

// Kind is the kind of request number seq.
func (m Mix) Kind(seq int) Kind {
	switch x := float64(hash(m.Seed, uint64(seq))>>11) / (1 << 53); {
	case x < m.Poison:
		return Poison
	case x < m.Poison+m.Duplicate:
		return Duplicate
	}
	return Valid
}

// hash is SplitMix64 of the n-th state: evenly spread, and the same for the same seed and number on every machine.
func hash(seed, n uint64) uint64 {
	z := seed + (n+1)*0x9e3779b97f4a7c15
	z = (z ^ z>>30) * 0xbf58476d1ce4e5b9
	z = (z ^ z>>27) * 0x94d049bb133111eb
	return z ^ z>>31
}

// poisons are invalid orders, each wrong in one way. %N is the request's number.
var poisons = [...]struct{ name, body string }{
	{"malformed_json", `{"customer_name":"Customer %N","product_name":`},
	{"array", `[{"customer_name":"Customer %N","product_name":"Product %N","quantity":1,"price":10.0}]`},
	{"missing_field", `{"customer_name":"Customer %N","quantity":1,"price":10.0}`},
	{"wrong_type", `{"customer_name":"Customer %N","product_name":"Product %N","quantity":"many","price":10.0}`},
	{"zero_quantity", `{"customer_name":"Customer %N","product_name":"Product %N","quantity":0,"price":10.0}`},
	{"fractional_quantity", `{"customer_name":"Customer %N","product_name":"Product %N","quantity":1.5,"price":10.0}`},
	{"negative_price", `{"customer_name":"Customer %N","product_name":"Product %N","quantity":1,"price":-1}`},
	{"blank_name", `{"customer_name":"   ","product_name":"Product %N","quantity":1,"price":10.0}`},
	{"nul_in_name", `{"customer_name":"Customer \u0000 %N","product_name":"Product %N","quantity":1,"price":10.0}`},
	{"long_name", `{"customer_name":"Customer %N ` + strings.Repeat("a", 5000) + `","product_name":"Product %N","quantity":1,"price":10.0}`},
}

// PoisonName is what is wrong with the poison request number seq.
func PoisonName(seed uint64, seq int) string { return poisons[poison(seed, seq)].name }

func poison(seed uint64, seq int) int {
	return int(hash(^seed, uint64(seq)) % uint64(len(poisons)))
}

// poisonNumber keeps the good orders of a spoiled batch apart from the run's own.
const poisonNumber = perIndex / 2

// AppendPoison appends the invalid order of request number seq; in a batch of more than one it spoils the whole batch.
func AppendPoison(dst []byte, seed uint64, seq, bulk int) []byte {
	bad := strings.ReplaceAll(poisons[poison(seed, seq)].body, "%N", strconv.Itoa(seq))
	if bulk <= 1 {
		return append(dst, bad...)
	}
	dst = append(dst, `{"orders":[`...)
	for i := range bulk - 1 {
		dst = AppendJSON(dst, poisonNumber+seq+i)
		dst = append(dst, ',')
	}
	dst = append(dst, bad...)
	return append(dst, `]}`...)
}

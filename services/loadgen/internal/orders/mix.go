package orders

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

// Package memory remembers every webhook that was taken, by its id, so that a repetition is known for one. With a file it does so over
// restarts, too: what [Memory.Take] has said is on disk by then. It must never say that something was taken which it may forget.
package memory

import (
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"log/slog"
	"strconv"
	"sync"
)

// ErrFull is returned for a new id when there is no more room. Whoever cannot remember must not take.
var ErrFull = errors.New("no more ids can be remembered")

// Order names an order: its id alone may come again after a restore of the sender's database.
type Order struct {
	ID      int64
	Created int64 // microseconds since 1970; 0 when the webhook does not say
}

// Data stands for what an order is about, four bytes a field, or for a payload that is no order.
type Data [16]byte

// Fields are an order's, in the order in which they stand in Data.
var Fields = [4]string{"customer_name", "product_name", "quantity", "price"}

// DataOf is made of the fields as text, in the order of Fields. Numbers have to be written in one way.
func DataOf(fields [4]string) (d Data) {
	for i, text := range fields {
		sum := sha256.Sum256([]byte(text))
		copy(d[4*i:], sum[:4])
	}
	return d
}

// Number writes a number in one way.
func Number(f float64) string { return strconv.FormatFloat(f, 'g', -1, 64) }

// Other is the first field that differs; "" when none does.
func (d Data) Other(e Data) string {
	for i, name := range Fields {
		if [4]byte(d[4*i:]) != [4]byte(e[4*i:]) {
			return name
		}
	}
	return ""
}

// Webhook is one that came and whose signature was valid.
type Webhook struct {
	ID    string
	Order Order // zero when it is about none
	Data  Data
}

// Kept is what is kept of all webhooks with one id.
type Kept struct {
	Order Order
	Data  Data
	Times uint32 // how often it came
	Flags Flags
}

// Flags are what was wrong with an id.
type Flags uint8

const (
	// Altered is an id that came again with other data.
	Altered Flags = 1 << iota
	// Mistaken is an id that came again for another order: that one was dropped as a repetition, and is lost.
	Mistaken
	// Renamed is an id whose order had come under another id before: a receiver that goes by ids has taken it twice.
	Renamed
)

// Outcome is what a webhook was.
type Outcome int

// The outcomes.
const (
	New Outcome = iota
	Repeated
)

// Counts are sums over all ids.
type Counts struct {
	IDs         int `json:"ids"`
	Once        int `json:"once"`        // ids that came once
	Repeated    int `json:"repeated"`    // ids that came more than once
	Repetitions int `json:"repetitions"` // how often they came after the first time
	Altered     int `json:"altered"`
	Mistaken    int `json:"mistaken"`
	Renamed     int `json:"renamed"`
}

// key is an id in sixteen bytes: that two of ten million are alike has a probability of 10^-25.
type key [16]byte

// Memory is safe for concurrent use.
type Memory struct {
	mu     sync.Mutex
	most   int
	kept   []Kept
	byID   map[key]uint32 // places in kept
	byName map[Order]uint32
	counts Counts
	file   *file // nil: nothing outlives the process
}

// Open remembers up to so many ids; with a path, in that file, which may hold what is remembered from earlier. Close it.
func Open(path string, most int, log *slog.Logger) (*Memory, error) {
	m := &Memory{most: most, byID: map[key]uint32{}, byName: map[Order]uint32{}}
	if path == "" {
		return m, nil
	}
	f, err := openFile(path, m.recall, log)
	if err != nil {
		return nil, err
	}
	m.file = f
	return m, nil
}

// Take remembers a webhook and says whether it is new. When it returns without an error, that is on disk, if there is a file. A
// repetition waits as well: what it repeats may still be on its way there.
func (m *Memory) Take(w Webhook) (Outcome, error) {
	r := record{order: w.Order, data: w.Data}
	sum := sha256.Sum256([]byte(w.ID))
	copy(r.key[:], sum[:])
	m.mu.Lock()
	outcome, err := m.take(r)
	if err != nil || m.file == nil {
		m.mu.Unlock()
		return outcome, err
	}
	written := m.file.add(r)
	m.mu.Unlock()
	return outcome, written.wait()
}

// recall takes in what the file says. It is all remembered, whatever the bound was then.
func (m *Memory) recall(r record) {
	if _, err := m.take(r); err != nil {
		m.most++
		_, _ = m.take(r) // there is room now
	}
}

func (m *Memory) take(r record) (Outcome, error) {
	if place, known := m.byID[r.key]; known {
		m.repeat(&m.kept[place], r)
		return Repeated, nil
	}
	if len(m.kept) >= m.most {
		return New, ErrFull
	}
	k := Kept{Order: r.order, Data: r.data, Times: 1}
	m.counts.IDs++
	m.counts.Once++
	place := uint32(len(m.kept)) //nolint:gosec // the setting is bounded
	if r.order.ID != 0 {
		if _, known := m.byName[r.order]; known {
			k.Flags = Renamed
			m.counts.Renamed++
		} else {
			m.byName[r.order] = place
		}
	}
	m.byID[r.key] = place
	m.kept = append(m.kept, k)
	return New, nil
}

func (m *Memory) repeat(k *Kept, r record) {
	if k.Times == 1 {
		m.counts.Once--
		m.counts.Repeated++
	}
	k.Times++
	m.counts.Repetitions++
	switch {
	case r.order != k.Order:
		m.flag(k, Mistaken, &m.counts.Mistaken)
	case r.data != k.Data:
		m.flag(k, Altered, &m.counts.Altered)
	}
}

func (m *Memory) flag(k *Kept, f Flags, count *int) {
	if k.Flags&f == 0 {
		*count++
	}
	k.Flags |= f
}

// Of is what is kept of an order; false when it never came. One that came without its time of creation is known by its id alone.
func (m *Memory) Of(o Order) (Kept, bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	place, known := m.byName[o]
	if !known {
		place, known = m.byName[Order{ID: o.ID}]
	}
	if !known {
		return Kept{}, false
	}
	return m.kept[place], true
}

// Faulty are what is kept of ids that something was wrong with, up to so many.
func (m *Memory) Faulty(most int) []Kept {
	m.mu.Lock()
	defer m.mu.Unlock()
	var faulty []Kept
	for _, k := range m.kept {
		if k.Flags != 0 && len(faulty) < most {
			faulty = append(faulty, k)
		}
	}
	return faulty
}

// Counts are those of now.
func (m *Memory) Counts() Counts {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.counts
}

// Failed is closed when the file could not be written: from then on nothing can be taken. Without a file it never is.
func (m *Memory) Failed() <-chan struct{} {
	if m.file == nil {
		return nil
	}
	return m.file.failed
}

// Close writes what is still to be written. Nothing may be taken any more.
func (m *Memory) Close() error {
	if m.file == nil {
		return nil
	}
	return m.file.close()
}

// record is what one webhook leaves in the file.
type record struct {
	key   key
	order Order
	data  Data
}

func (r record) append(dst []byte) []byte {
	dst = append(dst, r.key[:]...)
	dst = binary.LittleEndian.AppendUint64(dst, uint64(r.order.ID))
	dst = binary.LittleEndian.AppendUint64(dst, uint64(r.order.Created))
	return append(dst, r.data[:]...)
}

func parseRecord(b []byte) (r record) {
	copy(r.key[:], b)
	r.order.ID = int64(binary.LittleEndian.Uint64(b[16:]))      //nolint:gosec // the bits that were written
	r.order.Created = int64(binary.LittleEndian.Uint64(b[24:])) //nolint:gosec // likewise
	copy(r.data[:], b[32:])
	return r
}

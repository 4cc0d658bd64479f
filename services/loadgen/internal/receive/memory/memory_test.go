package memory_test

import (
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"go.uber.org/goleak"

	"orderflow.example/services/loadgen/internal/receive/memory"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func open(t *testing.T, path string, most int) *memory.Memory {
	t.Helper()
	m, err := memory.Open(path, most, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func closed(t *testing.T, m *memory.Memory) {
	t.Helper()
	if err := m.Close(); err != nil {
		t.Fatal(err)
	}
}

func take(t *testing.T, m *memory.Memory, w memory.Webhook) memory.Outcome {
	t.Helper()
	outcome, err := m.Take(w)
	if err != nil {
		t.Fatal(err)
	}
	return outcome
}

func order(n int) memory.Webhook {
	return memory.Webhook{
		ID: fmt.Sprintf("msg_%d", n), Order: memory.Order{ID: int64(n + 1), Created: 1_000_000}, Data: memory.DataOf([4]string{fmt.Sprint(n), "Lamp", "1", "9.5"}),
	}
}

func TestARepetitionIsKnownAndWhatIsWrongWithIt(t *testing.T) {
	t.Parallel()
	m := open(t, "", 100)
	if take(t, m, order(1)) != memory.New || take(t, m, order(2)) != memory.New || take(t, m, order(1)) != memory.Repeated || take(t, m, order(1)) != memory.Repeated {
		t.Error("new and repeated are confused")
	}
	altered := order(2)
	altered.Data = memory.DataOf([4]string{"2", "Lamp", "1", "9.6"})
	other := order(3)
	other.ID = "msg_1" // the order's own id, taken back in time and given again
	other.Order.Created++
	renamed := order(1)
	renamed.ID = "msg_1 again"
	if take(t, m, altered) != memory.Repeated || take(t, m, other) != memory.Repeated || take(t, m, renamed) != memory.New {
		t.Error("new and repeated are confused")
	}
	if got, want := m.Counts(), (memory.Counts{IDs: 3, Once: 1, Repeated: 2, Repetitions: 4, Altered: 1, Mistaken: 1, Renamed: 1}); got != want {
		t.Errorf("%+v, want %+v", got, want)
	}
	if k, ok := m.Of(order(1).Order); !ok || k.Times != 4 || k.Flags != memory.Mistaken {
		t.Errorf("%+v, %v", k, ok)
	}
	if _, ok := m.Of(other.Order); ok {
		t.Error("an order that was dropped as a repetition has come")
	}
	if len(m.Faulty(10)) != 3 || len(m.Faulty(2)) != 2 {
		t.Error(m.Faulty(10))
	}
	if field := altered.Data.Other(order(2).Data); field != "price" {
		t.Errorf("it is the %q that differs", field)
	}
}

// A webhook that does not say when its order was made is its order's all the same. One that does is no other's with the same id.
func TestAnOrderIsFoundByItsIdAloneWhereNothingElseWasSaid(t *testing.T) {
	t.Parallel()
	m := open(t, "", 10)
	bare := order(1)
	bare.Order.Created = 0
	take(t, m, bare)
	take(t, m, order(2))
	if k, ok := m.Of(order(1).Order); !ok || k.Order != bare.Order {
		t.Errorf("%+v, %v", k, ok)
	}
	another := order(2).Order
	another.Created++
	for _, o := range []memory.Order{another, order(3).Order} {
		if k, ok := m.Of(o); ok {
			t.Errorf("%+v never came, and is %+v", o, k)
		}
	}
}

func TestNothingIsTakenThatCannotBeRemembered(t *testing.T) {
	t.Parallel()
	m := open(t, "", 2)
	take(t, m, order(1))
	take(t, m, order(2))
	if _, err := m.Take(order(3)); err != memory.ErrFull { //nolint:errorlint // returned bare
		t.Error(err)
	}
	if take(t, m, order(1)) != memory.Repeated || m.Counts().IDs != 2 {
		t.Error(m.Counts())
	}
}

func TestARestartForgetsNothing(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "state")
	m := open(t, path, 1000)
	var work sync.WaitGroup
	for w := range 8 {
		work.Go(func() {
			for n := range 40 {
				if _, err := m.Take(order(n + w%2)); err != nil {
					t.Error(err)
				}
			}
		})
	}
	work.Wait()
	before := m.Counts()
	closed(t, m)
	again := open(t, path, 10) // a lower bound does not make it forget
	defer closed(t, again)
	if after := again.Counts(); after != before || after.IDs != 41 || after.Repetitions != 8*40-41 {
		t.Errorf("%+v, before %+v", after, before)
	}
	if take(t, again, order(40)) != memory.Repeated {
		t.Error("it has forgotten one")
	}
	if _, err := again.Take(order(41)); err != memory.ErrFull { //nolint:errorlint // returned bare
		t.Error(err)
	}
}

// Of two that come with one id at the same time, one is new.
func TestOneOfManyAtOnceIsNew(t *testing.T) {
	t.Parallel()
	m := open(t, filepath.Join(t.TempDir(), "state"), 1000)
	defer closed(t, m)
	var fresh atomic.Int64
	var work sync.WaitGroup
	for range 16 {
		work.Go(func() {
			for n := range 20 {
				if outcome, err := m.Take(order(n)); err != nil {
					t.Error(err)
				} else if outcome == memory.New {
					fresh.Add(1)
				}
			}
		})
	}
	work.Wait()
	if fresh.Load() != 20 {
		t.Errorf("%d were new, not 20", fresh.Load())
	}
}

// What Take has said is in the file before it has returned: a copy of the file at that moment knows it.
func TestWhatWasTakenIsInTheFile(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	m := open(t, filepath.Join(dir, "state"), 1000)
	defer closed(t, m)
	for n := range 20 {
		take(t, m, order(n))
		content, err := os.ReadFile(filepath.Join(dir, "state"))
		if err != nil {
			t.Fatal(err)
		}
		copied := filepath.Join(dir, "copy")
		if err := os.WriteFile(copied, content, 0o600); err != nil {
			t.Fatal(err)
		}
		killed := open(t, copied, 1000)
		if take(t, killed, order(n)) != memory.Repeated {
			t.Fatalf("order %d was taken and is not in the file", n)
		}
		closed(t, killed)
	}
}

func TestADamagedEndIsCutOffAndOtherDamageStops(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "state")
	m := open(t, path, 1000)
	for n := range 10 {
		take(t, m, order(n))
	}
	closed(t, m)
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		content []byte
		ids     int // -1: it does not start
	}{
		"whole":                   {whole, 10},
		"empty":                   {nil, 0},
		"half a heading":          {whole[:5], 0},
		"half a record":           {whole[:len(whole)-7], 9},
		"a record of zeros":       {append(append([]byte{}, whole...), make([]byte, 52)...), 10},
		"zeros, and half a one":   {append(append([]byte{}, whole...), make([]byte, 60)...), 10},
		"damage in the last":      {changed(whole, len(whole)-30), 9},
		"damage before the last":  {changed(whole, len(whole)-80), -1},
		"damage in the heading":   {changed(whole, 3), -1},
		"something else entirely": {[]byte("customer,product\nAda,Lamp\n"), -1},
	} {
		file := filepath.Join(t.TempDir(), "state")
		if err := os.WriteFile(file, c.content, 0o600); err != nil {
			t.Fatal(err)
		}
		m, err := memory.Open(file, 1000, slog.New(slog.DiscardHandler))
		if c.ids < 0 {
			if err == nil || !strings.Contains(err.Error(), file) {
				t.Errorf("%s: %v", name, err)
			}
			if after, _ := os.ReadFile(file); string(after) != string(c.content) {
				t.Errorf("%s: the file was changed", name)
			}
			continue
		}
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if m.Counts().IDs != c.ids {
			t.Errorf("%s: %d ids, want %d", name, m.Counts().IDs, c.ids)
		}
		take(t, m, order(99))
		closed(t, m)
		again := open(t, file, 1000)
		if again.Counts().IDs != c.ids+1 {
			t.Errorf("%s: what came after was not kept: %d ids", name, again.Counts().IDs)
		}
		closed(t, again)
	}
}

func changed(content []byte, at int) []byte {
	c := append([]byte{}, content...)
	c[at] ^= 0xff
	return c
}

func TestTwoReceiversDoNotShareAFile(t *testing.T) {
	t.Parallel()
	if runtime.GOOS == "windows" {
		t.Skip("there is no lock there")
	}
	path := filepath.Join(t.TempDir(), "state")
	m := open(t, path, 10)
	if _, err := memory.Open(path, 10, slog.New(slog.DiscardHandler)); err == nil || !strings.Contains(err.Error(), "another receiver") {
		t.Error(err)
	}
	closed(t, m)
	closed(t, open(t, path, 10))
}

// Nothing may be said to have been taken that was not written.
func TestAFileThatCannotBeWrittenRefuses(t *testing.T) {
	t.Parallel()
	for name, broken := range map[string]func(*memory.Memory){"a write": memory.BreakFile, "an fsync": memory.BreakDisk} {
		m := open(t, filepath.Join(t.TempDir(), "state"), 10)
		take(t, m, order(1))
		broken(m)
		for n := range 3 {
			if _, err := m.Take(order(n + 2)); err == nil {
				t.Errorf("%s fails: taken without having been written", name)
			}
		}
		select {
		case <-m.Failed():
		default:
			t.Errorf("%s fails: it does not say that it has failed", name)
		}
		if m.Close() == nil {
			t.Errorf("%s fails: closing says that all is well", name)
		}
	}
}

func BenchmarkMemoryOfOneOrder(b *testing.B) {
	m, err := memory.Open("", 10_000_000, slog.New(slog.DiscardHandler))
	if err != nil {
		b.Fatal(err)
	}
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	n := 0
	for b.Loop() {
		if _, err := m.Take(order(n)); err != nil {
			b.Fatal(err)
		}
		n++
	}
	runtime.GC()
	runtime.ReadMemStats(&after)
	b.ReportMetric(float64(after.HeapAlloc-before.HeapAlloc)/float64(n), "kept-B/order")
	runtime.KeepAlive(m)
}

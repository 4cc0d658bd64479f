package logging_test

import (
	"bytes"
	"fmt"
	"io"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"orderflow.example/kit/await"
	"orderflow.example/kit/logging"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestABufferKeepsTheOrder(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	b := logging.NewBuffer(&out, func(int) { t.Error("lines are lost") })
	var want strings.Builder
	for i := range 1000 {
		fmt.Fprintf(b, "line %d\n", i)
		fmt.Fprintf(&want, "line %d\n", i)
	}
	b.Close(time.Minute)
	if out.String() != want.String() {
		t.Errorf("got %d bytes, want %d", out.Len(), want.Len())
	}
	fmt.Fprint(b, "after its end\n")
	if !strings.HasSuffix(out.String(), "after its end\n") {
		t.Error("what is written after its end is lost")
	}
	b.Close(time.Minute)
}

func TestNobodyWaitsForALogThatIsNotRead(t *testing.T) {
	t.Parallel()
	read, write := io.Pipe() // takes nothing until somebody reads
	var lost atomic.Int64    // in one go or in several, as the buffer is emptied
	b := logging.NewBuffer(write, func(lines int) { lost.Add(int64(lines)) })
	line := []byte(strings.Repeat("x", 1023) + "\n")
	const lines = 3000 // 3 MB
	for range lines {
		if n, err := b.Write(line); n != len(line) || err != nil {
			t.Fatal(n, err)
		}
	}
	b.Close(0) // nor at its end

	// Somebody reads again.
	got := make(chan int)
	go func() {
		content, _ := io.ReadAll(read) // ends with the pipe
		got <- bytes.Count(content, []byte("\n"))
	}()
	b.Close(await.Limit())
	missing := int(lost.Load())
	if err := write.Close(); err != nil {
		t.Fatal(err)
	}
	if arrived := <-got; missing == 0 || arrived+missing != lines {
		t.Errorf("%d lines arrive, %d are said to be lost, of %d", arrived, missing, lines)
	}
}

// A command that a second signal has left behind may still write while the log is closed: that must not end the process with a panic.
func TestWhatIsWrittenWhileItIsClosedIsNoPanic(t *testing.T) {
	t.Parallel()
	for range 2000 {
		b := logging.NewBuffer(io.Discard, func(int) {})
		var writing sync.WaitGroup
		writing.Go(func() {
			for range 20 {
				if _, err := b.Write([]byte("a line\n")); err != nil {
					t.Error(err)
				}
			}
		})
		b.Close(time.Minute)
		writing.Wait()
	}
}

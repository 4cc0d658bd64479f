package queue

import (
	"fmt"
	"testing"
)

func TestBatchesAreBoundedInNumberAndBytes(t *testing.T) {
	t.Parallel()
	letters := func(sizes ...int64) (letters []Chosen) {
		for i, size := range sizes {
			letters = append(letters, Chosen{MsgID: int64(i), Bytes: size})
		}
		return letters
	}
	const half = batchBytes / 2
	for want, chosen := range map[string][]Chosen{
		"[]":            nil,
		"[[0]]":         letters(2 * batchBytes),
		"[[0] [1] [2]]": letters(2*batchBytes, 1, 2*batchBytes),
		"[[0 1] [2 3]]": letters(half, half, half, half),
		"[[0] [1 2]]":   letters(half+1, half, half),
	} {
		if got := fmt.Sprint(Batches(chosen)); got != want {
			t.Errorf("%v: got %s, want %s", chosen, got, want)
		}
	}
	if got := Batches(letters(make([]int64, 2*batchLetters+1)...)); len(got) != 3 || len(got[0]) != batchLetters || len(got[1]) != batchLetters || len(got[2]) != 1 {
		t.Errorf("%d batches", len(got))
	}
}

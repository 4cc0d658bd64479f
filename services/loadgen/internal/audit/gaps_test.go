package audit

import (
	"slices"
	"testing"
)

// Ids that are picked are different ones of the gaps, in their order: each where there are few, one of every few where there are many.
func TestIdsArePickedFromAllGaps(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		known []int64
		first int64
		all   int64
	}{
		{[]int64{3, 4, 4, 6, 9}, 1, 5},          // 1 2, 5, 7 8
		{[]int64{1, 2, 3}, 1, 0},                // none
		{[]int64{1, 1001}, 1, 999},              // a single one
		{[]int64{2, 4, 6, 8, 10, 12, 14}, 1, 7}, // one id each
		{nil, 0, 0},
	} {
		g := gaps{known: test.known, first: test.first}
		inGap := func(id int64) bool {
			return !slices.Contains(test.known, id) && id >= test.first && id < test.known[len(test.known)-1]
		}
		for most := 1; most <= 8; most++ {
			for range 20 {
				ids, all := g.pick(most)
				if all != test.all {
					t.Fatalf("%v: %d ids in the gaps, want %d", test.known, all, test.all)
				}
				every := max(1, (all+int64(most)-1)/int64(most))
				if want := (all + every - 1) / every; int64(len(ids)) != want {
					t.Fatalf("%v: %d of %d ids are picked, want %d", test.known, len(ids), most, want)
				}
				for i, id := range ids {
					if !inGap(id) || i > 0 && ids[i-1] >= id {
						t.Fatalf("%v: %v are picked", test.known, ids)
					}
				}
			}
		}
	}
}

package cursor

import (
	"errors"
	"slices"
	"strconv"
	"testing"
	"testing/synctest"
	"time"
)

// Whatever the windows and pages are, and wherever a page ends, each entry of the list that passes is on one page, in the list's order.
func TestPagesHaveEachEntryOnce(t *testing.T) {
	t.Parallel()
	const size = 100
	for _, every := range []int{1, 3, 50, 1000} { // which of the list's entries pass
		for _, window := range []int{1, 7, 100, 1000} {
			for _, limit := range []int{1, 10, 100, 200} {
				looks := 0
				look := func(after string, most int) (found []int, last string, err error) {
					looks++
					from, _ := strconv.Atoi(after) // the list begins after ""
					for n := from + 1; n <= min(size, from+window) && len(found) < most; n++ {
						if n%every == 0 {
							found = append(found, n)
						}
					}
					if len(found) == most || from+window >= size {
						return found, "", nil
					}
					return found, strconv.Itoa(from + window), nil
				}
				var all, want []int
				for n := every; n <= size; n += every {
					want = append(want, n)
				}
				for after := ""; ; {
					page, next, err := Fill(limit, after, look, func(n *int) string { return strconv.Itoa(*n) })
					if err != nil || len(page) > limit {
						t.Fatalf("%d entries, %v", len(page), err)
					}
					all = append(all, page...)
					if next == "" {
						break
					}
					if looks > 10*size {
						t.Fatalf("there is no end: %v", all)
					}
					after = next
				}
				if !slices.Equal(all, want) {
					t.Errorf("every %d, in windows of %d, on pages of %d: %v", every, window, limit, all)
				}
			}
		}
	}
}

func TestAPageThatCannotBeFilledIsNone(t *testing.T) {
	t.Parallel()
	broken := errors.New("broken")
	page, next, err := Fill(10, "", func(after string, _ int) ([]int, string, error) {
		if after == "" {
			return []int{1}, "1", nil
		}
		return nil, "", broken
	}, func(n *int) string { return strconv.Itoa(*n) })
	if page != nil || next != "" || !errors.Is(err, broken) {
		t.Errorf("%v, %q, %v", page, next, err)
	}
}

// A page of a list of which nothing passes ends all the same, and says where to go on: a request has no more time than that.
func TestAPageIsNotSearchedForForLong(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		looks := 0
		page, next, err := Fill(10, "", func(string, int) ([]int, string, error) {
			looks++
			time.Sleep(10 * time.Millisecond) //nolint:forbidigo // the bubble's clock, which nobody waits for
			return nil, strconv.Itoa(looks), nil
		}, func(n *int) string { return strconv.Itoa(*n) })
		if len(page) > 0 || next != strconv.Itoa(looks) || err != nil || looks > 4 {
			t.Errorf("%v, %q, %v after %d looks", page, next, err, looks)
		}
	})
}

package queue

import "time"

// quick is how long a statement may take for the next one to have more: a third of what a connection is waited for.
const quick = time.Second

// Less is how many messages a statement is to be about after one about n of them took too long.
func Less(n int) int { return max(n/2, 1) }

// More is that after one about n of them, where size were allowed, took so long: an eighth more, but only if this one had all that it might and was
// quick all the same. Otherwise it says nothing about more, and the next large one would again be one too large.
func More(size, n int, took time.Duration, most int) int {
	if n < size || took > quick {
		return size
	}
	return min(size+size/8+1, most)
}

package queue

import "time"

// small is what a statement may always grow to: what so few take is the time of a commit, and not of their number.
const small = 64

// Less is how many messages a statement is to be about, of at most size, after one about n of them took too long: half of them. Whatever it was that
// a single one took, it was not the number.
func Less(size, n int) int {
	if n <= 1 {
		return size
	}
	return n / 2
}

// More is that after one about n of them took so long, which might have taken so long: an eighth more, if this one had all that it might. Where it has
// taken more than half of its time that is left alone, or the next one would be too large again.
func More(size, n int, took, might time.Duration, most int) int {
	if n < size || n > small && took > might/2 {
		return size
	}
	return min(size+size/8+1, most)
}

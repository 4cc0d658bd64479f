// Package signal has one part of a program tell another to look once more, whoever says so and however often. It never blocks who
// signals, and never carries anything: what there is to see has to stand elsewhere before.
package signal

// Signal is a channel with room for one token. Receive from it to wait for the next one.
type Signal chan struct{}

// New returns one without a token.
func New() Signal { return make(Signal, 1) }

// Send leaves a token, unless there is one.
func (s Signal) Send() {
	select {
	case s <- struct{}{}:
	default:
	}
}

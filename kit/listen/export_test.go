package listen

import "time"

// Rest sets how long a connection must have been idle to be the first that is closed.
func (l *Listener) Rest(resting time.Duration) { l.resting = resting }

// Age makes connections old at once that have just come, so that a test need not wait for it.
func (l *Listener) Age() { l.fresh = 0 }

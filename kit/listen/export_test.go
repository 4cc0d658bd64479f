package listen

import "time"

// Rest sets how long a connection must have been idle to be the first that is closed.
func (l *Listener) Rest(resting time.Duration) { l.resting = resting }

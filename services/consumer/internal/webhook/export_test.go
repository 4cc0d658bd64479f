package webhook

import "time"

// BodyLimit is how long the program waits for the body of an answer.
const BodyLimit = bodyLimit

// WaitForBodies has it wait for so long.
func (w *Webhook) WaitForBodies(d time.Duration) { w.bodyLimit = d }

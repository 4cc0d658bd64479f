package doctor

import "time"

// LookEvery has the publisher look so often. To be called before Run.
func (p *Publisher) LookEvery(d time.Duration) { p.every = d }

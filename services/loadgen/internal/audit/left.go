package audit

import "time"

// left is how many messages the queue holds at the end that are those of settled orders: nobody has deleted them, and when they come back, they
// bring an order a second effect. A queue says how many messages it holds, and not whose, so this is known where none can be anybody else's:
//
//   - it held none before the run, and since then exactly as many were sent to it as the run has orders. Another client's, another program's,
//     and a dead letter that was put back would be more; so is what the api has sent in vain, after which nothing is concluded;
//   - no order of another client's stands beside the run's own: its message may have been on its way when the queue was looked at before the run;
//   - what it holds has not changed for a while: an order and its message are settled in one transaction, and nothing is about to delete it.
func (a *Auditor) left() int {
	before, first, last := a.opt.Before, a.settled, a.queue
	switch {
	case before == nil || first == nil || last == nil:
	case before.Depth > 0 || last.Sent-before.Sent != int64(a.found()):
	case !a.alone:
	case last.Depth != first.Depth || last.AsOf.Sub(first.AsOf) < max(time.Second, a.opt.Linger/2):
	default:
		return last.Depth
	}
	return 0
}

// found is how many of the run's orders there are. Where some are there twice, the run fails for that.
func (a *Auditor) found() (n int) {
	for _, b := range a.books {
		for _, o := range b.orders {
			if o.id != 0 && o.mark&lost == 0 {
				n++
			}
		}
	}
	return n
}

package worker

import "time"

// buffer is where deliveries wait for a worker. What no worker is to have is handed back.
type buffer struct {
	waiting chan *delivery
	held    *held
	gate    *gating
	endings endings
	settler *settler
}

// release hands back what no worker has taken, up to so many messages.
func (b *buffer) release(most int) {
	for range most {
		select {
		case d, open := <-b.waiting:
			if !open {
				return
			}
			b.handBack(d)
		default:
			return
		}
	}
}

// releaseAll hands back all that no worker has taken.
func (b *buffer) releaseAll() { b.release(cap(b.waiting)) }

// handBack gives back what no handler will be given. It keeps its place before what has become due since.
func (b *buffer) handBack(d *delivery) {
	b.gate.unused(d)
	if b.held.decide(d, leaving) {
		b.settler.put(b.endings.outcome(d, unstarted{ago: time.Since(d.due)}))
	}
}

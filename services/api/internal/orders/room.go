package orders

import "sync/atomic"

// room bounds how many orders wait for their transactions.
type room struct {
	most   int
	orders atomic.Int64
}

// enter lets a request in, unless others wait and there would be too many. A single one may be larger than the room.
func (r *room) enter(orders int) bool {
	for {
		inside := r.orders.Load()
		if inside > 0 && inside+int64(orders) > int64(r.most) {
			return false
		}
		if r.orders.CompareAndSwap(inside, inside+int64(orders)) {
			return true
		}
	}
}

func (r *room) leave(orders int) { r.orders.Add(int64(-orders)) }

func (r *room) inside() int { return int(r.orders.Load()) }

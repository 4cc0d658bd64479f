package settle

import (
	"fmt"
	"sync"
)

// Unwritten counts results whose write the database has suppressed, until each is written after all.
type Unwritten struct {
	mu    sync.Mutex
	count int
	why   string
}

func (u *Unwritten) begin(why error) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.count++
	u.why = why.Error()
}

func (u *Unwritten) end() {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.count--
}

// Why says how many there are and why; empty when there are none.
func (u *Unwritten) Why() string {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.count == 0 {
		return ""
	}
	return fmt.Sprintf("%d results cannot be written, because a trigger suppresses them: %s", u.count, u.why)
}

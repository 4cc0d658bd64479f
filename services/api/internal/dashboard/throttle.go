package dashboard

import (
	"hash/maphash"
	"net/netip"
	"sync"
	"time"
)

// throttle slows down who tries tokens: each client, and all together. Only wrong tokens count, so whoever has the right one is not slowed
// down by having signed in often; and nobody is ever locked out for longer than it takes for one more try, which is a matter of seconds.
// What it remembers has a fixed size: clients share places, by chance.
type throttle struct {
	mu      sync.Mutex
	seed    maphash.Seed
	all     bucket
	clients [1024]bucket
}

// How many wrong tokens there may be at once, and how long it takes until there may be another.
const (
	clientTries = 5
	clientPause = 2 * time.Second
	allTries    = 50
	allPause    = 200 * time.Millisecond
)

// bucket counts wrong tokens, which are forgotten with time.
type bucket struct {
	tries float64
	at    time.Time
}

func (b *bucket) now(t time.Time, pause time.Duration) float64 {
	if gone := t.Sub(b.at); gone > 0 {
		b.tries = max(0, b.tries-float64(gone)/float64(pause))
		b.at = t
	}
	return b.tries
}

func newThrottle() *throttle { return &throttle{seed: maphash.MakeSeed()} }

func (t *throttle) place(client string) *bucket {
	// Who has an address of IPv6 has 2^64 of them.
	if address, err := netip.ParseAddr(client); err == nil && address.Is6() && !address.Is4In6() {
		if prefix, err := address.WithZone("").Prefix(64); err == nil {
			client = prefix.String()
		}
	}
	return &t.clients[maphash.String(t.seed, client)%uint64(len(t.clients))]
}

// wait is how long a client's next token will not be looked at; 0: it is.
func (t *throttle) wait(client string, now time.Time) time.Duration {
	t.mu.Lock()
	defer t.mu.Unlock()
	return max(
		time.Duration((t.place(client).now(now, clientPause)-(clientTries-1))*float64(clientPause)),
		time.Duration((t.all.now(now, allPause)-(allTries-1))*float64(allPause)),
		0)
}

// wrong notes that a client's token was none.
func (t *throttle) wrong(client string, now time.Time) {
	t.mu.Lock()
	defer t.mu.Unlock()
	place := t.place(client)
	place.now(now, clientPause)
	place.tries++
	t.all.now(now, allPause)
	t.all.tries++
}

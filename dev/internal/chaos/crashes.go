package chaos

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"sync"
	"time"

	"orderflow.example/dev/internal/stack"
)

// crashFaults are orders that kill whoever works on them.
func crashFaults() []Fault {
	return []Fault{
		{Name: "crash-loop", Title: "one order whose handler ends its process", Handler: HandlerSimulate, Recovery: visibilityAndASecond, Run: killer("exit", nil)},
		{Name: "out-of-memory", Title: "one order whose handler takes all memory, under a limit", Handler: HandlerSimulate, Recovery: visibilityAndASecond, Run: killer("memory", limitMemory)},
	}
}

const (
	// killerOf is whose order it is.
	killerOf   = "Killer of Consumers"
	killerBody = `{"customer_name":"` + killerOf + `","product_name":"Bomb","quantity":1,"price":1.50}`
	// memoryLimit is what a consumer may have: little more than it needs, so that even one that hardly gets a processor has taken the rest of it
	// before its handler's time is over.
	memoryLimit = 128 << 20
	// killerConcurrency is such that the third delivery without an answer is followed by one that is worked on alone.
	killerConcurrency = 100
	deathsInCompany   = 3
)

// killer posts one order that kills its consumers in one way, amid the load. It has to be found out and set aside, and to cost no other
// order anything. limited is what is done to each consumer first.
func killer(how string, limited func(*stack.Node) error) func(context.Context, *Rig) error {
	return func(ctx context.Context, r *Rig) error {
		maxCrashes := pick(r.plan, 5, 2)
		env := r.work("SIMULATE_CRASH="+how+":"+killerOf, "MAX_CRASHES="+strconv.Itoa(maxCrashes),
			"VT=2", "CONCURRENCY="+strconv.Itoa(killerConcurrency))
		if err := r.up(ctx, settings{consumers: 2, api: r.unhurried(), consumer: env}); err != nil {
			return err
		}
		var k kubelet
		for _, n := range r.consumers {
			delete(r.expected, n) // they are going to die
			if limited != nil {
				if err := limited(n); err != nil {
					return err
				}
			}
			k.keep(ctx, r, n)
		}
		defer func() { _ = k.stop() }() // where this is not the first call there is another error
		if err := r.load(ctx); err != nil {
			return err
		}
		if err := r.wait(ctx, r.plan.Duration/4); err != nil {
			return err
		}
		client := &http.Client{Timeout: r.patience()}
		defer client.CloseIdleConnections()
		_, bomb, err := post(ctx, client, r.api.URL()+"/orders", killerBody)
		if err != nil {
			return fmt.Errorf("post the killer: %w", err)
		}
		if err := r.patiently(ctx, "the killer is dead", func() (bool, error) {
			dead, err := r.scalar(ctx, `select count(*) from public.orders where id = $1 and status = 'dead'`, bomb.ID)
			return dead == 1, err
		}); err != nil {
			return err
		}
		r.ended()
		if err := r.account(ctx); err != nil {
			return err
		}
		if err := k.stop(); err != nil {
			return err
		}
		return r.checkKiller(ctx, bomb.ID, maxCrashes, k.restarts())
	}
}

// checkKiller wants the killer, and it alone, to have paid.
func (r *Rig) checkKiller(ctx context.Context, id int64, maxCrashes, deaths int) error {
	conn, err := r.connect(ctx)
	if err != nil {
		return err
	}
	defer conn.Close(context.WithoutCancel(ctx))
	var letters, attempts, others int
	var reason, problem string
	err = conn.QueryRow(ctx, `
		select (select count(*) from pgmq.q_order_queue_dlq),
		       d.headers->'orderflow-dead'->>'reason', o.last_error, o.attempts,
		       (select count(*) from public.orders where id <> o.id and attempts <> 1)
		  from public.orders as o
		  join pgmq.q_order_queue_dlq as d on (d.message->>'order_id')::bigint = o.id
		 where o.id = $1`, id).Scan(&letters, &reason, &problem, &attempts, &others)
	if err != nil {
		return fmt.Errorf("the killer's end: %w", err)
	}
	r.check(letters == 1, "dead letters", letters, "1, the killer's")
	r.check(reason == "crashed", "the killer's reason", reason, "crashed")
	want := fmt.Sprintf("the consumer died %d times while it worked on this order and on nothing else", maxCrashes)
	r.check(problem == want, "the killer's error", problem, want)
	r.check(attempts == maxCrashes, "the killer's attempts", attempts, maxCrashes)
	r.check(others == 0, "other orders with other than one attempt", others, 0)
	// Where a consumer stood still past a lease of the killer's, a delivery has ended without a death.
	most := deathsInCompany + maxCrashes
	ok := deaths == most || r.plan.Untimed && 0 < deaths && deaths <= min(most, r.starts.of(id))
	r.measured(ok, "consumers that died of it", deaths, most)
	return nil
}

// patiently is until, for what takes many restarts.
func (r *Rig) patiently(ctx context.Context, what string, condition func() (bool, error)) error {
	var err error
	for range 3 {
		if err = r.until(ctx, what, condition); err == nil || ctx.Err() != nil {
			return err
		}
	}
	return err
}

// kubelet starts consumers again when they have ended, after a while that doubles each time, as Kubernetes does; in less time.
type kubelet struct {
	work sync.WaitGroup
	once sync.Once
	end  func()

	mu    sync.Mutex
	again int
	err   error
}

const (
	firstRestart  = 50 * time.Millisecond // of Kubernetes' ten seconds
	latestRestart = 1500 * time.Millisecond
)

func (k *kubelet) keep(ctx context.Context, r *Rig, n *stack.Node) {
	ctx, cancel := context.WithCancel(ctx)
	if before := k.end; before != nil {
		k.end = func() { before(); cancel() }
	} else {
		k.end = cancel
	}
	k.work.Go(func() {
		for pause := firstRestart; ; pause = min(2*pause, latestRestart) {
			select {
			case <-n.Process().Done():
			case <-ctx.Done():
				return
			}
			k.note(1, nil)
			if r.wait(ctx, pause) != nil {
				return
			}
			if err := n.Start(); err != nil {
				k.note(0, err)
				return
			}
		}
	})
}

func (k *kubelet) note(restarts int, err error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.again += restarts
	k.err = errors.Join(k.err, err)
}

func (k *kubelet) restarts() int {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.again
}

// stop lets who ends from now on rest.
func (k *kubelet) stop() error {
	k.once.Do(func() { k.end() })
	k.work.Wait()
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.err
}

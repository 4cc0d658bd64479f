package dashboard

import (
	"encoding/json"
	"fmt"
	"math"
	"time"

	"orderflow.example/services/api/internal/isotime"
	"orderflow.example/services/api/internal/orders"
	"orderflow.example/services/api/internal/queue"
)

// The models below are what pages are looked at with: busy, with all that there can be, and empty. hostile is put wherever people write.

func ptr[T any](v T) *T { return &v }

func at(now time.Time, before time.Duration) isotime.Time {
	return isotime.Time{Time: now.Add(-before)}
}

func busyPage(here string, hostile string) Page {
	return Page{
		Title: "Overview", Root: "./", Here: here, Queue: "order_queue" + hostile, Version: "1.4.0",
		Access: Access{CanChange: true, SignedIn: true, CanSignIn: true, CSRF: "csrf-token"},
	}
}

func busyOverview(hostile string) *OverviewPage {
	now := time.Now()
	s := &Snapshot{
		AsOf: at(now, 0), Queue: "order_queue", AcceptedPerSecond: ptr(2013.4), CompletedPerSecond: ptr(1987.2), RetriesPerSecond: ptr(3.24),
		Waiting: 1204, InFlight: 96, Delayed: 41, OldestAgeSeconds: 1.84, DeadLetters: 12,
		Balance:   Balance{State: "balanced", Accepted: 1284311, Completed: 1282958, Dead: 12, UnderWay: 1341, Words: "Every order is accounted for."},
		Consuming: queue.Consuming{State: "running"},
		Doctor: Doctor{At: ptr(at(now, 41*time.Second)), By: "orderflow-consumer-7c9f5-4xk2p", Findings: []Finding{
			{Check: "vacuum", Finding: "pid 4711 (psql) has held vacuum back for 14 minutes" + hostile, Advice: "end its transaction: select pg_terminate_backend(4711)" + hostile},
			{Check: "dead letters", Finding: "12 messages were given up", Advice: "look at them with GET /dead-letters, mend the cause, and redrive them"},
			{Check: "lag", Finding: "the oldest message is 1.8 s old"},
			{Check: "schema", Finding: "version 11, as this consumer expects"},
			{Check: "settings", Finding: "fsync and synchronous_commit are on"},
		}},
	}
	for i, name := range []string{"4xk2p", "9wqlm", "tz8vd"} {
		s.Consumers = append(s.Consumers, Consumer{
			Name: "orderflow-consumer-7c9f5-" + name + hostile, Key: "k" + name, State: "working", Since: at(now, time.Duration(i*i+1)*47*time.Minute),
			Busy: 32 - 9*i, Capacity: 32, PerSecond: ptr(662.3 - 31*float64(i)), Completed: 431200, Failures: int64(214 * i), SeenAt: at(now, 400*time.Millisecond), SeenAgo: 0.4,
		})
	}
	s.Consumers[2].State, s.Consumers[2].SeenAgo, s.Consumers[2].Busy = "silent", 14.2, 14
	for i := range int64(10) {
		o := LatestOrder{
			ID: 1284311 - i, CreatedAt: at(now, time.Duration(i)*430*time.Microsecond), CustomerName: fmt.Sprintf("Customer %d%s", 311-i, hostile),
			ProductName: fmt.Sprintf("Product %d%s", 11-i, hostile), Status: []string{"pending", "pending", "completed", "dead"}[i%4], Attempts: int32(i % 3),
		}
		s.Latest = append(s.Latest, o)
	}
	return &OverviewPage{Page: busyPage("overview", hostile), Snapshot: s, Series: busySeries(now)}
}

func busySeries(now time.Time) *Series {
	window := func(step, points int) Window {
		w := emptyWindow(step)
		for i := range points {
			x := float64(i) / float64(points)
			wave := func(base, swing, speed float64) *float64 {
				return ptr(math.Max(0, base+swing*math.Sin(x*speed)+swing/6*math.Sin(float64(i)*2.7)))
			}
			w.At = append(w.At, now.Unix()/int64(step)*int64(step)-int64((points-1-i)*step))
			w.Accepted = append(w.Accepted, wave(1900, 240, 7))
			w.Completed = append(w.Completed, wave(1860, 300, 6.7))
			w.Retries = append(w.Retries, wave(3, 2, 9))
			w.Waiting = append(w.Waiting, wave(900, 700, 5))
			w.InFlight = append(w.InFlight, wave(96, 3, 20))
			w.Delayed = append(w.Delayed, wave(40, 12, 4))
			w.OldestAge = append(w.OldestAge, wave(1.5, 1, 5))
			consumers := 3.0
			if x > 0.3 && x < 0.5 {
				consumers = 2
			}
			w.Consumers = append(w.Consumers, ptr(consumers))
			w.P50 = append(w.P50, wave(0.024, 0.006, 8))
			w.P95 = append(w.P95, wave(0.071, 0.02, 6))
			w.P99 = append(w.P99, wave(0.118, 0.04, 5))
		}
		return w
	}
	return &Series{Minutes: window(5, 60), Hour: window(60, 60)}
}

func emptyOverview() *OverviewPage {
	p := &OverviewPage{Page: Page{Title: "Overview", Root: "./", Here: "overview", Queue: "order_queue", Version: "dev", Access: Access{CanSignIn: true}}}
	p.Snapshot = &Snapshot{AsOf: at(time.Now(), 0), Balance: Balance{State: "balanced"}, Consuming: queue.Consuming{State: "running"}}
	p.Series = &Series{Minutes: emptyWindow(5), Hour: emptyWindow(60)}
	return p
}

// troubledOverview is one with everything wrong that can be at once.
func troubledOverview(hostile string) *OverviewPage {
	p := busyOverview(hostile)
	s := p.Snapshot
	s.Doctor.Findings = append([]Finding{{Check: "handler", Finding: "The consumers only simulate work: orders are completed, and nothing is done with them.", Advice: "For real orders set HANDLER." + hostile}}, s.Doctor.Findings...)
	s.Consuming = queue.Consuming{State: "breaker_open", Since: ptr(at(time.Now(), 73*time.Second)), Reason: "dial tcp 10.0.4.17:443: connect: connection refused" + hostile}
	s.Balance.State, s.Balance.Lost, s.Balance.Example = "lost", 2, ptr(int64(4711))
	s.Balance.Words = "2 orders are pending and have no message: nobody will process them." + hostile
	s.CompletedPerSecond, s.Waiting, s.OldestAgeSeconds = ptr(0.3), 41213, 384
	return p
}

func pausedOverview() *OverviewPage {
	p := busyOverview("")
	p.Snapshot.Consuming = queue.Consuming{State: "paused", Since: ptr(at(time.Now(), 12*time.Minute)), By: "the api", Reason: "the warehouse moves"}
	p.Snapshot.CompletedPerSecond = ptr(0.0)
	p.Done = "Consuming is paused. What runs is finished; nothing else is begun until it is resumed."
	return p
}

func awayOverview() *OverviewPage {
	p := emptyOverview()
	p.Snapshot, p.Series = nil, nil
	p.Away = &Away{Reason: "database is away", Since: at(time.Now(), 12*time.Second)}
	return p
}

func deadLettersPage(hostile string) *DeadLettersPage {
	p := &DeadLettersPage{Page: busyPage("dead-letters", hostile), Reasons: []ReasonCount{{"max_attempts", 9}, {"permanent" + hostile, 2}, {"", 1}}, Counted: 12}
	p.Title, p.Root = "Dead letters", "../"
	for i := range int64(6) {
		p.Letters = append(p.Letters, queue.DeadLetter{
			MsgID: 40 - i, OrderID: ptr(4711 - i), Reason: ptr("max_attempts" + hostile), Attempts: ptr(int64(40)),
			Error:   ptr("POST https://warehouse.example.com/orders: 500 Internal Server Error: {\"error\":\"no stock left of Product 17\"}" + hostile),
			DeadAt:  ptr(time.Now().Add(-time.Duration(i) * 7 * time.Minute).Format(time.RFC3339Nano)),
			Message: json.RawMessage(fmt.Sprintf(`{"order_id": %d, "customer_name": %q, "price": 11.00}`, 4711-i, "Customer 1"+hostile)),
		})
	}
	p.Letters[2].OrderID, p.Letters[2].Reason, p.Letters[2].Attempts = nil, nil, nil
	p.Next = "cursor" + hostile
	return p
}

func planPage(hostile string) *DeadLettersPage {
	p := deadLettersPage(hostile)
	p.Filter = DeadLetterFilter{Reason: "max_attempts" + hostile, Text: "no stock" + hostile}
	p.Plan = &RedrivePlan{Matched: 9, UpTo: 40}
	return p
}

func storedOrder(id int64, hostile string) orders.Order {
	now := time.Now()
	return orders.Order{
		ID: id, Draft: orders.Draft{CustomerName: "Customer 17" + hostile, ProductName: "Product 4" + hostile, Quantity: 2, Price: 1100},
		CreatedAt: now.Add(-15 * time.Minute), MessageID: 4711, Status: "dead", Attempts: 3, LastError: ptr("500 Internal Server Error" + hostile),
		ProcessedBy: ptr("orderflow-consumer-7c9f5-4xk2p" + hostile), IdempotencyKey: ptr("run-1:4711" + hostile),
	}
}

func ordersPage(hostile string) *OrdersPage {
	p := &OrdersPage{Page: busyPage("orders", hostile), Search: OrderSearch{Q: "Customer 1" + hostile, By: "customer"}, Next: "cursor" + hostile}
	p.Title, p.Root = "Orders", "../"
	for i := range int64(12) {
		o := storedOrder(4711-i, hostile)
		o.Status = []string{"pending", "completed", "completed", "dead"}[i%4]
		p.Orders = append(p.Orders, o)
	}
	return p
}

func orderPage(hostile string) *OrderPage {
	p := &OrderPage{Page: busyPage("order", hostile), Order: storedOrder(4711, hostile), TraceID: "4bf92f3577b34da6a3ce929d0e0e4736", DeadLetter: ptr(int64(40))}
	p.Title, p.Root = "Order 4711", "../../"
	start := p.Order.CreatedAt
	p.Story = []Moment{
		{At: start, Kind: "accepted", Title: "Accepted", Detail: ""},
		{At: start.Add(24 * time.Millisecond), Kind: "failed", Title: "Attempt 1 failed", Attempt: 1, Consumer: "orderflow-consumer-7c9f5-4xk2p" + hostile, Waited: 4 * time.Millisecond, Worked: 20 * time.Millisecond, Detail: "500 Internal Server Error" + hostile},
		{At: start.Add(2 * time.Second), Kind: "lease_lost", Title: "Attempt 2 had no answer", Attempt: 2, Consumer: "orderflow-consumer-7c9f5-9wqlm", Waited: 1200 * time.Millisecond},
		{At: start.Add(12 * time.Second), Kind: "handed_back", Title: "Handed back", Consumer: "orderflow-consumer-7c9f5-9wqlm", Waited: 10 * time.Second},
		{At: start.Add(5 * time.Minute), Kind: "buried", Title: "Given up after attempt 3: max_attempts", Attempt: 3, Consumer: "orderflow-consumer-7c9f5-4xk2p", Waited: 4 * time.Minute, Worked: 31 * time.Second, Detail: "context deadline exceeded"},
		{At: start.Add(9 * time.Minute), Kind: "redriven", Title: "Put back into the queue"},
		{At: start.Add(9*time.Minute + 30*time.Millisecond), Kind: "completed", Title: "Completed at attempt 1", Attempt: 1, Consumer: "orderflow-consumer-7c9f5-4xk2p", Waited: 3 * time.Millisecond, Worked: 27 * time.Millisecond},
	}
	return p
}

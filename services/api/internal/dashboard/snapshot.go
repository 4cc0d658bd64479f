package dashboard

import (
	"time"

	"orderflow.example/services/api/internal/isotime"
	"orderflow.example/services/api/internal/queue"
)

// Snapshot is how everything is doing at one moment. It is the data of the stream's event "snapshot", about once a second, and what
// the overview is rendered with.
type Snapshot struct {
	AsOf  isotime.Time `json:"as_of" doc:"by the database's clock"`
	Queue string       `json:"queue"`

	AcceptedPerSecond  *float64 `json:"accepted_per_second" doc:"orders; over the last few seconds. Null until two looks can be compared"`
	CompletedPerSecond *float64 `json:"completed_per_second" doc:"likewise"`
	RetriesPerSecond   *float64 `json:"retries_per_second" doc:"attempts that failed and will be made again; likewise"`

	Waiting          int64   `json:"waiting" doc:"messages that a consumer could have at once"`
	InFlight         int64   `json:"in_flight" doc:"messages with a consumer"`
	Delayed          int64   `json:"delayed" doc:"messages that wait for their next attempt, or for the delay that they were sent with"`
	OldestAgeSeconds float64 `json:"oldest_age_seconds" doc:"age of the oldest message; 0 when there is none"`
	DeadLetters      int64   `json:"dead_letters"`

	Balance   Balance         `json:"balance"`
	Consuming queue.Consuming `json:"consuming" doc:"running, limited, breaker_open or paused: as in GET /queue"`
	Consumers []Consumer      `json:"consumers" nullable:"false" doc:"by name"`
	Doctor    Doctor          `json:"doctor"`
	Latest    []LatestOrder   `json:"latest" nullable:"false" doc:"the newest orders, newest first"`
}

// Balance is whether every accepted order is accounted for. See balance.go for what is compared.
type Balance struct {
	State     string        `json:"state" enum:"balanced,lost,counting" doc:"counting: not every order has been looked at yet"`
	Accepted  int64         `json:"accepted" doc:"orders: completed + dead + under_way + lost"`
	Completed int64         `json:"completed"`
	Dead      int64         `json:"dead"`
	UnderWay  int64         `json:"under_way" doc:"pending orders whose message is in the queue"`
	Lost      int64         `json:"lost" doc:"pending orders without a message: nobody will process them"`
	Words     string        `json:"words" doc:"the same as a sentence or two, with what to do when it is not balanced"`
	Example   *int64        `json:"example" doc:"one of the orders that are lost; null when none is"`
	CheckedAt *isotime.Time `json:"checked_at" doc:"when they were last looked at: of what is under way, the part that was looked at longest ago; null before the first time"`
	Behind    time.Duration `json:"-"` // how long that is ago, when it is long: then the other figures know more
}

// Consumer is a process that works on the queue, by what it last said of itself.
type Consumer struct {
	Name      string       `json:"name" doc:"its CONSUMER_ID, or host name"`
	Key       string       `json:"key" doc:"tells it from every other process, also from an earlier one of the same name"`
	State     string       `json:"state" enum:"working,idle,draining,silent" doc:"silent: it has not been heard of for longer than it should be; it vanishes after five times as long, by default after 30 s"`
	Since     isotime.Time `json:"since" doc:"when it was started"`
	Busy      int          `json:"busy" doc:"handlers at work"`
	Capacity  int          `json:"capacity" doc:"handlers that can be at work: CONCURRENCY"`
	PerSecond *float64     `json:"per_second" doc:"orders completed, over the last few seconds; null until two looks can be compared"`
	Completed int64        `json:"completed" doc:"orders, since it was started"`
	Failures  int64        `json:"failures" doc:"attempts that failed, since it was started"`
	SeenAt    isotime.Time `json:"seen_at"`
	SeenAgo   float64      `json:"seen_ago_seconds"`
}

// Doctor is what `consumer doctor` finds. The consumers look about once a minute, one of them for all.
type Doctor struct {
	At       *isotime.Time `json:"at" doc:"when it looked; null: no consumer has looked yet"`
	By       string        `json:"by" doc:"the consumer that looked"`
	Stale    bool          `json:"stale" doc:"it has not looked for minutes: no consumer is there to do it"`
	Findings []Finding     `json:"findings" nullable:"false" doc:"those with advice first"`
}

// Finding is one thing that the doctor looked at.
type Finding struct {
	Check   string `json:"check" example:"vacuum"`
	Finding string `json:"finding"`
	Advice  string `json:"advice" doc:"what to do; empty when there is nothing to do"`
}

// LatestOrder is an order in a list.
type LatestOrder struct {
	ID           int64         `json:"id"`
	CreatedAt    isotime.Time  `json:"created_at"`
	CustomerName string        `json:"customer_name" doc:"its first 100 characters"`
	ProductName  string        `json:"product_name" doc:"likewise"`
	Status       string        `json:"status" enum:"pending,completed,dead"`
	Attempts     int32         `json:"attempts"`
	CompletedAt  *isotime.Time `json:"completed_at"`
}

// Series are the past. It is the data of the stream's event "series": one at the beginning, then one whenever there is a new sample,
// about every five seconds. Each replaces the one before.
type Series struct {
	Minutes Window `json:"minutes" doc:"the last five minutes, a point every five seconds"`
	Hour    Window `json:"hour" doc:"the last hour, a point a minute"`
}

// Window is a part of the past, in columns as charts take them. All columns are as long as At. Null stands for what is not known: no api
// was there to take the sample, or, for latencies, no order was completed.
type Window struct {
	StepSeconds int        `json:"step_seconds"`
	At          []int64    `json:"at" nullable:"false" doc:"the end of each step, in seconds since 1970"`
	Accepted    []*float64 `json:"accepted_per_second" nullable:"false"`
	Completed   []*float64 `json:"completed_per_second" nullable:"false"`
	Retries     []*float64 `json:"retries_per_second" nullable:"false"`
	Waiting     []*float64 `json:"waiting" nullable:"false" doc:"at the end of the step, as the following"`
	InFlight    []*float64 `json:"in_flight" nullable:"false"`
	Delayed     []*float64 `json:"delayed" nullable:"false"`
	OldestAge   []*float64 `json:"oldest_age_seconds" nullable:"false"`
	Consumers   []*float64 `json:"consumers" nullable:"false" doc:"a step line"`
	P50         []*float64 `json:"p50_seconds" nullable:"false" doc:"from POST to completed, by the database's clock"`
	P95         []*float64 `json:"p95_seconds" nullable:"false"`
	P99         []*float64 `json:"p99_seconds" nullable:"false"`
}

// Away is the data of the stream's event "away": the database cannot be used, and no snapshot comes until it can be again. It is
// sent when that begins and every few seconds while it lasts.
type Away struct {
	Reason string       `json:"reason" example:"database is away"`
	Since  isotime.Time `json:"since"`
}

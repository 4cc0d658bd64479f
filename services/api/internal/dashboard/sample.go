package dashboard

import (
	"math"
	"time"
)

// A sample spans sampleStep seconds; the last sampleSlots of them are kept, an hour.
const (
	sampleStep  = 5
	sampleSlots = 720
)

// sample is a row of orderflow.samples: what happened in a step, and how it was at its end.
type sample struct {
	Step                         int64 // its end, in steps since 1970
	Seconds                      float64
	Accepted, Completed, Retried int64
	Failed, Dead                 int64
	Waiting                      int64
	InFlight                     int64 `json:"in_flight"`
	Delayed                      int64
	OldestAge                    float64 `json:"oldest_age"`
	Consumers                    int64
	Latency                      []int64
}

// past are the samples of the last hour, by their step.
type past map[int64]sample

// last is the newest step; 0: there is none.
func (p past) last() (last int64) {
	for step := range p {
		last = max(last, step)
	}
	return last
}

// add adds samples, and forgets those that are more than an hour older than now, or newer: the next one would not be taken for new.
func (p past) add(samples []sample, now time.Time) {
	for _, s := range samples {
		p[s.Step] = s
	}
	oldest := stepOf(now) - sampleSlots
	for step := range p {
		if step <= oldest || step > oldest+sampleSlots+2 {
			delete(p, step)
		}
	}
}

// stepOf is the last step that has ended.
func stepOf(t time.Time) int64 { return t.Unix() / sampleStep }

// points is how many a window has.
const points = 60

// window are the last points before now, each of which spans so many samples. A sample is taken a moment after its end: until then the one
// before is the last.
func (p past) window(now time.Time, span int64) Window {
	step := span * sampleStep
	end := stepOf(now)
	if _, taken := p[end]; !taken && len(p.between(end-2, end-1)) > 0 {
		end--
	}
	end = end / span * span // the charts' points stay where they are while they move to the left
	w := emptyWindow(int(step))
	for i := range int64(points) {
		to := end - (points-1-i)*span
		w.add(to*sampleStep, p.between(to-span, to))
	}
	return w
}

// between are the samples that ended after one step and not after another, in their order.
func (p past) between(after, to int64) (found []sample) {
	for step := after + 1; step <= to; step++ {
		if s, ok := p[step]; ok {
			found = append(found, s)
		}
	}
	return found
}

// add adds a point made of some samples; none: nothing is known of that time.
func (w *Window) add(at int64, samples []sample) {
	w.At = append(w.At, at)
	var accepted, completed, retried, waiting, inFlight, delayed, oldest, consumers, p50, p95, p99 *float64
	if len(samples) > 0 {
		var sum sample
		var buckets []int64
		for _, s := range samples {
			sum.Seconds += s.Seconds
			sum.Accepted += s.Accepted
			sum.Completed += s.Completed
			sum.Retried += s.Retried
			buckets = addTo(buckets, s.Latency)
		}
		last := samples[len(samples)-1]
		accepted, completed, retried = number(float64(sum.Accepted)/sum.Seconds), number(float64(sum.Completed)/sum.Seconds), number(float64(sum.Retried)/sum.Seconds)
		waiting, inFlight, delayed = number(float64(last.Waiting)), number(float64(last.InFlight)), number(float64(last.Delayed))
		oldest, consumers = number(last.OldestAge), number(float64(last.Consumers))
		p50, p95, p99 = percentile(buckets, .50), percentile(buckets, .95), percentile(buckets, .99)
	}
	for _, column := range []struct {
		to    *[]*float64
		value *float64
	}{
		{&w.Accepted, accepted},
		{&w.Completed, completed},
		{&w.Retries, retried},
		{&w.Waiting, waiting},
		{&w.InFlight, inFlight},
		{&w.Delayed, delayed},
		{&w.OldestAge, oldest},
		{&w.Consumers, consumers},
		{&w.P50, p50},
		{&w.P95, p95},
		{&w.P99, p99},
	} {
		*column.to = append(*column.to, column.value)
	}
}

// number is a value as charts need it. What is none, as a rate over no time, is not known: nil. JSON has no place for it.
func number(v float64) *float64 {
	if math.IsNaN(v) || math.IsInf(v, 0) {
		return nil
	}
	v = rounded(v)
	return &v
}

// rounded has four digits, which tell more than a screen can show. What is smaller than anything that is measured is 0.
func rounded(v float64) float64 {
	if math.Abs(v) < 1e-100 {
		return 0
	}
	if scale := math.Pow(10, 3-math.Floor(math.Log10(math.Abs(v)))); scale > 1 {
		return math.Round(v*scale) / scale
	}
	return math.Round(v)
}

// addTo adds counts to others, element by element.
func addTo(sums, more []int64) []int64 {
	for len(sums) < len(more) {
		sums = append(sums, 0)
	}
	for i, n := range more {
		sums[i] += n
	}
	return sums
}

// percentile is the time, in seconds, that a part of the orders took at most; nil: there are none. Element i of buckets counts those of up
// to 2^(i/3) ms that are in no element before, as services/consumer/internal/queue/report.go has it. Within an element it takes them
// to be spread evenly.
func percentile(buckets []int64, part float64) *float64 {
	total := int64(0)
	for _, n := range buckets {
		total += max(n, 0)
	}
	if total == 0 {
		return nil
	}
	rank := part * float64(total)
	below := 0.0
	for i, n := range buckets {
		if n <= 0 {
			continue
		}
		if below+float64(n) >= rank {
			from := bucketEnd(i - 1)
			return number((from + (bucketEnd(i)-from)*(rank-below)/float64(n)) / 1000)
		}
		below += float64(n)
	}
	return number(bucketEnd(len(buckets)-1) / 1000)
}

// bucketEnd is the longest time in an element, in ms.
func bucketEnd(i int) float64 {
	if i < 0 {
		return 0
	}
	return math.Pow(2, float64(i)/3)
}

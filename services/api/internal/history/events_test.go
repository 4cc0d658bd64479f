package history

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"
)

var began = time.Date(2026, 11, 26, 12, 0, 0, 0, time.UTC)

func at(seconds float64) time.Time { return began.Add(time.Duration(seconds * float64(time.Second))) }

func since(seconds float64) *time.Time { t := at(seconds); return &t }

func ref[T any](v T) *T { return &v }

// line is an event in short: what, when, which attempt, waited+worked.
func line(e Event) string {
	text := fmt.Sprintf("%s %gs", e.Event, e.At.Sub(began).Seconds())
	if e.Attempt != nil {
		text += fmt.Sprintf(" #%d", *e.Attempt)
	}
	if e.Times != nil {
		text += fmt.Sprintf(" x%d", *e.Times)
	}
	if e.WaitedSeconds != nil {
		text += fmt.Sprintf(" waited %g", *e.WaitedSeconds)
	}
	if e.WorkedSeconds != nil {
		text += fmt.Sprintf(" worked %g", *e.WorkedSeconds)
	}
	if e.Reason != nil {
		text += " " + *e.Reason
	}
	return text
}

func TestStories(t *testing.T) {
	failed := func(seq, attempt int32, due, started, ended float64) row {
		return row{
			seq: seq, times: 1, delivery: seq, messageID: 7, enqueued: at(0), outcome: "failed", attempt: &attempt, due: since(due), started: since(started),
			ended: at(ended), settled: at(ended), retry: since(ended + 1),
		}
	}
	last := failed(1, 1, 0, 1, 2)
	last.reason, last.retry = ref("max_attempts"), nil
	for name, test := range map[string]struct {
		order order
		rows  []row
		want  []string
	}{
		"completed at once": {
			order: order{status: "completed", attempts: 1, started: since(2), completed: since(5)},
			want:  []string{"accepted 0s", "queued 0s", "completed 5s #1 waited 2 worked 3"},
		},
		"waits": {
			order: order{status: "pending"},
			want:  []string{"accepted 0s", "queued 0s"},
		},
		"completed at the third attempt, after a lost lease and hand-backs": {
			order: order{status: "completed", attempts: 3, started: since(50), completed: since(51)},
			rows: []row{
				failed(1, 1, 0, 1, 3),
				{seq: 2, times: 1, delivery: 2, outcome: "unanswered", ended: at(14), settled: at(15), retry: since(14)},
				{seq: 3, times: 4, delivery: 6, outcome: "released", due: since(14), leased: since(15), ended: at(30), settled: at(30), retry: since(30)},
				failed(4, 2, 30, 31, 40),
			},
			want: []string{
				"accepted 0s", "queued 0s", "failed 3s #1 waited 1 worked 2", "unanswered 14s waited 10", "released 30s x4 waited 16",
				"failed 40s #2 waited 1 worked 9", "completed 51s #3 waited 9 worked 1",
			},
		},
		"dead, redriven, completed": {
			order: order{status: "completed", attempts: 1, started: since(12), completed: since(13)},
			rows:  []row{last, {seq: 2, times: 1, messageID: 8, outcome: "redriven", ended: at(10), settled: at(10)}},
			want: []string{
				"accepted 0s", "queued 0s", "failed 2s #1 waited 1 worked 1", "dead 2s max_attempts", "redriven 10s",
				"completed 13s #1 waited 2 worked 1",
			},
		},
		"dead, its letter deleted": {
			order: order{status: "dead", attempts: 1, dead: since(2)},
			rows:  []row{last, {seq: 2, times: 1, messageID: 3, outcome: "deleted", ended: at(10), settled: at(10)}},
			want:  []string{"accepted 0s", "queued 0s", "failed 2s #1 waited 1 worked 1", "dead 2s max_attempts", "deleted 10s"},
		},
		"dead under an earlier release, its letter deleted": {
			order: order{status: "dead", dead: since(2)},
			rows:  []row{{seq: 1, times: 1, messageID: 3, outcome: "deleted", ended: at(10), settled: at(10)}},
			want:  []string{"accepted 0s", "queued 0s", "dead 2s", "deleted 10s"},
		},
		"its message has the time at which their transaction began": {
			order: order{status: "completed", attempts: 2, started: since(12), completed: since(13)},
			rows: []row{{
				seq: 1, times: 1, delivery: 1, messageID: 7, enqueued: at(-0.25), outcome: "failed", attempt: ref(int32(1)), started: since(1),
				ended: at(2), settled: at(2), retry: since(10),
			}},
			want: []string{"accepted 0s", "queued 0s", "failed 2s #1 waited 1 worked 1", "completed 13s #2 waited 2 worked 1"},
		},
		"its message was gone": {
			order: order{status: "completed", attempts: 1, started: since(12), completed: since(13)},
			rows:  []row{failed(1, 1, 0, 1, 2), {seq: 2, times: 1, messageID: 8, outcome: "requeued", ended: at(10), settled: at(10)}},
			want:  []string{"accepted 0s", "queued 0s", "failed 2s #1 waited 1 worked 1", "requeued 10s", "completed 13s #1 waited 2 worked 1"},
		},
		"dead without an attempt": {
			order: order{status: "dead", dead: since(2)},
			rows:  []row{{seq: 1, times: 1, delivery: 1, enqueued: at(0), outcome: "buried", reason: ref("bad_message"), ended: at(1), settled: at(2)}},
			want:  []string{"accepted 0s", "queued 0s", "dead 2s bad_message"},
		},
		"came back time and again": {
			order: order{status: "pending", attempts: 100},
			rows:  []row{failed(1, 1, 0, 1, 2), failed(90, 90, 200, 201, 202)},
			want:  []string{"accepted 0s", "queued 0s", "failed 2s #1 waited 1 worked 1", "omitted 2s x88", "failed 202s #90 waited 1 worked 1"},
		},
		"failed under an earlier release, completed by this one": {
			order: order{status: "completed", attempts: 4, started: since(60), completed: since(61)},
			rows:  []row{{seq: 1, times: 1, delivery: 3, enqueued: at(0), outcome: "failed", attempt: ref(int32(3)), started: since(40), ended: at(41), settled: at(41), retry: since(50)}},
			want:  []string{"accepted 0s", "queued 0s", "omitted 0s x2", "failed 41s #3 waited 40 worked 1", "completed 61s #4 waited 10 worked 1"},
		},
		"dead under an earlier release": {
			order: order{status: "dead", attempts: 5, dead: since(9)},
			want:  []string{"accepted 0s", "queued 0s", "omitted 0s x5", "dead 9s"},
		},
		"completed under an earlier release": {
			order: order{status: "completed", attempts: 1, completed: since(9)},
			want:  []string{"accepted 0s", "queued 0s", "completed 9s #1 waited 9"},
		},
		"adopted as completed": {
			order: order{status: "completed"},
			want:  []string{"accepted 0s", "queued 0s", "completed 0s"},
		},
		"a clock went back": {
			order: order{status: "completed", attempts: 1, started: since(-1), completed: since(-2)},
			want:  []string{"accepted 0s", "queued 0s", "completed -2s #1 waited 0 worked 0"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			test.order.created, test.order.messageID = began, 7
			var got []string
			for _, e := range events(test.order, test.rows) {
				got = append(got, line(e))
			}
			if !slices.Equal(got, test.want) {
				t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(test.want, "\n"))
			}
		})
	}
}

package chaos

import (
	"fmt"
	"strings"
	"testing"
)

// What consumers have logged of their starts has to be what orders and stories say of attempts, for each order.
func TestAttemptsAreStarts(t *testing.T) {
	t.Parallel()
	start := func(order, message, number int) string {
		return fmt.Sprintf(`{"level":"DEBUG","msg":"handler is started","order_id":%d,"msg_id":%d,"attempt":1,"delivery":%d}`, order, message, number)
	}
	at := causeAt
	told := func(name string, attempt, number int) event {
		return event{Event: name, Attempt: attempt, MessageID: 70, Delivery: number, StartedAt: &at}
	}
	unstarted := func(name string, number int) event { return event{Event: name, MessageID: 70, Delivery: number} }
	tale := func(status string, events ...event) story {
		return story{OrderID: 7, Status: status, Events: append(append([]event{{Event: "accepted"}, {Event: "queued", MessageID: 70}}, events...), event{Event: status, Attempt: 1, MessageID: 70})}
	}
	for name, test := range map[string]struct {
		lines []string
		plain []int64
		story []story
		want  string // what is wrong; empty: nothing
	}{
		"once":                                 {lines: []string{start(1, 10, 1)}, plain: []int64{1}},
		"other lines":                          {lines: []string{start(1, 10, 1), `{"msg":"Order 1 processed successfully","order_id":1}`, "no JSON"}, plain: []int64{1}},
		"completed without a start":            {plain: []int64{1}, want: "order 1: completed at its first attempt, and started 0 times"},
		"started twice, and one is counted":    {lines: []string{start(1, 10, 1), start(1, 10, 2)}, plain: []int64{1}, want: "started 2 times"},
		"a delivery started twice":             {lines: []string{start(1, 10, 1), start(1, 10, 1)}, plain: []int64{1}, want: "delivery 1 of message 10 was started 2 times"},
		"an order that nobody knows":           {lines: []string{start(1, 10, 1)}, want: "nobody knows it"},
		"failed, then completed":               {lines: []string{start(7, 70, 1), start(7, 70, 2)}, story: []story{tale("completed", told("failed", 1, 1))}},
		"a failure that was never started":     {lines: []string{start(7, 70, 2)}, story: []story{tale("completed", told("failed", 1, 1))}, want: "delivery 1 is told as failed, an attempt, and was never started"},
		"a crash that was never started":       {lines: []string{start(7, 70, 2)}, story: []story{tale("completed", event{Event: "crashed", Attempt: 1, MessageID: 70, Delivery: 1})}, want: "never started"},
		"unanswered, and not started":          {lines: []string{start(7, 70, 2)}, story: []story{tale("completed", unstarted("unanswered", 1))}},
		"unanswered, and started":              {lines: []string{start(7, 70, 1), start(7, 70, 2)}, story: []story{tale("completed", unstarted("unanswered", 1))}},
		"an unanswered delivery that counts":   {lines: []string{start(7, 70, 2)}, story: []story{tale("completed", event{Event: "unanswered", Attempt: 1, MessageID: 70, Delivery: 1})}, want: "never started"},
		"handed back unstarted":                {lines: []string{start(7, 70, 2)}, story: []story{tale("completed", unstarted("released", 1))}},
		"handed back unstarted, and it was":    {lines: []string{start(7, 70, 1), start(7, 70, 2)}, story: []story{tale("completed", unstarted("released", 1))}, want: "handed back unstarted, and was started"},
		"handed back when it had been started": {lines: []string{start(7, 70, 1), start(7, 70, 2)}, story: []story{tale("completed", told("released", 0, 1))}},
		"a start that nothing tells of":        {lines: []string{start(7, 70, 1), start(7, 70, 2), start(7, 70, 3)}, story: []story{tale("completed", told("failed", 1, 1))}, want: "2 of its deliveries were started and nothing is told of them, where 1 has"},
		"completed without the last start":     {lines: []string{start(7, 70, 1)}, story: []story{tale("completed", told("failed", 1, 1))}, want: "0 of its deliveries"},
		"dead":                                 {lines: []string{start(7, 70, 1)}, story: []story{tale("dead", told("permanent", 1, 1))}},
		"dead, with a start more":              {lines: []string{start(7, 70, 1), start(7, 70, 2)}, story: []story{tale("dead", told("permanent", 1, 1))}, want: "1 of its deliveries were started and nothing is told of them, where 0 has"},
		"not all is told":                      {lines: []string{start(7, 70, 1)}, story: []story{tale("completed", event{Event: "omitted"})}},
	} {
		var s starts
		for _, line := range test.lines {
			s.note(line)
		}
		wrong := strings.Join(s.disagree(test.plain, test.story), "; ")
		if (wrong == "") != (test.want == "") || !strings.Contains(wrong, test.want) {
			t.Errorf("%s: %q, want %q", name, wrong, test.want)
		}
	}
}

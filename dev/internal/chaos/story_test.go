package chaos

import (
	"strings"
	"testing"
	"time"
)

func second(n float64) *time.Time {
	t := time.Date(2026, 11, 26, 12, 0, 0, 0, time.UTC).Add(time.Duration(n * float64(time.Second)))
	return &t
}

// soundStory is a story that explains its order: failed, then lost with its consumer, then completed.
func soundStory() *story {
	return &story{OrderID: 7, Status: "completed", Attempts: 2, Events: []event{
		{Event: "accepted", At: *second(0)},
		{Event: "queued", At: *second(0)},
		{Event: "failed", Attempt: 1, DueAt: second(0), LeasedAt: second(1), StartedAt: second(2), At: *second(3), SettledAt: second(3.1), RetryAt: second(5)},
		{Event: "unanswered", DueAt: second(5), At: *second(15), SettledAt: second(16), RetryAt: second(15)},
		{Event: "completed", Attempt: 2, DueAt: second(15), StartedAt: second(16), At: *second(17)},
	}}
}

func TestAStoryThatDoesNotExplainItsOrderIsWrong(t *testing.T) {
	for name, test := range map[string]struct {
		spoil func(*story)
		want  string // part of what is said; empty: nothing
	}{
		"sound":                          {func(*story) {}, ""},
		"does not begin":                 {func(s *story) { s.Events = s.Events[1:] }, "does not begin"},
		"ends otherwise than its order":  {func(s *story) { s.Status = "dead" }, "the last event is completed"},
		"it was queued too early":        {func(s *story) { s.Events[1].At = *second(-1) }, "queued before"},
		"an attempt is missing":          {func(s *story) { s.Attempts = 3 }, "3 attempts, and 2 are told"},
		"an attempt too many":            {func(s *story) { s.Attempts = 1 }, "1 attempts, and 2 are told"},
		"a count that is none":           {func(s *story) { s.Attempts = 3; s.Events[3].Event = "lease_lost" }, ""},
		"a wait that nothing explains":   {func(s *story) { s.Events[3].DueAt = second(9) }, "nothing says why"},
		"the first wait, likewise":       {func(s *story) { s.Events[2].DueAt = second(60) }, "event 2"},
		"a row is missing":               {func(s *story) { s.Events = append(s.Events[:3], s.Events[4:]...) }, "nothing says why"},
		"a start before its lease":       {func(s *story) { s.Events[2].LeasedAt = second(2.5) }, "started at"},
		"an end after it was written":    {func(s *story) { s.Events[2].SettledAt = second(1) }, "settled at"},
		"what is not kept is not judged": {func(s *story) { s.Attempts = 30; s.Events[3] = event{Event: "omitted", Times: 28} }, ""},
		"a redrive begins anew": {func(s *story) {
			s.Attempts = 1
			s.Events = append(s.Events[:4], event{Event: "dead", At: *second(15)}, event{Event: "redriven", At: *second(16)},
				event{Event: "completed", Attempt: 1, DueAt: second(16), StartedAt: second(16), At: *second(17)})
		}, ""},
		"so does a new message for one that was gone": {func(s *story) {
			s.Attempts = 1
			s.Events = append(s.Events[:4], event{Event: "requeued", At: *second(16)},
				event{Event: "completed", Attempt: 1, DueAt: second(16), StartedAt: second(16), At: *second(17)})
		}, ""},
		"a deleted dead letter leaves the order dead": {func(s *story) {
			s.Status, s.Attempts = "dead", 1
			s.Events = append(s.Events[:3], event{Event: "dead", At: *second(3)}, event{Event: "deleted", At: *second(9)})
		}, ""},
		"a deleted dead letter ends no other order": {func(s *story) {
			s.Attempts = 1
			s.Events = append(s.Events[:3], event{Event: "deleted", At: *second(9)})
		}, "the last event is deleted"},
	} {
		s := soundStory()
		test.spoil(s)
		if got := s.wrong(); test.want == "" && got != "" || !strings.Contains(got, test.want) {
			t.Errorf("%s: %q, want %q", name, got, test.want)
		}
	}
}

func TestStoriesAreComparedWithTheLogs(t *testing.T) {
	const line = `{"level":"WARN","msg":"Message 7 processing failed, will retry later","order_id":7,"attempt":1}`
	failedOnly := soundStory()
	failedOnly.Events = append(failedOnly.Events[:3], failedOnly.Events[4:]...)
	for name, test := range map[string]struct {
		lines []string
		story *story
		want  string
	}{
		"they agree":                       {[]string{line}, failedOnly, ""},
		"nobody has logged it":             {nil, failedOnly, "no consumer has logged that"},
		"the story does not tell it":       {[]string{line, strings.Replace(line, `"attempt":1`, `"attempt":3`, 1)}, failedOnly, "attempt 3 has failed"},
		"another order's":                  {[]string{line, strings.Replace(line, `"order_id":7`, `"order_id":8`, 1)}, failedOnly, "order 8: attempt 1 has failed"},
		"it was logged and not written":    {[]string{line, strings.Replace(line, `"attempt":1`, `"attempt":3`, 1)}, soundStory(), ""},
		"other lines are of no importance": {[]string{line, `{"msg":"lease lost","order_id":9,"attempt":1}`, "processing failed: no JSON"}, failedOnly, ""},
	} {
		var f failures
		for _, text := range test.lines {
			f.note(text)
		}
		if got := strings.Join(f.disagree([]story{*test.story}), "; "); test.want == "" && got != "" || !strings.Contains(got, test.want) {
			t.Errorf("%s: %q, want %q", name, got, test.want)
		}
	}
}

package load

import (
	"testing"

	"orderflow.example/services/loadgen/internal/client"
	"orderflow.example/services/loadgen/internal/orders"
)

// What an answer to a valid order means: taken, refused for good, or nothing, so that it is asked again with the same key.
func TestJudgeOfAValidOrder(t *testing.T) {
	t.Parallel()
	for _, kind := range []orders.Kind{orders.Valid, orders.Duplicate} {
		for want, statuses := range map[verdict][]int{
			asExpected: {200, 201, 202},
			again:      {408, 409, 425, 429, 500, 502, 503, 504},
			wrong:      {301, 400, 401, 403, 404, 413, 415, 422},
		} {
			for _, status := range statuses {
				if got := judge(kind, &client.Answer{Status: status}); got != want {
					t.Errorf("%v answered %d: %d, want %d", kind, status, got, want)
				}
			}
		}
		for failure := client.Connect; failure < client.Failures; failure++ {
			if got := judge(kind, &client.Answer{Failure: failure}); got != again {
				t.Errorf("%v, %v: %d, want another try", kind, failure, got)
			}
		}
	}
}

// What must be refused is refused by an answer that says what is wrong with it. Any other is none, and neither is a server's failure.
func TestJudgeOfAPoison(t *testing.T) {
	t.Parallel()
	for want, statuses := range map[verdict][]int{
		asExpected: {400, 413, 415, 422},
		again:      {408, 409, 425, 429, 502, 503, 504},
		wrong:      {200, 201, 202, 301, 401, 403, 404, 405, 500},
	} {
		for _, status := range statuses {
			if got := judge(orders.Poison, &client.Answer{Status: status}); got != want {
				t.Errorf("answered %d: %d, want %d", status, got, want)
			}
		}
	}
}

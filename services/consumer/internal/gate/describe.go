package gate

import (
	"math"
	"strconv"
	"time"
)

// Describe says in words what keeps consumers from fetching as they like; empty when nothing does.
func (s State) Describe(now time.Time) string {
	switch {
	case s.Paused():
		why := "paused since " + s.PausedAt.UTC().Format(time.RFC3339) + " by " + s.PausedBy
		if s.PauseReason != "" {
			why += ": " + s.PauseReason
		}
		return why
	case s.Open:
		return "the breaker is open since " + s.Since.UTC().Format(time.RFC3339) + ", because what the handler calls is unavailable: " + s.Reason
	case now.Before(s.PatienceUntil):
		return "what the handler calls has asked for patience until " + s.PatienceUntil.UTC().Format(time.RFC3339)
	case s.Limited():
		return "at most " + strconv.FormatFloat(math.Round(s.Rate(now)), 'f', -1, 64) + " orders a second, by all consumers together, until the backlog is worked off"
	}
	return ""
}

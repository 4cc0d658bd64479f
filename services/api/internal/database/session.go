package database

import (
	"time"

	"orderflow.example/kit/postgres"
)

// Session are settings of a session for what it is there to do.
type Session = postgres.Settings

// Timeouts are the settings that keep a session from waiting or holding locks for longer than a request does.
// statement is the longest that a statement may take.
func Timeouts(statement time.Duration) Session {
	return postgres.Timeouts(statement, statement*2/3, 10*time.Second)
}

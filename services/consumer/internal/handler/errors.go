package handler

import (
	"errors"
	"fmt"
	"time"
)

// A handler's error says three things about its failure, each with a function of its own that can be applied to an error that another
// one has marked, and is found through wrapping:
//
//	whose fault it is     Unavailable, Throttled: not the order's. Without either, the order's own
//	whether to go on      Permanent: no. It wins over all the others
//	when to go on         RetryAfter: then. NotBefore: that and the backoff. Without either, after the backoff
//
// Each leaves nil as it is.

type permanentError struct{ error }

func (p permanentError) Unwrap() error { return p.error }

// Permanent marks an error that no retry can mend: the message becomes a dead letter at once. nil stays nil.
func Permanent(err error) error {
	if err == nil {
		return nil
	}
	return permanentError{err}
}

// IsPermanent says whether err was marked with Permanent.
func IsPermanent(err error) bool {
	var p permanentError
	return errors.As(err, &p)
}

type unavailableError struct{ error }

func (u unavailableError) Unwrap() error { return u.error }

// Unavailable marks an error that says nothing about the order: what the handler calls is down, cannot be reached, does not answer in
// time, or lets nobody in. Any other order would have met the same. When most of the last attempts say so the breaker opens. nil
// stays nil.
func Unavailable(err error) error {
	if err == nil {
		return nil
	}
	return unavailableError{err}
}

// IsUnavailable says whether err is about what the handler calls, and not about the order: one that was marked with Unavailable or
// Throttled, or ErrTimeout; and not with Permanent.
func IsUnavailable(err error) bool {
	if IsPermanent(err) {
		return false
	}
	var u unavailableError
	_, throttled := AsksForPatience(err)
	return throttled || errors.As(err, &u) || errors.Is(err, ErrTimeout)
}

type throttledError struct {
	error
	after time.Duration
}

func (t throttledError) Unwrap() error { return t.error }

// Throttled marks an error by which what the handler calls asks for patience: it is there, and gets more than it can take. That is no
// attempt at the order, and it is said to every worker: none is to call again before after is over. An after of 0 means that it did not
// say how long. Throttled implies Unavailable. nil stays nil.
func Throttled(after time.Duration, err error) error {
	if err == nil {
		return nil
	}
	return throttledError{err, bounded(after)}
}

// AsksForPatience says whether err was marked with Throttled (and not with Permanent), and for how long: 0 when that was not said.
func AsksForPatience(err error) (after time.Duration, asked bool) {
	var t throttledError
	if !errors.As(err, &t) || IsPermanent(err) {
		return 0, false
	}
	return t.after, true
}

// delayError says when the next attempt is to come: after a time, or after that and the backoff.
type delayError struct {
	error
	after   time.Duration
	backoff bool
}

func (d delayError) Unwrap() error { return d.error }

// RetryAfter marks an error after which the next attempt is to come after d, instead of after the backoff. nil stays nil.
func RetryAfter(d time.Duration, err error) error { return delayed(err, d, false) }

// NotBefore marks an error after which the next attempt must not come before d is over. The backoff comes on top: whoever says so
// says it to everybody, and means the least. nil stays nil.
func NotBefore(d time.Duration, err error) error { return delayed(err, d, true) }

func delayed(err error, after time.Duration, backoff bool) error {
	if err == nil {
		return nil
	}
	return delayError{err, bounded(after), backoff}
}

// longest is the longest delay: more than anybody waits for, and so little that a backoff can be added to it.
const longest = 100 * 365 * 24 * time.Hour

func bounded(d time.Duration) time.Duration { return min(max(d, 0), longest) }

// Delay returns how long to wait after err where the backoff alone would be backoff. Where err asks for patience, the backoff comes on top of the time
// that it asks for.
func Delay(err error, backoff time.Duration) time.Duration {
	var d delayError
	if !errors.As(err, &d) {
		after, _ := AsksForPatience(err)
		return after + backoff
	}
	if d.backoff {
		return d.after + backoff
	}
	return d.after
}

// Plain is the error of a user's handler as one of ours: its text, and what it says of the failure, each asked for once. The methods of a type of the
// user's may panic. Here they do so where a handler may; nobody calls them later. nil stays nil.
func Plain(err error) error {
	if err == nil {
		return nil
	}
	var told error = plainError{err.Error(), errors.Is(err, ErrTimeout)}
	if IsUnavailable(err) {
		told = Unavailable(told)
	}
	if after, asked := AsksForPatience(err); asked {
		told = Throttled(after, told)
	}
	if d := (delayError{}); errors.As(err, &d) {
		told = delayError{told, d.after, d.backoff}
	}
	if IsPermanent(err) {
		told = Permanent(told)
	}
	return told
}

type plainError struct {
	text    string
	timeout bool
}

func (p plainError) Error() string { return p.text }

// Is holds for what it was, of what anybody asks for.
func (p plainError) Is(target error) bool { return p.timeout && target == ErrTimeout }

// PanicError is what becomes of a handler that panics.
type PanicError struct{ Value any }

func (e *PanicError) Error() string { return fmt.Sprintf("handler panicked: %v", e.Value) }

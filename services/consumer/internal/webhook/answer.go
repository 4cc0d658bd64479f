package webhook

import (
	"errors"
	"net/http"
	"strconv"
	"strings"
	"time"

	"orderflow.example/services/consumer/internal/handler"
)

// longestRetryAfter bounds what a receiver can ask for an order: more would be a dead letter by another name.
const longestRetryAfter = 24 * time.Hour

// longestPatience bounds for how long a receiver that asks everybody for patience can put the order off. How long all calls stop for it, the
// gate bounds more strictly.
const longestPatience = time.Hour

// judge says what an answer means:
//
//	2xx                            done
//	410                            permanent: the receiver wants no more of it
//	429, and 503 with Retry-After  the receiver asks everybody for patience: no attempt is used up
//	all else                       another attempt after a backoff, on top of Retry-After when the answer has one
//
// A 4xx says more about the moment than about the order, as a rule: a secret that is being rotated (401), a deploy (404), an attempt
// that the receiver is still at work on (409), a receiver that does not know of a new field yet (422).
func (s *sender) judge(answer *http.Response, excerpt []byte, cut bool, now time.Time) error {
	status := answer.StatusCode
	if status >= 200 && status < 300 {
		return nil
	}
	text := "webhook answered " + answer.Status
	if isRedirect(status) {
		text += ", which is not followed: WEBHOOK_URL must be where it leads"
	}
	if len(excerpt) > 0 {
		text += ": " + string(excerpt)
	}
	failure := errors.New(s.hide.clean(text, cut))
	after, asked := retryAfter(answer.Header.Get("Retry-After"), now)
	switch {
	case status == http.StatusGone:
		return handler.Permanent(failure)
	case status == http.StatusTooManyRequests, status == http.StatusServiceUnavailable && asked:
		return handler.Throttled(min(after, longestPatience), failure)
	}
	if asked {
		failure = handler.NotBefore(min(after, longestRetryAfter), failure) // RFC 9110, 10.2.3, asks for a least time
	}
	if !isAboutTheOrder(status) {
		failure = handler.Unavailable(failure)
	}
	return failure
}

func isRedirect(status int) bool {
	return status >= 300 && status < 400 && status != http.StatusNotModified
}

// isAboutTheOrder says whether a failure may be one order's alone. The others are what any order would be answered: the receiver is down or
// overloaded (5xx), lets nobody in (401, 403, 407), is not there (404, 421), or takes no call like ours (3xx, 405, 408, 426).
func isAboutTheOrder(status int) bool {
	switch status {
	case http.StatusUnauthorized, http.StatusForbidden, http.StatusNotFound, http.StatusMethodNotAllowed, http.StatusProxyAuthRequired,
		http.StatusRequestTimeout, http.StatusMisdirectedRequest, http.StatusUpgradeRequired:
		return false
	}
	return status >= 400 && status < 500
}

// retryAfter reads RFC 9110's two forms, seconds and date. A number of seconds that is beyond all bounds is a long time, and not none.
func retryAfter(value string, now time.Time) (after time.Duration, asked bool) {
	value = strings.TrimSpace(value)
	if seconds, err := strconv.ParseUint(value, 10, 31); err == nil || errors.Is(err, strconv.ErrRange) {
		return time.Duration(seconds) * time.Second, true
	}
	if date, err := http.ParseTime(value); err == nil {
		return max(date.Sub(now), 0), true
	}
	return 0, false
}

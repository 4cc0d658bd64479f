package http1

import "net/http"

// RefusedError is why a request is not handed on. It is answered, and its connection ends: what follows it cannot be told from it.
type RefusedError struct {
	Status int
	Detail string
}

func (r *RefusedError) Error() string { return r.Detail }

func refuse(status int, detail string) *RefusedError { return &RefusedError{status, detail} }

func malformed(detail string) *RefusedError {
	return refuse(http.StatusBadRequest, "the request is not HTTP/1.1 as RFC 9112 has it: "+detail)
}

var (
	errBrokeOff    = refuse(http.StatusBadRequest, "the request broke off")
	errTooSlow     = refuse(http.StatusRequestTimeout, "the request took too long to arrive")
	errHeadTooLong = refuse(http.StatusRequestHeaderFieldsTooLarge, "the headers are too large")
	errBodyTooLong = refuse(http.StatusRequestEntityTooLarge, "the body is too large")
	errUnknown     = refuse(http.StatusUnauthorized, "bodies above ORDER_BODY_LIMIT need a valid token")
	errNoRoom      = refuse(http.StatusServiceUnavailable, "nothing was written: too many large bodies are under way")
)

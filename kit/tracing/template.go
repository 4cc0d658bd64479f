package tracing

import (
	"net/url"
	"strings"
)

// placeholder stands for a trace id in a template.
const placeholder = "{trace_id}"

// IsTemplate says whether a text can be a link to a trace: an http or https URL with {trace_id} behind its host. Empty is none, and all
// right.
func IsTemplate(text string) bool {
	if text == "" {
		return true
	}
	u, err := url.Parse(text)
	return err == nil && (u.Scheme == "http" || u.Scheme == "https") && u.Host != "" && !strings.Contains(u.Host, placeholder) && u.User == nil &&
		strings.Contains(text, placeholder)
}

// Link is where a person finds a trace; empty without a template or an id.
func Link(template, traceID string) string {
	if template == "" || traceID == "" {
		return ""
	}
	return strings.ReplaceAll(template, placeholder, traceID)
}

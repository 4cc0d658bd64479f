package env

import (
	"net/url"
	"regexp"
	"strings"
)

// mask is what is shown in a secret's place.
const mask = "***"

var (
	// userinfo is what may be a user and a password, up to the last @: in what cannot be read, everything before that may be one.
	userinfo = regexp.MustCompile(`(?s)^((?:[^:@/]*://)?[^:@]*):.*@`)
	isURL    = regexp.MustCompile(`^[^\s=]*://`)
	// A secret among a URL's parameters ends with white space or an &, one among key=value pairs with white space.
	parameter = hidden(`[^\s&]`)
	pair      = hidden(`\S`)
)

// hidden finds a secret's name, and its value, which goes on for as long as it may: to the end when a quotation does not end, or when there
// is a semicolon behind it. That may belong to the secret, or end one that has white space in it, as in connection strings of .NET.
func hidden(part string) *regexp.Regexp {
	return regexp.MustCompile(`(?is)((?:password|passwd|pwd|secret|token|key)\s*=\s*)` +
		`(?:[^;]*;.*|'(?:[^'\\]|\\.)*(?:'` + part + `*|$)|".*"` + part + `*|".*|` + part + `*)`)
}

// MaskURL returns an address, readable or not, without its password and without what looks like a secret among its parameters.
func MaskURL(address string) string {
	if u, err := url.Parse(address); err == nil && u.Host != "" && !hidesUserinfo(u) {
		if _, has := u.User.Password(); has {
			// The mask is put in as text, or it would be percent-encoded.
			before, after, _ := strings.Cut(address, u.User.String()+"@")
			if after == "" { // it is not written as it would be written
				return parameter.ReplaceAllString(userinfo.ReplaceAllString(address, "$1:"+mask+"@"), "$1"+mask)
			}
			address = before + url.User(u.User.Username()).String() + ":" + mask + "@" + after
		}
		return parameter.ReplaceAllString(address, "$1"+mask)
	}
	address = userinfo.ReplaceAllString(address, "$1:"+mask+"@")
	if !isURL.MatchString(address) {
		return pair.ReplaceAllString(address, "$1"+mask)
	}
	return parameter.ReplaceAllString(address, "$1"+mask)
}

// hidesUserinfo is true for http://user:12/34@host: what was meant as a password has been read as a port and a path.
func hidesUserinfo(u *url.URL) bool {
	return u.User == nil && u.Port() != "" && strings.Contains(u.Path+u.RawQuery+u.Fragment, "@")
}

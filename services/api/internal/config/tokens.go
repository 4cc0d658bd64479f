package config

import (
	"strings"
	"unicode"

	"orderflow.example/kit/env"
)

// Tokens are those of a list: separated by commas or white space, so that a file can have one on each line.
func Tokens(list string) []string {
	return strings.FieldsFunc(list, func(r rune) bool { return r == ',' || unicode.IsSpace(r) })
}

// WeakToken is below which length, in characters, a token is said to be short: 16 random letters are 95 bits.
const WeakToken = 16

// checkTokens: what is no token of HTTP's (RFC 6750: visible ASCII) could not be sent.
func checkTokens(p *env.Problems, name, list string) {
	found := Tokens(list)
	if list != "" && len(found) == 0 {
		p.Add(name, "one token or several, separated by commas, and not the commas alone")
	}
	for _, token := range found {
		for i := range len(token) {
			if token[i] <= ' ' || token[i] > '~' {
				p.Add(name, "of visible ASCII characters: no Authorization header could name another")
			}
		}
	}
}

package config

import (
	"errors"

	"orderflow.example/kit/env"
	"orderflow.example/kit/secret"
)

// WeakToken is below which length, in characters, a token is said to be short: 16 random letters are 95 bits.
const WeakToken = 16

func checkTokens(p *env.Problems, name, list string) {
	if must := wrongTokens(list); list != "" && must != "" {
		p.Add(name, must)
	}
}

// wrongTokens says what a list must be when it is not that. What is no token of HTTP's (RFC 6750: visible ASCII) could not be sent.
func wrongTokens(list string) (must string) {
	found := secret.List(list)
	if len(found) == 0 {
		return "one token or several, separated by commas, and not the commas alone"
	}
	for _, token := range found {
		for i := range len(token) {
			if token[i] <= ' ' || token[i] > '~' {
				return "of visible ASCII characters: no Authorization header could name another"
			}
		}
	}
	return ""
}

// ReadTokens reads the tokens of a file anew, by the rules that hold at the start.
func ReadTokens(file string) ([]string, error) {
	list, err := secret.Read(file)
	if err != nil {
		return nil, err
	}
	if must := wrongTokens(list); must != "" {
		return nil, errors.New("must be " + must)
	}
	return secret.List(list), nil
}

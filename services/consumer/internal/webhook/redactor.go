package webhook

import (
	"cmp"
	"encoding/base64"
	"net/url"
	"slices"
	"strings"
	"unicode"
)

// redactor makes texts from outside fit to be shown: without our secrets, which a receiver may repeat in an error, and on one line.
type redactor struct {
	secrets []string // as they stand in a text on one line; the longest first
	replace *strings.Replacer
}

const (
	// shortestRedacted is the shortest value that is taken out: "1" or "eu" is no secret, and would be found everywhere.
	shortestRedacted = 6
	// longestWord is how long a part of a path may be and still be a word, such as "notifications", where all of it is lower case.
	longestWord = 15
	// longestText is the most that is shown, in characters.
	longestText = 400
)

func newRedactor(s Settings) redactor {
	var secrets []string
	add := func(values ...string) {
		for _, v := range values {
			if v = line(v); len(v) >= shortestRedacted {
				secrets = append(secrets, v)
			}
		}
	}
	for _, h := range s.Headers {
		add(h.Value)
		_, credentials, _ := strings.Cut(h.Value, " ") // Bearer …
		add(credentials)
	}
	if u, err := url.Parse(s.URL); err == nil {
		if u.User != nil {
			password, _ := u.User.Password()
			credentials := u.User.Username() + ":" + password
			add(u.User.String(), password)
			add(credentials, base64.StdEncoding.EncodeToString([]byte(credentials))) // the latter is sent: Basic …
		}
		add(u.EscapedPath(), u.Path)
		for part := range strings.SplitSeq(u.EscapedPath(), "/") {
			if plain, err := url.PathUnescape(part); err == nil && !isWord(plain) {
				add(part, plain)
			}
		}
		for _, values := range u.Query() {
			add(values...)
			for _, v := range values {
				add(url.QueryEscape(v))
			}
		}
	}
	// At one place of a text the first that fits is replaced, and a part of a longer one would leave the rest of it.
	slices.SortFunc(secrets, func(a, b string) int { return cmp.Compare(len(b), len(a)) })
	var pairs []string
	for _, secret := range secrets {
		pairs = append(pairs, secret, "***")
	}
	return redactor{secrets, strings.NewReplacer(pairs...)}
}

// isWord says whether a part of a path is one that an error is to show: an ordinary word or several, and no token.
func isWord(part string) bool {
	return len(part) <= longestWord && !strings.ContainsFunc(part, func(c rune) bool { return (c < 'a' || c > 'z') && c != '-' && c != '_' && c != '.' })
}

// clean returns a text on one line, of characters that can be seen. What is cut may end within a secret.
func (r redactor) clean(text string, cut bool) string {
	text = r.replace.Replace(line(text))
	if cut {
		text = r.withoutBegun(text)
	}
	if runes := []rune(text); len(runes) > longestText {
		return string(runes[:longestText]) + "…"
	}
	return text
}

// withoutBegun returns a text without the secret that it breaks off in.
func (r redactor) withoutBegun(text string) string {
	text = strings.TrimRight(text, "\uFFFD") // half a character
	begun := 0
	for _, secret := range r.secrets {
		for n := min(len(secret), len(text)); n > begun; n-- {
			if strings.HasSuffix(text, secret[:n]) {
				begun = n
			}
		}
	}
	return strings.TrimRight(text[:len(text)-begun], " ")
}

// line is a text as it is shown: on one line.
func line(text string) string {
	text = strings.Map(func(c rune) rune {
		if unicode.IsPrint(c) {
			return c
		}
		return ' '
	}, strings.ToValidUTF8(text, "\uFFFD"))
	return strings.Join(strings.Fields(text), " ")
}

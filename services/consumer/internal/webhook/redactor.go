package webhook

import (
	"net/url"
	"strings"
	"unicode"
)

// redactor makes texts from outside fit to be shown: without our secrets, which a receiver may repeat in an error, and on one line.
type redactor struct{ secrets *strings.Replacer }

// shortestRedacted is the shortest value that is taken out: "1" or "eu" is no secret, and would be found everywhere.
const shortestRedacted = 6

// longestText is the most that is shown, in characters.
const longestText = 400

func newRedactor(s Settings) redactor {
	var secrets []string
	add := func(values ...string) {
		for _, v := range values {
			if len(v) >= shortestRedacted {
				secrets = append(secrets, v, "***")
			}
		}
	}
	for _, h := range s.Headers {
		add(h.Value)
		_, credentials, _ := strings.Cut(h.Value, " ") // Bearer …
		add(credentials)
	}
	if u, err := url.Parse(s.URL); err == nil {
		if password, set := u.User.Password(); set {
			add(u.User.String(), password)
		}
		for _, values := range u.Query() {
			add(values...)
			for _, v := range values {
				add(url.QueryEscape(v))
			}
		}
	}
	return redactor{strings.NewReplacer(secrets...)}
}

// clean returns a text on one line, of characters that can be seen.
func (r redactor) clean(text string) string {
	text = strings.Map(func(c rune) rune {
		if unicode.IsPrint(c) {
			return c
		}
		return ' '
	}, strings.ToValidUTF8(text, "\uFFFD"))
	text = r.secrets.Replace(strings.Join(strings.Fields(text), " "))
	if runes := []rune(text); len(runes) > longestText {
		return string(runes[:longestText]) + "…"
	}
	return text
}

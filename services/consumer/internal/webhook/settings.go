package webhook

import (
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"time"

	"orderflow.example/kit/secret"
)

// Settings are where orders go, and how.
type Settings struct {
	URL         string
	Keys        Keys          // none: deliveries are not signed
	Headers     Headers       // of the user's own
	Files       Files         // what of this, and which certificates, to read from where
	Timeout     time.Duration // the longest that a call may take, whatever its context allows
	Concurrency int           // calls at once, at most
	UserAgent   string
	Log         *slog.Logger
}

// CheckURL says what an address must be when it is not that. The error does not contain it: it may hold a password.
func CheckURL(address string) error {
	u, err := url.Parse(address)
	if err != nil || (u.Scheme != "http" && u.Scheme != "https") || u.Host == "" {
		return errors.New("an http:// or https:// address")
	}
	return nil
}

// reread returns the settings with what their files hold now.
func (s Settings) reread() (Settings, error) {
	for _, from := range [...]struct {
		path string
		take func(text string) error
	}{
		{s.Files.URL, func(text string) (err error) {
			if err = CheckURL(text); err != nil {
				return fmt.Errorf("must be %w", err)
			}
			s.URL = text
			return nil
		}},
		{s.Files.Keys, func(text string) (err error) { s.Keys, err = ParseKeys(text); return err }},
		{s.Files.Headers, func(text string) (err error) { s.Headers, err = ParseHeaders(text); return err }},
	} {
		if from.path == "" {
			continue
		}
		text, err := secret.Read(from.path)
		if err == nil {
			err = from.take(text)
		}
		if err != nil {
			return s, fmt.Errorf("read %s: %w", from.path, err)
		}
	}
	return s, nil
}

package webhook

import (
	"log/slog"
	"net/http"
	"sync"
)

// sender is what a call is made with: all that files can change.
type sender struct {
	url     string
	keys    Keys
	headers Headers
	hide    redactor
	http    *http.Client
}

func newSender(s Settings) (*sender, error) {
	client, err := newClient(s)
	if err != nil {
		return nil, err
	}
	return &sender{url: s.URL, keys: s.Keys, headers: s.Headers, hide: newRedactor(s), http: client}, nil
}

// senders has the sender of the moment, which is another one when files have changed. Connections that were made for the old one are not
// used for new calls.
type senders struct {
	settings Settings

	mu   sync.Mutex
	now  *sender
	made version // of the files that it was made of, or that were found wrong since
}

func newSenders(s Settings) (*senders, error) {
	made := s.Files.version() // before they are read: a change after that is found by the first call
	now, err := newSender(s)
	if err != nil {
		return nil, err
	}
	return &senders{settings: s, now: now, made: made}, nil
}

// current is the sender for a call. Asking costs a stat of each file. What has changed and cannot be used is said once, and the old one goes
// on: half of a new pair is none, and a file of keys that is empty must not mean that nothing is signed.
func (s *senders) current() *sender {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.settings.Files.IsZero() {
		return s.now
	}
	found := s.settings.Files.version()
	if found.equal(s.made) {
		return s.now
	}
	s.made = found
	settings, err := s.settings.reread()
	var next *sender
	if err == nil {
		next, err = newSender(settings)
	}
	if err != nil {
		s.settings.Log.Warn("the webhook's changed files cannot be used; going on with what they held before", slog.Any("error", err))
		return s.now
	}
	s.settings.Log.Info("the webhook's files were reloaded", slog.String("keys", settings.Keys.String()))
	s.now.http.CloseIdleConnections()
	s.now = next
	return next
}

func (s *senders) close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.now.http.CloseIdleConnections()
}

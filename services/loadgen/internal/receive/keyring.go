package receive

import (
	"errors"
	"log/slog"
	"sync"

	"orderflow.example/kit/secret"
	"orderflow.example/services/loadgen/internal/receive/signature"
)

// keyring holds what webhooks may be signed with. Keys in a file may change while webhooks come: the next one is verified with what the file
// holds then. A file that cannot be used is said in the log, and the keys from before go on to hold.
type keyring struct {
	path string // of RECEIVER_KEYS_FILE; empty: the keys do not change
	log  *slog.Logger

	mu   sync.Mutex
	keys signature.Keys
	read secret.Version // of the file whose keys these are, or that was found wrong since
}

func newKeyring(cfg *Config, log *slog.Logger) *keyring {
	k := &keyring{path: cfg.KeysFile, log: log, keys: cfg.Keys}
	if k.path != "" {
		k.read = secret.VersionOf(k.path)
		if keys, err := readKeys(k.path); err == nil { // once more, lest it has changed since the settings were read
			k.keys = keys
		}
	}
	return k
}

// now returns the keys that hold now.
func (k *keyring) now() signature.Keys {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.path == "" {
		return k.keys
	}
	found := secret.VersionOf(k.path)
	if found.Equal(k.read) {
		return k.keys
	}
	k.read = found
	keys, err := readKeys(k.path)
	if err != nil {
		k.log.Warn("the file of keys cannot be used; going on with the keys from before", slog.String("path", k.path), slog.Any("error", err))
		return k.keys
	}
	k.keys = keys
	k.log.Info("the file of keys was reloaded", slog.String("keys", keys.String()))
	return keys
}

func readKeys(path string) (keys signature.Keys, err error) {
	text, err := secret.Content(path)
	if err == nil {
		err = keys.Decode(text)
	}
	if err == nil && keys.Empty() {
		err = errors.New("there is no key in it")
	}
	return keys, err
}

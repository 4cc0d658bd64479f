package main

import (
	"context"
	"log/slog"
	"slices"
	"time"

	"orderflow.example/kit/secret"
	"orderflow.example/services/api/internal/config"
)

// rereadTokens is how often files with tokens are looked at. Kubernetes takes a minute or so to renew them in a pod.
const rereadTokens = 5 * time.Second

// tokenFiles are the tokens, and the files that they are in, which may change while the service runs.
type tokenFiles struct {
	api, admin tokenFile
	log        *slog.Logger
}

type tokenFile struct {
	variable string
	path     string // empty: they are in the variable itself, and stay
	now      []string
	wrong    string // what is wrong with the file
}

func newTokenFiles(cfg *config.Config, log *slog.Logger) *tokenFiles {
	return &tokenFiles{
		api:   tokenFile{variable: "API_TOKENS", path: cfg.APITokensFile, now: secret.List(cfg.APITokens)},
		admin: tokenFile{variable: "ADMIN_TOKEN", path: cfg.AdminTokenFile, now: secret.List(cfg.AdminToken)},
		log:   log,
	}
}

// warn tells of tokens that can be guessed.
func (t *tokenFiles) warn(ctx context.Context) {
	for _, f := range []*tokenFile{&t.api, &t.admin} {
		for _, token := range f.now {
			if len(token) < config.WeakToken {
				t.log.WarnContext(ctx, "a token is short enough to be guessed: give it 16 random characters or more", "variable", f.variable)
			}
		}
	}
}

// follow tells set of the tokens whenever a file has others, until ctx ends.
func (t *tokenFiles) follow(ctx context.Context, set func(api, admin []string)) {
	if t.api.path == "" && t.admin.path == "" {
		return
	}
	ticker := time.NewTicker(rereadTokens)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		t.reread(ctx, set)
	}
}

func (t *tokenFiles) reread(ctx context.Context, set func(api, admin []string)) {
	api, admin := t.api.changed(ctx, t.log), t.admin.changed(ctx, t.log)
	if api || admin {
		set(t.api.now, t.admin.now)
		t.log.InfoContext(ctx, "tokens have changed", "api", len(t.api.now), "admin", len(t.admin.now))
		t.warn(ctx)
	}
}

// changed reads the file again and says whether it has other tokens. A file that cannot be used changes nothing: with none at all,
// everybody could call.
func (f *tokenFile) changed(ctx context.Context, log *slog.Logger) bool {
	if f.path == "" {
		return false
	}
	found, err := config.ReadTokens(f.path)
	if err != nil {
		if f.wrong != err.Error() {
			f.wrong = err.Error()
			log.WarnContext(ctx, "cannot use the token file; the previous tokens stay valid", "variable", f.variable+"_FILE", "path", f.path, "error", f.wrong)
		}
		return false
	}
	f.wrong = ""
	if slices.Equal(found, f.now) {
		return false
	}
	f.now = found
	return true
}

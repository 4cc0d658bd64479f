package postgres

import (
	"context"
	"fmt"
	"net"
	"os"
	"sync"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"orderflow.example/kit/secret"
)

// passwordFile is the variable that names a file with the password, where neither the address nor PGPASSWORD has one.
const passwordFile = "PGPASSWORD_FILE"

// password is that of a file, which may change while the program runs. It is read again for each connection, so that a password is
// changed without a restart. The file and the server do not change at the same moment: a password that was not taken is tried in turn
// with the last that was.
type password struct {
	file string

	mu    sync.Mutex
	tried string // last
	taken string // by the server, last
}

// findPassword reads the file that PGPASSWORD_FILE names, where config has no password. It is nil when there is none.
func findPassword(config *pgx.ConnConfig) (*password, error) {
	file := os.Getenv(passwordFile)
	if file == "" {
		return nil, nil //nolint:nilnil // no file is no error
	}
	if os.Getenv("PGPASSWORD") != "" {
		return nil, elsewhere("PGPASSWORD and " + passwordFile + " are both set: which of the two is it?")
	}
	if config.Password != "" {
		return nil, nil //nolint:nilnil // the address's own comes first, as it does before PGPASSWORD
	}
	text, err := secret.Read(file)
	if err != nil {
		return nil, elsewhere(fmt.Sprintf("%s is the file %s, which cannot be used: %v", passwordFile, file, err))
	}
	config.Password = text
	return &password{file: file}, nil
}

// next is the password for the next attempt.
func (p *password) next() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	now, err := secret.Read(p.file)
	if p.taken != "" && (err != nil || p.tried == now) {
		now = p.taken // while the file is being replaced, and in turn with a new one
	}
	p.tried = now
	return now
}

// took notes that the server took what was tried.
func (p *password) took(text string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.taken = text
}

// apply gives each attempt to connect the password as it is then. The configuration of an attempt is its own: connections copy theirs.
func (p *password) apply(config *pgconn.Config) {
	config.AfterNetConnect = func(_ context.Context, config *pgconn.Config, conn net.Conn) (net.Conn, error) {
		text := p.next()
		config.Password = text
		others := config.AfterConnect
		config.AfterConnect = func(ctx context.Context, conn *pgconn.PgConn) error {
			if others != nil {
				if err := others(ctx, conn); err != nil {
					return err
				}
			}
			p.took(text)
			return nil
		}
		return conn, nil
	}
}

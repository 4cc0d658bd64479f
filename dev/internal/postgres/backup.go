package postgres

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"time"
)

// Archiving are the settings of a private server that Backup can be used with.
var Archiving = []string{"archive_mode=on", "wal_level=replica"}

// Names within a private cluster's folder. The server's commands run in data, beside them.
const (
	backupDir  = "backup"
	archiveDir = "archive"
)

// ErrNoPrograms is returned when the server's own programs are not at hand.
var ErrNoPrograms = errors.New("this needs a server that is run from binaries on this machine")

// Program runs one of the programs that come with a private server (pg_dump, pg_restore, …), as its superuser and in the cluster's folder.
func (s *Server) Program(ctx context.Context, name string, args ...string) error {
	c, password, err := s.cluster()
	if err != nil {
		return err
	}
	return c.program(ctx, name, args, "PGPASSWORD="+password, "PGHOST=127.0.0.1", "PGUSER=postgres", "PGPORT="+strconv.Itoa(c.port))
}

func (s *Server) cluster() (c *cluster, password string, err error) {
	c, ok := s.own.(*cluster)
	if !ok {
		return nil, "", ErrNoPrograms
	}
	u, err := parseURL(s.url)
	if err != nil {
		return nil, "", err
	}
	password, _ = u.User.Password()
	return c, password, nil
}

// Backup takes a base backup of a private server, while it works, and has it archive its log from then on. The server needs Archiving.
func (s *Server) Backup(ctx context.Context) error {
	c, _, err := s.cluster()
	if err != nil {
		return err
	}
	archive := filepath.Join(c.dir, archiveDir)
	if err := errors.Join(os.Mkdir(archive, 0o700), c.own(archive)); err != nil {
		return err
	}
	for _, statement := range []string{
		`alter system set archive_command = 'cp %p ../` + archiveDir + `/%f'`,
		`select pg_reload_conf()`,
	} {
		if err := s.exec(ctx, statement); err != nil {
			return fmt.Errorf("archive the log: %w", err)
		}
	}
	return s.Program(ctx, "pg_basebackup", "--pgdata="+filepath.Join(c.dir, backupDir), "--checkpoint=fast", "--wal-method=none", "--no-sync")
}

func (s *Server) exec(ctx context.Context, statement string) error {
	conn, err := connect(ctx, s.url, readyTimeout)
	if err != nil {
		return err
	}
	_, err = conn.Exec(ctx, statement)
	return errors.Join(err, conn.Close(context.WithoutCancel(ctx)))
}

// Recover puts the backup in the place of a private server's data, and starts it as it was at a moment: all that was committed later is lost.
func (s *Server) Recover(ctx context.Context, moment time.Time) error {
	c, _, err := s.cluster()
	if err != nil {
		return err
	}
	if err := c.stop(ctx); err != nil { // which archives the rest of its log
		return err
	}
	if err := errors.Join(os.RemoveAll(c.data()), os.Rename(filepath.Join(c.dir, backupDir), c.data())); err != nil {
		return err
	}
	conf, err := os.OpenFile(filepath.Join(c.data(), "postgresql.auto.conf"), os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(conf, "restore_command = 'cp ../%s/%%f %%p'\nrecovery_target_time = '%s'\nrecovery_target_action = 'promote'\narchive_mode = 'off'\n",
		archiveDir, moment.UTC().Format("2006-01-02 15:04:05.999999+00"))
	signal := filepath.Join(c.data(), "recovery.signal")
	if err := errors.Join(err, conf.Close(), os.WriteFile(signal, nil, 0o600), c.own(signal)); err != nil {
		return err
	}
	return s.Start(ctx)
}

package postgres

import (
	"errors"
	"fmt"
	"os/user"
	"strconv"
	"syscall"
)

// serverUser is who a private server runs as: ourselves, but when we are root, because Postgres refuses to run as root, the
// distribution's postgres user or else nobody.
func serverUser(euid int) (*syscall.Credential, error) {
	if euid != 0 {
		return nil, nil //nolint:nilnil // no credential: as we are
	}
	var errs []error
	for _, name := range []string{"postgres", "nobody"} {
		u, err := user.Lookup(name)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		uid, err := strconv.ParseUint(u.Uid, 10, 32)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		gid, err := strconv.ParseUint(u.Gid, 10, 32)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		return &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}, nil
	}
	return nil, fmt.Errorf("Postgres does not run as root, and there is no other user: %w", errors.Join(errs...)) //nolint:staticcheck // a name
}

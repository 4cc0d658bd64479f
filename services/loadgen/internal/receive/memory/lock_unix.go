//go:build unix

package memory

import (
	"os"
	"syscall"
)

// lock keeps other processes from writing the file too, for as long as it is open.
func lock(f *os.File) error {
	return syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB) //nolint:gosec // a descriptor is small
}

//go:build unix

package listen

import "syscall"

// Descriptors is how many files and connections the process may have open; 0 when there is no telling.
func Descriptors() int {
	var limit syscall.Rlimit
	if syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit) != nil || limit.Cur > 1<<30 {
		return 0
	}
	return int(limit.Cur)
}

package pgbouncer

import "syscall"

// endWithUs has the process end when this one does, however that ends.
func endWithUs() *syscall.SysProcAttr { return &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL} }

//go:build !linux

package pgbouncer

import "syscall"

func endWithUs() *syscall.SysProcAttr { return &syscall.SysProcAttr{} }

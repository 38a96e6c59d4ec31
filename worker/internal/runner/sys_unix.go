//go:build unix && !linux

package runner

import "syscall"

// attributes put the child into a process group of its own. It notices the end of the worker by its connection.
func attributes() *syscall.SysProcAttr { return &syscall.SysProcAttr{Setpgid: true} }

func memoryOf(int) int64 { return 0 }

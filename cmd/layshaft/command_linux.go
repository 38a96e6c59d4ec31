package main

import "syscall"

// groupOfItsOwn has the kernel kill the command when the thread that started it ends, and thus when the worker does.
func groupOfItsOwn() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
}

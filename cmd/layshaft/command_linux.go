package main

import "syscall"

// groupOfItsOwn starts the command in a process group of its own. The kernel kills it when its
// starting thread ends, and therefore when the worker ends.
func groupOfItsOwn() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
}

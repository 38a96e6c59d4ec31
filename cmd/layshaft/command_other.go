//go:build !unix

package main

import (
	"os"
	"syscall"
)

func groupOfItsOwn() *syscall.SysProcAttr { return nil }

func terminateGroup(*os.Process) {}

func killGroup(p *os.Process) { _ = p.Kill() }

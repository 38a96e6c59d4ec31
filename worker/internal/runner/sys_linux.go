package runner

import (
	"bytes"
	"fmt"
	"os"
	"syscall"
)

// attributes puts the child into a process group of its own. When the thread that started the child
// ends, the kernel kills the child.
func attributes() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
}

// memoryOf returns the peak memory of a process in bytes, or zero if it is unknown.
func memoryOf(pid int) int64 {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0
	}
	_, b, _ = bytes.Cut(b, []byte("VmHWM:"))
	var kb int64
	_, _ = fmt.Sscan(string(b[:min(len(b), 64)]), &kb)
	return kb << 10
}

//go:build unix

package runner

import (
	"os"
	"os/exec"
	"syscall"
)

// kill kills a child and all processes of its group.
func kill(p *os.Process) {
	_ = syscall.Kill(-p.Pid, syscall.SIGKILL)
	_ = p.Kill()
}

// dump makes a child print the stacks of all its goroutines and end.
func dump(p *os.Process) { _ = p.Signal(syscall.SIGQUIT) }

// killed returns the signal that ended a process, or "" if it exited by itself.
func killed(e *exec.ExitError) string {
	if st, ok := e.Sys().(syscall.WaitStatus); ok && st.Signaled() {
		return st.Signal().String()
	}
	return ""
}

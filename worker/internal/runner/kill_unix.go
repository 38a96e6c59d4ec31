//go:build unix

package runner

import (
	"os"
	"os/exec"
	"syscall"
)

// kill ends a child and all that it started.
func kill(p *os.Process) {
	_ = syscall.Kill(-p.Pid, syscall.SIGKILL)
	_ = p.Kill()
}

// dump asks a child for the stacks of all its goroutines, and its end.
func dump(p *os.Process) { _ = p.Signal(syscall.SIGQUIT) }

// killed returns the signal that ended a process, empty when it ended by itself.
func killed(e *exec.ExitError) string {
	if st, ok := e.Sys().(syscall.WaitStatus); ok && st.Signaled() {
		return st.Signal().String()
	}
	return ""
}

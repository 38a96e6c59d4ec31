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

// memoryOf returns the present and the peak memory of a process in bytes, or zero if they are
// unknown.
func memoryOf(pid int) (now, peak int64) {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0, 0
	}
	number := func(name string) (kb int64) {
		_, rest, _ := bytes.Cut(b, []byte(name))
		_, _ = fmt.Sscan(string(rest[:min(len(rest), 64)]), &kb)
		return kb << 10
	}
	return number("VmRSS:"), number("VmHWM:")
}

// peakOf returns the peak memory of a process that has ended, in bytes.
func peakOf(s *os.ProcessState) int64 {
	if u, ok := s.SysUsage().(*syscall.Rusage); ok {
		return u.Maxrss << 10
	}
	return 0
}

// preferForKill makes the kernel kill the child rather than its worker when memory runs out.
func preferForKill(pid int) {
	_ = os.WriteFile(fmt.Sprintf("/proc/%d/oom_score_adj", pid), []byte("500"), 0) // a process that has ended has none
}

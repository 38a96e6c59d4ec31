package keeper

import (
	"bytes"
	"os"
	"path/filepath"
	"strconv"
	"syscall"
	"time"
)

const (
	supported = true
	self      = "/proc/self/exe"
)

// ownSession keeps the signals of a terminal away from the keeper.
func ownSession() *syscall.SysProcAttr { return &syscall.SysProcAttr{Setsid: true} }

// killAll kills all processes with a variable in their environment, until none is left.
func killAll(variable string) {
	clean := 0
	for range 100 {
		found := false
		dirs, _ := filepath.Glob("/proc/[0-9]*")
		for _, dir := range dirs {
			pid, err := strconv.Atoi(filepath.Base(dir))
			if err != nil || pid == os.Getpid() {
				continue
			}
			has, known := hasVariable(dir, variable)
			if has {
				found = syscall.Kill(pid, syscall.SIGKILL) == nil || found
			}
			found = found || !known
		}
		// After the list was read, a process may have started another one and ended.
		if clean++; found {
			clean = 0
		} else if clean == 2 {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
}

// hasVariable reports whether a process started with a variable. Processes of other users, and dead
// ones, have none. known is false for a process that is just starting another program: its
// environment is empty until then, unlike its program.
func hasVariable(dir, variable string) (has, known bool) {
	b, err := os.ReadFile(filepath.Join(dir, "environ"))
	if err != nil {
		return false, true
	}
	for v := range bytes.SplitSeq(b, []byte{0}) {
		if string(v) == variable {
			return true, true
		}
	}
	if len(b) > 0 {
		return false, true
	}
	_, err = os.Readlink(filepath.Join(dir, "exe"))
	return false, err != nil // kernel threads have no program
}

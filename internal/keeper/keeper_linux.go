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
	for range 100 {
		found := false
		dirs, _ := filepath.Glob("/proc/[0-9]*")
		for _, dir := range dirs {
			pid, err := strconv.Atoi(filepath.Base(dir))
			if err != nil || pid == os.Getpid() || !hasVariable(dir, variable) {
				continue
			}
			found = syscall.Kill(pid, syscall.SIGKILL) == nil || found
		}
		if !found {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
}

// hasVariable reports whether a process started with a variable. Processes of other users, and dead
// ones, have none.
func hasVariable(dir, variable string) bool {
	b, err := os.ReadFile(filepath.Join(dir, "environ"))
	if err != nil {
		return false
	}
	for v := range bytes.SplitSeq(b, []byte{0}) {
		if string(v) == variable {
			return true
		}
	}
	return false
}

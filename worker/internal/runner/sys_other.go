//go:build !unix

package runner

import (
	"os"
	"os/exec"
	"syscall"
)

// attributes returns the defaults. The child exits when its connection to the worker breaks.
func attributes() *syscall.SysProcAttr { return nil }

func memoryOf(int) (now, peak int64) { return 0, 0 }

func peakOf(*os.ProcessState) int64 { return 0 }

func preferForKill(int) {}

func kill(p *os.Process) { _ = p.Kill() }

func dump(*os.Process) {}

func killed(*exec.ExitError) string { return "" }

package compare

import (
	"os"
	"syscall"
)

// peakRSS returns what the kernel says, which is never less than the peak of the process that started the program: Linux hands it on
// until the new program is loaded. So this package keeps little in memory.
func peakRSS(p *os.ProcessState) int64 {
	if usage, ok := p.SysUsage().(*syscall.Rusage); ok {
		return usage.Maxrss << 10
	}
	return 0
}

func flushDisks() { syscall.Sync() }

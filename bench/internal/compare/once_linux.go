package compare

import (
	"os"
	"syscall"
)

// peakRSS returns the peak reported by the kernel. It is never less than the peak of the parent
// process, because Linux passes it on until the new program is loaded. So this package uses
// little memory.
func peakRSS(p *os.ProcessState) int64 {
	if usage, ok := p.SysUsage().(*syscall.Rusage); ok {
		return usage.Maxrss << 10
	}
	return 0
}

func flushDisks() { syscall.Sync() }

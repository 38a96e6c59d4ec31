//go:build unix

package node

import "syscall"

// fileLimit returns how many file descriptors the process may have; 0 if unknown.
func fileLimit() uint64 {
	var r syscall.Rlimit
	if syscall.Getrlimit(syscall.RLIMIT_NOFILE, &r) != nil {
		return 0
	}
	return uint64(r.Cur)
}

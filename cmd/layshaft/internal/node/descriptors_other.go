//go:build !unix

package node

// fileLimit returns 0, because the system has no such limit.
func fileLimit() uint64 { return 0 }

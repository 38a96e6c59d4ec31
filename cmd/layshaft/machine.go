package main

import (
	"fmt"
	"os"
	"strconv"
	"strings"
)

// machineMemory returns the bytes that this process may use: the machine's memory or its cgroup's limit, whichever is less.
func machineMemory() int64 {
	least := int64(4 << 30) // where nothing can be read
	if b, err := os.ReadFile("/proc/meminfo"); err == nil {
		var kb int64
		if _, err := fmt.Sscanf(string(b), "MemTotal: %d kB", &kb); err == nil {
			least = kb << 10
		}
	}
	for _, path := range []string{"/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"} {
		b, err := os.ReadFile(path)
		if n, parse := strconv.ParseInt(strings.TrimSpace(string(b)), 10, 64); err == nil && parse == nil && n > 0 {
			least = min(least, n)
		}
	}
	return least
}

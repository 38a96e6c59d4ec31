//go:build unix && !linux

package datadir

import (
	"fmt"
	"os"
	"syscall"
)

// inodeOf returns the number of the inode of dir.
func inodeOf(dir string) string {
	if info, err := os.Stat(dir); err == nil {
		if st, ok := info.Sys().(*syscall.Stat_t); ok {
			return fmt.Sprint(st.Ino)
		}
	}
	return ""
}

//go:build linux || darwin

package main

import (
	"errors"
	"io/fs"
	"path/filepath"
	"syscall"
)

// diskSize returns the size in bytes of the disk for dir, which need not exist yet; zero if
// unknown.
func diskSize(dir string) int64 {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return 0
	}
	var s syscall.Statfs_t
	for err = syscall.Statfs(dir, &s); errors.Is(err, fs.ErrNotExist) && dir != filepath.Dir(dir); err = syscall.Statfs(dir, &s) {
		dir = filepath.Dir(dir)
	}
	if err != nil {
		return 0
	}
	return int64(s.Blocks) * int64(s.Bsize)
}

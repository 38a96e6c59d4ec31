//go:build linux || darwin

package main

import (
	"errors"
	"io/fs"
	"path/filepath"
	"syscall"
)

// diskSize returns the bytes of the disk on which a directory lies, or will; zero when that cannot be told.
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

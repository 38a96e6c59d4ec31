package state

import (
	"errors"
	"os"
	"syscall"
)

// freeBytes returns the number of bytes this process can still write to the disk of dir.
func freeBytes(dir string) (int64, error) {
	var s syscall.Statfs_t
	if err := syscall.Statfs(dir, &s); err != nil {
		return 0, os.NewSyscallError("statfs "+dir, err)
	}
	return int64(s.Bavail) * int64(s.Bsize), nil
}

// allocate creates a file with size bytes allocated on the disk.
func allocate(path string, size int64) error {
	file, err := os.Create(path)
	if err != nil {
		return err
	}
	err = os.NewSyscallError("fallocate", syscall.Fallocate(int(file.Fd()), 0, 0, size))
	return errors.Join(err, file.Close())
}

//go:build unix

package porttest

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"syscall"
)

// held are the locked files by port: the collector would close a file that nothing refers to.
var held sync.Map

// reserve locks the file of a block of ports. The system unlocks it when the process ends.
func reserve(port int) (release func(), err error) {
	dir := filepath.Join(os.TempDir(), fmt.Sprintf("layshaft-ports-%d", os.Getuid()))
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	f, err := os.OpenFile(filepath.Join(dir, fmt.Sprint(port)), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, err
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		_ = f.Close()
		if errors.Is(err, syscall.EWOULDBLOCK) {
			return nil, errTaken
		}
		return nil, os.NewSyscallError("flock", err)
	}
	held.Store(port, f)
	return func() {
		held.Delete(port)
		_ = f.Close()
	}, nil
}

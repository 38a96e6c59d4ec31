//go:build linux || darwin || freebsd || openbsd || netbsd || dragonfly

package state

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"syscall"
)

// badgerLocks reports whether Badger must lock its directory itself.
const badgerLocks = false

// Lock locks dir for this process until release is called. It locks the file LockName in dir and
// writes the process ID into it, for people. The error wraps ErrLocked if another process holds the
// lock.
func Lock(dir string) (release func() error, err error) {
	file, err := os.OpenFile(filepath.Join(dir, LockName), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	err = syscall.Flock(int(file.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
	switch {
	case errors.Is(err, syscall.EWOULDBLOCK):
		pid, _ := io.ReadAll(io.LimitReader(file, 20))
		err = fmt.Errorf("%w, process %s; stop it, or use another directory", ErrLocked, strings.TrimSpace(string(pid)))
	case err != nil:
		err = os.NewSyscallError("flock", err)
	default:
		if err = file.Truncate(0); err == nil {
			_, err = file.WriteAt(fmt.Appendln(nil, os.Getpid()), 0)
		}
	}
	if err != nil {
		_ = file.Close()
		return nil, err
	}
	return func() error {
		// An explicit unlock is needed: a child process being forked now shares the open file until
		// its exec.
		err := os.NewSyscallError("flock", syscall.Flock(int(file.Fd()), syscall.LOCK_UN))
		return errors.Join(err, file.Close())
	}, nil
}

// LockShared locks dir like Lock, but together with other shared locks. It blocks while another
// process holds the lock alone.
func LockShared(dir string) (release func() error, err error) {
	file, err := os.OpenFile(filepath.Join(dir, LockName), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	for {
		err = syscall.Flock(int(file.Fd()), syscall.LOCK_SH)
		if !errors.Is(err, syscall.EINTR) {
			break
		}
	}
	if err != nil {
		_ = file.Close()
		return nil, os.NewSyscallError("flock", err)
	}
	return func() error {
		err := os.NewSyscallError("flock", syscall.Flock(int(file.Fd()), syscall.LOCK_UN))
		return errors.Join(err, file.Close())
	}, nil
}

// LockPlace locks an output path for this process until release is called. The path is a directory,
// or a file that may not exist yet. For a file, the lock is a hidden file beside it, removed by
// release. The error is ErrLocked if the path is locked already, even by this process. If the file
// system does not support locks, LockPlace returns no error and locks nothing.
func LockPlace(path string) (release func() error, err error) {
	none := func() error { return nil }
	remove := none
	if fi, err := os.Stat(path); err != nil || !fi.IsDir() {
		path = filepath.Join(filepath.Dir(path), "."+filepath.Base(path)+".layshaft-lock")
		remove = func() error { return os.Remove(path) }
	}
	for {
		file, err := os.Open(path)
		if errors.Is(err, os.ErrNotExist) {
			file, err = os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o666)
		}
		if err != nil {
			// without permission to open it, nothing can be written there either
			return none, nil
		}
		switch err := syscall.Flock(int(file.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); {
		case errors.Is(err, syscall.EWOULDBLOCK):
			_ = file.Close()
			return nil, ErrLocked
		case err != nil:
			_ = file.Close()
			return none, nil
		}
		// The previous owner may have removed the file meanwhile.
		now, err := os.Stat(path)
		if mine, merr := file.Stat(); err == nil && merr == nil && os.SameFile(now, mine) {
			return func() error {
				err := errors.Join(remove(), os.NewSyscallError("flock", syscall.Flock(int(file.Fd()), syscall.LOCK_UN)))
				return errors.Join(err, file.Close())
			}, nil
		}
		_ = file.Close()
	}
}

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

// badgerLocks says whether Badger has to lock its directory itself.
const badgerLocks = false

// Lock locks dir for this process until release, by a file in it named LockName, which holds the process ID for people. The
// error wraps ErrLocked when another process has it.
func Lock(dir string) (release func() error, err error) {
	file, err := os.OpenFile(filepath.Join(dir, LockName), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	err = syscall.Flock(int(file.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
	switch {
	case errors.Is(err, syscall.EWOULDBLOCK):
		pid, _ := io.ReadAll(io.LimitReader(file, 20))
		err = fmt.Errorf("%w, process %s; stop it, or give this one a directory of its own", ErrLocked, strings.TrimSpace(string(pid)))
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
		// Closing would not do: a process that is being forked at this moment holds the file too, until it is replaced.
		err := os.NewSyscallError("flock", syscall.Flock(int(file.Fd()), syscall.LOCK_UN))
		return errors.Join(err, file.Close())
	}, nil
}

// LockPlace locks, for this process until release, the place of an output: a directory, or a file that need not be there yet, for which
// a hidden file beside it stands that release removes. The error is ErrLocked when somebody has it already, this process included. Where
// the file system knows no such locks, there is none, and no error.
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
			return none, nil // who cannot open it will not write there either
		}
		switch err := syscall.Flock(int(file.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); {
		case errors.Is(err, syscall.EWOULDBLOCK):
			_ = file.Close()
			return nil, ErrLocked
		case err != nil:
			_ = file.Close()
			return none, nil
		}
		// Who had it before may have removed it.
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

package report

import "golang.org/x/sys/unix"

// exchange gives a new directory the name of the old one, in one step if the file system can.
func exchange(dir, target string) error {
	if err := unix.Renameat2(unix.AT_FDCWD, dir, unix.AT_FDCWD, target, unix.RENAME_EXCHANGE); err == nil {
		return nil
	}
	return exchangeByRename(dir, target)
}

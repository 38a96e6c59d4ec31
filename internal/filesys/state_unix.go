//go:build unix

package filesys

import (
	"fmt"
	"io/fs"
	"os"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// identityOf returns device and inode of a file of this machine, and the time of the last change of
// its inode. Both are zero for other files.
func identityOf(fi fs.FileInfo) (id string, changed time.Time) {
	if st, ok := fi.Sys().(*syscall.Stat_t); ok {
		return fmt.Sprint(st.Dev, ":", st.Ino), inodeChanged(st)
	}
	return "", changed
}

// StateOf returns a text that differs for any two states of a file of this machine. It consists of
// device, inode, size, and the times of the last change of content and inode; nobody can set the
// second time. It is empty for a file without this information.
//
// StateOf also returns the later of the two times. A young file may change again within one tick of
// its file system's clock, without a new state; a tick takes at most [Settled].
func StateOf(f *os.File) (state string, changed time.Time) {
	var st unix.Stat_t
	if err := unix.Fstat(int(f.Fd()), &st); err != nil {
		return "", changed
	}
	m, c := time.Unix(st.Mtim.Unix()), time.Unix(st.Ctim.Unix())
	if changed = c; m.After(c) {
		changed = m
	}
	return fmt.Sprint(st.Dev, st.Ino, st.Size, m.UnixNano(), c.UnixNano()), changed
}

//go:build unix

package filesys

import (
	"fmt"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// StateOf tells one state of a file of this machine from all others: by device, inode and size, and when content and inode were last changed, of which nobody can
// set the second. It also returns the later of the two times: a file as young as a tick of its file system's clock, at most [Settled], may change once more unseen.
// The state is empty for a file that cannot be looked at, and where files have no inodes.
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

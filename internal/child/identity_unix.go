//go:build unix

package child

import (
	"fmt"
	"time"

	"golang.org/x/sys/unix"
)

// identity tells one state of a file from all others on this machine: its device, inode and size, and when its content and its inode were last changed, of
// which nobody can set the second. It also returns the later of the two times. It is empty for a file that cannot be looked at.
func identity(path string) (id string, changed time.Time) {
	var st unix.Stat_t
	if err := unix.Stat(path, &st); err != nil {
		return "", changed
	}
	m, c := time.Unix(st.Mtim.Unix()), time.Unix(st.Ctim.Unix())
	if changed = c; m.After(c) {
		changed = m
	}
	return fmt.Sprint(st.Dev, st.Ino, st.Size, m.UnixNano(), c.UnixNano()), changed
}

//go:build unix

package remote

import (
	"fmt"
	"io/fs"
	"os"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// stateOf tells one state of a file from all others on this machine, by inode, size and the times of the last change of content and inode. It also
// returns the later of the two times. It is empty for a file that cannot be looked at.
func stateOf(f *os.File) (state string, changed time.Time) {
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

// boot names this start of this machine's kernel; empty when that is not known.
var boot = sync.OnceValue(func() string {
	b, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(b))
})

// identity names a file of this machine until the machine or the file ends; empty when that is not known.
func identity(fi fs.FileInfo) string {
	st, ok := fi.Sys().(*syscall.Stat_t)
	if !ok || boot() == "" {
		return ""
	}
	return fmt.Sprintf("%s/%d/%d", boot(), st.Dev, st.Ino)
}

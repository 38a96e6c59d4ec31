package datadir

import (
	"fmt"

	"golang.org/x/sys/unix"
)

// inodeOf returns the number of the inode of dir and the time when it was made, if the file system
// has it; or nothing if there is no inode.
func inodeOf(dir string) string {
	var st unix.Statx_t
	if unix.Statx(unix.AT_FDCWD, dir, 0, unix.STATX_INO|unix.STATX_BTIME, &st) != nil {
		return ""
	}
	if st.Mask&unix.STATX_BTIME == 0 {
		return fmt.Sprint(st.Ino)
	}
	return fmt.Sprint(st.Ino, " ", st.Btime.Sec, ".", st.Btime.Nsec)
}

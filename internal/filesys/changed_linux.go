package filesys

import (
	"syscall"
	"time"
)

// inodeChanged returns when an inode changed.
func inodeChanged(st *syscall.Stat_t) time.Time { return time.Unix(st.Ctim.Unix()) }

package filesys

import (
	"os"

	"golang.org/x/sys/unix"
)

// startWriteBack starts to write n bytes at off to disk. It does not wait, and an error only costs
// time.
func startWriteBack(f *os.File, off, n int64) {
	_ = unix.SyncFileRange(int(f.Fd()), off, n, unix.SYNC_FILE_RANGE_WRITE)
}

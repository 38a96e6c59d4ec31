package state

import (
	"bufio"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// pageOut returns the memory of the tables below dir to the system; the pages are read again on
// demand. Badger maps whole tables, so every page read once, if only to verify it, stays in the
// memory of the process until the system runs short. pageOut is safe for any mapping: it loses no
// data.
func pageOut(dir string) {
	if real, err := filepath.EvalSymlinks(dir); err == nil {
		dir = real
	}
	dir, err := filepath.Abs(dir)
	if err != nil {
		return
	}
	maps, err := os.Open("/proc/self/maps")
	if err != nil {
		return
	}
	defer maps.Close()
	// FROM-TO PERMISSIONS OFFSET DEVICE INODE PATH
	for in := bufio.NewScanner(maps); in.Scan(); {
		span, path, ok := strings.Cut(in.Text(), " ")
		if at := strings.IndexByte(path, '/'); !ok || at < 0 || !strings.HasPrefix(path[at:], dir+"/") || !strings.HasSuffix(path, ".sst") {
			continue
		}
		low, high, _ := strings.Cut(span, "-")
		from, err := strconv.ParseUint(low, 16, 64)
		to, err2 := strconv.ParseUint(high, 16, 64)
		if err != nil || err2 != nil || to <= from {
			return
		}
		if _, _, no := syscall.Syscall(syscall.SYS_MADVISE, uintptr(from), uintptr(to-from), unix.MADV_PAGEOUT); no != 0 {
			return // old kernel, or unmapped meanwhile
		}
	}
}

//go:build unix

package remote

import (
	"fmt"
	"io/fs"
	"os"
	"strings"
	"sync"
	"syscall"
)

// boot returns an ID of this start of the machine's kernel; empty when it is not known.
var boot = sync.OnceValue(func() string {
	b, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(b))
})

// identity returns an ID of a file of this machine, unique until the machine stops or the file is
// removed; empty when it is not known.
func identity(fi fs.FileInfo) string {
	st, ok := fi.Sys().(*syscall.Stat_t)
	if !ok || boot() == "" {
		return ""
	}
	return fmt.Sprintf("%s/%d/%d", boot(), st.Dev, st.Ino)
}

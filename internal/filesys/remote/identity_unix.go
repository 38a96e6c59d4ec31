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

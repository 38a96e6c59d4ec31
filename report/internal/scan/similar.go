package scan

import (
	"cmp"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/layshaft/layshaft/internal/filesys"
	"github.com/layshaft/layshaft/internal/spelling"
)

// Similar returns a hint for paths of which one does not exist: a file of the same folder whose
// name is similar. It is empty if there is none, and for patterns and files elsewhere.
func Similar(paths []string) string {
	for _, p := range paths {
		if filesys.Scheme(p) != "" || strings.ContainsAny(p, "*?[") {
			continue
		}
		if _, err := os.Lstat(p); err == nil {
			continue
		}
		dir, base := filepath.Split(p)
		f, err := os.Open(cmp.Or(dir, "."))
		if err != nil {
			continue
		}
		const most = 10_000
		names, _ := f.Readdirnames(most) // some names are better than none
		_ = f.Close()                    // it was only read
		if len(names) == 0 {
			continue
		}
		if best := spelling.Sort(base, names)[0]; spelling.Distance(best, base) <= 1+len(base)/5 {
			return fmt.Sprintf("did you mean %s?", dir+best)
		}
	}
	return ""
}

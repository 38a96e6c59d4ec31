package files

import (
	"cmp"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/layshaft/layshaft/internal/filesys"
	"github.com/layshaft/layshaft/internal/spelling"
)

// explainMissing adds advice to the error of a file that does not exist.
func explainMissing(path string, err error) error {
	var missing *filesys.Error
	if !errors.Is(err, fs.ErrNotExist) || !errors.As(err, &missing) || missing.Path != path {
		return err
	}
	e := *missing
	if strings.HasPrefix(path, "-") {
		e.Help = "flags must be in front of the files, and a file whose name begins with - is written ./" + path
	} else if near := similar(path); near != "" {
		e.Help = "did you mean " + near + "?"
	}
	return &e
}

// similar returns a file of the same directory whose name is similar to path, which does
// not exist. It is empty if there is none, and for patterns and files elsewhere.
func similar(path string) string {
	if filesys.Scheme(path) != "" || strings.ContainsAny(path, "*?[") {
		return ""
	}
	dir, base := filepath.Split(path)
	f, err := os.Open(cmp.Or(dir, "."))
	if err != nil {
		return ""
	}
	const most = 10_000
	names, _ := f.Readdirnames(most) // some names are better than none
	_ = f.Close()                    // it was only read
	if len(names) == 0 {
		return ""
	}
	best := spelling.Sort(base, names)[0]
	if spelling.Distance(best, base) > 1+len(base)/5 {
		return ""
	}
	return dir + best
}

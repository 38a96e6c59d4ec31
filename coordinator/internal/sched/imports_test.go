package sched

import (
	"go/parser"
	"go/token"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// TestImports keeps the core free of side effects: it lists the only packages that the core may
// import.
func TestImports(t *testing.T) {
	allowed := []string{"cmp", "container/heap", "container/list", "fmt", "iter", "maps", "math/bits", "slices", "strings", "time",
		"github.com/layshaft/layshaft/internal/job", "github.com/layshaft/layshaft/internal/report",
		"github.com/layshaft/layshaft/internal/order", "github.com/layshaft/layshaft/internal/tally"}
	files, _ := filepath.Glob("*.go")
	for _, file := range files {
		if strings.HasSuffix(file, "_test.go") {
			continue
		}
		f, err := parser.ParseFile(token.NewFileSet(), file, nil, parser.ImportsOnly)
		if err != nil {
			t.Fatal(err)
		}
		for _, i := range f.Imports {
			if path, _ := strconv.Unquote(i.Path.Value); !slices.Contains(allowed, path) {
				t.Errorf("%s imports %s: the core decides and touches nothing; do it in the shell, or allow it here if it is pure", file, path)
			}
		}
	}
}

package schedule

import (
	"go/parser"
	"go/token"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// TestImports keeps the core pure by its list of allowed imports.
func TestImports(t *testing.T) {
	allowed := []string{"cmp", "encoding/binary", "errors", "fmt", "hash/fnv", "math", "reflect", "slices", "strings", "time",
		"github.com/layshaft/layshaft/coordinator/internal/queue", "github.com/layshaft/layshaft/internal/cron", "github.com/layshaft/layshaft/internal/cursor"}
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

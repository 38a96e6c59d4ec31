package arrows

import (
	"bytes"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

const root = "../.."

// TestArchitectureNamesTests holds that every test that ARCHITECTURE.md names to hold an invariant exists. A name that ends in … stands for
// all that begin so.
func TestArchitectureNamesTests(t *testing.T) {
	text, err := os.ReadFile(root + "/ARCHITECTURE.md")
	if err != nil {
		t.Fatal(err)
	}
	names := regexp.MustCompile(`\bTest[A-Z]\w*…?`).FindAllString(string(text), -1)
	if len(names) == 0 {
		t.Fatal("ARCHITECTURE.md names no test")
	}
	declared := declarations(t, root)
	for _, name := range names {
		found := declared[name]
		if begin, ok := strings.CutSuffix(name, "…"); ok {
			for full := range declared {
				found = found || strings.HasPrefix(full, begin)
			}
		}
		if !found {
			t.Errorf("ARCHITECTURE.md names %s, which no package declares: give it the name that the test has now", name)
		}
	}
}

// TestOperatorsHaveExamples holds that every operator and every option has a runnable example.
func TestOperatorsHaveExamples(t *testing.T) {
	declared := declarations(t, root+"/mapreduce")
	operators := 0
	for _, path := range sources(t, root+"/mapreduce", false) {
		if filepath.Dir(path) != filepath.Clean(root+"/mapreduce") {
			continue
		}
		file, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.SkipObjectResolution)
		if err != nil {
			t.Fatal(err)
		}
		for _, d := range file.Decls {
			f, ok := d.(*ast.FuncDecl)
			if !ok || !f.Name.IsExported() {
				continue
			}
			name := f.Name.Name
			switch {
			case f.Recv != nil && touches(&ast.FuncType{Params: f.Recv}, "Dataset"):
				name = "Dataset_" + name
			case f.Recv != nil || !touches(f.Type, "Dataset", "Option"):
				continue
			}
			operators++
			if !declared["Example"+name] && name != "Nothing" {
				t.Errorf("%s: %s has no Example%s", filepath.Base(path), name, name)
			}
		}
	}
	if operators < 30 {
		t.Errorf("%d operators and options were found; this test no longer sees them", operators)
	}
}

// touches reports whether a function takes a type with one of the names as a parameter, or returns one.
func touches(f *ast.FuncType, names ...string) bool {
	all := f.Params.List
	if f.Results != nil {
		all = append(all, f.Results.List...)
	}
	for _, field := range all {
		typ := field.Type
		switch x := typ.(type) {
		case *ast.IndexExpr:
			typ = x.X
		case *ast.IndexListExpr:
			typ = x.X
		}
		for _, name := range names {
			if id, ok := typ.(*ast.Ident); ok && id.Name == name {
				return true
			}
		}
	}
	return false
}

// TestExamplesAreShort holds that the files of examples are short enough to be read and copied.
func TestExamplesAreShort(t *testing.T) {
	for _, path := range sources(t, root+"/examples", false) {
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if n := bytes.Count(text, []byte("\n")); n >= 150 {
			t.Errorf("%s has %d lines; an example has fewer than 150", path, n)
		}
	}
}

// declarations returns the names of the functions that test files below dir declare.
func declarations(t *testing.T, dir string) map[string]bool {
	t.Helper()
	form := regexp.MustCompile(`(?m)^func ((?:Test|Example)\w*)\(`)
	names := map[string]bool{}
	for _, path := range sources(t, dir, true) {
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range form.FindAllStringSubmatch(string(text), -1) {
			names[m[1]] = true
		}
	}
	return names
}

// sources returns the Go files below dir that are tests, or those that are none.
func sources(t *testing.T, dir string, tests bool) (paths []string) {
	t.Helper()
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err == nil && strings.HasSuffix(path, ".go") && strings.HasSuffix(path, "_test.go") == tests {
			paths = append(paths, path)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return paths
}

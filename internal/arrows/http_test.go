package arrows

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// Every HTTP port has a guard against pages of other sites that point their name to this machine.
// Its handler is page.Guard or page.GuardHost, or is made by one of these functions.
func TestEveryHTTPServerHasAGuard(t *testing.T) {
	behind := map[string]string{
		"cmd/layshaft/internal/node/http.go": "return webpage.Guard(mux)", // of page.handler
	}
	root := filepath.Join("..", "..")
	servers := 0
	err := filepath.WalkDir(root, func(file string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		name, _ := filepath.Rel(root, file)
		name = filepath.ToSlash(name)
		if d.IsDir() {
			if strings.HasPrefix(d.Name(), ".") && file != root || d.Name() == "testdata" || isTestPackage(name) || name == "bench" || name == "tools" {
				return filepath.SkipDir
			}
			return nil
		}
		if !strings.HasSuffix(name, ".go") || strings.HasSuffix(name, "_test.go") {
			return nil
		}
		source, err := os.ReadFile(file)
		if err != nil {
			return err
		}
		if !strings.Contains(string(source), "http.") {
			return nil
		}
		files := token.NewFileSet()
		parsed, err := parser.ParseFile(files, file, source, 0)
		if err != nil {
			return err
		}
		text := func(n ast.Node) string {
			return string(source[files.Position(n.Pos()).Offset:files.Position(n.End()).Offset])
		}
		ast.Inspect(parsed, func(n ast.Node) bool {
			switch n := n.(type) {
			case *ast.CallExpr:
				if call := text(n.Fun); call == "http.ListenAndServe" || call == "http.ListenAndServeTLS" || call == "http.Serve" || call == "http.ServeTLS" {
					t.Errorf("%s: %s has no guard and no time limits: use an http.Server with page.GuardHost", files.Position(n.Pos()), call)
				}
			case *ast.CompositeLit:
				if n.Type == nil || text(n.Type) != "http.Server" {
					return true
				}
				servers++
				if b := behind[name]; b != "" && strings.Contains(string(source), b) {
					return true
				}
				for _, e := range n.Elts {
					if f, ok := e.(*ast.KeyValueExpr); ok && text(f.Key) == "Handler" && strings.Contains(strings.ToLower(text(f.Value)), "guard") {
						return true
					}
				}
				t.Errorf("%s: this server answers under any host name: give it page.GuardHost", files.Position(n.Pos()))
			}
			return true
		})
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if servers < 4 {
		t.Errorf("%d servers were found; there are four at least", servers)
	}
}

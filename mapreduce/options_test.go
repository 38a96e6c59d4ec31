package mapreduce_test

import (
	"bytes"
	"errors"
	"fmt"
	"go/ast"
	"go/importer"
	"go/parser"
	"go/token"
	"go/types"
	"io"
	"os"
	"os/exec"
	"strings"
	"testing"
)

// TestOptionsCompile type-checks programs that give each option to each kind of operator. A program
// compiles exactly when the option means something there.
func TestOptionsCompile(t *testing.T) {
	if testing.Short() {
		t.Skip("asks the go command for the types of packages")
	}
	options := []struct {
		option  string
		accepts string // kinds of operators below, and Define
	}{
		{`mapreduce.Named("x")`, "operator shuffle group sort"},
		{`mapreduce.Needs("pg", 1)`, "operator shuffle group sort"},
		{`mapreduce.Retry(1)`, "operator shuffle group sort Define"},
		{`mapreduce.Timeout(1)`, "operator shuffle group sort Define"},
		{`mapreduce.MaxBad(1)`, "operator shuffle group sort Define"},
		{`mapreduce.MaxBadShare(0.1)`, "operator shuffle group sort Define"},
		{`mapreduce.Parallel(1)`, "shuffle group sort Define"},
		{`mapreduce.PartitionBy(func(int, int) int { return 0 })`, "shuffle group"},
		{`mapreduce.SortValues(self)`, "group"},
		{`mapreduce.Descending()`, "sort"},
	}
	uses := []struct{ kind, call string }{
		{"operator", "mapreduce.Map(d, self, %s)"},
		{"operator", "d.Filter(is, %s)"},
		{"operator", "d.Filter(is, %s)"},
		{"operator", "mapreduce.Top(d, 1, self, %s)"},
		{"operator", "mapreduce.Sample(d, 1, 1, %s)"},
		{"operator", "mapreduce.Aggregate(d, agg.Count[int](), %s)"},
		{"operator", "mapreduce.BroadcastJoin(d, d, self, self, func(int, *int) int { return 0 }, %s)"},
		{"operator", "mapreduce.Read(p, source, %s)"},
		{"shuffle", "mapreduce.AggregateBy(d, self, agg.Count[int](), %s)"},
		{"shuffle", "mapreduce.CountBy(d, self, %s)"},
		{"shuffle", "mapreduce.Distinct(d, %s)"},
		{"shuffle", "mapreduce.Join(d, d, self, self, func(int, int) int { return 0 }, %s)"},
		{"group", "mapreduce.GroupBy(d, self, func(int, iter.Seq[int]) int { return 0 }, %s)"},
		{"sort", "mapreduce.Sort(d, %s)"},
		{"sort", "mapreduce.SortBy(d, self, %s)"},
		{"Define", `mapreduce.Define("x", func(*mapreduce.Plan, int) mapreduce.Dataset[int] { return d }, %s)`},
	}
	imports := exported(t)
	check := types.Config{Importer: imports}
	for _, o := range options {
		for _, u := range uses {
			call := fmt.Sprintf(u.call, o.option)
			text := `package p
import ("iter"; "github.com/layshaft/layshaft/mapreduce"; "github.com/layshaft/layshaft/mapreduce/agg"; "github.com/layshaft/layshaft/mapreduce/connector")
var (_ iter.Seq[int]; _ = agg.Count[int]; p *mapreduce.Plan; d mapreduce.Dataset[int]; source connector.Source[int])
func self(n int) int { return n }
func is(int) bool { return true }
var _ = ` + call
			fset := token.NewFileSet()
			file, err := parser.ParseFile(fset, "p.go", text, 0)
			if err != nil {
				t.Fatal(err)
			}
			_, err = check.Check("p", fset, []*ast.File{file}, nil)
			if accepted := strings.Contains(o.accepts, u.kind); accepted && err != nil {
				t.Errorf("%s does not compile: %v", call, err)
			} else if !accepted && (err == nil || !strings.Contains(err.Error(), "does not implement mapreduce.")) {
				t.Errorf("%s: error %v, want one that says that the option does not implement the operator's interface", call, err)
			}
		}
	}
}

// exported returns an importer that reads the packages of this module as the go command has
// compiled them.
func exported(t *testing.T) types.Importer {
	t.Helper()
	if _, err := exec.LookPath("go"); err != nil {
		t.Skip("it needs the go command: ", err)
	}
	list := exec.Command("go", "list", "-export", "-deps", "-f", "{{.ImportPath}}\t{{.Export}}", ".", "./agg")
	out, err := list.Output()
	if err != nil {
		var exit *exec.ExitError
		if errors.As(err, &exit) {
			err = fmt.Errorf("%w\n%s", err, exit.Stderr)
		}
		t.Fatal("go list: ", err)
	}
	files := map[string]string{}
	for line := range bytes.Lines(out) {
		path, file, _ := strings.Cut(strings.TrimSpace(string(line)), "\t")
		files[path] = file
	}
	return importer.ForCompiler(token.NewFileSet(), "gc", func(path string) (io.ReadCloser, error) { return os.Open(files[path]) })
}

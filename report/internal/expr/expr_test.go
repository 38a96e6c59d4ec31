package expr

import (
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/layshaft/layshaft/report/internal/vec"
)

var update = flag.Bool("update", false, "rewrite the answers in testdata")

// TestValues evaluates the constant expressions of testdata. A line is an expression, two arrows
// and its type and value, or its error.
func TestValues(t *testing.T) {
	files, err := filepath.Glob("testdata/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatal("no files", err)
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		var out []string
		for n, line := range strings.Split(strings.TrimSuffix(string(text), "\n"), "\n") {
			expression, want, _ := strings.Cut(line, " ==> ")
			if expression == "" || strings.HasPrefix(expression, "#") {
				out = append(out, line)
				continue
			}
			got := valueOf(t, expression)
			if got != want && !*update {
				t.Errorf("%s:%d: %s\n got %s\nwant %s", file, n+1, expression, got, want)
			}
			out = append(out, expression+" ==> "+got)
		}
		if *update {
			if err := os.WriteFile(file, []byte(strings.Join(out, "\n")+"\n"), 0o644); err != nil {
				t.Fatal(err)
			}
		}
	}
}

// valueOf returns the type and the value of a constant expression, or its error.
func valueOf(t testing.TB, expression string) string {
	e, err := schema{}.parse(t, expression)
	var v *vec.Vec
	if err == nil {
		v, err = e.Eval(&vec.Batch{N: 1})
	}
	if err != nil {
		return "error: " + err.Error()
	}
	value := "NULL"
	if !v.Null(0) {
		value = string(AppendText(nil, v, 0))
		if v.Type.Kind == vec.Text {
			value = quote(value)
		}
	}
	return e.Type.String() + " " + value
}

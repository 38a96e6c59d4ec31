package report_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/layshaft/layshaft/mapreduce"
	"github.com/layshaft/layshaft/report"
)

// csvOf returns the result of a statement as CSV, or the error. DIR stands for dir.
func csvOf(t *testing.T, dir, text string) string {
	t.Helper()
	var out strings.Builder
	rows, err := report.Query(t.Context(), mapreduce.Local{}, strings.ReplaceAll(text, "DIR", dir))
	if err == nil {
		err = rows.Write(&out, "csv", report.WriteOptions{})
	}
	if err != nil {
		return strings.ReplaceAll(err.Error(), dir, "DIR")
	}
	return strings.TrimSpace(out.String())
}

// put writes files into a new directory.
func put(t *testing.T, content map[string]string) (dir string) {
	t.Helper()
	dir = t.TempDir()
	for name, text := range content {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// Files without content have no rows, and take their columns from the other files.
func TestEmptyFiles(t *testing.T) {
	dir := put(t, map[string]string{"a.jsonl": "", "b.jsonl": "{\"a\":1,\"b\":\"x\"}\n", "c.jsonl": "\n\n", "d.json": "[]", "e.csv": "", "f.csv": "\n"})
	for text, want := range map[string]string{
		"SELECT a FROM 'DIR/*.jsonl'":                                               "a\n1",
		"SELECT count(*) FROM 'DIR/a.jsonl'":                                        "count(*)\n0",
		"SELECT count(*) FROM 'DIR/c.jsonl'":                                        "count(*)\n0",
		"SELECT count(*) FROM 'DIR/d.json'":                                         "count(*)\n0",
		"SELECT count(*) FROM 'DIR/e.csv'":                                          "count(*)\n0",
		"SELECT a FROM read_json('DIR/a.jsonl', columns={'a':'int'})":               "a",
		"SELECT b, z FROM read_json('DIR/b.jsonl', columns={'b':'text','z':'int'})": "b,z\nx,",
		"SELECT a FROM 'DIR/a.jsonl'":                                               `line 1, column 8: there is no column "a", because the files are empty (name other files as well, or the columns, as in read_json('…', columns={'a': 'bigint'}))`,
		"SELECT * FROM 'DIR/d.json'":                                                `line 1, column 8: * stands for all columns, and the files are empty (name other files as well, or the columns, as in read_json('…', columns={'a': 'bigint'}))`,
		"SELECT c FROM 'DIR/b.jsonl'":                                               `line 1, column 8: there is no column "c" (columns are a, b)`,
	} {
		if got := csvOf(t, dir, text); got != want {
			t.Errorf("%s: got\n%s\nwant\n%s", text, got, want)
		}
	}
}

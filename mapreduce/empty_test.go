package mapreduce_test

import (
	"bytes"
	"os"
	"testing"

	"github.com/layshaft/layshaft/mapreduce"
	"github.com/layshaft/layshaft/mapreduce/csvio"
	"github.com/layshaft/layshaft/mapreduce/jsonio"
	"github.com/layshaft/layshaft/mapreduce/textio"
)

// TestEmptyInputIsNamed checks that a run names input files without a byte, but not the empty parts
// that an earlier run wrote.
func TestEmptyInputIsNamed(t *testing.T) {
	t.Chdir(t.TempDir())
	for name, text := range map[string]string{"x.csv": "", "y.csv": "", "z.csv": "A\n1\n", "x.jsonl.bz2": "BZh9\x17\x72\x45\x38\x50\x90\x00\x00\x00\x00", "x.txt": "", "nl.txt": "\n"} {
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	type row struct{ A int }
	type plan = func(p *mapreduce.Plan) mapreduce.Dataset[mapreduce.None]
	text := func(pattern, out string) plan {
		return func(p *mapreduce.Plan) mapreduce.Dataset[mapreduce.None] {
			mapreduce.Read(p, textio.Lines(pattern)).WriteTo(textio.Write(out))
			return mapreduce.Nothing(p)
		}
	}
	for _, c := range []struct {
		plan plan
		want string
	}{
		{text("x.txt", "out"), "layshaft: x.txt is empty: 0 bytes\n"},
		{text("out", "again"), ""}, // what the run before wrote
		{text("nl.txt", "lines"), ""},
		{func(p *mapreduce.Plan) mapreduce.Dataset[mapreduce.None] {
			mapreduce.Read(p, jsonio.Rows[row]("x.jsonl.bz2")).WriteTo(jsonio.Write[row]("json"))
			return mapreduce.Nothing(p)
		}, "layshaft: x.jsonl.bz2 is empty: 0 bytes\n"},
		{func(p *mapreduce.Plan) mapreduce.Dataset[mapreduce.None] {
			mapreduce.Read(p, csvio.Rows[row]("*.csv")).WriteTo(jsonio.Write[row]("csv"))
			return mapreduce.Nothing(p)
		}, "layshaft: 2 files are empty: 0 bytes, such as x.csv\n"},
	} {
		var said bytes.Buffer
		j := start(t, t.Context(), mapreduce.Local{Slots: 1, Reporting: mapreduce.Reporting{Err: &said}}, c.plan)
		if err := j.Wait(); err != nil {
			t.Fatal(err)
		}
		if err := j.Close(); err != nil {
			t.Fatal(err)
		}
		if got := said.String(); got != c.want {
			t.Errorf("printed %q, want %q", got, c.want)
		}
	}
}

// TestPathNotUTF8 checks that a file whose path does not survive on the way to a worker is refused.
// Reports gave no row of it.
func TestPathNotUTF8(t *testing.T) {
	t.Chdir(t.TempDir())
	if err := os.WriteFile("caf\xe9.csv", []byte("A\n7\n"), 0o600); err != nil {
		t.Skip("this file system has UTF-8 names only: ", err)
	}
	_, err := mapreduce.Define("p", func(p *mapreduce.Plan, pattern string) mapreduce.Dataset[string] {
		return mapreduce.Read(p, textio.Lines(pattern))
	}).Collect(t.Context(), mapreduce.Local{}, "*.csv")
	checkError(t, err, `caf\xe9.csv: the path is not UTF-8`)
}

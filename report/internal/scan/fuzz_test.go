package scan

import (
	"encoding/json"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/layshaft/layshaft/mapreduce/connector"
	"github.com/layshaft/layshaft/report/internal/vec"
)

// tryAll resolves and reads a file, of which nothing is known. It must not panic, and must return
// the same rows whatever the splits.
func tryAll(t *testing.T, path, format string) {
	t.Helper()
	ctx := background()
	table, err := Resolve(ctx, Request{Paths: []string{path}, Format: format})
	if err != nil {
		return
	}
	var first string
	for i, target := range []int64{0, 50} {
		src := table.Source(table.Columns, nil)
		splits, err := src.Splits(ctx, target)
		if err != nil {
			return
		}
		var all []string
		failed := false
		r := connector.NewReader(func(b *vec.Batch) {
			for row := range b.N {
				for _, c := range b.Cols {
					all = append(all, show(c, row))
				}
			}
		}, func(err error, raw []byte) error { return nil })
		for _, s := range splits {
			failed = failed || src.Read(ctx, s, r) != nil
		}
		got := strings.Join(all, "|")
		if i == 0 {
			first = got
		} else if got != first && !failed {
			t.Fatalf("%s: splits of 50 bytes give\n%q\nwant\n%q\n%+v", table.Describe(), got, first, table)
		}
		if failed {
			return
		}
	}
}

// Whatever the content: what is found out can be read, and splits do not matter.
func FuzzText(f *testing.F) {
	for _, s := range []string{"a,b\n1,\"x\ny\"\n2,\"\"\"\"\n", "a;b\n1;2", "{\"a\":1}\n{\"a\":[1,{\"b\":null}]}\n", "[{\"a\":1},{}]", "{\n\"a\":\"]\"}", "K: v\n w\n\nK: 2\n", "a\tb\n\n007\t'x'\n",
		"1.1.1.1 - - [10/Oct/2000:13:55:36 -0700] \"GET / HTTP/1.0\" 200 1\n", "a'b,'c'\n'd',e\n", "\xef\xbb\xbfx,y\n1e5,nan\n", "x\n1\n99999999999999999999\n-0.1234567\n"} {
		for _, format := range []string{"", "csv", "tsv", "json", "stanza", "log", "text"} {
			f.Add(s, format)
		}
	}
	f.Fuzz(func(t *testing.T, s, format string) {
		if len(s) < 400 {
			tryAll(t, write(t, "a", s), format)
		}
	})
}

// The inferred type of a text reads the text.
func FuzzClassify(f *testing.F) {
	for _, s := range []string{"1", "-0", "007", "1.50", ".5", "5.", "1e5", "nan", "true", "2024-02-30", "2024-02-29T23:59:60.5Z", "23:59", "24:00:00", "99999999999999999999", "1970-01-01 00:00+02:30", "1e1000", "-1e-1000"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		var x shape
		x.add(s)
		if len(s) == 0 || !utf8.ValidString(s) {
			return // text must be UTF-8
		}
		for _, isJSON := range []bool{false, true} {
			typ := x.typeOf(isJSON)
			if !newFiller(typ, nil).set(0, s) {
				t.Errorf("%q has the type %s, which does not hold it", s, typ)
			}
		}
		if _, err := json.Marshal(x.typeOf(true)); err != nil {
			t.Error(err)
		}
	})
}

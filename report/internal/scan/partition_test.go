package scan

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/layshaft/layshaft/report/internal/vec"
)

// Folders such as year=2024 are columns in all formats, and files without wanted values are not
// read.
func TestPartitions(t *testing.T) {
	type row struct {
		N int64 `parquet:"n"`
	}
	avro, _ := avroFileOf(1, "null")
	for format, content := range map[string]string{"a.csv": "n\n1\n", "a.json": `{"n":1}`, "a.parquet": "", "a.txt": "1 2 3", "a.avro": avro, "status": "n: 1\n"} {
		dir := t.TempDir()
		for _, folder := range []string{"year=2023/day=2023-01-01/kind=a%20b", "year=2024/day=2024-02-29/kind=__HIVE_DEFAULT_PARTITION__"} {
			path := filepath.Join(dir, folder, format)
			if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
				t.Fatal(err)
			}
			if content == "" {
				if err := os.Rename(parquetFile(t, "x", []row{{1}}), path); err != nil {
					t.Fatal(err)
				}
			} else if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		table := resolve(t, Request{Paths: []string{dir + "/**/*"}})
		columns := []vec.Field{{Name: "year", Type: vec.Of(vec.Int)}, {Name: "day", Type: vec.Of(vec.Date)}, {Name: "kind", Type: vec.Of(vec.Text)}}
		for _, c := range columns {
			if got := schema(table); !strings.Contains(got, c.Name+" "+c.Type.String()) {
				t.Errorf("%s: columns are %s, without %s %s", format, got, c.Name, c.Type)
			}
		}
		rows, bad := read(t, table, columns, 0)
		if got, want := strings.Join(rows, "\n"), "2023 | 19358 | a b\n2024 | 19782 | NULL"; got != want || bad != nil {
			t.Errorf("%s: rows are\n%s\nwant\n%s", format, got, want)
		}
		bound := Bound{0, ">", &vec.Vec{Type: vec.Of(vec.Int), Len: 1, Ints: []int64{2023}}}
		if rows, _ = read(t, table, columns, 0, bound); len(rows) != 1 {
			t.Errorf("%s: rows are %q, want that of 2024", format, rows)
		}
		st, err := table.Stats(background(), columns, []Bound{bound})
		if err != nil || st.Files != 1 {
			t.Errorf("%s: stats are %+v, %v", format, st, err)
		}
		table = resolve(t, Request{Paths: []string{dir + "/**/*"}, Options: map[string]string{"hive_partitioning": "false"}})
		if strings.Contains(schema(table), "year") {
			t.Errorf("%s: columns are %s", format, schema(table))
		}
	}
}

// Stats counts the row groups that are skipped, and the bytes of the wanted columns.
func TestStats(t *testing.T) {
	table := resolve(t, Request{Paths: []string{write(t, "a.csv", "a\n1\n")}})
	if st, err := table.Stats(context.Background(), table.Columns, nil); err != nil || st != (Stats{Files: 1, Bytes: 4}) {
		t.Errorf("stats of CSV are %+v, %v", st, err)
	}
}

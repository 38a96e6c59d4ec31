package layshafttest

import (
	"os"
	"path/filepath"
	"testing"
	"testing/synctest"

	"github.com/layshaft/layshaft/mapreduce"
	"github.com/layshaft/layshaft/mapreduce/csvio"
	"github.com/layshaft/layshaft/mapreduce/jsonio"
	"github.com/layshaft/layshaft/mapreduce/memio"
)

type emptyRow struct {
	I int    `csv:"i" json:"i"`
	S string `csv:"s" json:"s"`
}

var (
	noRows = mapreduce.Define("no-rows", func(p *mapreduce.Plan, dir string) mapreduce.Dataset[mapreduce.None] {
		d := mapreduce.Read(p, memio.Slice[emptyRow](nil))
		d.WriteTo(csvio.Write[emptyRow](dir + "/csv"))
		d.WriteTo(csvio.WriteFile[emptyRow](dir + "/one.csv"))
		d.WriteTo(jsonio.Write[emptyRow](dir + "/jsonl"))
		return mapreduce.Nothing(p)
	})
	csvRows = mapreduce.Define("csv-rows", func(p *mapreduce.Plan, in string) mapreduce.Dataset[emptyRow] {
		return mapreduce.Read(p, csvio.Rows[emptyRow](in))
	})
	jsonRows = mapreduce.Define("json-rows", func(p *mapreduce.Plan, in string) mapreduce.Dataset[emptyRow] {
		return mapreduce.Read(p, jsonio.Rows[emptyRow](in))
	})
)

// An empty result of a cluster's job is a dataset that can be read back, wherever it lies.
func TestEmptyResults(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		offered, own := t.TempDir(), t.TempDir()
		c := Start(t, 1, Dataset("d", func(int) string { return offered + ":rw" }))
		for _, dir := range []string{own, "dataset://d"} {
			if _, err := noRows.Collect(t.Context(), c.Target(), dir); err != nil {
				t.Errorf("%s: %v", dir, err)
				continue
			}
			for from, d := range map[string]*mapreduce.Definition[string, emptyRow]{"csv": csvRows, "one.csv": csvRows, "jsonl": jsonRows} {
				if rows, err := d.Collect(t.Context(), c.Target(), dir+"/"+from); err != nil || len(rows) != 0 {
					t.Errorf("%s/%s is read back as %v, %v", dir, from, rows, err)
				}
			}
		}
		for _, dir := range []string{offered, own} {
			if got, err := os.ReadFile(filepath.Join(dir, "one.csv")); err != nil || string(got) != "i,s\n" {
				t.Errorf("one.csv contains %q, %v", got, err)
			}
		}
	})
}

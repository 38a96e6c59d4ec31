package binio_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/layshaft/layshaft/mapreduce"
	"github.com/layshaft/layshaft/mapreduce/binio"
	"github.com/layshaft/layshaft/mapreduce/memio"
)

// TestWrite writes one file per task and reads the directory back.
func TestWrite(t *testing.T) {
	write := mapreduce.Define("write", func(p *mapreduce.Plan, _ mapreduce.None) mapreduce.Dataset[string] {
		return mapreduce.Read(p, memio.Of("aa01", "bb02", "cc03").Cut(2))
	})
	dir := filepath.Join(t.TempDir(), "out")
	if err := write.WriteTo(t.Context(), mapreduce.Local{}, mapreduce.None{}, binio.Write(dir)); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"part-00000.bin", "part-00001.bin", "manifest.json"} {
		if _, err := os.Stat(filepath.Join(dir, name)); err != nil {
			t.Error(err)
		}
	}
	read := mapreduce.Define("read", func(p *mapreduce.Plan, dir string) mapreduce.Dataset[string] {
		return mapreduce.Sort(mapreduce.Read(p, binio.Records(4, dir+"/*.bin")))
	})
	got, err := read.Collect(t.Context(), mapreduce.Local{}, dir)
	if err != nil {
		t.Fatal(err)
	}
	if len(got) != 3 || got[0] != "aa01" || got[1] != "bb02" || got[2] != "cc03" {
		t.Errorf("read %q, want aa01, bb02, cc03", got)
	}
}

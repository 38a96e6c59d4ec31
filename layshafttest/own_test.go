package layshafttest

import (
	"os"
	"path/filepath"
	"testing"
	"testing/synctest"

	"github.com/layshaft/layshaft/mapreduce"
	"github.com/layshaft/layshaft/mapreduce/textio"
)

var ownOutput = mapreduce.Define("own-output", func(p *mapreduce.Plan, dir string) mapreduce.Dataset[string] {
	return mapreduce.Read(p, textio.Lines(filepath.Join(dir, "**")))
})

// TestOwnOutputIsNoInput writes the rows of a job of a cluster twice below the directory that the
// job reads, by WriteTo of the definition.
func TestOwnOutputIsNoInput(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, dir := Start(t, 1), t.TempDir()
		if err := os.WriteFile(filepath.Join(dir, "a.txt"), []byte("a\n"), 0o666); err != nil {
			t.Fatal(err)
		}
		for range 2 {
			if err := ownOutput.WriteTo(t.Context(), c.Target(), dir, textio.WriteFile(filepath.Join(dir, "out.txt"))); err != nil {
				t.Fatal(err)
			}
			if got, err := os.ReadFile(filepath.Join(dir, "out.txt")); err != nil || string(got) != "a\n" {
				t.Errorf("the output is %q, %v", got, err)
			}
		}
	})
}

package layshafttest_test

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/layshaft/layshaft/internal/plain"
	"github.com/layshaft/layshaft/layshafttest"
	"github.com/layshaft/layshaft/mapreduce"
	"github.com/layshaft/layshaft/mapreduce/textio"
)

var evilNames = mapreduce.Define("evil", func(p *mapreduce.Plan, dir string) mapreduce.Dataset[string] {
	lines := mapreduce.Read(p, textio.Lines(filepath.Join(dir, "in*")))
	return lines.Filter(func(string) bool { return true }, mapreduce.Needs("db\x1b[32m", 1))
})

// -explain on a cluster prints names of files and budgets without their terminal escapes.
func TestExplainEscapes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		for _, name := range []string{"in\x1b[33m.txt", "in\n2.txt", ".in\x1b[34m", "in\x1b]0;x\a"} {
			if err := os.WriteFile(filepath.Join(dir, name), []byte("x\n"), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		c := layshafttest.Start(t, 1)
		var out, told bytes.Buffer
		target := c.Target()
		target.Explain, target.Out, target.Err = true, &out, &told
		if _, err := evilNames.Collect(t.Context(), target, dir); err != nil && !errors.Is(err, mapreduce.ErrExplained) {
			t.Fatal(err)
		}
		if !strings.Contains(out.String(), `db\x1b[32m`) {
			t.Errorf("explained as %q", out.String())
		}
		for _, text := range []string{out.String(), told.String()} {
			if plain.Lines(text) != text {
				t.Errorf("not escaped: %q", text)
			}
		}
	})
}

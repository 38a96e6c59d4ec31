package mapreduce_test

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/layshaft/layshaft/mapreduce"
	"github.com/layshaft/layshaft/mapreduce/textio"
)

// TestOwnOutputIsNoInput runs a plan twice that writes below the directory that it reads.
func TestOwnOutputIsNoInput(t *testing.T) {
	t.Chdir(t.TempDir())
	for name, text := range map[string]string{"d/a.txt": "a\n", "d/_b/c.txt": "c\n"} {
		if err := os.MkdirAll(filepath.Dir(name), 0o777); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(name, []byte(text), 0o666); err != nil {
			t.Fatal(err)
		}
	}
	for _, sink := range []struct {
		textio.Sink[string]
		part string
	}{{textio.Write("d/out"), "d/out/part-00000.txt"}, {textio.WriteFile("d/all.txt"), "d/all.txt"}} {
		for run, want := range []string{"a\n", "a\n", "c\na\n"} {
			var said bytes.Buffer
			target := mapreduce.Local{Slots: 1, State: "d/state", Hidden: run == 2, Reporting: mapreduce.Reporting{Err: &said}}
			j := start(t, t.Context(), target, func(p *mapreduce.Plan) mapreduce.Dataset[mapreduce.None] {
				mapreduce.Read(p, textio.Lines("d/**")).WriteTo(sink.Sink)
				return mapreduce.Nothing(p)
			}, mapreduce.MaxBad(1))
			if err := j.Wait(); err != nil {
				t.Fatal(err)
			}
			if err := j.Close(); err != nil {
				t.Fatal(err)
			}
			if got, err := os.ReadFile(sink.part); err != nil || string(got) != want {
				t.Errorf("%s, run %d: wrote %q, want %q; %v", sink.part, run, got, want, err)
			}
			if hidden := strings.Contains(said.String(), "1 file below names that begin with . or _ left out, such as d/_b/c.txt; spell such a name to read them, or use -hidden"); hidden != (run < 2) {
				t.Errorf("run %d printed %s", run, said.String())
			}
			if run > 0 && !strings.Contains(said.String(), "where this job writes left out, such as d/") {
				t.Errorf("run %d printed %s", run, said.String())
			}
		}
		if err := os.RemoveAll("d/out"); err != nil {
			t.Fatal(err)
		}
	}
}

package layshafttest

import (
	"strings"
	"testing"
	"testing/synctest"

	"github.com/layshaft/layshaft/mapreduce"
	"github.com/layshaft/layshaft/mapreduce/memio"
	"github.com/layshaft/layshaft/mapreduce/textio"
)

var (
	nothing = mapreduce.Define("nothing", func(p *mapreduce.Plan, _ mapreduce.None) mapreduce.Dataset[mapreduce.None] {
		return mapreduce.Nothing(p)
	})
	unusedInput = mapreduce.Define("unused-input", func(p *mapreduce.Plan, _ mapreduce.None) mapreduce.Dataset[mapreduce.None] {
		mapreduce.Read(p, memio.Of(1))
		return mapreduce.Nothing(p)
	})
	someLines = mapreduce.Define("some-lines", func(p *mapreduce.Plan, _ mapreduce.None) mapreduce.Dataset[string] {
		return mapreduce.Read(p, memio.Of("a", "b"))
	})
)

// TestNothing runs plans without stages and sinks that are nil, inside the process and on a
// cluster.
func TestNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := Start(t, 1)
		for _, target := range []mapreduce.Target{mapreduce.Local{Slots: 1}, c.Target()} {
			for _, d := range []*mapreduce.Definition[mapreduce.None, mapreduce.None]{nothing, unusedInput} {
				if rows, err := d.Collect(t.Context(), target, mapreduce.None{}); err != nil || len(rows) != 0 {
					t.Errorf("%T: %v, %v", target, rows, err)
				}
				j, err := d.Start(t.Context(), target, mapreduce.None{})
				if err != nil {
					t.Fatalf("%T: %v", target, err)
				}
				if err := j.Wait(); err != nil {
					t.Errorf("%T: %v", target, err)
				}
				if err := j.Close(); err != nil {
					t.Errorf("%T: %v", target, err)
				}
				if err := d.WriteTo(t.Context(), target, mapreduce.None{}, nil); err == nil {
					t.Errorf("%T: a nil sink is accepted", target)
				}
			}
			if err := someLines.WriteTo(t.Context(), target, mapreduce.None{}, nil); err == nil || !strings.Contains(err.Error(), "the sink is nil") {
				t.Errorf("%T: %v", target, err)
			}
			if err := someLines.WriteTo(t.Context(), target, mapreduce.None{}, (*textio.Sink[string])(nil)); err == nil || !strings.Contains(err.Error(), "the sink is nil") {
				t.Errorf("%T: %v", target, err)
			}
		}
		err := someLines.WriteTo(t.Context(), c.Target(), mapreduce.None{}, textio.Write("dataset://out/lines"))
		if want := "which cannot write dataset://out/lines: the files of a dataset are on workers; write to the sink in the function given to Define"; err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %s", err, want)
		}
	})
}

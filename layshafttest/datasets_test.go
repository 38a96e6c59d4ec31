package layshafttest

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/layshaft/layshaft/mapreduce"
	"github.com/layshaft/layshaft/mapreduce/textio"
)

// slowLines counts lines, and takes its time.
var slowLines = mapreduce.Define("slow-lines", func(p *mapreduce.Plan, in string) mapreduce.Dataset[mapreduce.KV[string, int64]] {
	first := mapreduce.Map(mapreduce.Read(p, textio.Lines(in)), func(line string) string {
		time.Sleep(50 * time.Millisecond)
		return line[:1]
	})
	return mapreduce.AggregateBy(first, func(s string) string { return s }, mapreduce.Sum(func(string) int64 { return 1 }))
})

// A holder that is killed and comes back under another name and address is found by who it is: nobody waits for the one that is gone, and attempts go to
// it as before.
func TestHolderComesBackElsewhere(t *testing.T) {
	dir := t.TempDir()
	const lines = 128
	if err := os.WriteFile(filepath.Join(dir, "f.txt"), []byte(strings.Repeat(strings.Repeat("x", 64<<10)+"\n", lines)), 0o644); err != nil {
		t.Fatal(err)
	}
	synctest.Test(t, func(t *testing.T) {
		c := Start(t, 3, Slots(1), Dataset("one", func(worker int) string {
			if worker == 1 {
				return dir
			}
			return ""
		}))
		j, err := slowLines.Start(t.Context(), c.Target(), "dataset://one/*.txt")
		if err != nil {
			t.Fatal(err)
		}
		defer j.Close()
		c.WaitFor("an attempt far from the file", func() bool {
			for _, a := range c.Running() {
				if a.Worker != 1 {
					return true
				}
			}
			return false
		})
		c.Worker(1).Kill()
		time.Sleep(time.Second)
		c.Worker(1).Restart()
		back := time.Now()
		if err := j.Wait(); err != nil {
			t.Fatal(err)
		}
		near := 0
		for _, a := range c.stage(0) {
			if took := a.Ended.Sub(a.Begun); took > 5*time.Second { // of about one
				t.Errorf("attempt %d of %s on worker %d took %v (%v)", a.Number, a.Task, a.Worker, took, a.Err)
			}
			if a.Worker == 1 && a.Begun.After(back) && a.Err == nil {
				near++
			}
		}
		s, _ := c.Job(j.ID())
		if l := s.Stages[0].Sum.Locality; near == 0 || l.Local < near {
			t.Errorf("%d attempts ran where the file is since it is there again; %+v", near, l)
		}
	})
}

package layshafttest

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/layshaft/layshaft/internal/filesys"
	"github.com/layshaft/layshaft/mapreduce"
	"github.com/layshaft/layshaft/mapreduce/agg"
	"github.com/layshaft/layshaft/mapreduce/textio"
)

// slowLines counts lines, and takes its time.
var slowLines = mapreduce.Define("slow-lines", func(p *mapreduce.Plan, in string) mapreduce.Dataset[mapreduce.KV[string, int64]] {
	first := mapreduce.Map(mapreduce.Read(p, textio.Lines(in)), func(line string) string {
		time.Sleep(50 * time.Millisecond)
		return line[:1]
	})
	return mapreduce.AggregateBy(first, func(s string) string { return s }, agg.Sum(func(string) int64 { return 1 }))
})

// A holder that is killed and comes back under another name and address is found by who it is:
// nobody waits for the one that is gone, and attempts go to it as before.
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

// A job over a dataset of which a holder is away does not run over what is left: it waits a little,
// and then says who is away, until that worker is back or has left. A coordinator that was started
// again knows that too.
func TestInputIsNeverCutShort(t *testing.T) {
	dir := t.TempDir()
	for i := range 3 {
		if err := os.MkdirAll(filepath.Join(dir, strconv.Itoa(i)), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, strconv.Itoa(i), fmt.Sprintf("f%d.txt", i)), []byte("x\n"), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	synctest.Test(t, func(t *testing.T) {
		c := Start(t, 3, Dataset("cat", func(worker int) string { return filepath.Join(dir, strconv.Itoa(worker)) }))
		const all, one = "dataset://cat/f*.txt", "dataset://cat/f1.txt"
		count := func(in string) (n int64, err error) {
			for row, rerr := range slowLines.Run(t.Context(), c.Target(), in) {
				n, err = row.Value, rerr
			}
			return n, err
		}
		refused := func(when, in string) {
			t.Helper()
			begun := time.Now()
			n, err := count(in)
			if id := c.Worker(1).node.ID(); !errors.Is(err, filesys.ErrAway) || !strings.Contains(err.Error(), "worker "+id+", which offers dataset cat, is away") ||
				!strings.Contains(err.Error(), "layshaft worker drain "+id) || strings.Contains(err.Error(), "check the path") {
				t.Errorf("%s: %s: %d lines, %v", when, in, n, err)
			}
			if took := time.Since(begun); took > 15*time.Second {
				t.Errorf("%s: it took %v to say so", when, took)
			}
		}
		holds := func(when string, want int64) {
			t.Helper()
			if n, err := count(all); n != want || err != nil {
				t.Errorf("%s: %d lines, want %d; %v", when, n, want, err)
			}
		}
		c.Worker(1).Kill()
		refused("killed, before anything was listed", all)
		refused("killed", one)
		go func() {
			time.Sleep(2 * time.Second)
			c.Worker(1).Restart()
		}()
		holds("back while it is waited for", 3)
		c.Worker(1).Kill()
		refused("killed again", all)
		c.Coordinator().Kill()
		c.Coordinator().Restart()
		refused("coordinator restarted", all)
		c.Worker(1).Restart()
		holds("back", 3)
		c.Worker(1).Drain()
		refused("stopped by SIGTERM", all)
		c.Worker(1).Restart()
		holds("back after SIGTERM", 3)
		present := len(c.Coordinator().Workers())
		if err := c.Coordinator().running().DrainWorker(t.Context(), c.Worker(1).Name()); err != nil {
			t.Fatal(err)
		}
		c.WaitFor("the worker to leave", func() bool { return len(c.Coordinator().Workers()) == present-1 })
		holds("drained by an operator", 2)
	})
}

// Copies that differ are refused, since whoever reads them first would decide the result.
func TestCopiesThatDiffer(t *testing.T) {
	dir := t.TempDir()
	for i, text := range []string{"x\n", "y\n"} {
		if err := os.MkdirAll(filepath.Join(dir, strconv.Itoa(i)), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, strconv.Itoa(i), "f.txt"), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	synctest.Test(t, func(t *testing.T) {
		c := Start(t, 2, Dataset("cat", func(worker int) string { return filepath.Join(dir, strconv.Itoa(worker)) }))
		_, err := slowLines.Start(t.Context(), c.Target(), "dataset://cat/*.txt")
		for _, want := range []string{"dataset://cat/f.txt: its copies", c.Worker(0).node.ID(), c.Worker(1).node.ID(), "make the copies equal"} {
			if err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("%v does not say %q", err, want)
			}
		}
	})
}

// A dataset that nobody offers is an error soon, which names the nearest ones: for sources, and for
// sinks.
func TestMisspeltDataset(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		c := Start(t, 1, Dataset("orders", func(int) string { return dir }), Dataset("catalog", func(int) string { return dir }))
		for _, path := range []string{"dataset://catlog/*.txt", "dataset://catlog/a/b.txt"} {
			start := time.Now()
			_, err := slowLines.Start(t.Context(), c.Target(), path)
			if want := "no worker offers catlog; name one of catalog, orders, or start a worker with -dataset catlog=DIR"; err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("%s: %v, want %s", path, err, want)
			}
			if took := time.Since(start); took > 3*time.Second {
				t.Errorf("%s: the error came after %v", path, took)
			}
		}
	})
}

// Failures name files of the client as it does.
func TestFailureNamesTheUsersFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "f.txt.gz")
	if err := os.WriteFile(path, []byte("\x1f\x8b not gzip"), 0o644); err != nil {
		t.Fatal(err)
	}
	synctest.Test(t, func(t *testing.T) {
		c := Start(t, 1)
		for _, err := range slowLines.Run(t.Context(), c.Target(), path) {
			if err == nil || !strings.Contains(err.Error(), " "+path+": ") || strings.Contains(err.Error(), "client://") {
				t.Errorf("%v", err)
			}
		}
	})
}

// A file that changes under a job fails it after one attempt: further ones would find the same.
func TestChangeUnderAJobFailsAtOnce(t *testing.T) {
	for name, change := range map[string]func(path string) error{
		"rewritten": func(path string) error { return os.WriteFile(path, []byte("of another size\n"), 0o644) },
		"removed":   os.Remove,
	} {
		for _, place := range []string{"dataset", "client"} {
			if name == "removed" && place == "dataset" {
				continue // another worker may come with it
			}
			t.Run(name+"/"+place, func(t *testing.T) {
				dir := t.TempDir()
				for _, f := range []string{"a.txt", "b.txt"} {
					if err := os.WriteFile(filepath.Join(dir, f), []byte(strings.Repeat("x\n", 20)), 0o644); err != nil {
						t.Fatal(err)
					}
				}
				synctest.Test(t, func(t *testing.T) {
					c := Start(t, 1, Slots(1), Dataset("cat", func(int) string { return dir }))
					in := filepath.Join(dir, "*.txt")
					if place == "dataset" {
						in = "dataset://cat/*.txt"
					}
					j, err := slowLines.Start(t.Context(), c.Target(), in)
					if err != nil {
						t.Fatal(err)
					}
					defer j.Close()
					c.WaitFor("the first attempt", func() bool { return len(c.Running()) > 0 })
					if err := change(filepath.Join(dir, "b.txt")); err != nil {
						t.Fatal(err)
					}
					err = j.Wait()
					for _, want := range []string{"b.txt", "changed while the job ran"} {
						if err == nil || !strings.Contains(err.Error(), want) {
							t.Errorf("%v does not contain %q", err, want)
						}
					}
					failed := 0
					for _, a := range c.Attempts("") {
						if a.Err != nil && strings.Contains(a.Err.Error(), "b.txt") {
							failed++
						}
					}
					if failed != 1 {
						t.Errorf("%d attempts failed, want 1", failed)
					}
				})
			})
		}
	}
}

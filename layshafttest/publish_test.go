package layshafttest

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// A part that was moved into place, and whose worker was lost before the end of the job, is made
// again elsewhere. It is in the output once when that worker is back.
func TestLostAfterPartWasMoved(t *testing.T) {
	dir := t.TempDir()
	for i := range 3 {
		if err := os.Mkdir(filepath.Join(dir, fmt.Sprint(i)), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	found := func(pattern string) []string {
		t.Helper()
		names, err := filepath.Glob(filepath.Join(dir, pattern))
		if err != nil {
			t.Fatal(err)
		}
		return names
	}
	synctest.Test(t, func(t *testing.T) {
		var commits atomic.Int64 // of the stage with the sink
		h := &history{t: t}
		h.seen = func(e event) {
			if a := e.GetCommitted(); a != nil && a.GetAttempt().GetTask().GetStage() == 1 {
				commits.Add(1)
			}
		}
		c := Start(t, 3, h.option(), Dataset("out", func(i int) string { return filepath.Join(dir, fmt.Sprint(i)) + ":rw" }))
		c.net.Delay(func(string, string) time.Duration { return 50 * time.Millisecond })
		ended := make(chan struct{})
		go func() {
			defer close(ended)
			numbers{N: 60, Splits: 6, Groups: 6}.detach(t, c)
		}()
		// The first manifest appears before the parts are moved.
		c.WaitFor("a manifest", func() bool { return len(found("*/sums/manifest.json")) > 0 })
		silent, lost := -1, -1
		for i := range 3 {
			publishes := len(c.Running()) > 0 && c.Running()[0].Worker == i
			switch hasPart := len(found(fmt.Sprintf("%d/sums/.layshaft-*/part-*", i))) > 0; {
			case hasPart && silent < 0 && !publishes:
				silent = i
			case hasPart:
				lost = i
			}
		}
		if silent < 0 || lost < 0 {
			t.Fatalf("the parts are not on two workers: %q", found("*/sums/.layshaft-*/part-*"))
		}
		c.Worker(silent).Silence() // the publish attempt waits for it
		c.WaitFor("a part in place", func() bool { return len(found(fmt.Sprintf("%d/sums/part-*", lost))) > 0 })
		was := commits.Load()
		c.Worker(lost).Kill()
		c.WaitFor("parts to be made again", func() bool { return commits.Load() > was })
		c.Worker(lost).Restart()
		<-ended
		c.Worker(silent).Resume()
		type manifest struct {
			Complete bool
			Parts    []struct{ Name string }
		}
		var final manifest
		for _, path := range found("*/sums/manifest.json") {
			var m manifest
			if b, err := os.ReadFile(path); err != nil || json.Unmarshal(b, &m) != nil {
				t.Fatalf("%s: %v: %s", path, err, b)
			}
			if m.Complete { // the worker that was lost may have an older one
				final = m
			}
		}
		if len(final.Parts) != 4 {
			t.Errorf("the manifest lists %+v", final.Parts)
		}
		places := strings.Join(found("*/sums/part-*"), "\n")
		for _, p := range final.Parts {
			if n := strings.Count(places, "/"+p.Name); n != 1 {
				t.Errorf("%s is there %d times:\n%s", p.Name, n, places)
			}
		}
	})
}

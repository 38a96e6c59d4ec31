package mapreduce_test

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/layshaft/layshaft/internal/state"
	"github.com/layshaft/layshaft/mapreduce"
	"github.com/layshaft/layshaft/mapreduce/connector"
	"github.com/layshaft/layshaft/mapreduce/textio"
)

// TestTwoRunsToOnePlace starts a job a second time, with other flags, while the first run writes.
// The second run must fail at once: both have the same ID, so their files could be mixed up.
func TestTwoRunsToOnePlace(t *testing.T) {
	if !state.Locks {
		t.Skip("this system has no locks by which runs could keep away from each other")
	}
	for name, sink := range map[string]func(dir string) connector.Sink[string]{
		"directory": func(dir string) connector.Sink[string] { return textio.Write(filepath.Join(dir, "out")) },
		"file":      func(dir string) connector.Sink[string] { return textio.WriteFile(filepath.Join(dir, "out")) },
	} {
		t.Run(name, func(t *testing.T) {
			reached, goOn := make(chan struct{}), make(chan struct{})
			var begun atomic.Bool
			d := mapreduce.Define("two-runs", func(p *mapreduce.Plan, dir string) mapreduce.Dataset[mapreduce.None] {
				mapreduce.TryMap(mapreduce.Read(p, upTo(100).Cut(4)), func(ctx context.Context, i int64) (string, error) {
					if !begun.Swap(true) {
						close(reached)
						<-goOn
					}
					return strings.Repeat("x", int(i)), nil
				}).WriteTo(sink(dir))
				return mapreduce.Nothing(p)
			})
			dir := t.TempDir()
			first, err := d.Start(t.Context(), mapreduce.Local{Slots: 1}, dir)
			if err != nil {
				t.Fatal(err)
			}
			defer first.Close()
			<-reached
			// A link to the place is the place.
			link := filepath.Join(t.TempDir(), "link")
			if err := os.Symlink(dir, link); err != nil {
				t.Skip(err)
			}
			for _, at := range []string{dir, link} {
				if _, err := d.Collect(t.Context(), mapreduce.Local{Slots: 3}, at); err == nil || !strings.Contains(err.Error(), "another run writes to "+at) {
					t.Errorf("a second run at the same time: %v", err)
				}
			}
			if _, err := d.Collect(t.Context(), mapreduce.Local{Slots: 3, Reporting: mapreduce.Reporting{Explain: true, Out: &bytes.Buffer{}}}, dir); err != nil {
				t.Errorf("to explain needs no place: %v", err)
			}
			close(goOn)
			if err := first.Wait(); err != nil {
				t.Fatal(err)
			}
			if _, err := d.Collect(t.Context(), mapreduce.Local{Slots: 3}, dir); err != nil {
				t.Errorf("a second run afterwards: %v", err)
			}
			size := 0
			names, err := filepath.Glob(filepath.Join(dir, "out*"))
			if more, merr := filepath.Glob(filepath.Join(dir, "out", "part-*")); merr == nil && more != nil {
				names = more
			}
			for _, name := range names {
				b, rerr := os.ReadFile(name)
				if rerr != nil {
					t.Error(rerr)
				}
				size += len(b)
			}
			if err != nil || size != 100*99/2+100 {
				t.Errorf("%d bytes, %v", size, err)
			}
			if left, err := filepath.Glob(filepath.Join(dir, ".*")); err != nil || len(left) > 0 {
				t.Errorf("%v is left, %v", left, err)
			}
		})
	}
}

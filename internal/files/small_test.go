package files

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"github.com/layshaft/layshaft/internal/filesys"
	"github.com/layshaft/layshaft/internal/filesys/remote"
	layshaftv1 "github.com/layshaft/layshaft/proto/layshaft/v1"
)

// Thousands of small files of workers are planned and read with few calls, and listed once for a
// plan. A change between plan and read is noticed, also of a file that is read with others.
func TestManySmallFiles(t *testing.T) {
	const n = 600
	d := newDatasets(t, 2)
	put := func(worker string, i int, text string) {
		path := filepath.Join(d.dirs[worker], fmt.Sprintf("f%04d", i))
		if err := os.WriteFile(path, []byte(text), 0o666); err != nil {
			t.Fatal(err)
		}
		if err := os.Chtimes(path, time.Unix(1000, 0), time.Unix(1000, 0)); err != nil {
			t.Fatal(err)
		}
	}
	for i := range n {
		put("w1", i, fmt.Sprintf("line %d\n", i))
		put("w2", i, fmt.Sprintf("line %d\n", i))
	}
	var calls atomic.Int64
	counted := func(c remote.Caller) remote.Caller {
		return call(func(ctx context.Context, req *layshaftv1.CallRequest) (*layshaftv1.CallResponse, error) {
			calls.Add(1)
			return far(c).Call(ctx, req)
		})
	}
	limit := func(what string, most int64) {
		t.Helper()
		if got := calls.Swap(0); got > most {
			t.Errorf("%s took %d calls, want at most %d", what, got, most)
		}
	}
	ctx := filesys.WithInput(as(counted(d.router(""))), &filesys.Input{})
	pattern := []string{"dataset://d/*"}
	named, err := Expand(filesys.IgnoreHolders(ctx), pattern)
	if err != nil || len(named) != n || named[0].Hosts != nil {
		t.Fatalf("%d files, %v", len(named), err)
	}
	limit("planning", 20)
	fs, err := Expand(ctx, pattern)
	if err != nil || len(fs) != n || len(fs[0].Hosts) != 2 {
		t.Fatalf("%d files, %v", len(fs), err)
	}
	limit("the second list of a plan", 0)
	splits, err := Splits(ctx, fs, 0)
	if err != nil || len(splits) != 1 {
		t.Fatalf("%d splits, %v", len(splits), err)
	}
	for worker, router := range map[string]*remote.Router{"w1": d.routers["w1"], "w9": d.router("w9")} {
		read := 0
		err = Chunks(as(counted(router)), splits[0], '\n', func(c Chunk) error {
			if want := fmt.Sprintf("line %d\n", read); string(c.Data) != want {
				t.Fatalf("%s has %q, want %q", c.Path, c.Data, want)
			}
			read++
			return nil
		})
		if err != nil || read != n {
			t.Fatalf("read %d files: %v", read, err)
		}
		limit("reading on "+worker, 10)
	}
	for _, worker := range []string{"w1", "w2"} {
		put(worker, 300, "LINE 300, longer\n")
	}
	err = Chunks(as(d.router("w9")), splits[0], '\n', func(Chunk) error { return nil })
	if !errors.Is(err, filesys.ErrChanged) {
		t.Errorf("a changed file: %v", err)
	}
	d.gone["w1"] = true // the first host
	if err := os.Remove(filepath.Join(d.dirs["w2"], "f0001")); err != nil {
		t.Fatal(err)
	}
	err = Chunks(as(d.router("w9")), splits[0], '\n', func(Chunk) error { return nil })
	if err == nil {
		t.Error("a missing file was read")
	}
}

package files

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/layshaft/layshaft/internal/filesys"
)

// A worker that was away when the copies were compared, or has joined since, may have another
// content of the same size. It is never read: not on that worker itself, and not when the compared
// copies are gone. A copy that turns out to be equal is.
func TestCopiesThatWereNotCompared(t *testing.T) {
	const files = 3
	for name, size := range map[string]int{"small": 100, "large": 300 << 10} {
		t.Run(name, func(t *testing.T) {
			d := newDatasets(t, 3)
			put := func(worker, letter string) {
				t.Helper()
				for i := range files {
					path := filepath.Join(d.dirs[worker], fmt.Sprintf("f%d", i))
					if err := os.WriteFile(path, []byte(strings.Repeat(letter, size)+"\n"), 0o666); err != nil {
						t.Fatal(err)
					}
					if err := os.Chtimes(path, time.Unix(1000, 0), time.Unix(1000, 0)); err != nil {
						t.Fatal(err)
					}
				}
			}
			put("w1", "x")
			put("w2", "x")
			put("w3", "y")
			d.gone["w3"] = true
			ctx := as(far(d.router("")))
			fs, err := Expand(ctx, []string{"dataset://d/*"})
			if err != nil || len(fs) != files || len(fs[0].Hosts) != 2 {
				t.Fatalf("%+v, %v", fs, err)
			}
			splits, err := Splits(ctx, fs, 1<<40)
			if err != nil || len(splits) != 1 {
				t.Fatalf("%d splits, %v", len(splits), err)
			}
			read := func(worker string) error {
				n := 0
				err := Chunks(as(far(d.routers[worker])), splits[0], '\n', func(c Chunk) error {
					n += strings.Count(string(c.Data), "x")
					return nil
				})
				if err == nil && n != files*size {
					return fmt.Errorf("read %d letters x of %d", n, files*size)
				}
				return err
			}
			d.gone["w3"] = false
			for _, worker := range []string{"w1", "w3"} {
				if err := read(worker); err != nil {
					t.Errorf("on %s: %v", worker, err)
				}
			}
			d.gone["w1"], d.gone["w2"] = true, true
			if err := read("w3"); !errors.Is(err, filesys.ErrGone) || !strings.Contains(err.Error(), "the copy on worker w3 is not known to be equal") {
				t.Errorf("without the compared copies: %v", err)
			}
			put("w3", "x")
			if err := read("w3"); err != nil {
				t.Errorf("an equal copy: %v", err)
			}
		})
	}
}

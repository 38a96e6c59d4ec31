package files

import (
	"context"
	"fmt"
	"path/filepath"
	"testing"

	"github.com/layshaft/layshaft/internal/filesys"
)

// A process stands still while it publishes, and its work is given to another one. When it goes on,
// it changes nothing: neither the output of its job, nor the output of a later job.
func TestFinishOvertaken(t *testing.T) {
	defer func() { step = func(string) {} }()
	for _, kind := range []string{"dir", "one"} {
		place := func(dir string) Output {
			if kind == "one" {
				return &One{Path: filepath.Join(dir, "out.txt"), NoSync: true}
			}
			return &Dir{Path: dir, Ext: "txt", NoSync: true}
		}
		for _, later := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, later job %t", kind, later), func(t *testing.T) {
				step = func(string) {}
				ctx, before := context.Background(), t.TempDir()
				if err := place(before).Finish(ctx, "j1", run(t, place(before), "j1", "old0", "old1", "old2")); err != nil {
					t.Fatal(err)
				}
				parts := run(t, place(before), "j2", "new0", "new1")
				for at := 1; ; at++ {
					dir := snapshot(t, before)
					stands, goOn, ended := make(chan string), make(chan struct{}), make(chan error, 1)
					n := 0
					step = func(name string) {
						if n++; n == at { // only the first process gets here
							stands <- name
							<-goOn
						}
					}
					go func() { ended <- place(dir).Finish(ctx, "j2", parts) }()
					where := ""
					select {
					case where = <-stands:
					case err := <-ended:
						if err != nil {
							t.Error(err)
						}
					}
					if where == "" {
						if at < 4 {
							t.Errorf("Finish has only %d steps", at-1)
						}
						break
					}
					if err := place(dir).Finish(ctx, "j2", parts); err != nil {
						t.Errorf("overtaken at %s: %v", where, err)
					}
					if later {
						// Its parts have the sizes of the other ones, and one is new.
						if err := place(dir).Finish(ctx, "j3", run(t, place(dir), "j3", "abc0", "abc1", "abc2")); err != nil {
							t.Errorf("overtaken at %s: %v", where, err)
						}
					}
					published := func() string {
						text := ls(t, dir)
						if d, ok := place(dir).(*Dir); ok {
							fsys, ferr := filesys.Of(ctx, dir)
							if ferr != nil {
								t.Fatal(ferr)
							}
							m, err := readManifest(ctx, dir)
							text += fmt.Sprintf(" %+v %v %t", m, err, d.partsInPlace(ctx, fsys, m.Parts))
						}
						return text
					}
					want := published()
					close(goOn)
					err := <-ended
					if aerr := place(dir).Abandon(ctx, "j2"); aerr != nil { // the end of the late attempt
						t.Error(aerr)
					}
					if got := published(); got != want {
						t.Errorf("overtaken at %s, which ended with %v:\n got %s\nwant %s", where, err, got, want)
					}
				}
			})
		}
	}
}

package files

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/zeebo/xxh3"

	"github.com/layshaft/layshaft/internal/filesys"
)

// write writes one attempt and returns its part.
func write(t *testing.T, out Output, task Task, text string) []byte {
	t.Helper()
	sink := Sink{out: out}
	if d, ok := out.(*Dir); ok && len(d.folders) > 0 {
		sink.layout = layout{folders: d.folders, by: []any{func(s string) string { return s[:min(len(s), 1)] }}}
	}
	a, err := OpenSink(context.Background(), sink, task, nil, func(dst []byte, s *string) ([]byte, error) { return append(dst, *s...), nil })
	if err != nil {
		t.Fatal(err)
	}
	for _, l := range strings.SplitAfter(text, "\n") {
		if err := a.Write(&l); err != nil {
			t.Fatal(err)
		}
	}
	part, err := a.Close()
	if err != nil {
		t.Fatal(err)
	}
	return part
}

// run writes tasks, each with a losing attempt beside the one that counts.
func run(t *testing.T, out Output, job string, texts ...string) [][]byte {
	t.Helper()
	var parts [][]byte
	for i, text := range texts {
		write(t, out, Task{Job: job, Index: i, Of: len(texts), Attempt: 1}, "lost")
		parts = append(parts, write(t, out, Task{Job: job, Index: i, Of: len(texts), Attempt: 2}, text))
	}
	return parts
}

// ls returns the names below dir and the content of all but manifests.
func ls(t *testing.T, dir string) string {
	t.Helper()
	var out []string
	err := filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		if err != nil || path == dir {
			return err
		}
		rel, _ := filepath.Rel(dir, path)
		if !d.IsDir() && d.Name() != manifestName {
			data, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			rel += "=" + string(data)
		}
		out = append(out, rel)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return strings.Join(out, " ")
}

func TestDir(t *testing.T) {
	ctx := context.Background()
	d := &Dir{Path: filepath.Join(t.TempDir(), "a/out"), Ext: "txt"}
	if err := d.Check(ctx); err != nil {
		t.Fatal(err)
	}
	parts := run(t, d, "j1", "zero", "one", "two")
	if err := d.Finish(ctx, "j1", parts); err != nil {
		t.Fatal(err)
	}
	if got, want := ls(t, d.Path), "manifest.json part-00000.txt=zero part-00001.txt=one part-00002.txt=two"; got != want {
		t.Errorf("got %s\nwant %s", got, want)
	}
	var m manifest
	data, err := os.ReadFile(filepath.Join(d.Path, manifestName))
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(data, &m); err != nil {
		t.Fatal(err)
	}
	want := Part{Name: "part-00001.txt", Bytes: 3, Records: 1, XXH3: fmt.Sprintf("%016x", xxh3.HashString("one"))}
	if m.Layshaft != 1 || m.Job != "j1" || !m.Complete || len(m.Parts) != 3 || m.Parts[1] != want {
		t.Errorf("manifest %+v", m)
	}

	// A later job with fewer parts replaces it, and leaves what is not its own alone.
	if err := os.WriteFile(filepath.Join(d.Path, "notes"), []byte("mine"), 0o666); err != nil {
		t.Fatal(err)
	}
	if err := d.Check(ctx); err != nil {
		t.Fatal(err)
	}
	if err := d.Finish(ctx, "j2", run(t, d, "j2", "new")); err != nil {
		t.Fatal(err)
	}
	if got, want := ls(t, d.Path), "manifest.json notes=mine part-00000.txt=new"; got != want {
		t.Errorf("got %s\nwant %s", got, want)
	}

	// A job that fails leaves nothing.
	run(t, d, "j3", "x", "y")
	if err := d.Abandon(ctx, "j3"); err != nil {
		t.Fatal(err)
	}
	if got, want := ls(t, d.Path), "manifest.json notes=mine part-00000.txt=new"; got != want {
		t.Errorf("got %s\nwant %s", got, want)
	}
}

// syncs records the directories whose names are made durable.
type syncs struct {
	filesys.OS
	dirs *[]string
}

func (s syncs) Sync(ctx context.Context, dir string) error {
	*s.dirs = append(*s.dirs, dir)
	return s.OS.Sync(ctx, dir)
}

// The names of new directories are durable, up to the first parent that was there.
func TestNewDirectoriesAreSynced(t *testing.T) {
	for _, out := range []func(dir string) Output{
		func(dir string) Output { return &Dir{Path: dir, Ext: "txt"} },
		func(dir string) Output { return &One{Path: dir + "/out.txt"} },
	} {
		var synced []string
		top := t.TempDir()
		ctx := filesys.WithSet(context.Background(), filesys.Set{"": syncs{dirs: &synced}})
		if err := out(top + "/a/b/c").Check(ctx); err != nil {
			t.Fatal(err)
		}
		if want := []string{top + "/a/b", top + "/a", top}; !slices.Equal(synced, want) {
			t.Errorf("synced are %q, want %q", synced, want)
		}
	}
}

func TestCheckRefuses(t *testing.T) {
	tree(t, map[string]string{"full/data.txt": "x", "theirs/manifest.json": "{}", "torn/manifest.json": manifestHead, "file": "x", "fresh/.layshaft-j/part-0": "x"})
	for path, want := range map[string]string{
		"full": "contains data.txt, which is not the output of an earlier job; choose another directory, or remove it", "theirs": "was not written by Layshaft",
		"torn": "choose another directory", "file": "choose another place", "file/below": "choose another place", "fresh": "",
	} {
		err := (&Dir{Path: path}).Check(context.Background())
		if want == "" && err != nil || want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
			t.Errorf("Dir %s: %v, want %q", path, err, want)
		}
	}
	for path, want := range map[string]string{"full": "is a directory", "file/below": "choose another place", "file": "", "new/dir/file": ""} {
		err := (&One{Path: path}).Check(context.Background())
		if want == "" && err != nil || want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
			t.Errorf("One %s: %v, want %q", path, err, want)
		}
	}
	if os.Getuid() != 0 {
		if err := os.Mkdir("sealed", 0o555); err != nil {
			t.Fatal(err)
		}
		if err := (&Dir{Path: "sealed"}).Check(context.Background()); err == nil || !strings.Contains(err.Error(), "cannot be written") {
			t.Error(err)
		}
	}
}

// snapshot copies a directory, as a process that was killed leaves it.
func snapshot(t *testing.T, dir string) string {
	t.Helper()
	to := t.TempDir()
	if err := os.CopyFS(to, os.DirFS(dir)); err != nil {
		t.Fatal(err)
	}
	return to
}

// Finish is killed before each of its changes in turn, and runs again: the result is the same, and
// nobody can mistake what lies between for a finished output.
func TestFinishKilled(t *testing.T) {
	for _, kind := range []string{"dir", "one", "joined", "folders", "joined in folders"} {
		t.Run(kind, func(t *testing.T) {
			place := func(dir string) Output {
				switch kind {
				case "one":
					return &One{Path: filepath.Join(dir, "out.txt"), NoSync: true}
				case "joined":
					return &Dir{Path: dir, Ext: "txt", NoSync: true, size: 1000}
				case "folders":
					return &Dir{Path: dir, Ext: "txt", NoSync: true, folders: []string{"p"}}
				case "joined in folders":
					return &Dir{Path: dir, Ext: "txt", NoSync: true, folders: []string{"p"}, size: 1000}
				}
				return &Dir{Path: dir, Ext: "txt", NoSync: true}
			}
			ctx, before := context.Background(), t.TempDir()
			if err := place(before).Finish(ctx, "j1", run(t, place(before), "j1", "old0", "old1", "old2")); err != nil {
				t.Fatal(err)
			}
			parts := run(t, place(before), "j2", "new0", "new1")
			done := snapshot(t, before)
			if err := place(done).Finish(ctx, "j2", parts); err != nil {
				t.Fatal(err)
			}
			want := ls(t, done)

			defer func() { step = func(string) {} }()
			for kill := 1; ; kill++ {
				dir, n, where := snapshot(t, before), 0, ""
				step = func(name string) {
					if n++; n == kill {
						where = name
						panic("killed")
					}
				}
				func() {
					defer func() { recover() }()
					if err := place(dir).Finish(ctx, "j2", parts); err != nil {
						t.Error(err)
					}
				}()
				step = func(string) {}
				if where == "" {
					if kill < 4 {
						t.Errorf("Finish has only %d steps", kill-1)
					}
					break
				}
				if fs, err := Expand(context.Background(), []string{dir}); err == nil {
					seen := ""
					for _, f := range fs {
						data, err := os.ReadFile(f.Path)
						if err != nil {
							t.Fatal(err)
						}
						seen += string(data)
					}
					if seen != "old0old1old2" && seen != "new0new1" {
						t.Errorf("killed at %s: what can be read is %s", where, seen)
					}
				} else if !strings.Contains(err.Error(), "run that job again") {
					t.Error(err)
				}
				again := place(dir)
				if err := again.Check(ctx); err != nil {
					t.Errorf("killed at %s: Check: %v", where, err)
				}
				// Another job may come along instead of this one.
				other := snapshot(t, dir)
				if err := place(other).Finish(ctx, "j3", run(t, place(other), "j3", "third")); err != nil {
					t.Errorf("killed at %s, then another job: %v", where, err)
				}
				if err := place(other).Abandon(ctx, "j2"); err != nil {
					t.Error(err)
				}
				if got := ls(t, other); !strings.HasSuffix(got, "=third") {
					t.Errorf("killed at %s, then another job: %s", where, got)
				}
				for range 2 {
					if err := again.Finish(ctx, "j2", parts); err != nil {
						t.Errorf("killed at %s: %v", where, err)
					}
					if got := ls(t, dir); got != want {
						t.Errorf("killed at %s:\n got %s\nwant %s", where, got, want)
					}
				}
			}
		})
	}
}

// The same job may run again over its own output: without State it has the same name each time.
// What the new run wrote counts, and parts that were damaged or removed since are replaced; an
// output that is as it was stays. When there is nothing to replace them with, Finish says so and
// changes nothing.
func TestFinishAgainOverOwnOutput(t *testing.T) {
	ctx := context.Background()
	for name, c := range map[string]struct {
		change func(part string) error
		again  []string
		gone   string // what stays when the parts are not written again; empty when that is enough
	}{
		"as it was":     {func(string) error { return nil }, []string{"zero", "one"}, ""},
		"cut off":       {func(p string) error { return os.Truncate(p, 1) }, []string{"zero", "one"}, "manifest.json part-00000.txt=zero part-00001.txt=o"},
		"removed":       {os.Remove, []string{"zero", "one"}, "manifest.json part-00000.txt=zero"},
		"other records": {func(string) error { return nil }, []string{"zwei", "drei", "vier"}, "manifest.json part-00000.txt=zero part-00001.txt=one"},
	} {
		t.Run(name, func(t *testing.T) {
			d := &Dir{Path: t.TempDir(), Ext: "txt", NoSync: true}
			if err := d.Finish(ctx, "j", run(t, d, "j", "zero", "one")); err != nil {
				t.Fatal(err)
			}
			if err := c.change(filepath.Join(d.Path, "part-00001.txt")); err != nil {
				t.Fatal(err)
			}
			parts := run(t, d, "j", c.again...)
			if err := d.Abandon(ctx, "j"); err != nil {
				t.Fatal(err)
			}
			before, err := os.ReadFile(filepath.Join(d.Path, manifestName))
			if err != nil {
				t.Fatal(err)
			}
			err = d.Finish(ctx, "j", parts)
			if c.gone == "" != (err == nil) || err != nil && !strings.Contains(err.Error(), "is gone") {
				t.Errorf("without the parts: %v", err)
			}
			after, _ := os.ReadFile(filepath.Join(d.Path, manifestName))
			if got := ls(t, d.Path); c.gone != "" && got != c.gone || string(after) != string(before) {
				t.Errorf("without the parts: %s, want %s; manifest %s", got, c.gone, after)
			}
			parts = run(t, d, "j", c.again...)
			foreign := filepath.Join(d.tempDir("j"), "part-00000.attempt-2.txt")
			if err := os.WriteFile(foreign, nil, 0o666); err != nil {
				t.Fatal(err)
			}
			if err := d.Finish(ctx, "j", parts); (err == nil) != (c.gone == "") || err != nil && !strings.Contains(err.Error(), "has 0 bytes, its task wrote 4") {
				t.Errorf("with a part that another process emptied: %v", err)
			}
			if err := d.Finish(ctx, "j", run(t, d, "j", c.again...)); err != nil {
				t.Error(err)
			}
			want := "manifest.json"
			for i, text := range c.again {
				want += fmt.Sprintf(" part-%05d.txt=%s", i, text)
			}
			if got := ls(t, d.Path); got != want {
				t.Errorf("got %s, want %s", got, want)
			}
		})
	}
}

func TestFinishWithoutParts(t *testing.T) {
	ctx, dir := context.Background(), t.TempDir()
	one := &One{Path: filepath.Join(dir, "one.txt")}
	for _, out := range []Output{one, &Dir{Path: filepath.Join(dir, "dir"), Ext: "txt"}} {
		for range 2 {
			if err := out.Finish(ctx, "j", nil); err != nil {
				t.Error(err)
			}
		}
	}
	if got := ls(t, dir); got != "dir dir/manifest.json one.txt=" {
		t.Error(got)
	}
}

// Parts that are elsewhere, as with workers that do not share a disk, must not pass as empty
// output.
func TestFinishPartsElsewhere(t *testing.T) {
	ctx, here, there := context.Background(), t.TempDir(), t.TempDir()
	for _, c := range []struct{ worker, client Output }{
		{&Dir{Path: there}, &Dir{Path: here}},
		{&One{Path: there + "/f"}, &One{Path: here + "/f"}},
	} {
		parts := run(t, c.worker, "j", "x")
		if err := c.client.Finish(ctx, "j", parts); err == nil || !strings.Contains(err.Error(), "shared file system") {
			t.Errorf("%T: %v", c.client, err)
		}
	}
}

func TestAbort(t *testing.T) {
	ctx := context.Background()
	d := &Dir{Path: t.TempDir(), Ext: "txt"}
	w, err := d.Create(ctx, Task{Job: "j", Attempt: 1})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.WriteString(w, strings.Repeat("x", 3*bufferSize)); err != nil {
		t.Fatal(err)
	}
	w.Abort()
	if got := ls(t, d.Path); got != ".layshaft-j" {
		t.Error(got)
	}
}

// What is written compressed in several parts reads back whole, in order.
func TestCompressedRoundTrip(t *testing.T) {
	ctx := context.Background()
	for _, c := range []Codec{Plain, Gzip, Zstd} {
		dir := t.TempDir()
		texts := []string{strings.Repeat("zero\n", 100000), "", "two\n"}
		want := strings.Join(texts, "")
		for _, out := range []Output{(&Dir{Path: dir + "/dir", Ext: "txt"}).WithCodec(c), (&One{Path: dir + "/one" + c.Suffix()}).WithCodec(c)} {
			if err := out.Finish(ctx, "j", run(t, out, "j", texts...)); err != nil {
				t.Fatal(err)
			}
			fs, err := Expand(context.Background(), []string{out.String()})
			if err != nil {
				t.Fatal(err)
			}
			for _, f := range fs {
				if f.Codec != c || !strings.HasSuffix(f.Path, c.Suffix()) {
					t.Errorf("%s is %v, want %v", f.Path, f.Codec, c)
				}
			}
			splits, err := Splits(context.Background(), fs, 0)
			if err != nil {
				t.Fatal(err)
			}
			var got []byte
			for _, s := range splits {
				if err := Chunks(ctx, s, '\n', func(c Chunk) error { got = append(got, c.Data...); return nil }); err != nil {
					t.Fatal(err)
				}
			}
			if string(got) != want {
				t.Errorf("%v %T: %d bytes, want %d", c, out, len(got), len(want))
			}
		}
	}
}

func TestWriterSizes(t *testing.T) {
	d := &Dir{Path: t.TempDir()}
	w, err := d.Create(context.Background(), Task{Job: "j", Attempt: 1})
	if err != nil {
		t.Fatal(err)
	}
	var want []byte
	for i, n := range []int{1, bufferSize, 5, bufferSize - 1, 1, 3 * bufferSize, 0, 8 << 20} {
		p := slices.Repeat([]byte{byte(i)}, n)
		want = append(want, p...)
		if m, err := w.Write(p); err != nil || m != n {
			t.Fatal(m, err)
		}
	}
	part, err := w.Close()
	if err != nil {
		t.Fatal(err)
	}
	if err := d.Finish(context.Background(), "j", [][]byte{part}); err != nil {
		t.Fatal(err)
	}
	got, err := os.ReadFile(filepath.Join(d.Path, "part-00000"))
	if err != nil || string(got) != string(want) || !strings.Contains(string(part), fmt.Sprintf("%016x", xxh3.Hash(want))) {
		t.Errorf("%d bytes, want %d; %s %v", len(got), len(want), part, err)
	}
}

// A result is in place until its files are removed, cut, or replaced by another job.
func TestPublished(t *testing.T) {
	dir := t.TempDir()
	for _, out := range []Output{&Dir{Path: filepath.Join(dir, "many"), Ext: "txt"}, &One{Path: filepath.Join(dir, "one.txt")}} {
		file := filepath.Join(dir, "one.txt")
		if _, ok := out.(*Dir); ok {
			file = filepath.Join(dir, "many", "part-00000.txt")
		}
		var ended time.Time
		check := func(when string, want bool) {
			t.Helper()
			if got, err := out.Published(t.Context(), "a", ended); got != want || err != nil {
				t.Errorf("%s %s: %v, %v, want %v", out, when, got, err, want)
			}
		}
		publish := func(job string) time.Time {
			if err := errors.Join(out.Check(t.Context()), out.Finish(t.Context(), job, run(t, out, job, "x\n"))); err != nil {
				t.Fatal(err)
			}
			fi, err := os.Stat(file)
			if err != nil {
				t.Fatal(err)
			}
			return fi.ModTime()
		}
		check("before", false)
		ended = publish("a")
		check("after", true)
		if err := os.Remove(file); err != nil {
			t.Fatal(err)
		}
		check("without the file", false)
		ended = publish("a")
		check("again", true)
		publish("b")
		if err := os.Chtimes(file, ended.Add(time.Second), ended.Add(time.Second)); err != nil {
			t.Fatal(err)
		}
		check("after another job", false)
	}
}

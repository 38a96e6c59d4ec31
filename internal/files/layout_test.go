package files

import (
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// lineSink returns a sink of lines with a head.
func lineSink(dir string, c Codec) Sink {
	return NewSink("lines", &Dir{Path: dir, Ext: "txt", Compress: c, NoSync: true})
}

// writeLines writes the lines of one attempt.
func writeLines(t *testing.T, s Sink, task Task, lines []string) []byte {
	t.Helper()
	w, err := OpenSink(context.Background(), s, task, []byte("head\n"), func(dst []byte, v *string) ([]byte, error) { return append(append(dst, *v...), '\n'), nil })
	if err != nil {
		t.Fatal(err)
	}
	for _, l := range lines {
		if err := w.Write(&l); err != nil {
			t.Fatal(err)
		}
	}
	part, err := w.Close()
	if err != nil {
		t.Fatal(err)
	}
	return part
}

// contents returns the lines of each input file, by its name below dir.
func contents(t *testing.T, dir string) map[string][]string {
	t.Helper()
	ctx := context.Background()
	fs, err := Expand(ctx, []string{dir})
	if err != nil {
		t.Fatal(err)
	}
	out := map[string][]string{}
	for _, f := range fs {
		s, err := WholeFile(ctx, f)
		if err != nil {
			t.Fatal(err)
		}
		rel, _ := filepath.Rel(dir, f.Path)
		text := ""
		err = Exact(ctx, s, func(c Chunk, _ bool) (int, error) {
			text += string(c.Data)
			return len(c.Data), nil
		})
		out[rel] = strings.Split(strings.TrimSuffix(text, "\n"), "\n")
		if err != nil {
			t.Fatal(err)
		}
	}
	return out
}

// TestLayouts compares outputs of random layouts with a model: every record is in a file of its
// folder, in the order of the tasks; each file has one head; attempts that fail leave nothing; few
// files are small.
func TestLayouts(t *testing.T) {
	ctx := context.Background()
	seeds := uint64(40)
	if testing.Short() {
		seeds = 10
	}
	for seed := range seeds {
		t.Run(fmt.Sprint("seed=", seed), func(t *testing.T) {
			rng := rand.New(rand.NewPCG(seed, 0))
			dir, codec := t.TempDir(), []Codec{Plain, Gzip, Zstd}[rng.IntN(3)]
			s, size, levels, keys := lineSink(dir, codec), int64(0), rng.IntN(3), 1+rng.IntN(9)
			if rng.IntN(3) > 0 {
				size = 200 + rng.Int64N(2000)
				s = SizeSink(s, size)
			}
			of := func(l string, level int) string { return strings.Split(l, " ")[level] }
			for i := range levels {
				s = FolderSink(s, fmt.Sprint("level", i), func(l string) string { return of(l, i) })
			}
			if err := s.Check(ctx); err != nil {
				t.Fatal(err)
			}
			want := map[string][]string{} // by folder
			var parts [][]byte
			tasks := 1 + rng.IntN(8)
			for i := range tasks {
				var lines []string
				for range rng.IntN(2) * rng.IntN(100) {
					lines = append(lines, fmt.Sprintf("k=%d %s %d", rng.IntN(keys), []string{"a/b", "", "é"}[rng.IntN(3)], rng.IntN(1000)))
				}
				for _, l := range lines {
					folder := ""
					for k := range levels {
						v := EscapeFolder(of(l, k))
						if v == "" {
							v = Missing
						}
						folder += fmt.Sprintf("level%d=%s/", k, v)
					}
					want[folder] = append(want[folder], l)
				}
				task := Task{Job: "j", Index: i, Of: tasks, Attempt: 1}
				lost := writeLines(t, s, task, lines)
				task.Attempt = 2
				part := writeLines(t, s, task, lines)
				if a, b := strings.ReplaceAll(string(lost), "attempt-1", "attempt-2"), string(part); a != b {
					t.Errorf("two attempts differ:\n%s\n%s", a, b)
				}
				parts = append(parts, part)
			}
			for range 2 {
				if err := s.Finish(ctx, "j", parts); err != nil {
					t.Fatal(err)
				}
			}
			if there, err := s.Published(ctx, "j", time.Time{}); err != nil || !there {
				t.Errorf("Published: %v, %v", there, err)
			}
			got := map[string][]string{}
			all := contents(t, dir)
			var names []string
			for name := range all {
				names = append(names, name)
			}
			slices.Sort(names)
			small := map[string]int64{} // by folder: bytes of the small file before, if any
			for _, name := range names {
				lines, folder := all[name], strings.TrimSuffix(name, filepath.Base(name))
				if lines[0] != "head" || slices.Contains(lines[1:], "head") {
					t.Errorf("%s has heads in the wrong places: %q", name, lines)
				}
				if len(lines) == 1 && levels > 0 && len(want) > 0 {
					t.Errorf("%s is empty", name)
				}
				got[folder] = append(got[folder], lines[1:]...)
				fi, err := os.Stat(filepath.Join(dir, name))
				if err != nil {
					t.Fatal(err)
				}
				if was, ok := small[folder]; ok && was+fi.Size() <= size && fi.Size() < size/2 {
					t.Errorf("%s has %d bytes and the file before %d: they were not joined to %d", name, fi.Size(), was, size)
				}
				if delete(small, folder); fi.Size() < size/2 {
					small[folder] = fi.Size()
				}
			}
			for folder := range got {
				if levels > 0 { // files of several folders are not open all the time
					slices.Sort(got[folder])
					slices.Sort(want[folder])
				}
				if !slices.Equal(got[folder], want[folder]) {
					t.Errorf("folder %q: %d records, want %d", folder, len(got[folder]), len(want[folder]))
				}
			}
			for folder := range want {
				if _, ok := got[folder]; !ok {
					t.Errorf("folder %q is missing", folder)
				}
			}
			if len(want) == 0 && levels > 0 && len(all) != 1 {
				t.Errorf("an empty output has %d files", len(all))
			}
			left, err := filepath.Glob(filepath.Join(dir, tempPrefix+"*"))
			if err != nil || len(left) > 0 {
				t.Errorf("left: %q, %v", left, err)
			}
		})
	}
}

// TestLayoutsRefused checks the messages for layouts that make no sense.
func TestLayoutsRefused(t *testing.T) {
	dir, one := lineSink(t.TempDir(), Plain), NewSink("one", &One{Path: filepath.Join(t.TempDir(), "x")})
	year := func(string) string { return "2026" }
	for _, c := range []struct {
		s    Sink
		want string
	}{
		{SizeSink(dir, 0), "FileSize"},
		{SizeSink(one, 10), "a single file"},
		{FolderSink(one, "year", year), "a single file"},
		{FolderSink(dir, "", year), "is named"},
		{FolderSink(dir, ".year", year), "leave out"},
		{FolderSink(dir, "_year", year), "leave out"},
		{FolderSink(FolderSink(dir, "year", year), "_month", year), "leave out"},
		{FolderSink(FolderSink(dir, "year", year), "year", year), "two folders"},
		{FolderSink[string](dir, "year", nil), "is nil"},
	} {
		if err := c.s.Check(context.Background()); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", c.s, err, c.want)
		}
	}
}

// TestFoldersAreWhole reads an output with folders of which a file is missing, or to which one was
// added.
func TestFoldersAreWhole(t *testing.T) {
	ctx, dir := context.Background(), t.TempDir()
	s := FolderSink(lineSink(dir, Plain), "year", func(l string) string { return l })
	if err := s.Finish(ctx, "j", [][]byte{writeLines(t, s, Task{Job: "j", Of: 1, Attempt: 1}, []string{"2025", "2026"})}); err != nil {
		t.Fatal(err)
	}
	expand := func(pattern, want string) {
		t.Helper()
		_, err := Expand(ctx, []string{filepath.Join(dir, pattern)})
		if want == "" && err != nil || want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
			t.Errorf("%s: %v, want %q", pattern, err, want)
		}
	}
	expand("", "")
	expand("year=2026", "")
	extra := filepath.Join(dir, "year=2026", "part-9.txt")
	if err := os.WriteFile(extra, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	expand("", "is not in manifest.json")
	expand("year=2026", "is not in manifest.json")
	expand("year=2025", "")
	if err := os.Rename(filepath.Join(dir, "year=2025", "part-00000-00000.txt"), extra); err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(extra); err != nil {
		t.Fatal(err)
	}
	expand("**/*.txt", "is missing")
	expand("year=2026", "")
}

// TestFoldersOfOtherEncodings writes values that are not valid UTF-8. Each has a folder of its own.
func TestFoldersOfOtherEncodings(t *testing.T) {
	ctx, dir := context.Background(), t.TempDir()
	s := FolderSink(lineSink(dir, Plain), "k", func(l string) string { return l })
	if err := s.Finish(ctx, "j", [][]byte{writeLines(t, s, Task{Job: "j", Of: 1, Attempt: 1}, []string{"\xff", "\xfe", "caf\xe9 é\ufffd"})}); err != nil {
		t.Fatal(err)
	}
	got := contents(t, dir)
	for folder, line := range map[string]string{"k=%FF": "\xff", "k=%FE": "\xfe", "k=caf%E9 é\ufffd": "caf\xe9 é\ufffd"} {
		if lines := got[folder+"/part-00000-00000.txt"]; !slices.Equal(lines, []string{"head", line}) {
			t.Errorf("%s: %q; all files: %q", folder, lines, got)
		}
		if text, err := url.PathUnescape(strings.TrimPrefix(folder, "k=")); err != nil || text != line {
			t.Errorf("%s is read as %q, %v, want %q", folder, text, err, line)
		}
	}
}

// holder is an Encoder that holds all records until Flush.
type holder struct {
	w    *Writer
	held int64
	all  *int64 // held by all
	most *int64 // of all
}

func (h *holder) Write(v *string) error {
	h.w.Records++
	h.held += int64(len(*v))
	*h.all += int64(len(*v))
	*h.most = max(*h.most, *h.all)
	return nil
}

func (h *holder) Held() int64 { return h.held }

func (h *holder) Flush() error {
	*h.all, h.held = *h.all-h.held, 0
	return nil
}

func (h *holder) End() error { return h.Flush() }

// TestMemoryOfFolders writes large records to many folders. All encoders together hold at most the
// limit and one record.
func TestMemoryOfFolders(t *testing.T) {
	const limit = 100_000
	for _, size := range []int64{0, 1000, 64 << 20} {
		s := FolderSink(lineSink(t.TempDir(), Plain), "k", func(l string) string { return l[:1] })
		if size > 0 {
			s = SizeSink(s, size)
		}
		var all, most int64
		w, err := OpenEncoded(context.Background(), s, Task{Job: "j", Of: 1, Attempt: 1}, limit, func(w *Writer) (Encoder[string], error) {
			return &holder{w: w, all: &all, most: &most}, nil
		})
		if err != nil {
			t.Fatal(err)
		}
		rng := rand.New(rand.NewPCG(1, 0))
		for range 2000 {
			l := string(rune('a'+rng.IntN(20))) + strings.Repeat("x", rng.IntN(10_000))
			if err := w.Write(&l); err != nil {
				t.Fatal(err)
			}
		}
		if most > limit+10_000 {
			t.Errorf("FileSize %d: the encoders hold %d bytes, the limit is %d", size, most, limit)
		}
		if _, err := w.Close(); err != nil || all != 0 {
			t.Errorf("Close: %v; %d bytes are held", err, all)
		}
	}
}

// TestJoinsAtOnce checks that few joins that hold row groups run at once.
func TestJoinsAtOnce(t *testing.T) {
	join := func(io.Writer, []JoinFile) error { return nil }
	for _, c := range []struct {
		d    Dir
		want int
	}{
		{Dir{Path: "/data/out"}, 1},
		{Dir{Path: "/data/out", join: join}, 1},
		{Dir{Path: "s3://bucket/out"}, 16},
		{Dir{Path: "s3://bucket/out", join: join}, 2},
	} {
		if got := c.d.joinsAtOnce(); got != c.want {
			t.Errorf("%s with join %t: %d joins at once, want %d", c.d.Path, c.d.join != nil, got, c.want)
		}
	}
}

// TestEachFolder checks that a folder on two hosts comes once for each.
func TestEachFolder(t *testing.T) {
	d := &Dir{Path: "dataset://d/x"}
	var got []string
	err := d.eachFolder([]Part{{Name: "a/b/1", Host: "w1"}, {Name: "a/b/2", Host: "w2"}, {Name: "a/3", Host: "w1"}, {Name: "4", Host: "w3"}}, func(dir string) error {
		got = append(got, dir)
		return nil
	})
	want := []string{"dataset://w1@d/x/a", "dataset://w1@d/x/a/b", "dataset://w2@d/x/a", "dataset://w2@d/x/a/b"}
	if err != nil || !slices.Equal(got, want) {
		t.Errorf("got %q, %v, want %q", got, err, want)
	}
}

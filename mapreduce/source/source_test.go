package source_test

import (
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/klauspost/compress/zstd"

	"github.com/layshaft/layshaft/mapreduce"
	"github.com/layshaft/layshaft/mapreduce/binio"
	"github.com/layshaft/layshaft/mapreduce/connector"
	"github.com/layshaft/layshaft/mapreduce/memio"
	"github.com/layshaft/layshaft/mapreduce/source"
)

var (
	_ connector.Source[int]         = source.Source[int]{}
	_ connector.Source[source.File] = source.FileSource{}
)

// read reads all records of a source, in splits of about target bytes, with the number of splits.
func read[T any](t *testing.T, s connector.Source[T], target int64, bad func(r *connector.Reader[T], err error)) (all []T, n int) {
	t.Helper()
	splits, err := s.Splits(t.Context(), target)
	if err != nil {
		t.Fatal(err)
	}
	var r *connector.Reader[T]
	r = connector.NewReader(func(v *T) { all = append(all, *v) }, func(err error, _ []byte) error {
		if bad == nil {
			return err
		}
		bad(r, err)
		return nil
	})
	for _, sp := range splits {
		if err := s.Read(t.Context(), sp, r); err != nil {
			t.Fatal(err)
		}
	}
	return all, len(splits)
}

func write(t *testing.T, path, text string) string {
	t.Helper()
	var b bytes.Buffer
	var w io.WriteCloser
	switch filepath.Ext(path) {
	case ".gz":
		w = gzip.NewWriter(&b)
	case ".zst":
		w, _ = zstd.NewWriter(&b)
	}
	if w == nil {
		b.WriteString(text)
	} else if _, err := w.Write([]byte(text)); err != nil {
		t.Fatal(err)
	} else if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, b.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// TestEveryCut reads random files with every format in splits of many sizes, plain and compressed,
// and compares the records with the records of the model.
func TestEveryCut(t *testing.T) {
	stamp := regexp.MustCompile(`^\d\d:\d\d `)
	for name, f := range map[string]struct {
		source func(patterns ...string) source.Source[string]
		join   func(records []string) string
		record func(r *rand.Rand) string
		whole  bool // cannot be cut
	}{
		"Separated": {
			func(ps ...string) source.Source[string] { return source.Separated("-*", ps...) },
			func(rs []string) string { return strings.Join(rs, "-*") + "-*" },
			func(r *rand.Rand) string { return strings.Repeat("-a*\n", r.IntN(9)) }, false,
		},
		"overlapping separators": {
			func(ps ...string) source.Source[string] { return source.Separated("\n\n", ps...) },
			func(rs []string) string { return strings.Join(rs, "\n\n") + "\n\n" },
			func(r *rand.Rand) string { return strings.Repeat("\nab", r.IntN(9)) }, true,
		},
		"Starting": {
			func(ps ...string) source.Source[string] { return source.Starting(stamp, ps...) },
			func(rs []string) string { return strings.Join(rs, "\n") + "\n" },
			func(r *rand.Rand) string {
				return fmt.Sprintf("%02d:%02d event", r.IntN(24), r.IntN(60)) + strings.Repeat("\n\tat 12:00 of line\n", r.IntN(4)) + "\n"
			}, false,
		},
		"Paragraphs": {
			func(ps ...string) source.Source[string] { return source.Paragraphs(ps...) },
			func(rs []string) string { return strings.Join(rs, "\n \t\n\n") },
			func(r *rand.Rand) string { return "Key: x" + strings.Repeat("\n more", r.IntN(9)) }, false,
		},
		"Delimited": {
			func(ps ...string) source.Source[string] { return source.Delimited(ps...) },
			func(rs []string) string {
				var b []byte
				for _, r := range rs {
					b = source.AppendDelimited(b, r)
				}
				return string(b)
			},
			func(r *rand.Rand) string { return strings.Repeat("\x00\xff", r.IntN(200)) }, true,
		},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			for seed := range uint64(3) {
				r := rand.New(rand.NewPCG(seed, 0))
				want := make([]string, 1+r.IntN(60))
				for i := range want {
					want[i] = f.record(r)
				}
				for _, ext := range []string{"", ".gz", ".zst"} {
					path := write(t, filepath.Join(dir, "f"+ext), f.join(want))
					most := 0
					for _, target := range []int64{0, 1, 7, 20, 50, 333} {
						got, n := read(t, f.source(path), target, nil)
						if !slices.Equal(got, want) {
							t.Fatalf("seed %d, %s, target %d:\n got %q\nwant %q", seed, path, target, got, want)
						}
						most = max(most, n)
					}
					if cut := most > 1; cut != (ext == "" && !f.whole && len(want) > 5) && len(want) > 5 {
						t.Errorf("%s: %d splits", path, most)
					}
				}
			}
		})
	}
}

// TestBadRecords checks the positions of bad records, and the errors of files.
func TestBadRecords(t *testing.T) {
	dir := t.TempDir()
	odd := errors.New("odd")
	numbers := source.As(source.Separated(";\n", write(t, filepath.Join(dir, "n"), "2;\n3\n3;\n4")), func(record string, v *int) error {
		if _, err := fmt.Sscan(record, v); err != nil || *v%2 == 1 {
			return odd
		}
		return nil
	})
	var where []string
	got, _ := read(t, numbers, 0, func(r *connector.Reader[int], err error) {
		where = append(where, fmt.Sprint(filepath.Base(r.Path), " ", r.Line, " ", r.Offset, " ", err))
	})
	if !slices.Equal(got, []int{2, 4}) || !slices.Equal(where, []string{"n 2 3 odd"}) {
		t.Errorf("%v, %q", got, where)
	}
	truncated := write(t, filepath.Join(dir, "truncated"), string(source.AppendDelimited(source.AppendDelimited(nil, "abc"), "defg")[:7]))
	stuck := source.Format{Split: func([]byte, bool) (int, []byte, error) { return 0, []byte("x"), nil }}
	far := source.Format{Split: func(data []byte, _ bool) (int, []byte, error) { return len(data) + 1, data, nil }}
	for want, s := range map[string]source.Source[string]{
		"truncated: byte 4: the file ends within a record; 3 bytes left over": source.Delimited(truncated),
		"byte 0: a record of 1627389951 bytes: the largest is":                source.Delimited(write(t, filepath.Join(dir, "text"), "\xff\xff\xff\x87\x06")),
		"the split function returned a record and did not advance":            source.Records(stuck, truncated),
		"the split function advanced by 8 of 7 bytes":                         source.Records(far, truncated),
		`source.Records("x"): the format has no Split function`:               source.Records(source.Format{}, "x"),
		`source.Separated("", "x"): the separator is empty`:                   source.Separated("", "x"),
		`source.Starting(nil, "x"): the regular expression is nil`:            source.Starting(nil, "x"),
		`source.Paragraphs("x"): the function given to As is nil`:             source.As[string](source.Paragraphs("x"), nil),
		"no-such-file": source.Paragraphs(filepath.Join(dir, "no-such-file")),
	} {
		splits, err := s.Splits(t.Context(), 0)
		if err == nil {
			err = s.Read(t.Context(), splits[0], connector.NewReader(func(*string) {}, nil))
		}
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %s", err, want)
		}
	}
}

func TestFiles(t *testing.T) {
	dir := t.TempDir()
	big := strings.Repeat("\x00\x1f\x8b", 200_000)
	for name, text := range map[string]string{"a.png": "\x89PNG\r\n", "b.bin.gz": "unpacked", "c": "", "d.bin": big} {
		write(t, filepath.Join(dir, name), text)
	}
	got, n := read(t, source.Files(dir), 0, nil)
	if n != 1 || len(got) != 4 {
		t.Fatalf("%d files in %d splits", len(got), n)
	}
	for i, want := range []struct{ name, text string }{{"a.png", "\x89PNG\r\n"}, {"b.bin.gz", "unpacked"}, {"c", ""}, {"d.bin", big}} {
		if got[i].Path != filepath.Join(dir, want.name) || string(got[i].Data) != want.text {
			t.Errorf("%s has %d bytes", got[i].Path, len(got[i].Data))
		}
	}
}

// Log entries may have several lines.
func ExampleStarting() {
	dir, err := os.MkdirTemp("", "example")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer os.RemoveAll(dir)
	log := "12:00 started\n12:01 panic: no disk\n\tat store.go:12\n\tat main.go:7\n12:02 stopped\n"
	if err := os.WriteFile(filepath.Join(dir, "a.log"), []byte(log), 0o600); err != nil {
		fmt.Println(err)
		return
	}
	panics := mapreduce.Define("panics", func(p *mapreduce.Plan, dir string) mapreduce.Dataset[string] {
		entries := mapreduce.Read(p, source.Starting(regexp.MustCompile(`^\d\d:\d\d `), dir+"/*.log"))
		return entries.Filter(func(entry string) bool { return strings.Contains(entry, "panic:") })
	})
	for entry, err := range panics.Run(context.Background(), mapreduce.Local{}, dir) {
		fmt.Printf("%q %v\n", entry, err)
	}
	// Output: "12:01 panic: no disk\n\tat store.go:12\n\tat main.go:7" <nil>
}

// AppendDelimited makes a sink whose files Delimited reads again.
func ExampleDelimited() {
	dir, err := os.MkdirTemp("", "example")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer os.RemoveAll(dir)
	write := mapreduce.Define("write", func(p *mapreduce.Plan, dir string) mapreduce.Dataset[mapreduce.None] {
		mapreduce.Read(p, memio.Of("any\x00bytes", "", "\n")).WriteTo(binio.WriteAs(dir+"/out", source.AppendDelimited))
		return mapreduce.Nothing(p)
	})
	if _, err := write.Collect(context.Background(), mapreduce.Local{}, dir); err != nil {
		fmt.Println(err)
		return
	}
	sizes := mapreduce.Define("sizes", func(p *mapreduce.Plan, dir string) mapreduce.Dataset[int] {
		return mapreduce.Map(mapreduce.Read(p, source.Delimited(dir+"/out")), func(record string) int { return len(record) })
	})
	fmt.Println(sizes.Collect(context.Background(), mapreduce.Local{}, dir))
	// Output: [9 0 1] <nil>
}

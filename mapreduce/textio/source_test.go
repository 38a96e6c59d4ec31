package textio

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/klauspost/compress/gzip"

	"github.com/layshaft/layshaft/mapreduce/connector"
)

var (
	_ connector.Source[string] = LineSource{}
	_ connector.Source[string] = WordSource{}
	_ connector.Sink[int]      = Sink[int]{}
)

// readAll returns all records of a source, cut into splits of about target bytes.
func readAll(t *testing.T, s connector.Source[string], target int64) []string {
	t.Helper()
	splits, err := s.Splits(context.Background(), target)
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	r := connector.NewReader[string](nil, nil)
	r.Emit = func(v *string) {
		if filepath.Ext(r.Path) == ".txt" {
			data, err := os.ReadFile(r.Path)
			if err != nil || !strings.HasPrefix(string(data[r.Offset:]), *v) {
				t.Errorf("%s: %q is not at %d of %s, %v", s, *v, r.Offset, r.Path, err)
			}
		}
		out = append(out, *v)
	}
	for _, sp := range splits {
		if err := s.Read(context.Background(), sp, r); err != nil {
			t.Fatal(err)
		}
	}
	return out
}

func write(t *testing.T, dir, name, text string) string {
	t.Helper()
	path := filepath.Join(dir, name)
	if err := os.WriteFile(path, []byte(text), 0o666); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestLinesAndFields(t *testing.T) {
	for _, c := range []struct {
		text         string
		lines, words []string
	}{
		{"", nil, nil},
		{"a", []string{"a"}, []string{"a"}},
		{"a b\nc\n", []string{"a b", "c"}, []string{"a", "b", "c"}},
		{"a\r\n\r\nb\r\nc\r", []string{"a", "", "b", "c\r"}, []string{"a", "b", "c"}},
		{"\n\n \n", []string{"", "", " "}, nil},
		{"\xff\xf0\n\x00", []string{"\xff\xf0", "\x00"}, []string{"\xff\xf0", "\x00"}},
		{"\xef\xbb\xbfa b", []string{"a b"}, []string{"a", "b"}},
		{"käse\u00a0brot\u2003ist gut\n", []string{"käse\u00a0brot\u2003ist gut"}, []string{"käse", "brot", "ist", "gut"}},
		{strings.Repeat("w ", 300000), []string{strings.Repeat("w ", 300000)}, slices.Repeat([]string{"w"}, 300000)},
	} {
		path := write(t, t.TempDir(), "f.txt", c.text)
		targets := []int64{0, 1, 2, 3, 5}
		if len(c.text) > 100 {
			targets = []int64{0, 100000}
		}
		for _, target := range targets {
			if len(c.text) > 100 { // positions are checked by the short ones
				path = write(t, t.TempDir(), "f.long", c.text)
			}
			if got := readAll(t, Lines(path), target); !slices.Equal(got, c.lines) {
				t.Errorf("lines of %.40q, target %d: %.200q", c.text, target, got)
			}
			if got := readAll(t, Fields(path), target); !slices.Equal(got, c.words) {
				t.Errorf("words of %.40q, target %d: %.200q", c.text, target, got)
			}
		}
	}
}

func TestDelimiter(t *testing.T) {
	path := write(t, t.TempDir(), "f.txt", "a\nb\r\x00c\x00")
	s := Lines(path).Delimiter(0)
	if got := readAll(t, s, 0); !slices.Equal(got, []string{"a\nb\r", "c"}) {
		t.Errorf("%q", got)
	}
	if got, want := s.String(), "textio.Lines("+strconv.Quote(path)+`).Delimiter('\x00')`; got != want {
		t.Errorf("%s, want %s", got, want)
	}
}

func TestCompressed(t *testing.T) {
	var b strings.Builder
	w := gzip.NewWriter(&b)
	w.Write([]byte("a b\nc\n"))
	w.Close()
	path := write(t, t.TempDir(), "f.gz", b.String())
	if got := readAll(t, Lines(path), 2); !slices.Equal(got, []string{"a b", "c"}) {
		t.Errorf("%q", got)
	}
}

func TestMissing(t *testing.T) {
	for _, s := range []connector.Source[string]{Lines("/gone"), Fields("/gone")} {
		if _, err := s.Splits(context.Background(), 0); err == nil || !strings.Contains(err.Error(), "/gone: no such file") {
			t.Errorf("%s: %v", s, err)
		}
	}
}

func TestWrite(t *testing.T) {
	ctx, dir := context.Background(), t.TempDir()
	format := func(dst []byte, v int) []byte { return strconv.AppendInt(dst, int64(v), 10) }
	sinks := map[string]connector.Sink[int]{
		"dir": WriteAs(dir+"/dir", format), "gz": WriteAs(dir+"/gz", format).Gzip(), "zst": WriteAs(dir+"/zst", format).Zstd(),
		"one": WriteFileAs(dir+"/one", format), "one.zst": WriteFileAs(dir+"/one.zst", format), "one.gz": WriteFileAs(dir+"/one.gz", format),
	}
	for name, s := range sinks {
		if err := s.Check(ctx); err != nil {
			t.Fatal(err)
		}
		var parts [][]byte
		for i := range 3 {
			w, err := s.Open(ctx, connector.SinkTask{Job: "j", Index: i, Of: 3, Attempt: 1})
			if err != nil {
				t.Fatal(err)
			}
			for v := range 2 {
				v += 10 * i
				if err := w.Write(&v); err != nil {
					t.Fatal(err)
				}
			}
			part, err := w.Close()
			if err != nil {
				t.Fatal(err)
			}
			parts = append(parts, part)
		}
		if err := s.Finish(ctx, "j", parts); err != nil {
			t.Fatal(err)
		}
		if got := readAll(t, Lines(filepath.Join(dir, name)), 0); !slices.Equal(got, []string{"0", "1", "10", "11", "20", "21"}) {
			t.Errorf("%s: %q", s, got)
		}
	}
	for want, s := range map[string]connector.Sink[string]{
		`textio.Write("x").Zstd()`: Write("x").Zstd(), `textio.WriteFile("x")`: WriteFile("x"),
	} {
		if s.String() != want {
			t.Errorf("%s, want %s", s, want)
		}
	}
}

func TestAbandon(t *testing.T) {
	ctx, path := context.Background(), filepath.Join(t.TempDir(), "f")
	s := WriteFile(path)
	w, err := s.Open(ctx, connector.SinkTask{Job: "j", Attempt: 1})
	if err != nil {
		t.Fatal(err)
	}
	line := "a"
	if err := errors.Join(w.Write(&line), s.Abandon(ctx, "j")); err != nil {
		t.Fatal(err)
	}
	w.Abort()
	if left, err := os.ReadDir(filepath.Dir(path)); err != nil || len(left) != 0 {
		t.Errorf("%v left, %v", left, err)
	}
}

func TestWriteAllocatesNothing(t *testing.T) {
	s := WriteAs(t.TempDir(), func(dst []byte, v int) []byte { return strconv.AppendInt(dst, int64(v), 10) })
	w, err := s.Open(context.Background(), connector.SinkTask{Job: "j", Attempt: 1})
	if err != nil {
		t.Fatal(err)
	}
	defer w.Abort()
	v := 123456
	if n := testing.AllocsPerRun(200000, func() { w.Write(&v) }); n != 0 {
		t.Errorf("%v allocations per record", n)
	}
}

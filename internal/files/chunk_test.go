package files

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/layshaft/layshaft/internal/arena"
	"github.com/layshaft/layshaft/internal/job"
)

func itoa(n int64) string { return strconv.FormatInt(n, 10) }

// record is one record with its place.
type record struct {
	offset int64
	text   string
}

// read returns the records of a slice, read in chunks of size bytes.
func read(t *testing.T, s Slice, size int) []record {
	t.Helper()
	var out []record
	err := readChunks(context.Background(), s, byteDelim('\n'), size, new(freeBufs), func(c Chunk) error {
		if len(c.Data) == 0 || cap(c.Data) < len(c.Data)+Padding || c.First != (s.Offset == 0 && len(out) == 0) {
			t.Errorf("chunk at %d: length %d, capacity %d, first %v", c.Offset, len(c.Data), cap(c.Data), c.First)
		}
		off := c.Offset
		for _, l := range strings.SplitAfter(string(c.Data), "\n") {
			if l != "" {
				out = append(out, record{off, l})
			}
			off += int64(len(l))
		}
		return nil
	})
	if err != nil {
		t.Fatalf("%+v: %v", s, err)
	}
	return out
}

// wantRecords is the plain way to do what chunks does.
func wantRecords(text string) []record {
	var out []record
	off := int64(0)
	if strings.HasPrefix(text, "\xef\xbb\xbf") {
		text, off = text[3:], 3
	}
	for _, l := range strings.SplitAfter(text, "\n") {
		if l != "" {
			out = append(out, record{off, l})
		}
		off += int64(len(l))
	}
	return out
}

func slice(t *testing.T, path string) Slice {
	t.Helper()
	fs, err := Expand(context.Background(), []string{path})
	if err != nil {
		t.Fatal(err)
	}
	s, err := Splits(context.Background(), fs, 1<<40)
	if err != nil {
		t.Fatal(err)
	}
	sl, err := SlicesOf(s[0])
	if err != nil {
		t.Fatal(err)
	}
	return sl[0]
}

var texts = map[string]string{
	"empty": "", "one": "a", "line": "abc\n", "no end": "ab\ncd", "blank": "\n\n\n", "crlf": "a\r\nbc\r\n\r\nd", "bom": "\xef\xbb\xbfab\nc\n",
	"only bom": "\xef\xbb\xbf", "huge": "ab\n" + strings.Repeat("x", 100) + "\ncd\n" + strings.Repeat("y", 70), "mixed": "a\nbb\nccc\n\n\ndddddddddddddddddd\ne",
}

// Two slices that meet anywhere give the records of the whole, whatever the size of a chunk.
func TestChunksCutAnywhere(t *testing.T) {
	for name, text := range texts {
		tree(t, map[string]string{"f": text})
		want := wantRecords(text)
		all := slice(t, "f")
		for _, size := range []int{1, 2, 3, 7, 16, 1000} {
			for cut := range int64(len(text) + 1) {
				a, b := all, all
				a.Length, b.Offset = cut, cut
				if cut == 0 {
					a = all
				}
				got := read(t, a, size)
				if cut > 0 {
					got = append(got, read(t, b, size)...)
				}
				if !slices.Equal(got, want) {
					t.Fatalf("%s cut at %d, chunks of %d:\n got %v\nwant %v", name, cut, size, got, want)
				}
				for _, r := range read(t, a, size) {
					if cut > 0 && r.offset >= cut && r.offset > 3 {
						t.Errorf("%s cut at %d: the first slice has the record at %d", name, cut, r.offset)
					}
				}
			}
		}
	}
}

// The same for files cut between frames, and for any number of pieces.
func TestChunksOfSplits(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 4))
	for i := range 40 {
		var b strings.Builder
		for range rng.IntN(60) {
			b.WriteString(strings.Repeat("z", rng.IntN(40)) + "\n")
		}
		b.WriteString(strings.Repeat("e", rng.IntN(3)))
		text, n := b.String(), 1+rng.IntN(90)
		tree(t, map[string]string{"plain": text, "gz": gz(text), "frames": zst(text, n), "seekable": seekable(text, n, i%2 == 0), "stream": streamed(text)})
		for _, path := range []string{"plain", "gz", "frames", "seekable", "stream"} {
			fs, err := Expand(context.Background(), []string{path})
			if err != nil {
				t.Fatal(err)
			}
			splits, err := Splits(context.Background(), fs, int64(1+rng.IntN(200)))
			if err != nil {
				t.Fatal(err)
			}
			var got []record
			for _, s := range splits {
				sl, err := SlicesOf(s)
				if err != nil {
					t.Fatal(err)
				}
				got = append(got, read(t, sl[0], 1+rng.IntN(100))...)
			}
			if want := wantRecords(text); !slices.Equal(got, want) {
				t.Fatalf("%s of %q in %d splits:\n got %v\nwant %v", path, text, len(splits), got, want)
			}
		}
	}
}

// Blocks gives each record of n bytes once, wherever slices meet.
func TestBlocks(t *testing.T) {
	text := "aaabbbcccdddeeefff"
	tree(t, map[string]string{"plain": text, "frames": zst(text, 4), "gz": gz(text), "ragged": text + "g"})
	for _, path := range []string{"plain", "frames", "gz"} {
		for target := int64(1); target < 20; target++ {
			fs, err := Expand(context.Background(), []string{path})
			if err != nil {
				t.Fatal(err)
			}
			splits, err := Splits(context.Background(), fs, target)
			if err != nil {
				t.Fatal(err)
			}
			got := ""
			for _, s := range splits {
				err := Blocks(context.Background(), s, 3, func(c Chunk) error {
					if c.Offset != int64(len(got)) || len(c.Data)%3 != 0 {
						t.Errorf("%s: %d bytes at %d", path, len(c.Data), c.Offset)
					}
					got += string(c.Data)
					return nil
				})
				if err != nil {
					t.Fatal(err)
				}
			}
			if got != text {
				t.Errorf("%s, target %d: %q", path, target, got)
			}
		}
	}
	split := job.Split{Data: []byte(fmt.Sprintf(`[{"p":"ragged","n":-1,"s":19,"t":%d}]`, slice(t, "ragged").ModTime))}
	err := Blocks(context.Background(), split, 3, func(Chunk) error { return nil })
	if err == nil || !strings.Contains(err.Error(), "ragged: its size, 19 bytes, is not a multiple of the record size 3 (1 byte left over)") {
		t.Errorf("ragged: %v", err)
	}
}

func TestWordsCutAtAnySpace(t *testing.T) {
	text := strings.Repeat("word\tand more ", 30)
	tree(t, map[string]string{"f": text})
	got := ""
	err := readChunks(context.Background(), slice(t, "f"), spaceDelim, 16, new(freeBufs), func(c Chunk) error {
		if last := c.Data[len(c.Data)-1]; last != ' ' && last != '\t' {
			t.Errorf("a chunk ends with %q", last)
		}
		got += string(c.Data)
		return nil
	})
	if err != nil || got != text {
		t.Errorf("%v, %q", err, got)
	}
}

func TestChunksErrors(t *testing.T) {
	text := strings.Repeat("line\n", 1000)
	tree(t, map[string]string{"f": text, "bad.gz": "no gzip", "cut.gz": gz(text)[:40], "bad.zst": "no zstd", "cut.zst": zst(text, 5000)[:20]})
	for _, path := range []string{"bad.gz", "cut.gz", "bad.zst", "cut.zst"} {
		err := readChunks(context.Background(), slice(t, path), byteDelim('\n'), 100, new(freeBufs), func(Chunk) error { return nil })
		if err == nil || !strings.Contains(err.Error(), path) {
			t.Errorf("%s: %v", path, err)
		}
		err = readExact(context.Background(), slice(t, path), 100, true, func(c Chunk, _ bool) (int, error) { return len(c.Data), nil })
		if err == nil || !strings.Contains(err.Error(), path) {
			t.Errorf("%s by Exact: %v", path, err)
		}
	}

	all := slice(t, "f")
	if err := os.Chtimes("f", time.Time{}, time.Unix(1, 0)); err != nil {
		t.Fatal(err)
	}
	none := func(Chunk) error { t.Error("a chunk of a changed file"); return nil }
	if err := readChunks(context.Background(), all, byteDelim('\n'), 100, new(freeBufs), none); err == nil || !strings.Contains(err.Error(), "f: changed while the job ran") {
		t.Errorf("changed before: %v", err)
	}
	all = slice(t, "f")
	grow := func(Chunk) error { return os.WriteFile("f", []byte(text+"more"), 0o666) }
	if err := readChunks(context.Background(), all, byteDelim('\n'), 100, new(freeBufs), grow); err == nil || !strings.Contains(err.Error(), "changed while the job ran") {
		t.Errorf("changed meanwhile: %v", err)
	}

	all = slice(t, "f")
	if err := os.Remove("f"); err != nil {
		t.Fatal(err)
	}
	if err := readChunks(context.Background(), all, byteDelim('\n'), 100, new(freeBufs), none); err == nil || !strings.Contains(err.Error(), "no such file") {
		t.Errorf("removed: %v", err)
	}
	if err := Chunks(context.Background(), job.Split{Label: "x", Data: []byte("{")}, '\n', none); err == nil {
		t.Error("a split that is no JSON was read")
	}
}

func TestChunksStop(t *testing.T) {
	tree(t, map[string]string{"a": "1\n", "b": "2\n"})
	fs, err := Expand(context.Background(), []string{"a", "b"})
	if err != nil {
		t.Fatal(err)
	}
	splits, err := Splits(context.Background(), fs, 100)
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	if err := Chunks(context.Background(), splits[0], '\n', func(Chunk) error { n++; return ErrStop }); err != nil || n != 1 {
		t.Errorf("stopped: %v after %d chunks", err, n)
	}
	boom := errors.New("boom")
	if err := Chunks(context.Background(), splits[0], '\n', func(Chunk) error { return boom }); err != boom {
		t.Errorf("failed: %v", err)
	}
	ctx, cancel := context.WithCancelCause(context.Background())
	n = 0
	if err := Chunks(ctx, splits[0], '\n', func(Chunk) error { n++; cancel(boom); return nil }); err != boom || n != 1 {
		t.Errorf("cancelled: %v after %d chunks", err, n)
	}
}

func TestRecordTooLong(t *testing.T) {
	tree(t, map[string]string{"f": "ok\n"})
	if err := os.Truncate("f", MaxRecord+(1<<20)); err != nil {
		t.Fatal(err)
	}
	err := readChunks(context.Background(), slice(t, "f"), byteDelim('\n'), chunkSize, new(freeBufs), func(Chunk) error { return nil })
	if err == nil || !strings.Contains(err.Error(), `the record at byte 3 is longer than 67108864 bytes; is the delimiter '\n' the right one?`) {
		t.Error(err)
	}
}

func TestLineOf(t *testing.T) {
	text := "a\nbb\n\nc"
	tree(t, map[string]string{"f": text, "z": zst(text, 100)})
	for offset, want := range map[int64]int64{0: 1, 1: 1, 2: 2, 4: 2, 5: 3, 6: 4, 7: 4, 99: 4} {
		for path, c := range map[string]Codec{"f": Plain, "z": Zstd} {
			if got, err := LineOf(context.Background(), path, c, offset); err != nil || got != want {
				t.Errorf("LineOf(%s, %d) = %d, %v; want %d", path, offset, got, err, want)
			}
		}
	}
}

func FuzzChunks(f *testing.F) {
	f.Add("a\nbb\r\n\nccc", uint8(3), uint8(2))
	f.Add("\xef\xbb\xbfx\n", uint8(2), uint8(1))
	f.Add(strings.Repeat("abc", 20)+"\n\n", uint8(30), uint8(8))
	dir := f.TempDir()
	f.Fuzz(func(t *testing.T, text string, cut, size uint8) {
		path := dir + "/f" + itoa(int64(os.Getpid()))
		if byMagic([]byte(text)) != Plain {
			return
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		a := slice(t, path)
		b := a
		var got []record
		if cut := min(int64(cut), a.Size); cut > 0 {
			a.Length, b.Offset = cut, cut
			got = append(read(t, a, 1+int(size)), read(t, b, 1+int(size))...)
		} else {
			got = read(t, a, 1+int(size))
		}
		if want := wantRecords(text); !slices.Equal(got, want) {
			t.Errorf("%q cut at %d, chunks of %d:\n got %v\nwant %v", text, cut, size, got, want)
		}
	})
}

// A released chunk is read into again, and the records of later chunks are right. Texts that were
// kept too long show it.
func TestRelease(t *testing.T) {
	arena.OverwriteFreed = true
	t.Cleanup(func() { arena.OverwriteFreed = false })
	var text strings.Builder
	for i := range 100_000 {
		fmt.Fprintf(&text, "record %d\n", i)
	}
	tree(t, map[string]string{"f": text.String()})
	var free freeBufs
	var got strings.Builder
	var before Chunk
	memory := map[*byte]bool{}
	err := readChunks(context.Background(), slice(t, "f"), byteDelim('\n'), chunkSize, &free, func(c Chunk) error {
		if before.Data != nil {
			before.Release()
			if text := string(before.Data); strings.Trim(text, "?") != "" {
				t.Errorf("a released chunk has still the text %.20q", text)
			}
		}
		got.Write(c.Data)
		before = c
		memory[&c.Data[0]] = true
		return nil
	})
	if err != nil || got.String() != text.String() {
		t.Errorf("%d bytes read, error %v; want the %d bytes of the file", got.Len(), err, text.Len())
	}
	if len(memory) != 2 {
		t.Errorf("the chunks had %d buffers, want 2 in turn", len(memory))
	}
}

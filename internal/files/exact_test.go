package files

import (
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// Whatever the chunk size and however much yield takes at a time, Exact gives every byte of the
// slice once, in order, and says truly where it is.
func TestExactGivesEveryByteOnce(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 0))
	content := make([]byte, 5000)
	for i := range content {
		content[i] = byte(rng.Uint32())
	}
	var z bytes.Buffer
	zw := gzip.NewWriter(&z)
	zw.Write(content)
	zw.Close()
	for _, c := range []struct {
		name     string
		data     []byte
		from, to int64
		skip     int64 // bytes of a byte order mark
	}{
		{"plain", content, 0, -1, 0},
		{"part", content, 100, 777, 0},
		{"end", content, 4000, -1, 0},
		{"gz", z.Bytes(), 0, -1, 0},
		{"mark", append([]byte("\xef\xbb\xbf"), content...), 0, -1, 3},
		{"empty", nil, 0, -1, 0},
	} {
		path := filepath.Join(t.TempDir(), c.name)
		if err := os.WriteFile(path, c.data, 0o600); err != nil {
			t.Fatal(err)
		}
		fs, err := Expand(context.Background(), []string{path})
		if err != nil {
			t.Fatal(err)
		}
		s, err := WholeFile(context.Background(), fs[0])
		if err != nil {
			t.Fatal(err)
		}
		want := content[c.from:]
		if s.Offset = c.from; c.to >= 0 {
			s.Length = c.to - c.from
			want = content[c.from:c.to]
		}
		if c.name == "empty" {
			want = nil
		}
		for _, size := range []int{3, 7, 100, 4096, 1 << 20} {
			var got []byte
			next, ended := c.from+c.skip, false
			err := readExact(context.Background(), s, size, true, func(ch Chunk, last bool) (int, error) {
				if ch.Offset != next || ended || cap(ch.Data) < len(ch.Data)+Padding {
					t.Fatalf("%s: chunk at %d, want %d; ended %v", c.name, ch.Offset, next, ended)
				}
				n := len(ch.Data)
				if !last {
					n = rng.IntN(n + 1)
				}
				got = append(got, ch.Data[:n]...)
				next += int64(n)
				ended = last
				return n, nil
			})
			if err != nil || !bytes.Equal(got, want) || ended != (len(want) > 0) {
				t.Fatalf("%s, %d at once: %d bytes, want %d; %v", c.name, size, len(got), len(want), err)
			}
		}
	}
}

func TestExactEnds(t *testing.T) {
	path := filepath.Join(t.TempDir(), "x")
	if err := os.WriteFile(path, []byte("content"), 0o600); err != nil {
		t.Fatal(err)
	}
	fs, err := Expand(context.Background(), []string{path})
	if err != nil {
		t.Fatal(err)
	}
	s, _ := WholeFile(context.Background(), fs[0])
	for _, want := range []error{nil, errors.New("mine")} {
		give := want
		if want == nil {
			give = ErrStop
		}
		if err := Exact(context.Background(), s, func(Chunk, bool) (int, error) { return 0, give }); !errors.Is(err, want) {
			t.Errorf("yield gave %v, Exact %v", give, err)
		}
	}
	if err := os.WriteFile(path, []byte("other content"), 0o600); err != nil {
		t.Fatal(err)
	}
	err = Exact(context.Background(), s, func(c Chunk, _ bool) (int, error) { return len(c.Data), nil })
	if err == nil || !strings.Contains(err.Error(), "changed while the job ran") {
		t.Errorf("a changed file: %v", err)
	}
}

// A file without a place to cut is read about twice, not once for each piece that it could have.
func TestCutsAtGivesUp(t *testing.T) {
	path := filepath.Join(t.TempDir(), "one")
	if err := os.WriteFile(path, make([]byte, 2<<20), 0o600); err != nil {
		t.Fatal(err)
	}
	fs, err := Expand(context.Background(), []string{path})
	if err != nil {
		t.Fatal(err)
	}
	read := 0
	cuts, err := CutsAt(context.Background(), fs, 64<<10, func(block []byte) int {
		read += len(block)
		return -1
	})
	if err != nil || len(cuts[0]) != 0 || read > 3*2<<20 {
		t.Errorf("cuts %v after %d bytes, %v", cuts, read, err)
	}
}

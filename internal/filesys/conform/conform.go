// Package conform tests the contract of filesys.FS. The tests of every FS call it.
package conform

import (
	"bytes"
	"context"
	"errors"
	"io"
	"io/fs"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/layshaft/layshaft/internal/filesys"
)

// Test runs all tests in dir, an empty directory of f.
func Test(t *testing.T, f filesys.FS, dir string) {
	s := &suite{f, dir}
	t.Run("Content", s.content)
	t.Run("Glob", s.glob)
	t.Run("Names", s.names)
	t.Run("Missing", s.missing)
	t.Run("Context", s.context)
}

type suite struct {
	f   filesys.FS
	dir string
}

func (s *suite) at(name string) string { return filesys.Join(s.dir, name) }

// write creates a file and returns its path.
func (s *suite) write(t *testing.T, name string, data []byte) string {
	t.Helper()
	ctx := context.Background()
	if err := s.f.MkdirAll(ctx, filesys.Dir(s.at(name))); err != nil {
		t.Fatal(err)
	}
	w, err := s.f.Create(ctx, s.at(name))
	if err != nil {
		t.Fatal(err)
	}
	for piece := range slices.Chunk(data, 300_000) {
		if n, err := w.Write(piece); err != nil || n != len(piece) {
			t.Fatal(n, err)
		}
	}
	if err := w.Sync(); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return w.Path()
}

func (s *suite) read(t *testing.T, path string) []byte {
	t.Helper()
	f, err := s.f.Open(context.Background(), path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	data, err := io.ReadAll(f.Stream(0, 1<<62))
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func (s *suite) content(t *testing.T) {
	ctx, rng := context.Background(), rand.New(rand.NewPCG(1, 2))
	for _, size := range []int{0, 1, 1000, 1 << 20, 1<<20 + 1, 3<<20 + 77} {
		data := make([]byte, size)
		for i := range data {
			data[i] = byte(rng.Uint32())
		}
		path := s.write(t, "content/file", data) // several times, over the old content
		for _, p := range []string{path, s.at("content/file")} {
			if info, err := s.f.Stat(ctx, p); err != nil || info.Size != int64(size) || !info.Mode.IsRegular() || info.Path != p || info.ModTime.IsZero() {
				t.Errorf("Stat(%s) = %+v, %v; want %d bytes", p, info, err, size)
			}
			if got := s.read(t, p); !bytes.Equal(got, data) {
				t.Errorf("%s has %d bytes, want %d", p, len(got), size)
			}
		}
		f, err := s.f.Open(ctx, path)
		if err != nil {
			t.Fatal(err)
		}
		if info, err := f.Stat(); err != nil || info.Size != int64(size) {
			t.Errorf("Stat: %+v, %v", info, err)
		}
		var all sync.WaitGroup
		for range 8 {
			from, n := rng.IntN(size+10), rng.IntN(size+10)
			all.Go(func() {
				want := data[min(from, size):min(from+n, size)]
				buf := make([]byte, n)
				m, err := f.ReadAt(buf, int64(from))
				if !bytes.Equal(buf[:m], want) || (m < n) != (err == io.EOF) || err != nil && err != io.EOF {
					t.Errorf("ReadAt(%d bytes, %d) of %d = %d, %v", n, from, size, m, err)
				}
			})
		}
		all.Wait()
		for range 3 {
			from, n := rng.IntN(size+10), rng.IntN(size+10)
			got, err := io.ReadAll(f.Stream(int64(from), int64(n)))
			if want := data[min(from, size):min(from+n, size)]; err != nil || !bytes.Equal(got, want) {
				t.Errorf("Stream(%d, %d) of %d has %d bytes, want %d; %v", from, n, size, len(got), len(want), err)
			}
		}
		f.Stream(0, int64(size)).Read(make([]byte, 1)) // and nothing more
		if err := f.Close(); err != nil {
			t.Error(err)
		}
	}
	w, err := s.f.Create(ctx, s.at("content/aborted"))
	if err != nil {
		t.Fatal(err)
	}
	w.Write(make([]byte, 3<<20))
	w.Abort()
	if _, err := s.f.Stat(ctx, s.at("content/aborted")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("an aborted file is there: %v", err)
	}
}

func (s *suite) glob(t *testing.T) {
	ctx := context.Background()
	for _, name := range strings.Fields("a.txt b.txt c.csv .hidden _temp sub/a.txt sub/deep/b.txt sub/.h/x.txt sub2/c.txt _out/d.txt [1].txt") {
		s.write(t, "glob/"+name, []byte(name))
	}
	for pattern, want := range map[string]string{
		"*.txt": "[1].txt a.txt b.txt", "*": "[1].txt a.txt b.txt c.csv sub/a.txt sub/deep/b.txt sub2/c.txt", "**/*.txt": "[1].txt a.txt b.txt sub/a.txt sub/deep/b.txt sub2/c.txt",
		"**": "[1].txt a.txt b.txt c.csv sub/a.txt sub/deep/b.txt sub2/c.txt", "": "[1].txt a.txt b.txt c.csv sub/a.txt sub/deep/b.txt sub2/c.txt", "sub": "sub/a.txt sub/deep/b.txt",
		"sub*/*.txt": "sub/a.txt sub2/c.txt", "{a,c}.*": "a.txt c.csv", "?.txt": "a.txt b.txt", "_*": "_out/d.txt _temp", ".h*": ".hidden",
		"_out/*": "_out/d.txt", "a.txt": "a.txt", "*.none": "", "[1].txt": "[1].txt", "sub/**/b.txt": "sub/deep/b.txt", "sub/d*": "sub/deep/b.txt",
	} {
		infos, err := s.f.Glob(ctx, s.at("glob/"+pattern))
		var got, hidden []string
		for _, i := range infos {
			if i.LeftOut == filesys.LeftHidden {
				hidden = append(hidden, strings.TrimPrefix(i.Path, s.at("glob")+"/"))
				continue
			}
			rel := strings.TrimPrefix(i.Path, s.at("glob")+"/")
			if got = append(got, rel); i.Size != int64(len(rel)) || !i.Mode.IsRegular() || i.ModTime.IsZero() {
				t.Errorf("Glob(%q): %+v", pattern, i)
			}
		}
		if h := strings.Join(hidden, " "); pattern == "**" && h != ".hidden _out/d.txt _temp sub/.h/x.txt" {
			t.Errorf("Glob(%q) hides %s", pattern, h)
		}
		if g := strings.Join(got, " "); err != nil || g != want {
			t.Errorf("Glob(%q)\n got %s\nwant %s\n%v", pattern, g, want, err)
		}
	}
	if _, err := s.f.Glob(ctx, s.at("glob/[a")); err == nil || !strings.Contains(err.Error(), "[a") {
		t.Errorf("a bad pattern: %v", err)
	}
}

func (s *suite) names(t *testing.T) {
	ctx := context.Background()
	ls := func(dir string) string {
		infos, err := s.f.ReadDir(ctx, s.at(dir))
		if err != nil {
			t.Error(err)
		}
		var out []string
		for _, i := range infos {
			name := filesys.Base(i.Path)
			if i.Mode.IsDir() {
				name += "/"
			}
			out = append(out, name)
		}
		return strings.Join(out, " ")
	}
	a := s.write(t, "names/a", []byte("a"))
	s.write(t, "names/b", []byte("old"))
	s.write(t, "names/d e%2f/ü", []byte("c"))
	s.write(t, "names/.h", nil)
	if got, want := ls("names"), ".h a b d e%2f/"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	if err := s.f.Rename(ctx, a, filesys.OnHost(s.at("names/b"), filesys.Host(a))); err != nil {
		t.Error(err)
	}
	if got := s.read(t, s.at("names/b")); string(got) != "a" {
		t.Errorf("renamed over: %q", got)
	}
	if err := s.f.Sync(ctx, s.at("names")); err != nil {
		t.Error(err)
	}
	if got := s.read(t, s.at("names/d e%2f/ü")); string(got) != "c" {
		t.Errorf("%q", got)
	}
	for range 2 {
		if err := s.f.Remove(ctx, s.at("names/b")); err != nil {
			t.Error(err)
		}
		if err := s.f.RemoveAll(ctx, s.at("names/d e%2f")); err != nil {
			t.Error(err)
		}
	}
	if got, want := ls("names"), ".h"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

// missing checks that every error contains its path and has the right kind.
func (s *suite) missing(t *testing.T) {
	ctx, path := context.Background(), s.at("no/such")
	check := func(what string, err error) {
		t.Helper()
		var e *filesys.Error
		if !errors.Is(err, fs.ErrNotExist) || !errors.As(err, &e) || !strings.Contains(err.Error(), "no/such") || !strings.Contains(err.Error(), "; ") {
			t.Errorf("%s: %v (%T)", what, err, err)
		}
	}
	_, err := s.f.Stat(ctx, path)
	check("Stat", err)
	_, err = s.f.Open(ctx, path)
	check("Open", err)
	_, err = s.f.Glob(ctx, path)
	check("Glob", err)
	check("Rename", s.f.Rename(ctx, path, s.at("no/other")))
	if infos, err := s.f.Glob(ctx, s.at("no/*")); err != nil || len(infos) > 0 {
		t.Errorf("Glob of a missing directory: %v, %v", infos, err)
	}
}

func (s *suite) context(t *testing.T) {
	if _, local := s.f.(filesys.OS); local {
		t.Skip("the operating system does not wait")
	}
	why := errors.New("no more")
	ctx, cancel := context.WithCancelCause(context.Background())
	cancel(why)
	if _, err := s.f.Stat(ctx, s.at("x")); !errors.Is(err, why) {
		t.Errorf("Stat: %v", err)
	}
	if _, err := s.f.Create(ctx, s.at("x")); !errors.Is(err, why) {
		t.Errorf("Create: %v", err)
	}
}

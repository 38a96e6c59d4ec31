package filesys_test

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/layshaft/layshaft/internal/filesys"
	"github.com/layshaft/layshaft/internal/filesys/conform"
)

func TestOS(t *testing.T) {
	t.Run("path", func(t *testing.T) { conform.Test(t, filesys.OS{}, t.TempDir()) })
	t.Run("file", func(t *testing.T) { conform.Test(t, filesys.OS{}, "file://"+t.TempDir()) })
	t.Run("as", func(t *testing.T) { conform.Test(t, filesys.OS{As: "client://id"}, "client://id"+t.TempDir()) })
	t.Run("roots", func(t *testing.T) {
		dir := t.TempDir()
		roots, err := filesys.OpenRoots([]string{t.TempDir(), dir})
		if err != nil {
			t.Fatal(err)
		}
		defer roots.Close()
		conform.Test(t, filesys.OS{Roots: roots}, "file://"+dir)
	})
	for _, bad := range []string{"file://host/x", "file://", "client://id/x"} {
		if _, err := (filesys.OS{}).Stat(context.Background(), bad); !errors.Is(err, fs.ErrInvalid) || !strings.Contains(err.Error(), "three slashes") {
			t.Errorf("%s: %v", bad, err)
		}
	}
}

// A worker's file:// paths reach the directories of -file-root and nothing else, by no name and no link.
func TestRoots(t *testing.T) {
	top, ctx := t.TempDir(), context.Background()
	for _, name := range []string{"a/in.txt", "secret.txt", "ab/in.txt"} {
		if err := errors.Join(os.MkdirAll(filepath.Join(top, filepath.Dir(name)), 0o755), os.WriteFile(filepath.Join(top, name), []byte("x"), 0o644)); err != nil {
			t.Fatal(err)
		}
	}
	for link, to := range map[string]string{"a/link.txt": "../secret.txt", "a/dir": "..", "a/abs": filepath.Join(top, "secret.txt"), "a/in-too.txt": "in.txt"} {
		if err := os.Symlink(to, filepath.Join(top, link)); err != nil {
			t.Skip(err)
		}
	}
	none, err := filesys.OpenRoots(nil)
	if err != nil {
		t.Fatal(err)
	}
	roots, err := filesys.OpenRoots([]string{filepath.Join(top, "a")})
	if err != nil {
		t.Fatal(err)
	}
	defer roots.Close()
	for _, c := range []struct{ path, refusal string }{
		{"/a/in.txt", ""}, {"/a/in-too.txt", ""}, {"/a/../a/in.txt", ""},
		{"/secret.txt", "outside the directories"}, {"/a/../secret.txt", "outside the directories"}, {"/ab/in.txt", "outside the directories"},
		{"/a/link.txt", "must not lead out"}, {"/a/abs", "must not lead out"}, {"/a/dir/secret.txt", "must not lead out"},
	} {
		path := "file://" + top + c.path
		for _, f := range []filesys.OS{{Roots: roots}, {Roots: none}} {
			refusal := c.refusal
			if f.Roots == none {
				refusal = "-file-root DIR"
			}
			_, statErr := f.Stat(ctx, path)
			_, globErr := f.Glob(ctx, path)
			file, openErr := f.Open(ctx, path)
			if openErr == nil {
				file.Close()
			}
			errs := map[string]error{"stat": statErr, "glob": globErr, "open": openErr}
			if refusal != "" {
				w, err := f.Create(ctx, path)
				if err == nil {
					w.Close()
				}
				errs["create"], errs["mkdir"] = err, f.MkdirAll(ctx, path+"/new")
				if c.refusal != "must not lead out" { // removing a link is harmless
					errs["remove"], errs["remove all"] = f.Remove(ctx, path), f.RemoveAll(ctx, path)
				}
				errs["rename"], errs["rename to"] = f.Rename(ctx, path, path+"2"), f.Rename(ctx, "file://"+top+"/a/in.txt", "file://"+top+"/x")
				if c.refusal == "must not lead out" && c.path != "/a/dir/secret.txt" {
					delete(errs, "rename") // so is renaming one
				}
			}
			for op, err := range errs {
				if refusal == "" && err != nil || refusal != "" && (err == nil || !strings.Contains(err.Error(), refusal) && op != "rename to" && op != "rename" && op != "mkdir") {
					t.Errorf("%s %s with roots %v: %v, want %q", op, c.path, f.Roots.Dirs(), err, refusal)
				}
			}
		}
	}
	if _, err := (filesys.OS{Roots: roots}).Glob(ctx, "file://"+top+"/*/in.txt"); err == nil {
		t.Error("a glob above the directory was accepted")
	}
	if b, err := os.ReadFile(filepath.Join(top, "secret.txt")); string(b) != "x" {
		t.Errorf("the file outside is %q, %v", b, err)
	}
	if _, err := filesys.OpenRoots([]string{filepath.Join(top, "missing")}); err == nil || !strings.Contains(err.Error(), "file root") {
		t.Errorf("a missing directory: %v", err)
	}
}

func TestSet(t *testing.T) {
	ctx := context.Background()
	if f, err := filesys.Of(ctx, "a"); err != nil || f != (filesys.OS{}) {
		t.Error(f, err)
	}
	ctx = filesys.WithSet(ctx, filesys.Set{"x": filesys.OS{As: "x://1"}})
	for path, want := range map[string]filesys.FS{"a": filesys.OS{}, "file:///a": filesys.OS{}, "x://1/a": filesys.OS{As: "x://1"}, "X://1/a": filesys.OS{As: "x://1"}} {
		if f, err := filesys.Of(ctx, path); err != nil || f != want {
			t.Errorf("%s: %v, %v", path, f, err)
		}
	}
	if _, err := filesys.Of(ctx, "ftp://a"); !errors.Is(err, fs.ErrInvalid) || !strings.Contains(err.Error(), "s3://") {
		t.Error(err)
	}
	if _, err := filesys.Of(ctx, "s3://bucket/a"); !errors.Is(err, fs.ErrInvalid) || !strings.Contains(err.Error(), "mapreduce/s3io") {
		t.Errorf("s3 without its package: %v, want the import that is missing", err)
	}
	filesys.Register("y", filesys.OS{As: "y://1"})
	for _, ctx := range []context.Context{context.Background(), filesys.WithSet(context.Background(), filesys.Set{"x": filesys.OS{}})} {
		if f, err := filesys.Of(ctx, "y://1/a"); err != nil || f != (filesys.OS{As: "y://1"}) {
			t.Errorf("a registered scheme: %v, %v", f, err)
		}
	}
	wd, _ := os.Getwd()
	for path, want := range map[string]string{"a/../b": filepath.Join(wd, "b"), "x://1/a/../b": "x://1/b"} {
		if got, err := filesys.Lend(ctx, path); err != nil || got != want {
			t.Errorf("%s: %s, %v", path, got, err)
		}
	}
}

func TestPaths(t *testing.T) {
	for _, c := range []struct{ path, scheme, clean, dir, base, host, moved string }{
		{"a/b", "", "a/b", "a", "b", "", "a/b"},
		{"/a//b", "", "/a/b", "/a", "b", "", "/a//b"},
		{"s3://b/x/../y.gz", "s3", "s3://b/y.gz", "s3://b", "y.gz", "", "s3://h@b/x/../y.gz"},
		{"s3://b", "s3", "s3://b", "s3://b", ".", "", "s3://h@b"},
		{"s3://b/../../x", "s3", "s3://b/x", "s3://b", "x", "", "s3://h@b/../../x"},
		{"dataset://w1@logs/a/b", "dataset", "dataset://w1@logs/a/b", "dataset://w1@logs/a", "b", "w1", "dataset://h@logs/a/b"},
		{"file:///a/b", "file", "file:///a/b", "file:///a", "b", "", "file://h@/a/b"},
		{"file:///", "file", "file:///", "file:///", "/", "", "file://h@/"},
		{"C:/x", "", "C:/x", "C:", "x", "", "C:/x"},
		{"1x://a", "", "1x:/a", "1x:", "a", "", "1x://a"},
		{"a b://c", "", "a b:/c", "a b:", "c", "", "a b://c"},
	} {
		got := []string{filesys.Scheme(c.path), filesys.Clean(c.path), filesys.Dir(c.path), filesys.Base(c.path), filesys.Host(c.path), filesys.OnHost(c.path, "h")}
		want := []string{c.scheme, c.clean, c.dir, c.base, c.host, c.moved}
		if strings.Join(got, "|") != strings.Join(want, "|") {
			t.Errorf("%s\n got %q\nwant %q", c.path, got, want)
		}
	}
	if got := filesys.Join("s3://b/x", "y", "../z"); got != "s3://b/x/z" {
		t.Error(got)
	}
	if got := filesys.OnHost("dataset://w1@logs/a", ""); got != "dataset://logs/a" {
		t.Error(got)
	}
}

// Names joined to the place of a path with a scheme stay in that place, and local names stay local.
func FuzzPaths(f *testing.F) {
	for _, s := range []string{"../../etc", "a/../../b", "//x", "..", "a\x00b", ".", "", "x://y/../z", `..\..`} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, name string) {
		if got := filesys.Join("s3://bucket/dir", name); got != "s3://bucket" && !strings.HasPrefix(got, "s3://bucket/") || strings.Contains(got+"/", "/../") {
			t.Errorf("%q leads to %q", name, got)
		}
		if local, ok := filesys.Local(name); ok && (!fs.ValidPath(local) || local == ".." || strings.HasPrefix(local, "../")) {
			t.Errorf("%q is %q", name, local)
		}
		if c := filesys.Clean(name); filesys.Clean(c) != c {
			t.Errorf("%q cleans to %q, and that to %q", name, c, filesys.Clean(c))
		}
	})
}

// Matcher and Find agree on any pattern.
func FuzzMatcher(f *testing.F) {
	names := []string{"a.txt", "b/c.txt", "b/d/e.csv", ".h", "_x/y", "b/.z/q", "[1]"}
	dir := f.TempDir()
	for _, n := range names {
		os.MkdirAll(filepath.Dir(filepath.Join(dir, n)), 0o777)
		os.WriteFile(filepath.Join(dir, n), nil, 0o666)
	}
	for _, p := range []string{"*", "**", "b", "b/*", "**/*.txt", "{a,b}*", "b/**", "?h", "_*", "*/*", "."} {
		f.Add(p)
	}
	f.Fuzz(func(t *testing.T, pattern string) {
		pattern, ok := filesys.Local(pattern)
		if !ok || strings.Contains(pattern, `\`) || strings.Contains(pattern, "[1]") {
			return
		}
		found, ferr := filesys.Find(context.Background(), os.DirFS(dir), pattern)
		m, merr := filesys.NewMatcher(pattern)
		if merr != nil || ferr != nil {
			return
		}
		var want, got []string
		for _, i := range found {
			want = append(want, i.Path+" "+string(i.LeftOut))
		}
		for _, n := range []string{".h", "[1]", "_x/y", "a.txt", "b/.z/q", "b/c.txt", "b/d/e.csv"} {
			if ok, hidden := m.Match(n); ok {
				why := ""
				if hidden {
					why = string(filesys.LeftHidden)
				}
				got = append(got, n+" "+why)
				if !strings.HasPrefix(n, m.Prefix()) {
					t.Errorf("%q matches %s, which lacks the prefix %q", pattern, n, m.Prefix())
				}
			}
		}
		if strings.Join(got, " ") != strings.Join(want, " ") {
			t.Errorf("%q\nMatcher %q\n   Find %q", pattern, got, want)
		}
	})
}

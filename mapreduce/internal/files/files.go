// Package files finds, cuts and reads the input files of jobs, and commits their output files. The file formats
// (textio, csvio, jsonio, binio, parquetio) share it; it knows no record type and no format.
//
// Input: Expand turns patterns into files, Splits cuts and packs them, Chunks reads whole records of a split.
// Output: a Dir holds one file per task and a manifest, a One is a single file; both make output visible at once in
// Finish and can be killed between any two steps. Appender writes records of any type through an append function.
package files

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/bmatcuk/doublestar/v4"
)

// Codec is how the bytes of a file are compressed.
type Codec uint8

// The codecs.
const (
	Plain Codec = iota
	Gzip
	Zstd
)

// String returns plain, gzip or zstd.
func (c Codec) String() string {
	switch c {
	case Plain:
		return "plain"
	case Gzip:
		return "gzip"
	case Zstd:
		return "zstd"
	}
	return fmt.Sprintf("codec %d", c)
}

// Suffix returns what the codec adds to a file name: nothing, .gz or .zst.
func (c Codec) Suffix() string {
	switch c {
	case Gzip:
		return ".gz"
	case Zstd:
		return ".zst"
	}
	return ""
}

// BySuffix returns the codec that the name of a file promises.
func BySuffix(path string) Codec {
	switch strings.ToLower(filepath.Ext(path)) {
	case ".gz", ".gzip":
		return Gzip
	case ".zst", ".zstd":
		return Zstd
	}
	return Plain
}

// byMagic returns the codec that the first bytes of a file show.
func byMagic(head []byte) Codec {
	switch {
	case len(head) >= 3 && head[0] == 0x1f && head[1] == 0x8b && head[2] == 8:
		return Gzip
	case len(head) >= 4 && head[0] == 0x28 && head[1] == 0xb5 && head[2] == 0x2f && head[3] == 0xfd,
		len(head) >= 4 && head[0]&0xf0 == 0x50 && head[1] == 0x2a && head[2] == 0x4d && head[3] == 0x18:
		return Zstd
	}
	return Plain
}

// File is one input file.
type File struct {
	Path    string // as given or found; relative when the pattern was
	Size    int64  // bytes on disk
	ModTime time.Time
	Codec   Codec
	Raw     int64 // bytes after decompression, estimated; Size for a plain file
}

// Expand resolves patterns to files, sorted by path and without doubles. A pattern is a path, a glob (with * ? [a-z] {a,b}, and
// ** for any number of directories), or a directory, which stands for all regular files below it. Names that start
// with a dot or an underscore are left out unless the pattern spells them; so is the manifest of an earlier output.
// The error names what is missing, empty or unreadable, and what to do.
func Expand(patterns []string) ([]File, error) {
	if len(patterns) == 0 {
		return nil, errors.New("no input: give at least one path, directory or glob")
	}
	seen, dirs := make(map[string]bool), make(map[string]bool)
	var found []File
	add := func(path string) error {
		path = filepath.Clean(path)
		if seen[path] {
			return nil
		}
		seen[path] = true
		if dir := filepath.Dir(path); !dirs[dir] {
			dirs[dir] = true
			if err := unfinished(dir); err != nil {
				return err
			}
		}
		f, err := probe(path)
		if err == nil {
			found = append(found, f)
		}
		return err
	}
	for _, p := range patterns {
		n := len(found)
		if err := expand(p, add); err != nil {
			return nil, err
		}
		if len(found) == n && !seen[filepath.Clean(p)] && !anyBelow(seen, p) {
			return nil, fmt.Errorf("%s: no file found there; check the path, or take the pattern out", p)
		}
	}
	slices.SortFunc(found, func(a, b File) int { return strings.Compare(a.Path, b.Path) })
	return found, nil
}

// anyBelow reports whether an earlier pattern already found what p stands for.
func anyBelow(seen map[string]bool, p string) bool {
	for path := range seen {
		if ok, _ := doublestar.PathMatch(p, path); ok || strings.HasPrefix(path, filepath.Clean(p)+string(filepath.Separator)) {
			return true
		}
	}
	return false
}

// expand hands every file that pattern stands for to add.
func expand(pattern string, add func(string) error) error {
	switch fi, err := os.Stat(pattern); {
	case err == nil && fi.IsDir():
		return walk(pattern, add)
	case err == nil:
		return add(pattern)
	case !strings.ContainsAny(pattern, `*?[{`):
		return explain(pattern, err)
	}
	base, wild := doublestar.SplitPattern(filepath.ToSlash(pattern))
	matches, err := doublestar.FilepathGlob(pattern, doublestar.WithFailOnIOErrors())
	if err != nil {
		var pe *fs.PathError
		if errors.As(err, &pe) {
			return explain(filepath.Join(base, pe.Path), err)
		}
		return fmt.Errorf("%s: %w; globs are written with * ? [a-z] {a,b} and **", pattern, err)
	}
	spelled := hidden(wild)
	for _, m := range matches {
		rel, err := filepath.Rel(base, m)
		if err != nil {
			return fmt.Errorf("%s: %w", m, err)
		}
		if ownManifest(m) || !spelled && hidden(rel) {
			continue
		}
		fi, err := os.Stat(m)
		switch {
		case err != nil:
			return explain(m, err)
		case !fi.IsDir():
			err = add(m)
		case !strings.Contains(pattern, "**"):
			err = walk(m, add)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// hidden reports whether an element of the path starts with a dot or an underscore.
func hidden(rel string) bool {
	for _, e := range strings.Split(filepath.ToSlash(rel), "/") {
		if e != "." && e != ".." && (strings.HasPrefix(e, ".") || strings.HasPrefix(e, "_")) {
			return true
		}
	}
	return false
}

// walk hands every regular file below dir to add. It follows links to files but not links to directories, which may form a circle.
func walk(dir string, add func(string) error) error {
	return filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return explain(path, err)
		case path != dir && hidden(d.Name()):
			if d.IsDir() {
				return filepath.SkipDir
			}
			return nil
		case d.IsDir():
			return nil
		case d.Type()&fs.ModeSymlink != 0:
			if fi, err := os.Stat(path); err != nil || !fi.Mode().IsRegular() {
				return nil
			}
		case !d.Type().IsRegular():
			return nil
		}
		if ownManifest(path) {
			return nil
		}
		return add(path)
	})
}

// probe opens the file to learn whether it can be read and how it is compressed.
func probe(path string) (File, error) {
	f, err := os.Open(path)
	if err != nil {
		return File{}, explain(path, err)
	}
	defer f.Close()
	fi, err := f.Stat()
	if err != nil {
		return File{}, explain(path, err)
	}
	if !fi.Mode().IsRegular() {
		return File{}, fmt.Errorf("%s: not a regular file; write its content to a file first", path)
	}
	out := File{Path: path, Size: fi.Size(), ModTime: fi.ModTime(), Raw: fi.Size()}
	var head [4]byte
	n, err := f.ReadAt(head[:], 0)
	if n == 0 {
		if out.Size > 0 {
			return File{}, explain(path, err)
		}
		return out, nil
	}
	if out.Codec = byMagic(head[:n]); out.Codec == Plain {
		out.Codec = BySuffix(path)
	}
	out.Raw = estimate(f, out)
	return out, nil
}

// cause returns err without the path in it, for messages that name the path themselves.
func cause(err error) error {
	var pe *fs.PathError
	if errors.As(err, &pe) {
		return pe.Err
	}
	return err
}

// explain adds the way out to an error of the file system about path.
func explain(path string, err error) error {
	err = cause(err)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		if wd, wderr := os.Getwd(); wderr == nil && !filepath.IsAbs(path) {
			return fmt.Errorf("%s: %w; the path counts from %s", path, err, wd)
		}
		return fmt.Errorf("%s: %w; check the path, and that this machine has the file", path, err)
	case errors.Is(err, fs.ErrPermission):
		return fmt.Errorf("%s: %w; run as a user who may read it, or change its mode", path, err)
	}
	return fmt.Errorf("%s: %w", path, err)
}

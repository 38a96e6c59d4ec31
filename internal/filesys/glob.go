package filesys

import (
	"cmp"
	"context"
	"errors"
	"io/fs"
	"path"
	"slices"
	"strings"

	"github.com/bmatcuk/doublestar/v4"
)

// Find implements Glob for a tree of files. It lists the names below the root of tree that match
// pattern, sorted and each once. It follows links to files. It follows links to directories if the
// pattern names them, but not below **, as they may form a circle.
func Find(ctx context.Context, tree fs.FS, pattern string) ([]Info, error) {
	fi, err := fs.Stat(tree, pattern)
	var out []Info
	switch {
	case err == nil && fi.IsDir():
		out, err = walk(ctx, tree, pattern, nil)
	case err == nil:
		return []Info{infoOf(pattern, fi)}, nil
	case HasMeta(pattern):
		out, err = matchFiles(ctx, tree, pattern)
	}
	if err != nil {
		return nil, err
	}
	slices.SortFunc(out, func(a, b Info) int { return cmp.Compare(a.Path, b.Path) })
	return slices.CompactFunc(out, func(a, b Info) bool { return a.Path == b.Path }), nil
}

func infoOf(name string, fi fs.FileInfo) Info {
	return Info{Path: name, Size: fi.Size(), ModTime: fi.ModTime(), Mode: fi.Mode()}
}

// matchFiles lists the files for a glob.
func matchFiles(ctx context.Context, tree fs.FS, pattern string) ([]Info, error) {
	base, wild := doublestar.SplitPattern(pattern)
	opts := []doublestar.GlobOption{doublestar.WithFailOnIOErrors()}
	if strings.Contains(pattern, "**") {
		opts = append(opts, doublestar.WithNoFollow())
	}
	names, err := doublestar.Glob(tree, pattern, opts...)
	if err != nil {
		return nil, err
	}
	spelled := Hidden(wild)
	var out []Info
	for _, name := range names {
		if err := context.Cause(ctx); err != nil {
			return nil, err
		}
		rel := name
		if base != "." {
			rel = strings.TrimPrefix(name, base+"/")
		}
		if !spelled && Hidden(rel) {
			continue
		}
		fi, err := fs.Stat(tree, name)
		switch {
		case errors.Is(err, fs.ErrNotExist) && strings.Contains(pattern, "**") && isLink(tree, name):
			continue // a dangling link; walk skips it too
		case err != nil:
			return nil, err
		case !fi.IsDir():
			out = append(out, infoOf(name, fi))
		case !strings.Contains(pattern, "**"):
			out, err = walk(ctx, tree, name, out)
		}
		if err != nil {
			return nil, err
		}
	}
	return out, nil
}

func isLink(tree fs.FS, name string) bool {
	fi, err := fs.Lstat(tree, name)
	return err == nil && fi.Mode()&fs.ModeSymlink != 0
}

// walk appends the regular files below dir.
func walk(ctx context.Context, tree fs.FS, dir string, out []Info) ([]Info, error) {
	err := fs.WalkDir(tree, dir, func(name string, d fs.DirEntry, err error) error {
		if err == nil {
			err = context.Cause(ctx)
		}
		switch {
		case err != nil:
			return err
		case name != dir && Hidden(d.Name()):
			if d.IsDir() {
				return fs.SkipDir
			}
			return nil
		case d.IsDir():
			return nil
		}
		fi, err := fs.Stat(tree, name) // follows links
		switch {
		case errors.Is(err, fs.ErrNotExist) && d.Type()&fs.ModeSymlink != 0: // a dangling link
			return nil
		case err == nil && fi.Mode().IsRegular():
			out = append(out, infoOf(name, fi))
		}
		return err
	})
	return out, err
}

// Matcher matches names of a flat list of files with a glob, by the rules of Glob.
type Matcher struct {
	pattern, base string
	isExact       bool // without glob signs
	spelled       bool
	deep          bool
}

// NewMatcher returns a matcher for a pattern of names with slashes.
func NewMatcher(pattern string) (*Matcher, error) {
	if !doublestar.ValidatePattern(pattern) {
		return nil, &Error{pattern, doublestar.ErrBadPattern, "globs are written with * ? [a-z] {a,b} and **"}
	}
	base, wild := doublestar.SplitPattern(pattern)
	if base == "." {
		base = ""
	}
	if strings.HasSuffix(pattern, "/**") {
		pattern += "/*" // files below the directory, but not a file with its name
	}
	return &Matcher{pattern, base, !HasMeta(pattern), Hidden(wild), strings.Contains(pattern, "**")}, nil
}

// Prefix returns the common prefix of all names accepted by Match.
func (m *Matcher) Prefix() string {
	if m.isExact {
		return strings.TrimSuffix(strings.TrimPrefix(m.pattern, "."), "/")
	}
	if m.base == "" {
		return ""
	}
	return m.base + "/"
}

// Match reports whether the pattern matches the file name.
func (m *Matcher) Match(name string) bool {
	if m.isExact {
		dir := m.Prefix()
		below, ok := name, true
		if dir != "" {
			below, ok = strings.CutPrefix(name, dir+"/")
		}
		return name == dir || ok && !Hidden(below)
	}
	rel := strings.TrimPrefix(name, m.Prefix())
	if ok, _ := doublestar.Match(m.pattern, name); ok {
		return m.spelled || !Hidden(rel)
	}
	if m.deep {
		return false
	}
	// The name may be below a directory that matches.
	for dir := path.Dir(name); dir != "." && len(dir) >= len(m.base); dir = path.Dir(dir) {
		if ok, _ := doublestar.Match(m.pattern, dir); ok {
			return !Hidden(name[len(dir)+1:]) && (m.spelled || !Hidden(strings.TrimPrefix(dir, m.Prefix())))
		}
	}
	return false
}

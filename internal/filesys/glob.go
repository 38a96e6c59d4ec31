package filesys

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strings"

	"github.com/bmatcuk/doublestar/v4"
)

// Find implements Glob for a tree of files. It lists the names below the root of tree that match
// pattern, sorted and each once. It follows links to files and to directories. A directory or file
// that has several names, by links, is listed under one without links; its other names are
// LeftTwice. So links that form a circle do no harm.
func Find(ctx context.Context, tree fs.FS, pattern string) ([]Info, error) {
	f := &finder{ctx: ctx, tree: tree, seen: map[string]bool{}}
	fi, err := fs.Stat(tree, pattern)
	switch {
	case err == nil && fi.IsDir():
		err = f.walk(pattern, matchAll, fi, 0)
	case err == nil:
		return []Info{infoOf(pattern, fi)}, nil
	case HasMeta(pattern):
		if f.glob, err = parseGlob(pattern); err != nil {
			return nil, err
		}
		if fi, err = fs.Stat(tree, "."); errors.Is(err, fs.ErrNotExist) || err == nil && !fi.IsDir() {
			return nil, nil
		} else if err == nil {
			err = f.walk(".", f.glob.start(), fi, 0)
		}
	default:
		return nil, err
	}
	for err == nil && len(f.links) > 0 {
		l := f.links[0]
		f.links = f.links[1:]
		err = f.walk(l.name, l.states, l.fi, l.depth)
	}
	if err != nil {
		return nil, err
	}
	return f.files(), nil
}

func infoOf(name string, fi fs.FileInfo) Info {
	i := Info{Path: name, Size: fi.Size(), ModTime: fi.ModTime(), Mode: fi.Mode()}
	i.ID, i.Changed = identityOf(fi)
	return i
}

// finder collects the files of one glob.
type finder struct {
	ctx   context.Context
	tree  fs.FS
	glob  glob
	found []*foundFile
	links []linkedDir     // not searched yet
	seen  map[string]bool // searched directories, by identity and states
}

type foundFile struct {
	Info
	depth int // number of links on its path
}

// linkedDir is a link to a directory.
type linkedDir struct {
	name   string
	states []state
	fi     fs.FileInfo
	depth  int
}

// maxLinks is the number of links on one path. It bounds circles where files have no identity.
const maxLinks = 8

// walk searches a directory. states are the states of its own name, and depth is the number of
// links on its path.
func (f *finder) walk(dir string, states []state, fi fs.FileInfo, depth int) error {
	if err := context.Cause(f.ctx); err != nil {
		return err
	}
	if id, _ := identityOf(fi); id != "" {
		key := fmt.Sprint(id, states)
		if f.seen[key] {
			return nil
		}
		f.seen[key] = true
	}
	entries, err := fs.ReadDir(f.tree, dir)
	if err != nil && isHidden(states) {
		f.add(dir, Info{Path: dir, Mode: fs.ModeDir}, true, depth)
		return nil
	}
	if err != nil {
		return err
	}
	for _, d := range entries {
		next := f.glob.step(states, d.Name())
		if len(next) == 0 {
			continue
		}
		matches, hidden, below := f.glob.accept(next)
		name, depth := path.Join(dir, d.Name()), depth
		var fi fs.FileInfo
		if d.Type()&fs.ModeSymlink != 0 {
			depth++
			if fi, err = fs.Stat(f.tree, name); err != nil || depth > maxLinks && fi.IsDir() {
				if fi, err = d.Info(); matches && err == nil {
					i := infoOf(name, fi)
					i.LeftOut = LeftLink
					f.found = append(f.found, &foundFile{i, depth})
				}
				continue
			}
		} else if fi, err = d.Info(); err != nil {
			continue // removed in between
		}
		switch {
		case fi.IsDir() && depth > 0:
			f.links = append(f.links, linkedDir{name, next, fi, depth})
		case fi.IsDir():
			if err := f.walk(name, next, fi, depth); err != nil {
				return err
			}
		case matches && (fi.Mode().IsRegular() || !below):
			f.add(name, infoOf(name, fi), hidden, depth)
		}
	}
	return nil
}

func (f *finder) add(name string, i Info, hidden bool, depth int) {
	if hidden {
		i.LeftOut = LeftHidden
	}
	f.found = append(f.found, &foundFile{i, depth})
}

// files returns the found files, each file once.
func (f *finder) files() []Info {
	slices.SortFunc(f.found, func(a, b *foundFile) int {
		return cmp.Or(cmp.Compare(a.LeftOut, b.LeftOut), a.depth-b.depth, cmp.Compare(a.Path, b.Path))
	})
	byID := map[string]bool{}
	for _, x := range f.found {
		if x.ID == "" || x.LeftOut != "" {
			continue
		}
		if byID[x.ID] {
			x.LeftOut = LeftTwice
		}
		byID[x.ID] = true
	}
	slices.SortFunc(f.found, func(a, b *foundFile) int { return cmp.Compare(a.Path, b.Path) })
	var out []Info
	for _, x := range f.found {
		if len(out) == 0 || out[len(out)-1].Path != x.Path {
			out = append(out, x.Info)
		}
	}
	return out
}

// glob is a pattern: for each alternative of its braces, the elements between slashes.
type glob [][]string

// maxAlternatives limits the alternatives of braces in one pattern.
const maxAlternatives = 1000

// parseGlob parses a pattern of names with slashes.
func parseGlob(pattern string) (glob, error) {
	bad := &Error{pattern, doublestar.ErrBadPattern, globHelp}
	if !doublestar.ValidatePattern(pattern) {
		return nil, bad
	}
	all, ok := expandBraces(pattern, nil)
	if !ok {
		return nil, bad
	}
	g := make(glob, len(all))
	for i, p := range all {
		if p = path.Clean(p); p != "." {
			g[i] = slices.CompactFunc(strings.Split(p, "/"), func(a, b string) bool { return a == "**" && b == "**" })
		}
	}
	return g, nil
}

const globHelp = "globs are written with * ? [a-z] {a,b} and **"

// expandBraces appends the alternatives of a pattern to all. ok is false if there are too many.
func expandBraces(pattern string, all []string) (_ []string, ok bool) {
	open, depth, from := -1, 0, 0
	var parts []string
	for i := 0; i < len(pattern); i++ {
		switch c := pattern[i]; {
		case c == '\\':
			i++
		case c == '[':
			if end := strings.IndexByte(pattern[i+1:], ']'); end > 0 {
				i += end + 1
			}
		case c == '{':
			if depth++; depth == 1 {
				open, from = i, i+1
			}
		case c == ',' && depth == 1:
			parts, from = append(parts, pattern[from:i]), i+1
		case c == '}' && depth > 0:
			if depth--; depth > 0 {
				continue
			}
			for _, p := range append(parts, pattern[from:i]) {
				if all, ok = expandBraces(pattern[:open]+p+pattern[i+1:], all); !ok {
					return nil, false
				}
			}
			return all, true
		}
	}
	return append(all, pattern), len(all) < maxAlternatives
}

// state is a position in a glob after some names of a path. A position behind the last element
// stands for a path that matches, and for all paths below it.
//
// One rule decides which paths are hidden: a name that starts with a dot or an underscore, such as
// _logs but not _year=2024, is visible if its element starts with the same sign. So _* and {.a,b}
// spell such names, while *, ** and directories that match do not.
type state struct {
	glob, at int
	hidden   bool
	isBelow  bool // the path is below one that matches
}

// matchAll are the states of a directory that matches.
var matchAll = []state{{glob: -1}}

// start returns the states of the root.
func (g glob) start() []state {
	var out []state
	for i := range g {
		out = g.add(out, state{glob: i})
	}
	return out
}

// add adds a state, and the states that need no further name. Of equal positions a visible one
// stays.
func (g glob) add(states []state, s state) []state {
	for i := range states {
		if x := &states[i]; x.glob == s.glob && x.at == s.at {
			x.hidden, x.isBelow = x.hidden && s.hidden, x.isBelow && s.isBelow
			return states
		}
	}
	return append(states, s)
}

// step returns the states after one more name.
func (g glob) step(states []state, name string) []state {
	var next []state
	hides := Hidden(name)
	for _, s := range states {
		for {
			n := s
			switch {
			case s.glob < 0 || s.at == len(g[s.glob]):
				n.hidden, n.isBelow = s.hidden || hides, true
				next = g.add(next, n)
			case g[s.glob][s.at] == "**":
				n.hidden = s.hidden || hides
				if next = g.add(next, n); s.at == len(g[s.glob])-1 {
					n.at++
					next = g.add(next, n)
				} else { // ** stands for no name, too
					s.at++
					continue
				}
			default:
				e := g[s.glob][s.at]
				if ok, _ := doublestar.Match(e, name); ok {
					n.at, n.hidden = s.at+1, s.hidden || hides && e[0] != name[0]
					next = g.add(next, n)
				}
			}
			break
		}
	}
	return next
}

// accept reports whether a file with these states matches, whether it is hidden then, and whether
// it matches only because a directory above it does.
func (g glob) accept(states []state) (ok, hidden, below bool) {
	hidden, below = true, true
	for _, s := range states {
		if s.glob < 0 || s.at == len(g[s.glob]) {
			ok, hidden, below = true, hidden && s.hidden, below && s.isBelow
		}
	}
	return ok, hidden, below
}

// isHidden reports whether all states are hidden.
func isHidden(states []state) bool {
	return !slices.ContainsFunc(states, func(s state) bool { return !s.hidden })
}

// Matcher matches names of a flat list of files with a glob, by the rules of Glob.
type Matcher struct {
	glob   glob
	prefix string
}

// NewMatcher returns a matcher for a pattern of names with slashes.
func NewMatcher(pattern string) (*Matcher, error) {
	if !HasMeta(pattern) {
		p := strings.TrimSuffix(path.Clean(pattern), "/")
		if p == "" || p == "." {
			return &Matcher{glob: glob{nil}}, nil
		}
		return &Matcher{glob{strings.Split(escape(p), "/")}, p}, nil
	}
	g, err := parseGlob(pattern)
	if err != nil {
		return nil, err
	}
	m := &Matcher{glob: g}
	if base, _ := doublestar.SplitPattern(pattern); base != "." {
		m.prefix = base + "/"
	}
	return m, nil
}

// escape returns a glob that matches name alone.
func escape(name string) string { return strings.ReplaceAll(name, `\`, `\\`) }

// Prefix returns the common prefix of all names accepted by Match.
func (m *Matcher) Prefix() string { return m.prefix }

// Match reports whether the pattern matches the file name, and whether the name is hidden.
func (m *Matcher) Match(name string) (ok, hidden bool) {
	states := m.glob.start()
	for e := range strings.SplitSeq(name, "/") {
		if states = m.glob.step(states, e); len(states) == 0 {
			return false, false
		}
	}
	ok, hidden, _ = m.glob.accept(states)
	return ok, hidden
}

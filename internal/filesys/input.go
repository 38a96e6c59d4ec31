package filesys

import (
	"context"
	"fmt"
	"github.com/layshaft/layshaft/internal/report"
	"path/filepath"
	"strings"
	"sync"
)

// Input decides which of the files that match a glob are read by the sources of a run. It collects
// the files that it leaves out. It is safe for concurrent use.
type Input struct {
	// Hidden admits names that start with a dot or an underscore.
	Hidden bool
	// Outputs are the files and directories that the run writes to. Set it before the first Admit.
	Outputs []string

	// mu guards the fields below.
	mu   sync.Mutex
	left map[LeftOut]*LeftFiles
	own  []string          // Outputs, resolved
	dirs map[string]string // resolved directories
	// what planning does at the moment, and its files: done and, if known, all of them
	phase     string
	done, all int
	found     map[string]any // lists of files by what was listed
}

// Remember returns the result of list for key. While one plan is made, it calls list once for each
// key: sources list their files to name the job, and again to cut them. A caller must not change
// the result.
func (in *Input) Remember(key string, list func() (any, error)) (any, error) {
	in.mu.Lock()
	v, ok := in.found[key]
	in.mu.Unlock()
	if ok {
		return v, nil
	}
	v, err := list()
	if err != nil {
		return nil, err
	}
	in.mu.Lock()
	defer in.mu.Unlock()
	if in.found == nil {
		in.found = map[string]any{}
	}
	in.found[key] = v
	return v, nil
}

// Forget drops what Remember has kept.
func (in *Input) Forget() {
	in.mu.Lock()
	defer in.mu.Unlock()
	in.found = nil
}

// Begin notes what planning does next, with a number of files; zero if it is unknown.
func (in *Input) Begin(phase string, files int) {
	in.mu.Lock()
	defer in.mu.Unlock()
	in.phase, in.done, in.all = phase, 0, files
}

// Advance notes that the current phase of planning is done with n more files.
func (in *Input) Advance(n int) {
	in.mu.Lock()
	defer in.mu.Unlock()
	in.done += n
}

// Phase returns what planning does at the moment in one line; empty before it begins.
func (in *Input) Phase() string {
	in.mu.Lock()
	defer in.mu.Unlock()
	switch {
	case in.phase == "":
		return ""
	case in.all == 0:
		return in.phase + ": " + report.Plural(in.done, "file")
	}
	return fmt.Sprintf("%s: %d of %s", in.phase, min(in.done, in.all), report.Plural(in.all, "file"))
}

// LeftFiles are the files left out for one reason.
type LeftFiles struct {
	First string // one of them
	names map[string]bool
}

// N is the number of files.
func (l *LeftFiles) N() int { return len(l.names) }

type inputKey struct{}

// WithInput returns a context in which sources choose their files by in.
func WithInput(ctx context.Context, in *Input) context.Context {
	return context.WithValue(ctx, inputKey{}, in)
}

// InputOf returns the Input of ctx. Without one it returns a new Input.
func InputOf(ctx context.Context) *Input {
	if in, ok := ctx.Value(inputKey{}).(*Input); ok {
		return in
	}
	return &Input{}
}

// CopyManifest is the file that lists what COPY of a report has written to a directory.
const CopyManifest = "_layshaft_copy.json"

// Admit returns the reason for which a file is left out; empty if it is read. LeftTwice is a reason
// only for a file with another name that is read.
func (in *Input) Admit(i *Info) LeftOut {
	why := i.LeftOut
	if why == LeftHidden && Base(i.Path) == CopyManifest {
		return LeftCopy // also with Hidden; nobody misses it
	}
	if why == LeftHidden && in.Hidden {
		why = ""
	}
	if in.isOwn(i.Path) {
		why = LeftOwn
	}
	if why != "" {
		in.Leave(i, why)
	}
	return why
}

// Leave notes that a file is left out.
func (in *Input) Leave(i *Info, why LeftOut) {
	in.mu.Lock()
	defer in.mu.Unlock()
	if in.left == nil {
		in.left = map[LeftOut]*LeftFiles{}
	}
	l := in.left[why]
	if l == nil {
		l = &LeftFiles{i.Path, map[string]bool{}}
		in.left[why] = l
	}
	key := i.Path
	if i.ID != "" && why != LeftTwice {
		key = i.ID // links lead to it under several names
	}
	l.names[key] = true
}

// LeftOut returns the files left out for a reason; nil if there are none.
func (in *Input) LeftOut(why LeftOut) *LeftFiles {
	in.mu.Lock()
	defer in.mu.Unlock()
	return in.left[why]
}

// isOwn reports whether path lies in one of the places of Outputs.
func (in *Input) isOwn(path string) bool {
	if len(in.Outputs) == 0 {
		return false
	}
	in.mu.Lock()
	defer in.mu.Unlock()
	if in.dirs == nil {
		in.dirs = map[string]string{}
		for _, o := range in.Outputs {
			in.own = append(in.own, in.resolve(o))
		}
	}
	dir, ok := in.dirs[Dir(path)]
	if !ok {
		dir = in.resolve(Dir(path))
		in.dirs[Dir(path)] = dir
	}
	path = strings.TrimSuffix(dir, "/") + "/" + Base(path)
	for _, o := range in.own {
		if path == o || strings.HasPrefix(path, strings.TrimSuffix(o, "/")+"/") {
			return true
		}
	}
	return false
}

// resolve returns a path with slashes that is equal for all spellings of one file or directory.
func (in *Input) resolve(path string) string {
	name, err := OS{}.name(path)
	if err != nil {
		return OnHost(Clean(path), "")
	}
	abs, err := filepath.Abs(name)
	if err != nil {
		return path
	}
	// the last names may not exist yet
	rest := ""
	for dir := abs; ; dir = filepath.Dir(dir) {
		real, err := filepath.EvalSymlinks(dir)
		if err == nil {
			return filepath.ToSlash(filepath.Join(real, rest))
		}
		if dir == filepath.Dir(dir) {
			return filepath.ToSlash(abs)
		}
		rest = filepath.Join(filepath.Base(dir), rest)
	}
}

// TempMark is in the name of every temporary file or directory of a job. Such names start with a
// dot.
const TempMark = ".layshaft-"

// IsTemp reports whether a path is a temporary file of a job, or lies below a temporary directory.
func IsTemp(path string) bool {
	for e := range strings.SplitSeq(filepath.ToSlash(path), "/") {
		if strings.HasPrefix(e, ".") && strings.Contains(e, TempMark) {
			return true
		}
	}
	return false
}

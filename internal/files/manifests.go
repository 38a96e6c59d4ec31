package files

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"path/filepath"
	"slices"
	"strings"

	"github.com/layshaft/layshaft/internal/filesys"
	"github.com/layshaft/layshaft/internal/report"
)

// outputDir describes a directory of input files.
type outputDir struct {
	hasManifest bool // it contains a manifest of an earlier job
	manifest    manifest
	parts       map[string]Part // of the manifest, by name
	isSpread    bool            // its files may lie on several hosts
}

// errChanged means that an output changed while it was listed, or that somebody changed its files.
var errChanged = errors.New("the directory does not contain what its manifest lists")

// byManifests returns the input files among infos, the files that match pattern. Manifests of
// outputs are no input. A pattern that matches parts of an output gives exactly the parts that its
// manifest lists. It leaves out parts of an earlier job that came back with their host; other files
// beside the parts are an error, as are parts that are missing or have another size.
//
// It returns an error for a directory in which Finish is not done, and for parts on absent hosts.
// dirs caches the directories.
func byManifests(ctx context.Context, pattern string, infos []filesys.Info, dirs map[string]*outputDir) ([]filesys.Info, error) {
	here := make(map[string]bool)
	var fresh []string
	for _, i := range infos {
		for _, dir := range outputsOf(i.Path) {
			if dirs[dir] == nil {
				dirs[dir] = &outputDir{}
				fresh = append(fresh, dir)
			}
		}
	}
	if err := each(len(fresh), 16, func(i int) error { return dirs[fresh[i]].load(ctx, fresh[i]) }); err != nil {
		return nil, err
	}
	parts, others := make(map[string]filesys.Info), make(map[string]string) // by path; one of the others by directory
	infos = slices.DeleteFunc(infos, func(i filesys.Info) bool {
		dir, name := outputOf(i.Path, dirs), filesys.Base(i.Path)
		d := dirs[dir]
		here[dir] = true
		p, isPart := d.parts[strings.TrimPrefix(filesys.OnHost(filesys.Clean(i.Path), ""), filesys.OnHost(filesys.Clean(dir), "")+"/")]
		switch {
		case !d.hasManifest:
		case name == manifestName || d.isSpread && strings.HasPrefix(name, "part-") && (!isPart || p.Bytes != i.Size):
			return true
		case isPart:
			parts[i.Path] = i
		default:
			others[dir] = i.Path
		}
		return false
	})
	for _, dir := range slices.Sorted(maps.Keys(here)) {
		if d := dirs[dir]; d.hasManifest {
			if err := d.checkParts(dir, pattern, parts, others[dir]); err != nil {
				return nil, err
			}
		}
	}
	return infos, nil
}

// outputsOf returns the directories of the outputs to which a file may belong: its own directory,
// and those above its folders, such as year=2026.
func outputsOf(path string) []string {
	dir := filesys.Dir(path)
	all := []string{dir}
	for strings.Contains(filesys.Base(dir), "=") && filesys.Dir(dir) != dir {
		dir = filesys.Dir(dir)
		all = append(all, dir)
	}
	return all
}

// outputOf returns the directory of the output to which a file belongs, or else its own directory.
func outputOf(path string, dirs map[string]*outputDir) string {
	all := outputsOf(path)
	for _, dir := range all {
		if dirs[dir].hasManifest {
			return dir
		}
	}
	return all[0]
}

// isPart reports whether a file lies in an output with a manifest.
func isPart(path string, dirs map[string]*outputDir) bool {
	return slices.ContainsFunc(outputsOf(path), func(dir string) bool { return dirs[dir] != nil && dirs[dir].hasManifest })
}

// load reads the manifest of dir, if there is one.
func (d *outputDir) load(ctx context.Context, dir string) (err error) {
	d.manifest, err = readManifest(ctx, dir)
	var foreign *foreignManifest
	if errors.Is(err, fs.ErrNotExist) || errors.As(err, &foreign) {
		return nil
	}
	if err != nil {
		return err
	}
	if !d.manifest.Complete {
		return fmt.Errorf("%s contains files of two jobs, because job %s is still moving its output there, or was stopped meanwhile; wait for it, or run that job again", dir, d.manifest.Job)
	}
	d.hasManifest = true
	d.parts = make(map[string]Part, len(d.manifest.Parts))
	for _, p := range d.manifest.Parts {
		d.parts[p.Name] = p
	}
	d.isSpread = isSpread(ctx, dir)
	return nil
}

// checkParts returns an error when a part that matches pattern is missing in parts or has another
// size, and when there are parts but also another file, other. A file named like a part counts as
// one.
func (d *outputDir) checkParts(dir, pattern string, parts map[string]filesys.Info, other string) error {
	m, err := filesys.NewMatcher(nameOf(filesys.Clean(pattern)))
	if err != nil {
		return err
	}
	seen := false
	for _, p := range d.manifest.Parts {
		path := filesys.Join(dir, p.Name)
		info, ok := parts[path]
		seen = seen || ok
		switch {
		case ok && info.Size == p.Bytes:
		case ok:
			return fmt.Errorf("%s has %s, but %d in %s: %w; %s", path, report.Plural(info.Size, "byte"), p.Bytes, manifestName, errChanged, d.advice())
		case !matches(m, nameOf(path)):
		case d.isSpread:
			return &filesys.Error{Path: path, Err: filesys.ErrGone,
				Help: fmt.Sprintf("worker %s wrote it, and no present worker has a copy; restart that worker, or run job %s again", p.Host, d.manifest.Job)}
		default:
			return fmt.Errorf("%s is missing: %w; %s", path, errChanged, d.advice())
		}
	}
	if other != "" && (seen || strings.HasPrefix(filesys.Base(other), "part-")) {
		return fmt.Errorf("%s is not in %s: %w; move the file to another directory, or %s", other, manifestName, errChanged, d.advice())
	}
	return nil
}

// matches reports whether a pattern matches a name that is not hidden.
func matches(m *filesys.Matcher, name string) bool {
	ok, hidden := m.Match(name)
	return ok && !hidden
}

func (d *outputDir) advice() string {
	return fmt.Sprintf("run job %s again, or remove %s to read the files as they are", d.manifest.Job, manifestName)
}

// nameOf returns a path without its scheme and place, for a Matcher.
func nameOf(path string) string {
	if filesys.Scheme(path) != "" {
		_, path = filesys.Cut(path)
	}
	return filepath.ToSlash(path)
}

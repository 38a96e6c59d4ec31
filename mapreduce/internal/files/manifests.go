package files

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"slices"
	"strings"

	"github.com/layshaft/layshaft/internal/filesys"
)

// outputDir describes a directory of input files.
type outputDir struct {
	hasManifest bool // it contains a manifest of an earlier job
	manifest    manifest
	isSpread    bool // its files may lie on several hosts
}

// withoutManifests removes the manifests of earlier outputs from infos, the files that match
// pattern. It also removes parts of an earlier job that came back with their host.
//
// It returns an error for a directory in which Finish was killed, and for a directory with parts on
// absent hosts. dirs caches the directories.
func withoutManifests(ctx context.Context, pattern string, infos []filesys.Info, dirs map[string]*outputDir) ([]filesys.Info, error) {
	here := make(map[string]bool)
	var fresh []string
	for _, i := range infos {
		dir := filesys.Dir(i.Path)
		if here[dir] = true; dirs[dir] == nil {
			dirs[dir] = &outputDir{}
			fresh = append(fresh, dir)
		}
	}
	if err := each(len(fresh), 16, func(i int) error { return dirs[fresh[i]].load(ctx, fresh[i]) }); err != nil {
		return nil, err
	}
	seen := make(map[string]bool)
	infos = slices.DeleteFunc(infos, func(i filesys.Info) bool {
		d, name := dirs[filesys.Dir(i.Path)], filesys.Base(i.Path)
		if !d.hasManifest {
			return false
		}
		if name == manifestName || d.isSpread && strings.HasPrefix(name, "part-") && !d.manifest.hasPart(name, i.Size) {
			return true
		}
		seen[i.Path] = true
		return false
	})
	for _, dir := range slices.Sorted(maps.Keys(here)) {
		if d := dirs[dir]; d.hasManifest && d.isSpread {
			if err := d.checkParts(dir, pattern, seen); err != nil {
				return nil, err
			}
		}
	}
	return infos, nil
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
		return fmt.Errorf("%s contains files of two jobs, because job %s was stopped while moving its output; run that job again", dir, d.manifest.Job)
	}
	d.hasManifest = true
	d.isSpread = isSpread(ctx, dir)
	return nil
}

// checkParts returns an error when a part that matches pattern is missing in seen.
func (d *outputDir) checkParts(dir, pattern string, seen map[string]bool) error {
	_, name := filesys.Cut(filesys.Clean(pattern))
	m, err := filesys.NewMatcher(name)
	if err != nil {
		return err
	}
	for _, p := range d.manifest.Parts {
		path := filesys.Join(dir, p.Name)
		if _, name := filesys.Cut(path); m.Match(name) && !seen[path] {
			return &filesys.Error{Path: path, Err: filesys.ErrGone,
				Help: fmt.Sprintf("worker %s wrote it, and no present worker has a copy; restart that worker, or run job %s again", p.Host, d.manifest.Job)}
		}
	}
	return nil
}

// hasPart reports whether the manifest lists a part with that name and size.
func (m *manifest) hasPart(name string, size int64) bool {
	return slices.ContainsFunc(m.Parts, func(p Part) bool { return p.Name == name && p.Bytes == size })
}

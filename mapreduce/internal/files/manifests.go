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
	ours     bool // it contains a manifest of an earlier job
	manifest manifest
	spread   bool // its files may lie on several hosts
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
	if err := each(len(fresh), 16, func(i int) error { return dirs[fresh[i]].look(ctx, fresh[i]) }); err != nil {
		return nil, err
	}
	seen := make(map[string]bool)
	infos = slices.DeleteFunc(infos, func(i filesys.Info) bool {
		d, name := dirs[filesys.Dir(i.Path)], filesys.Base(i.Path)
		if !d.ours {
			return false
		}
		if name == manifestName || d.spread && strings.HasPrefix(name, "part-") && !d.manifest.has(name, i.Size) {
			return true
		}
		seen[i.Path] = true
		return false
	})
	for _, dir := range slices.Sorted(maps.Keys(here)) {
		if d := dirs[dir]; d.ours && d.spread {
			if err := d.complete(dir, pattern, seen); err != nil {
				return nil, err
			}
		}
	}
	return infos, nil
}

// look reads the manifest of dir, if there is one.
func (d *outputDir) look(ctx context.Context, dir string) (err error) {
	d.manifest, err = readManifest(ctx, dir)
	var foreign *notOurs
	if errors.Is(err, fs.ErrNotExist) || errors.As(err, &foreign) {
		return nil
	}
	if err != nil {
		return err
	}
	if !d.manifest.Complete {
		return fmt.Errorf("%s holds a mixture of files, as job %s was stopped while it moved its output in; run that job again", dir, d.manifest.Job)
	}
	d.ours = true
	d.spread = isSpread(ctx, dir)
	return nil
}

// complete returns an error when a part that matches pattern is missing in seen.
func (d *outputDir) complete(dir, pattern string, seen map[string]bool) error {
	_, name := filesys.Cut(filesys.Clean(pattern))
	m, err := filesys.NewMatcher(name)
	if err != nil {
		return err
	}
	for _, p := range d.manifest.Parts {
		path := filesys.Join(dir, p.Name)
		if _, name := filesys.Cut(path); m.Match(name) && !seen[path] {
			return &filesys.Error{Path: path, Err: filesys.ErrGone,
				Help: fmt.Sprintf("worker %s wrote it and no worker that is there has it: bring that one back, or run job %s again", p.Host, d.manifest.Job)}
		}
	}
	return nil
}

// has reports whether the manifest lists a part with that name and size.
func (m *manifest) has(name string, size int64) bool {
	return slices.ContainsFunc(m.Parts, func(p Part) bool { return p.Name == name && p.Bytes == size })
}

package files

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/layshaft/layshaft/internal/filesys"
)

// A shelf is a directory with files of the last run and an index that names them:
//
//	SHELF/index.json
//	SHELF/JOB/part-00000.kept
//
// The index is replaced atomically, and the files of two runs never share a name. So whoever reads
// the index finds the files that it names, whenever a process is killed.

// shelfIndex is the name of the index.
const shelfIndex = "index.json"

// Shelf is a directory that keeps the files of a run for a later one.
type Shelf struct {
	Path string
	// NoSync skips syncing to disk; see Dir.NoSync.
	NoSync bool
}

// keptExt is the extension of the files.
const keptExt = "kept"

func (s *Shelf) dir() *Dir { return &Dir{Path: s.Path, Ext: keptExt, NoSync: s.NoSync} }

// Check makes the directory, and lets workers write to it. It returns an error if the directory
// contains anything but the files of earlier runs, because Keep and Remove remove the rest.
func (s *Shelf) Check(ctx context.Context) error {
	fsys, err := filesys.Of(ctx, s.Path)
	if err != nil {
		return err
	}
	if err := makeDirs(ctx, fsys, s.Path, s.NoSync); err != nil {
		return fmt.Errorf("directory of partial results %s: %w; choose another place for the output", s.Path, filesys.Cause(err))
	}
	if err := checkWritable(ctx, fsys, s.Path); err != nil {
		return err
	}
	entries, err := fsys.ReadDir(ctx, s.Path)
	if err != nil {
		return err
	}
	for _, e := range entries {
		switch name := filesys.Base(e.Path); {
		case name == shelfIndex || strings.HasPrefix(name, tempPrefix):
		case !e.Mode.IsDir():
			return s.foreign(name)
		default:
			parts, err := fsys.ReadDir(ctx, e.Path)
			if err != nil {
				return err
			}
			for _, part := range parts {
				if base := filesys.Base(part.Path); part.Mode.IsDir() || !strings.HasSuffix(base, "."+keptExt) {
					return s.foreign(name + "/" + base)
				}
			}
		}
	}
	return filesys.LendDir(ctx, s.Path, tempPrefix)
}

// foreign returns the error of a directory with a file that Keep and Remove must not remove.
func (s *Shelf) foreign(name string) error {
	return fmt.Errorf("directory of partial results %s contains %s, which no earlier run has written; choose another place for the output, or remove it", s.Path, name)
}

// Create starts the file of one attempt.
func (s *Shelf) Create(ctx context.Context, t Task) (*Writer, error) { return s.dir().Create(ctx, t) }

// Move moves the files of the committed attempts of a job to the directory of the job, and returns
// them in the order of parts. It may be killed at any point and called again.
func (s *Shelf) Move(ctx context.Context, job string, parts [][]byte) ([]Part, error) {
	fsys, err := filesys.Of(ctx, s.Path)
	if err != nil {
		return nil, err
	}
	list, err := parseParts(parts)
	if err != nil {
		return nil, err
	}
	d, to := s.dir(), filesys.Join(s.Path, job)
	if err := makeDirs(ctx, fsys, to, s.NoSync); err != nil {
		return nil, err
	}
	err = each(len(list), atOnce(s.Path), func(i int) error {
		_, err := moveIn(ctx, fsys, filesys.Join(d.tempDir(job), list[i].Temp), filesys.Join(to, list[i].Name), list[i])
		list[i].Name, list[i].Temp = job+"/"+list[i].Name, ""
		return err
	})
	if err == nil {
		err = syncDir(ctx, fsys, to, s.NoSync)
	}
	return list, err
}

// WriteIndex replaces the index.
func (s *Shelf) WriteIndex(ctx context.Context, index any) error {
	fsys, err := filesys.Of(ctx, s.Path)
	if err != nil {
		return err
	}
	data, err := json.MarshalIndent(index, "", " ")
	if err != nil {
		return err
	}
	step("write index")
	f, err := fsys.Create(ctx, filesys.Join(s.Path, tempPrefix+"index"))
	if err != nil {
		return err
	}
	_, err = f.Write(append(data, '\n'))
	if err == nil && !s.NoSync {
		err = f.Sync()
	}
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	if err != nil {
		return err
	}
	step("rename index")
	if err := fsys.Rename(ctx, f.Path(), filesys.Join(s.Path, shelfIndex)); err != nil {
		return err
	}
	return syncDir(ctx, fsys, s.Path, s.NoSync)
}

// ReadIndex reads the index. Without one the error is fs.ErrNotExist.
func (s *Shelf) ReadIndex(ctx context.Context, index any) error {
	path := filesys.Join(s.Path, shelfIndex)
	f, err := filesys.Open(ctx, path, nil, nil)
	if err != nil {
		return err
	}
	defer f.Close()
	data, err := io.ReadAll(f.Stream(0, 1<<62))
	if err != nil {
		return withPath(path, err)
	}
	if err := json.NewDecoder(bytes.NewReader(data)).Decode(index); err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	return nil
}

// Keep removes the files of all jobs but one, and all temporary files of that one.
func (s *Shelf) Keep(ctx context.Context, job string) error {
	fsys, err := filesys.Of(ctx, s.Path)
	if err != nil {
		return err
	}
	entries, err := fsys.ReadDir(ctx, s.Path)
	if err != nil {
		return err
	}
	stale := slices.DeleteFunc(entries, func(e filesys.Info) bool {
		name := filesys.Base(e.Path)
		return name == shelfIndex || name == job || strings.HasPrefix(name, tempPrefix) && name != tempPrefix+job
	})
	for _, e := range stale {
		step("remove stale")
		if err := fsys.RemoveAll(ctx, e.Path); err != nil {
			return err
		}
	}
	return nil
}

// Remove removes everything.
func (s *Shelf) Remove(ctx context.Context) error {
	fsys, err := filesys.Of(ctx, s.Path)
	if err != nil {
		return err
	}
	// Without the index, nobody looks for the rest.
	if err := fsys.Remove(ctx, filesys.Join(s.Path, shelfIndex)); err != nil {
		return err
	}
	return fsys.RemoveAll(ctx, s.Path)
}

// Abandon removes the temporary files of a job, and the directory if nothing else is in it.
func (s *Shelf) Abandon(ctx context.Context, job string) error {
	if err := s.dir().Abandon(ctx, job); err != nil {
		return err
	}
	fsys, err := filesys.Of(ctx, s.Path)
	if err == nil {
		_ = fsys.Remove(ctx, s.Path) // fails if it has files
	}
	return err
}

package workflow

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"time"

	"github.com/layshaft/layshaft/internal/files"
	"github.com/layshaft/layshaft/internal/filesys"
	"github.com/layshaft/layshaft/mapreduce"
)

// Files are files that a step has found, sorted by path.
type Files []File

// File is one of them, as it was.
type File struct {
	Path string
	Size int64     // bytes
	Time time.Time // of the last change, in UTC
}

// Paths returns the paths.
func (f Files) Paths() []string {
	paths := make([]string, len(f))
	for i := range f {
		paths[i] = f[i].Path
	}
	return paths
}

// Changed returns the files that are not in before, or differ from it in size or time.
func (f Files) Changed(before Files) Files {
	known := map[File]bool{}
	for _, x := range before {
		known[x] = true
	}
	return slices.DeleteFunc(slices.Clone(f), func(x File) bool { return known[x] })
}

// filesPoll is the pause between two looks at files.
const filesPoll = 5 * time.Second

// WaitForFiles waits until each pattern matches files, and all of them stay as they are for five
// seconds. Patterns have the form of sources: paths, globs and directories, on this machine or
// another place that target knows, such as dataset://. With before, the result of an earlier run,
// it waits until the files differ from it, too. It blocks until ctx ends: use the option Timeout.
// Any other error than missing files ends it.
func WaitForFiles(ctx context.Context, target mapreduce.Target, before Files, patterns ...string) (found Files, err error) {
	err = mapreduce.WithFiles(ctx, target, func(ctx context.Context) (err error) {
		found, err = waitForFiles(ctx, before, patterns)
		return err
	})
	return found, err
}

func waitForFiles(ctx context.Context, before Files, patterns []string) (Files, error) {
	var seen Files
	var missing error // why there are no files yet
	for {
		found, err := lookForFiles(ctx, patterns)
		if ctx.Err() != nil {
			break
		}
		if missing = err; err != nil && !errors.Is(err, fs.ErrNotExist) {
			return nil, err
		}
		if err == nil && slices.Equal(found, seen) && !slices.Equal(found, before) {
			return found, nil
		}
		seen = found
		select {
		case <-ctx.Done():
		case <-time.After(filesPoll):
		}
	}
	if missing != nil {
		return nil, fmt.Errorf("%w: waiting for files: %w", context.Cause(ctx), missing)
	}
	return nil, context.Cause(ctx)
}

// lookForFiles lists the files of today: an Input remembers what it has listed.
func lookForFiles(ctx context.Context, patterns []string) (found Files, err error) {
	list, err := files.Expand(filesys.WithInput(ctx, &filesys.Input{Hidden: filesys.InputOf(ctx).Hidden}), patterns)
	for _, f := range list {
		found = append(found, File{f.Path, f.Size, f.ModTime.UTC()})
	}
	return found, err
}

package report

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/layshaft/layshaft/internal/dirs"
	"github.com/layshaft/layshaft/internal/files"
	"github.com/layshaft/layshaft/internal/filesys"
	"github.com/layshaft/layshaft/internal/state"
	"github.com/layshaft/layshaft/report/internal/render"
)

// COPY writes to a hidden directory beside its target, and renames the complete result. The
// directory is locked, so that a later COPY to the same target can remove what a killed one has
// left, and nothing of one that runs.

// stageName returns how the hidden directories beside a target begin.
func stageName(target string) string { return "." + filepath.Base(target) + ".layshaft-copy-" }

// newStage makes and locks a hidden directory beside a target on this machine, and removes what
// killed runs have left there. job is the end of its name.
func newStage(target string) (dir, job string, unlock func() error, err error) {
	parent := filepath.Dir(target)
	if err := dirs.MkdirAll(parent, 0o755); err != nil {
		return "", "", nil, fmt.Errorf("COPY: %w; choose another place", err)
	}
	left, err := os.ReadDir(parent)
	if err != nil {
		return "", "", nil, fmt.Errorf("COPY: %w", err)
	}
	for _, e := range left {
		if !e.IsDir() || !strings.HasPrefix(e.Name(), stageName(target)) {
			continue
		}
		old := filepath.Join(parent, e.Name())
		if unlock, err := state.Lock(old); err == nil {
			if _, err := os.Lstat(target); errors.Is(err, fs.ErrNotExist) {
				_ = os.Rename(filepath.Join(old, "old"), target) // it was moved away; usually it was not
			}
			_ = os.RemoveAll(old) // the next COPY tries again
			_ = unlock()
		}
	}
	for {
		job = strings.ToLower(rand.Text()[:10])
		dir = filepath.Join(parent, stageName(target)+job)
		if err := os.Mkdir(dir, 0o755); err != nil {
			return "", "", nil, fmt.Errorf("COPY: %w; choose another place", err)
		}
		unlock, err := state.Lock(dir)
		if err == nil {
			if _, err = os.Stat(filepath.Join(dir, state.LockName)); err == nil {
				return dir, job, unlock, nil
			}
			_ = unlock()
		}
		if !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, state.ErrLocked) {
			return "", "", nil, fmt.Errorf("COPY: %w", err)
		}
		// another COPY has taken the directory for a left one
	}
}

// writeFile writes the result to a file, and counts its rows. The file appears when it is complete,
// and replaces an older one.
func (s *Statement) writeFile(ctx context.Context, c *copying, n *int64) (err error) {
	out := &files.One{Path: c.path, Compress: c.fileCodec()}
	if err := out.Check(ctx); err != nil {
		return err
	}
	job := "copy-" + strings.ToLower(rand.Text()[:10])
	if filesys.Scheme(c.path) == "" {
		dir, id, unlock, err := newStage(c.path)
		if err != nil {
			return err
		}
		job = "copy-" + id
		defer func() {
			_ = os.RemoveAll(dir) // Finish has removed it already
			_ = unlock()
		}()
	}
	w, err := out.Create(ctx, files.Task{Job: job, Of: 1, Attempt: 1})
	if err != nil {
		return err
	}
	closed := false
	defer func() {
		if !closed {
			w.Abort()
		}
		if err != nil {
			err = errors.Join(err, out.Abandon(context.WithoutCancel(ctx), job))
		}
	}()
	rows := &Rows{fields: s.queryFields(), text: s.s.Text, batches: s.run(ctx)}
	var sink render.Writer
	if sink, err = c.sink(w, s.s.Text); err != nil {
		return err
	}
	if err := rows.writeTo(sink, 0, n); err != nil {
		return err
	}
	w.Records = *n
	closed = true
	part, err := w.Close()
	if err != nil {
		return err
	}
	return out.Finish(ctx, job, [][]byte{part})
}

package files

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"strings"

	"github.com/layshaft/layshaft/internal/filesys"
)

// A process may stand still while it publishes, and go on when another one has published, or even a
// later job. So each Finish claims the output first: it makes a directory of its own and removes
// the files of the others. All changes that could do harm begin with a rename from or to this
// directory:
//
//	.layshaft-JOB/publish-A/manifest.json   becomes manifest.json
//	part-00007.txt of an earlier job        becomes .layshaft-JOB/publish-A/part-00007.txt
//
// They fail without the directory. Other file systems than the machine's make missing
// directories, or rename in two steps. There, each change is preceded by a look at the claim.

// claimPrefix begins the names of directories of claims.
const claimPrefix = "publish-"

// claim is the right to publish the output of a job, until another one claims it.
type claim struct {
	fsys filesys.FS
	out  string // directory of the output
	file string // path of a file in the directory of the claim, with its host
}

// errOvertaken means that another attempt publishes the output, or has published it.
var errOvertaken = errors.New("another attempt of the job has begun to publish its output, and this one ends")

// claimOutput claims the output of a job for the caller. The manifest of the output stays on host,
// unless that is empty.
func (d *Dir) claimOutput(ctx context.Context, fsys filesys.FS, job, host string) (c *claim, err error) {
	temp := d.tempDir(job)
	name := claimPrefix + rand.Text()
	path := filesys.OnHost(filesys.Join(temp, name, "claim"), host)
	if err := fsys.MkdirAll(ctx, filesys.Dir(path)); err != nil {
		return nil, err
	}
	f, err := fsys.Create(ctx, path)
	if err != nil {
		return nil, err
	}
	if err := f.Close(); err != nil {
		return nil, err
	}
	c = &claim{fsys: fsys, out: d.Path, file: f.Path()}
	defer func() {
		if err != nil {
			c.release(ctx)
		}
	}()
	entries, err := fsys.ReadDir(ctx, temp)
	if err != nil {
		return nil, err
	}
	for _, e := range entries {
		if other := filesys.Base(e.Path); strings.HasPrefix(other, claimPrefix) && other != name {
			if err := ignoreGone(fsys.RemoveAll(ctx, filesys.Join(temp, other))); err != nil {
				return nil, err
			}
		}
	}
	return c, nil
}

// path returns the path of a file in the directory of the claim.
func (c *claim) path(name string) string {
	return filesys.OnHost(filesys.Join(filesys.Dir(filesys.OnHost(c.file, "")), name), filesys.Host(c.file))
}

// check returns an error if the claim was lost.
func (c *claim) check(ctx context.Context) error { return c.explain(c.stat(ctx)) }

func (c *claim) stat(ctx context.Context) error {
	_, err := c.fsys.Stat(ctx, c.file)
	return err
}

// explain returns a clearer error if a file of the claim is missing.
func (c *claim) explain(err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("%s: %w", c.out, errOvertaken)
	}
	return err
}

// removeStale removes a file of the output.
func (c *claim) removeStale(ctx context.Context, name string) error {
	if err := c.check(ctx); err != nil {
		return err
	}
	step("remove stale part")
	path := filesys.Join(c.out, name)
	if _, local := c.fsys.(filesys.OS); !local {
		return ignoreGone(c.fsys.Remove(ctx, path))
	}
	err := c.fsys.Rename(ctx, path, c.path(filesys.Base(name)))
	if errors.Is(err, fs.ErrNotExist) { // removed before, or the claim was lost
		return c.check(ctx)
	}
	return err
}

// removeFolders removes the folders of stale files that are empty now.
func (c *claim) removeFolders(ctx context.Context, stale []string) error {
	if _, local := c.fsys.(filesys.OS); !local {
		return nil // other file systems do not show empty folders, or keep them on a host
	}
	for _, name := range stale {
		for dir := filesys.Dir(name); dir != "."; dir = filesys.Dir(dir) {
			if err := c.check(ctx); err != nil {
				return err
			}
			if c.fsys.Remove(ctx, filesys.Join(c.out, dir)) != nil {
				break // it is not empty, or gone
			}
		}
	}
	return nil
}

// release ends the claim after an error.
func (c *claim) release(ctx context.Context) {
	dir := filesys.Dir(c.file)
	_ = c.fsys.RemoveAll(ctx, dir)
	_ = c.fsys.Remove(ctx, filesys.Dir(dir)) // unless others have files there
}

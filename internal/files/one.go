package files

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"time"

	"github.com/layshaft/layshaft/internal/filesys"
)

// One is a single output file: the files of all tasks, concatenated in task order.
type One struct {
	Path     string // path of the file
	Compress Codec  // compression of the file; zero means Plain
	// NoSync skips syncing to disk. A power failure may then lose or truncate the file of a
	// finished job.
	NoSync bool

	join  Joiner  // nil joins bytes
	count Counter // of files that join made
}

// String returns the path.
func (o *One) String() string { return o.Path }

// WithCodec returns a copy with codec c.
func (o *One) WithCodec(c Codec) Output {
	out := *o
	out.Compress = c
	return &out
}

// Check creates the directory of the file and checks that it can be written.
func (o *One) Check(ctx context.Context) error {
	if o.Path == "" {
		return errors.New("the path of the output file is empty; name a file")
	}
	if err := errCannotWrite(o.Path, o.Compress); err != nil {
		return err
	}
	fsys, err := filesys.Of(ctx, o.Path)
	if err != nil {
		return err
	}
	if fi, err := fsys.Stat(ctx, o.Path); err == nil && !fi.Mode.IsRegular() {
		return fmt.Errorf("output file %s is a directory or a device; choose another path", o.Path)
	}
	dir := filesys.Dir(o.Path)
	if err := makeDirs(ctx, fsys, dir, o.NoSync); err != nil {
		return fmt.Errorf("output file %s: %w; choose another place", o.Path, filesys.Cause(err))
	}
	if err := filesys.LendDir(ctx, dir, o.tempName("")); err != nil {
		return err
	}
	return checkWritable(ctx, fsys, dir)
}

func (o *One) tempName(job string) string { return "." + filesys.Base(o.Path) + tempPrefix + job }

// tempDir returns the path of the job's temporary directory. It is beside the file, so that a
// rename suffices.
func (o *One) tempDir(job string) string { return filesys.Join(filesys.Dir(o.Path), o.tempName(job)) }

// Create starts the file of one attempt in the temporary directory of the job.
func (o *One) Create(ctx context.Context, t Task) (*Writer, error) {
	p := Part{Name: filesys.Base(o.Path), Temp: fmt.Sprintf("part-%05d.attempt-%d", t.Index, t.Attempt)}
	w, err := newWriter(ctx, filesys.Join(o.tempDir(t.Job), p.Temp), o.Compress, p, o.NoSync)
	if err == nil {
		w.noHead = t.Index > 0
	}
	return w, err
}

// Finish joins the parts and renames the result to its final path.
func (o *One) Finish(ctx context.Context, job string, parts [][]byte) error {
	list, err := parseParts(parts)
	if err != nil {
		return err
	}
	fsys, err := filesys.Of(ctx, o.Path)
	if err != nil {
		return err
	}
	var total int64
	for _, p := range list {
		total += p.Bytes
	}
	// A file with this name means that the result is in place, and that some of the parts may be
	// gone.
	temp := o.tempDir(job)
	done := temp + ".done"
	if _, err := fsys.Stat(ctx, done); err == nil {
		return o.Abandon(ctx, job)
	} else if !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if _, err := fsys.Stat(ctx, temp); errors.Is(err, fs.ErrNotExist) && total > 0 {
		// Either an earlier Finish removed the directory, or the parts are elsewhere.
		if !o.isWhole(ctx, fsys, list, total) {
			return fmt.Errorf("the parts of %s are gone (%s): if it was removed, run the job again; if workers wrote it, every one must see the same directory: use a shared file system, a dataset or an object store, or run embedded", o.Path, temp)
		}
		return nil
	}
	step("join parts")
	whole, err := o.joinParts(ctx, fsys, temp, list)
	if err != nil {
		return err
	}
	step("rename result")
	host := filesys.Host(whole)
	if old, err := fsys.Stat(ctx, o.Path); err == nil && slices.ContainsFunc(old.Hosts, func(h string) bool { return h != host }) {
		if err := fsys.Remove(ctx, o.Path); err != nil {
			return err
		}
	}
	if err := fsys.Rename(ctx, whole, filesys.OnHost(o.Path, host)); err != nil {
		return err
	}
	dir := filesys.Dir(o.Path)
	if err := syncDir(ctx, fsys, dir, o.NoSync); err != nil {
		return err
	}
	step("mark as done")
	mark, err := fsys.Create(ctx, filesys.OnHost(done, host))
	if err != nil {
		return err
	}
	if err := errors.Join(mark.Close(), syncDir(ctx, fsys, dir, o.NoSync)); err != nil {
		return err
	}
	step("remove temporary directory")
	return o.Abandon(ctx, job)
}

// isWhole reports whether the file can be the result of an earlier Finish of list. total is the sum
// of the bytes of list.
func (o *One) isWhole(ctx context.Context, fsys filesys.FS, list []Part, total int64) bool {
	fi, err := fsys.Stat(ctx, o.Path)
	if err != nil || o.join == nil {
		return err == nil && fi.Size == total
	}
	f, err := fsys.Open(ctx, o.Path)
	if err != nil {
		return false
	}
	defer f.Close()
	n, err := o.count(f, fi.Size)
	for _, p := range list {
		n -= p.Records
	}
	return err == nil && n == 0
}

// Published reports whether the file exists and was not modified after ended, the time when the job
// ended.
func (o *One) Published(ctx context.Context, _ string, ended time.Time) (bool, error) {
	fsys, err := filesys.Of(ctx, o.Path)
	if err != nil {
		return false, err
	}
	fi, err := fsys.Stat(ctx, o.Path)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	return err == nil && !fi.ModTime.After(ended), err
}

// joinParts writes all parts to one file and returns its path.
func (o *One) joinParts(ctx context.Context, fsys filesys.FS, temp string, list []Part) (whole string, err error) {
	if err := makeDirs(ctx, fsys, temp, o.NoSync); err != nil {
		return "", err
	}
	f, err := fsys.Create(ctx, filesys.Join(temp, "whole"))
	if err != nil {
		return "", err
	}
	if err := joinFiles(ctx, fsys, f, temp, list, o.join); err != nil {
		f.Abort()
		return "", err
	}
	if !o.NoSync {
		if err := f.Sync(); err != nil {
			f.Abort()
			return "", err
		}
	}
	return f.Path(), f.Close()
}

// Abandon removes the temporary directory of the job.
func (o *One) Abandon(ctx context.Context, job string) error {
	if err := removeTemp(ctx, o.tempDir(job)); err != nil {
		return err
	}
	return removeTemp(ctx, o.tempDir(job)+".done")
}

package files

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
)

// One is a single output file: the files of all tasks, one behind the other in task order.
type One struct {
	Path     string
	Compress Codec
	NoSync   bool // leave writing to disk to the kernel; a power cut may then lose or cut the file of a finished job
}

// String returns the path.
func (o *One) String() string { return o.Path }

// With returns a copy that compresses with c.
func (o *One) With(c Codec) Output {
	out := *o
	out.Compress = c
	return &out
}

// Check makes the directory of the file and finds out whether it can be written.
func (o *One) Check(context.Context) error {
	if fi, err := os.Stat(o.Path); err == nil && !fi.Mode().IsRegular() {
		return fmt.Errorf("output file %s is a directory or a device; choose another path", o.Path)
	}
	dir := filepath.Dir(o.Path)
	if err := os.MkdirAll(dir, 0o777); err != nil {
		return fmt.Errorf("output file %s: %w; choose another place", o.Path, err)
	}
	return writable(dir)
}

// temp names the temporary directory of a job. It lies beside the file, so that a rename suffices.
func (o *One) temp(job string) string {
	return filepath.Join(filepath.Dir(o.Path), "."+filepath.Base(o.Path)+tempPrefix+job)
}

// Create starts the file of one attempt in the temporary directory of the job.
func (o *One) Create(_ context.Context, t Task) (*Writer, error) {
	if err := os.MkdirAll(o.temp(t.Job), 0o777); err != nil {
		return nil, err
	}
	p := Part{Name: filepath.Base(o.Path), Temp: fmt.Sprintf("part-%05d.attempt-%d", t.Index, t.Attempt)}
	return newWriter(filepath.Join(o.temp(t.Job), p.Temp), o.Compress, p, o.NoSync)
}

// Finish joins the parts and renames the result into place.
func (o *One) Finish(_ context.Context, job string, parts [][]byte) error {
	list, err := parse(parts)
	if err != nil {
		return err
	}
	var total int64
	for _, p := range list {
		total += p.Bytes
	}
	temp := o.temp(job)
	if _, err := os.Stat(temp); errors.Is(err, fs.ErrNotExist) && total > 0 {
		// Either Finish got as far as removing it, or the parts are elsewhere.
		if fi, err := os.Stat(o.Path); err != nil || fi.Size() != total {
			return fmt.Errorf("the parts of %s are gone (%s): every worker must see the same directory; use a shared file system, or run embedded", o.Path, temp)
		}
		return os.RemoveAll(temp + ".done")
	}
	if err := os.MkdirAll(temp, 0o777); err != nil {
		return err
	}
	step("join parts")
	whole := filepath.Join(temp, "whole")
	if err := o.join(whole, temp, list); err != nil {
		return err
	}
	step("rename result")
	if err := os.Rename(whole, o.Path); err != nil {
		return err
	}
	if err := syncDir(filepath.Dir(o.Path), o.NoSync); err != nil {
		return err
	}
	// Removing takes several steps; renaming first makes it one.
	step("rename temporary directory")
	done := temp + ".done"
	if err := errors.Join(os.RemoveAll(done), os.Rename(temp, done)); err != nil {
		return err
	}
	step("remove temporary directory")
	return os.RemoveAll(done)
}

// join writes the parts one behind the other. On Linux the kernel copies (copy_file_range).
func (o *One) join(whole, temp string, list []Part) (err error) {
	f, err := os.Create(whole)
	if err != nil {
		return err
	}
	defer func() {
		if cerr := f.Close(); err == nil {
			err = cerr
		}
	}()
	for _, p := range list {
		src, err := os.Open(filepath.Join(temp, p.Temp))
		if err != nil {
			return err
		}
		n, err := io.Copy(f, src)
		src.Close()
		if err != nil {
			return err
		}
		if n != p.Bytes {
			return fmt.Errorf("%s has %d bytes, its task wrote %d", src.Name(), n, p.Bytes)
		}
	}
	if o.NoSync {
		return nil
	}
	return f.Sync()
}

// Abandon removes the temporary directory of the job.
func (o *One) Abandon(_ context.Context, job string) error {
	return errors.Join(os.RemoveAll(o.temp(job)), os.RemoveAll(o.temp(job)+".done"))
}

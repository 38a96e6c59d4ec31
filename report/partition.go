package report

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sync/errgroup"

	"github.com/layshaft/layshaft/internal/files"
	"github.com/layshaft/layshaft/internal/filesys"
	"github.com/layshaft/layshaft/internal/state"
	"github.com/layshaft/layshaft/report/internal/expr"
	"github.com/layshaft/layshaft/report/internal/render"
	"github.com/layshaft/layshaft/report/internal/scan"
	"github.com/layshaft/layshaft/report/internal/vec"
)

// COPY with PARTITION_BY writes a directory in the manner of Hive:
// year=2024/month=5/part-0.parquet. The rows are sorted by partition first, so one file is open at
// a time for any number of them. All files are complete before the directory gets its name.

// manifest lists the files of a directory, so that OVERWRITE deletes no others.
type manifest struct {
	Query string     `json:"query"`
	Rows  int64      `json:"rows"`
	Files []copyFile `json:"files"`
}

// copyFile is a file of a manifest: its path in the directory, with slashes, and its size.
type copyFile struct {
	Path  string `json:"path"`
	Bytes int64  `json:"bytes"`
}

// writePartitions writes the result to a directory, and counts its rows.
func (s *Statement) writePartitions(ctx context.Context, c *copying, n *int64) (err error) {
	target, err := filepath.Abs(c.path)
	if err != nil {
		return err
	}
	if real, err := filepath.EvalSymlinks(target); err == nil {
		target = real
	}
	if _, err := c.foreign(target); err != nil { // refused before the work, and checked again after it
		return err
	}
	dir, _, unlock, err := newStage(target)
	if err != nil {
		return err
	}
	defer func() {
		if removed := os.RemoveAll(dir); err == nil && removed != nil {
			err = fmt.Errorf("COPY is done, but cannot clean up: %w", removed)
		}
		_ = unlock()
	}()
	w := &partitions{s: s, c: c, ctx: ctx, dir: filepath.Join(dir, "new"), list: manifest{Query: s.s.Text}}
	rows := &Rows{fields: s.queryFields(), text: s.s.Text, batches: s.run(ctx)}
	err = rows.writeTo(w, 0, n)
	if err = errors.Join(err, w.close(err)); err != nil {
		return err
	}
	w.list.Rows = *n
	if err := w.finish(); err != nil {
		return err
	}
	return c.publish(w.dir, target)
}

// foreign returns the files of a target that no COPY has written. An error refuses the target.
func (c *copying) foreign(target string) (others []string, err error) {
	info, err := os.Stat(target)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	if !info.IsDir() {
		return nil, fmt.Errorf("COPY: %s is a file; PARTITION_BY needs a directory", c.path)
	}
	own := map[string]int64{filesys.CopyManifest: -1}
	var m manifest
	if data, err := os.ReadFile(filepath.Join(target, filesys.CopyManifest)); err == nil {
		if err := json.Unmarshal(data, &m); err != nil {
			return nil, fmt.Errorf("COPY: %s: %w; choose another directory", filepath.Join(c.path, filesys.CopyManifest), err)
		}
	}
	for _, f := range m.Files {
		own[f.Path] = f.Bytes
	}
	err = filepath.WalkDir(target, func(p string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		rel, err := filepath.Rel(target, p)
		if err != nil {
			return err
		}
		rel = filepath.ToSlash(rel)
		if !c.overwrite {
			return fmt.Errorf("COPY: the directory %s is not empty, it has %s; add OVERWRITE to replace an earlier COPY, or choose another directory", c.path, rel)
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		if size, ok := own[rel]; ok && d.Type().IsRegular() && (size < 0 || size == info.Size()) {
			return nil
		}
		if strings.Contains(path.Base(rel), "."+c.format) || strings.Contains(rel, "=") {
			return fmt.Errorf("COPY: %s in %s was not written by COPY, and would be read with the result; move it, or choose another directory", rel, c.path)
		}
		others = append(others, rel)
		return nil
	})
	return others, err
}

// publish gives a complete directory its final name. The files of an earlier COPY go, and others
// stay.
func (c *copying) publish(dir, target string) error {
	others, err := c.foreign(target)
	if err != nil {
		return err
	}
	info, err := os.Stat(target)
	if errors.Is(err, fs.ErrNotExist) {
		if err := os.Rename(dir, target); err != nil {
			return fmt.Errorf("COPY: %w", err)
		}
		return state.SyncDir(filepath.Dir(target))
	}
	if err == nil {
		err = os.Chmod(dir, info.Mode().Perm())
	}
	for _, rel := range others {
		to := filepath.Join(dir, filepath.FromSlash(rel))
		if err == nil {
			err = os.MkdirAll(filepath.Dir(to), 0o755)
		}
		if err == nil { // a second name, so that the file is in place at any moment
			err = os.Link(filepath.Join(target, filepath.FromSlash(rel)), to)
		}
	}
	if err == nil {
		err = exchange(dir, target)
	}
	if err != nil {
		return fmt.Errorf("COPY: the directory %s cannot be replaced: %w; choose another one", c.path, err)
	}
	// dir is the old directory now, unless it was moved elsewhere. Files that came meanwhile stay.
	late, _ := c.foreign(dir)
	for _, rel := range late {
		to := filepath.Join(target, filepath.FromSlash(rel))
		if _, err := os.Lstat(to); errors.Is(err, fs.ErrNotExist) {
			_ = os.MkdirAll(filepath.Dir(to), 0o755) // Rename fails, too
			if err := os.Rename(filepath.Join(dir, filepath.FromSlash(rel)), to); err != nil {
				return err
			}
		}
	}
	return state.SyncDir(filepath.Dir(target))
}

// exchangeByRename is exchange in two steps. A COPY that is killed between them is completed by
// newStage.
func exchangeByRename(dir, target string) error {
	old := filepath.Join(filepath.Dir(dir), "old")
	if err := os.Rename(target, old); err != nil {
		return err
	}
	if err := os.Rename(dir, target); err != nil {
		return errors.Join(err, os.Rename(old, target))
	}
	return nil
}

// partitions is a render.Writer of sorted rows to one file after the other.
type partitions struct {
	s    *Statement
	c    *copying
	ctx  context.Context
	dir  string
	list manifest

	fields []vec.Field // of the files
	names  []string    // of the partition columns, escaped
	key    []byte      // of the open file
	next   []byte
	file   *files.Writer
	sink   render.Writer
	synced errgroup.Group
}

// Begin keeps the columns.
func (w *partitions) Begin(columns []vec.Field) error {
	for i, f := range columns {
		if !slices.Contains(w.c.columns, i) {
			w.fields = append(w.fields, f)
		}
	}
	for _, i := range w.c.columns {
		name := files.EscapeFolder(columns[i].Name)
		if strings.HasPrefix(name, ".") { // such folders are hidden
			name = "%2E" + name[1:]
		}
		w.names = append(w.names, name)
	}
	w.synced.SetLimit(8)
	return os.MkdirAll(w.dir, 0o755)
}

// Write writes rows to the files of their partitions.
func (w *partitions) Write(b *vec.Batch) error {
	for start := 0; start < b.N; {
		key := w.appendKey(w.next[:0], b, start)
		end := start + 1
		for ; end < b.N; end++ {
			if other := w.appendKey(key, b, end); !bytes.Equal(key, other[len(key):]) {
				break
			}
		}
		if w.sink == nil || !bytes.Equal(key, w.key) {
			if err := w.end(); err != nil {
				return err
			}
			w.key, w.next = key, w.key
			if err := w.open(b, start); err != nil {
				return err
			}
		}
		part := w.cutRows(b, start, end)
		if err := w.sink.Write(part); err != nil {
			return err
		}
		w.file.Records += int64(part.N)
		start = end
	}
	return nil
}

// appendKey appends the partition of a row.
func (w *partitions) appendKey(dst []byte, b *vec.Batch, row int) []byte {
	for _, i := range w.c.columns {
		dst = b.Cols[i].AppendKey(dst, row, vec.Order{})
	}
	return dst
}

// cutRows returns rows without their partition columns.
func (w *partitions) cutRows(b *vec.Batch, start, end int) *vec.Batch {
	some := &vec.Batch{N: b.N}
	for i, v := range b.Cols {
		if !slices.Contains(w.c.columns, i) {
			some.Cols = append(some.Cols, v)
		}
	}
	if start == 0 && end == b.N {
		return some
	}
	rows := make([]int32, end-start)
	for i := range rows {
		rows[i] = int32(start + i)
	}
	return some.Gather(rows)
}

// open creates the file of the partition of a row.
func (w *partitions) open(b *vec.Batch, row int) error {
	folders := make([]string, len(w.c.columns))
	for k, i := range w.c.columns {
		value := scan.NoPartition
		if v := b.Cols[i]; !v.Null(row) && v.Type.Kind != vec.Null {
			if value = files.EscapeFolder(string(expr.AppendText(nil, v, row))); value == scan.NoPartition {
				value = "%5F" + value[1:] // the text, not NULL
			}
		}
		if folders[k] = w.names[k] + "=" + value; len(folders[k]) > 255 {
			return fmt.Errorf("COPY: the partition %s… is too long for the name of a directory; partition by a shorter column", folders[k][:60])
		}
	}
	return w.create(folders)
}

// create creates the file of a partition.
func (w *partitions) create(folders []string) error {
	name := "part-0." + w.c.format + w.c.fileCodec().Suffix()
	rel := path.Join(append(folders, name)...)
	file, err := files.NewFile(w.ctx, filepath.Join(w.dir, filepath.FromSlash(rel)), w.c.fileCodec())
	if err != nil {
		return err
	}
	w.file = file
	w.list.Files = append(w.list.Files, copyFile{Path: rel})
	if w.sink, err = w.c.sink(file, w.s.s.Text); err != nil {
		return err
	}
	return w.sink.Begin(w.fields)
}

// end completes the open file, and starts to move it to the disk.
func (w *partitions) end() error {
	if w.sink == nil {
		return nil
	}
	err := w.sink.End()
	w.sink = nil
	if err != nil {
		return err
	}
	if _, err = w.file.Close(); err != nil {
		return err
	}
	w.file = nil
	f := &w.list.Files[len(w.list.Files)-1]
	name := filepath.Join(w.dir, filepath.FromSlash(f.Path))
	info, err := os.Stat(name)
	if err != nil {
		return err
	}
	f.Bytes = info.Size()
	w.synced.Go(func() error {
		f, err := os.OpenFile(name, os.O_RDWR, 0)
		if err != nil {
			return err
		}
		return errors.Join(f.Sync(), f.Close())
	})
	return nil
}

// End completes the last file. Without rows, a file of the partition NULL has the columns, so that
// the directory can be read.
func (w *partitions) End() error {
	if len(w.list.Files) == 0 {
		folders := make([]string, len(w.names))
		for k, name := range w.names {
			folders[k] = name + "=" + scan.NoPartition
		}
		if err := w.create(folders); err != nil {
			return err
		}
	}
	return w.end()
}

// close waits until all files are on the disk. After an error it removes an open file.
func (w *partitions) close(failed error) error {
	if w.file != nil && failed != nil {
		w.file.Abort()
	}
	return w.synced.Wait()
}

// finish writes the manifest, and moves the names of all files to the disk.
func (w *partitions) finish() error {
	data, err := json.MarshalIndent(w.list, "", "  ")
	if err != nil {
		return err
	}
	f, err := os.OpenFile(filepath.Join(w.dir, filesys.CopyManifest), os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	_, err = f.Write(append(data, '\n'))
	if err := errors.Join(err, f.Sync(), f.Close()); err != nil {
		return err
	}
	dirs := map[string]bool{"": true}
	for _, f := range w.list.Files {
		for d := path.Dir(f.Path); d != "."; d = path.Dir(d) {
			dirs[d] = true
		}
	}
	var g errgroup.Group
	g.SetLimit(8)
	for d := range dirs {
		g.Go(func() error { return state.SyncDir(filepath.Join(w.dir, filepath.FromSlash(d))) })
	}
	return g.Wait()
}

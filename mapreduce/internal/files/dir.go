package files

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

const (
	manifestName = "manifest.json"
	tempPrefix   = ".layshaft-"
)

// manifest says what a finished output directory holds. It is the last file to appear.
type manifest struct {
	Layshaft int    `json:"layshaft"` // version of this format; first, so that our manifests are known by their first bytes
	Job      string `json:"job"`
	Complete bool   `json:"complete"` // false while Finish is at work: the parts are a mixture of two jobs
	Parts    []Part `json:"parts"`
}

// step is called before each change that Finish makes, so that a test can kill it there.
var step = func(string) {}

// Dir is a directory that holds one output file per task, part-00000.EXT and so on, and manifest.json.
type Dir struct {
	Path     string
	Ext      string // of the part files, without a dot
	Compress Codec
	NoSync   bool // leave writing to disk to the kernel; a power cut may then lose or cut files of a finished job
}

// String returns the path.
func (d *Dir) String() string { return d.Path }

// With returns a copy that compresses with c.
func (d *Dir) With(c Codec) Output {
	out := *d
	out.Compress = c
	return &out
}

// Check makes the directory. It refuses one that holds anything but the output of an earlier job.
func (d *Dir) Check(context.Context) error {
	if err := os.MkdirAll(d.Path, 0o777); err != nil {
		return fmt.Errorf("output directory %s: %w; choose another place", d.Path, cause(err))
	}
	if err := writable(d.Path); err != nil {
		return err
	}
	if _, err := readManifest(d.Path); err == nil {
		return nil
	} else if !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	entries, err := os.ReadDir(d.Path)
	if err != nil {
		return explain(d.Path, err)
	}
	for _, e := range entries {
		if !strings.HasPrefix(e.Name(), tempPrefix) {
			return fmt.Errorf("output directory %s holds %s, which no earlier run made; choose another directory, or remove it", d.Path, e.Name())
		}
	}
	return nil
}

// writable makes and removes a file in dir.
func writable(dir string) error {
	f, err := os.CreateTemp(dir, tempPrefix+"check-*")
	if err != nil {
		return fmt.Errorf("%s cannot be written: %w; choose another place, or change its mode", dir, cause(err))
	}
	f.Close()
	return os.Remove(f.Name())
}

func (d *Dir) temp(job string) string { return filepath.Join(d.Path, tempPrefix+job) }

// Create starts the file of one attempt in the temporary directory of the job.
func (d *Dir) Create(_ context.Context, t Task) (*Writer, error) {
	temp := d.temp(t.Job)
	if err := os.MkdirAll(temp, 0o777); err != nil {
		return nil, err
	}
	ext := d.Compress.Suffix()
	if d.Ext != "" {
		ext = "." + d.Ext + ext
	}
	p := Part{Name: fmt.Sprintf("part-%05d%s", t.Index, ext), Temp: fmt.Sprintf("part-%05d.attempt-%d%s", t.Index, t.Attempt, ext)}
	return newWriter(filepath.Join(temp, p.Temp), d.Compress, p, d.NoSync)
}

// Finish moves the parts into place, removes those of an earlier job, and writes the manifest. Until it is complete, the
// manifest says so, and lists the files of both jobs.
func (d *Dir) Finish(ctx context.Context, job string, parts [][]byte) error {
	list, err := parse(parts)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(d.Path, 0o777); err != nil {
		return err
	}
	old, err := readManifest(d.Path)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if old.Complete && old.Job == job {
		return d.Abandon(ctx, job)
	}
	final := manifest{Layshaft: 1, Job: job, Complete: true, Parts: make([]Part, len(list))}
	keep := make(map[string]bool, len(list))
	for i, p := range list {
		keep[p.Name] = true
		p.Temp = ""
		final.Parts[i] = p
	}
	working := manifest{Layshaft: 1, Job: job, Parts: final.Parts}
	var stale []string
	for _, p := range old.Parts {
		if !keep[p.Name] {
			working.Parts = append(working.Parts[:len(working.Parts):len(working.Parts)], p)
			stale = append(stale, p.Name)
		}
	}
	if err := d.writeManifest(working); err != nil {
		return err
	}
	for _, p := range list {
		if err := moveIn(filepath.Join(d.temp(job), p.Temp), filepath.Join(d.Path, p.Name), p); err != nil {
			return err
		}
	}
	for _, name := range stale {
		step("remove stale part")
		if err := os.Remove(filepath.Join(d.Path, name)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	if err := d.writeManifest(final); err != nil {
		return err
	}
	step("remove temporary directory")
	return d.Abandon(ctx, job)
}

// moveIn renames from to to, unless an earlier Finish did.
func moveIn(from, to string, p Part) error {
	step("rename part")
	err := os.Rename(from, to)
	if !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if fi, serr := os.Stat(to); serr == nil && fi.Size() == p.Bytes {
		return nil
	}
	return fmt.Errorf("output part %s is gone (%s): every worker must see the same directory; use a shared file system, or run embedded", p.Name, from)
}

// Abandon removes the temporary directory of the job.
func (d *Dir) Abandon(_ context.Context, job string) error { return os.RemoveAll(d.temp(job)) }

// writeManifest replaces the manifest at one moment.
func (d *Dir) writeManifest(m manifest) error {
	data, err := json.MarshalIndent(m, "", " ")
	if err != nil {
		return err
	}
	data = append(bytes.Replace(data, []byte("{\n \"layshaft\": "), []byte(manifestHead), 1), '\n')
	if err := os.MkdirAll(d.temp(m.Job), 0o777); err != nil {
		return err
	}
	step("write manifest")
	temp := filepath.Join(d.temp(m.Job), manifestName)
	f, err := os.Create(temp)
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	if err == nil && !d.NoSync {
		err = f.Sync()
	}
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	if err != nil {
		return err
	}
	step("rename manifest")
	if err := os.Rename(temp, filepath.Join(d.Path, manifestName)); err != nil {
		return err
	}
	return syncDir(d.Path, d.NoSync)
}

// syncDir makes renames in dir last.
func syncDir(dir string, noSync bool) error {
	if noSync {
		return nil
	}
	f, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer f.Close()
	return f.Sync()
}

// manifestHead is how our manifests begin; other programs write files of that name too.
const manifestHead = `{"layshaft": `

// readManifest reads the manifest of an output directory.
func readManifest(dir string) (m manifest, err error) {
	path := filepath.Join(dir, manifestName)
	data, err := os.ReadFile(path)
	if err != nil {
		return m, err
	}
	if !bytes.HasPrefix(data, []byte(manifestHead)) {
		return m, fmt.Errorf("%s is not ours; choose another directory, or remove it", path)
	}
	if err := json.Unmarshal(data, &m); err != nil {
		return m, fmt.Errorf("%s: %w; choose another directory, or remove it", path, err)
	}
	return m, nil
}

// ownManifest reports whether path is the manifest of an output directory, which is no data.
func ownManifest(path string) bool {
	if filepath.Base(path) != manifestName {
		return false
	}
	f, err := os.Open(path)
	if err != nil {
		return false
	}
	defer f.Close()
	head := make([]byte, len(manifestHead))
	n, _ := f.ReadAt(head, 0)
	return string(head[:n]) == manifestHead
}

// unfinished refuses to read a directory in which Finish was killed.
func unfinished(dir string) error {
	if !ownManifest(filepath.Join(dir, manifestName)) {
		return nil
	}
	m, err := readManifest(dir)
	if err != nil {
		return err
	}
	if !m.Complete {
		return fmt.Errorf("%s holds a mixture of files, as job %s was stopped while it moved its output in; run that job again", dir, m.Job)
	}
	return nil
}

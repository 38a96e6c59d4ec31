package files

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"slices"
	"strings"
	"time"

	"github.com/layshaft/layshaft/internal/filesys"
	"github.com/layshaft/layshaft/internal/report"
)

const (
	manifestName = "manifest.json"
	tempPrefix   = ".layshaft-"
)

// manifest lists the contents of a finished output directory. It is the last file to appear.
type manifest struct {
	// Layshaft is the version of this format. It comes first, so that the first bytes identify a
	// manifest of this program.
	Layshaft int    `json:"layshaft"`
	Job      string `json:"job"`
	// Complete is false while Finish runs, when the files are a mixture of two jobs.
	Complete bool   `json:"complete"`
	Parts    []Part `json:"parts"`
	// Requeued lists the set-aside records that later runs have added; see FinishRequeue.
	Requeued []string `json:"requeued,omitempty"`
}

// step is called before each change by Finish, so that a test can stop it there.
var step = func(string) {}

// Dir is a directory with one output file per task (part-00000.EXT and so on) and manifest.json.
type Dir struct {
	Path     string // path of the directory
	Ext      string // of the part files, without a dot
	Compress Codec  // compression of the part files; zero means Plain
	// NoSync skips syncing to disk. A power failure may then lose or truncate files of a finished
	// job.
	NoSync bool

	size    int64    // Finish joins files that are smaller than half of it; zero means none
	folders []string // names of the levels of folders
	join    Joiner   // nil joins bytes
}

// String returns the path.
func (d *Dir) String() string { return d.Path }

// WithCodec returns a copy with codec c.
func (d *Dir) WithCodec(c Codec) Output {
	out := *d
	out.Compress = c
	return &out
}

// Check creates the directory. It returns an error if the directory contains anything but the
// output of an earlier job.
func (d *Dir) Check(ctx context.Context) error {
	if d.Path == "" {
		return errors.New("the path of the output directory is empty; name a directory")
	}
	fsys, err := filesys.Of(ctx, d.Path)
	if err != nil {
		return err
	}
	if err := makeDirs(ctx, fsys, d.Path, d.NoSync); err != nil {
		return fmt.Errorf("output directory %s: %w; choose another place", d.Path, filesys.Cause(err))
	}
	if err := checkWritable(ctx, fsys, d.Path); err != nil {
		return err
	}
	if err := filesys.LendDir(ctx, d.Path, tempPrefix); err != nil {
		return err
	}
	if _, err := readManifest(ctx, d.Path); err == nil {
		return nil
	} else if !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	entries, err := fsys.ReadDir(ctx, d.Path)
	if err != nil {
		return err
	}
	for _, e := range entries {
		if name := filesys.Base(e.Path); !strings.HasPrefix(name, tempPrefix) {
			return fmt.Errorf("output directory %s contains %s, which is not the output of an earlier job; choose another directory, or remove it", d.Path, name)
		}
	}
	return nil
}

// checkWritable checks that files can be created in dir, by creating and removing one.
func checkWritable(ctx context.Context, fsys filesys.FS, dir string) error {
	f, err := fsys.Create(ctx, filesys.Join(dir, tempPrefix+"check-"+rand.Text()))
	if err == nil {
		if err = f.Close(); err == nil {
			err = fsys.Remove(ctx, f.Path())
		}
	}
	if err != nil {
		return fmt.Errorf("%s cannot be written: %w; choose another place, or change its mode", dir, filesys.Cause(err))
	}
	return nil
}

func (d *Dir) tempDir(job string) string { return filesys.Join(d.Path, tempPrefix+job) }

// Create starts the file of one attempt in the temporary directory of the job.
func (d *Dir) Create(ctx context.Context, t Task) (*Writer, error) {
	return d.create(ctx, t, "", -1, -1)
}

// create starts file n of a folder, which is empty or ends with a slash. It is file number m of the
// attempt. A negative n means that the task has one file.
func (d *Dir) create(ctx context.Context, t Task, folder string, n, m int) (*Writer, error) {
	ext := d.Compress.Suffix()
	if d.Ext != "" {
		ext = "." + d.Ext + ext
	}
	name, temp := fmt.Sprintf("part-%05d", t.Index), fmt.Sprintf("part-%05d.attempt-%d", t.Index, t.Attempt)
	if n >= 0 {
		name, temp = fmt.Sprintf("%s-%05d", name, n), fmt.Sprintf("%s-%05d", temp, m)
	}
	if isSpread(ctx, d.Path) {
		// Parts of an earlier job or attempt may come back with their host, and must not be taken
		// for copies of these parts. An earlier Finish may have moved the part of an attempt whose
		// host was lost then.
		name = fmt.Sprintf("%s-%s-%d", name, t.Job, t.Attempt)
	}
	p := Part{Name: folder + name + ext, Temp: temp + ext}
	w, err := newWriter(ctx, filesys.Join(d.tempDir(t.Job), p.Temp), d.Compress, p, d.NoSync)
	if err == nil {
		w.joinable = d.size > 0
	}
	return w, err
}

// Finish moves the parts to their final names, removes the parts of an earlier job, and writes the
// manifest. Until then, the manifest is marked incomplete and lists the files of both jobs. Each
// part stays on its host. Small files are joined first; see plan.
//
// If another Finish begins meanwhile, at most one of them changes anything from then on; see claim.
func (d *Dir) Finish(ctx context.Context, job string, parts [][]byte) error {
	list, err := parseParts(parts)
	if err != nil {
		return err
	}
	return d.finish(ctx, job, list, nil)
}

// finish is Finish. With add, the parts are added to the output.
func (d *Dir) finish(ctx context.Context, job string, list []Part, add *addition) (err error) {
	fsys, err := filesys.Of(ctx, d.Path)
	if err != nil {
		return err
	}
	if err := makeDirs(ctx, fsys, d.Path, d.NoSync); err != nil {
		return err
	}
	old, err := readManifest(ctx, d.Path)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	groups := d.plan(list)
	if add == nil && old.Complete && old.Job == job && sameParts(old.Parts, groups) && d.partsInPlace(ctx, fsys, old.Parts) {
		return d.Abandon(ctx, job)
	}
	c, err := d.claimOutput(ctx, fsys, job, d.manifestHost(ctx, fsys, job))
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			c.release(context.WithoutCancel(ctx))
		}
	}()
	// What happened before the claim counts.
	if old, err = readManifest(ctx, d.Path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if add != nil {
		done, err := add.check(d.Path, old, list)
		if err != nil {
			return err
		}
		if done {
			return d.Abandon(ctx, job)
		}
	}
	// Before the first change, make sure that every part exists.
	moved := old.Job == job || add != nil || isSpread(ctx, d.Path) // where the names of parts contain the job
	if err := each(len(groups), atOnce(d.Path), func(i int) error { return d.checkParts(ctx, fsys, job, groups[i], moved) }); err != nil {
		return err
	}
	if list, err = d.joinAll(ctx, fsys, job, groups); err != nil {
		return err
	}
	final := manifest{Layshaft: 1, Job: job, Complete: true, Parts: make([]Part, len(list))}
	keep := make(map[string]bool, len(list))
	for i, p := range list {
		keep[p.Name] = true
		p.Temp, p.Head = "", 0
		final.Parts[i] = p
	}
	others := slices.DeleteFunc(slices.Clone(old.Parts), func(p Part) bool { return keep[p.Name] })
	if add != nil {
		final.Job, final.Requeued = old.Job, add.all(old)
	}
	working := manifest{Layshaft: 1, Job: final.Job, Parts: slices.Concat(final.Parts, others), Requeued: final.Requeued}
	var stale []string
	for _, p := range others {
		if add == nil {
			stale = append(stale, p.Name)
		}
	}
	if err := d.writeManifest(ctx, c, working); err != nil {
		return err
	}
	if err := d.makeFolders(ctx, fsys, list); err != nil {
		return err
	}
	err = each(len(list), atOnce(d.Path), func(i int) error {
		p := list[i]
		to, err := moveIn(ctx, fsys, filesys.Join(d.tempDir(job), p.Temp), filesys.Join(d.Path, p.Name), p)
		final.Parts[i].Host = filesys.Host(to)
		return err
	})
	if err != nil {
		return err
	}
	if err := d.syncFolders(ctx, fsys, final.Parts); err != nil {
		return err
	}
	for _, name := range stale {
		if err := c.removeStale(ctx, name); err != nil {
			return err
		}
	}
	if err := c.removeFolders(ctx, stale); err != nil {
		return err
	}
	if add != nil {
		final.Parts = append(others, final.Parts...)
	}
	if err := d.writeManifest(ctx, c, final); err != nil {
		return err
	}
	step("remove temporary directory")
	return d.Abandon(ctx, job)
}

// Published reports whether the directory contains the output of the job. It compares only the
// sizes of the files.
func (d *Dir) Published(ctx context.Context, job string, _ time.Time) (bool, error) {
	fsys, err := filesys.Of(ctx, d.Path)
	if err != nil {
		return false, err
	}
	m, err := readManifest(ctx, d.Path)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	return err == nil && m.Complete && m.Job == job && d.partsInPlace(ctx, fsys, m.Parts), err
}

// Parts returns the parts of a finished output directory.
func Parts(ctx context.Context, dir string) ([]Part, error) {
	m, err := readManifest(ctx, dir)
	return m.Parts, err
}

// sameParts reports whether a list describes the files that groups become, on any hosts. Parts that
// were added later do not count.
func sameParts(all []Part, groups []group) bool {
	all = slices.DeleteFunc(slices.Clone(all), func(p Part) bool { return p.Requeued })
	return slices.EqualFunc(all, groups, func(p Part, g group) bool {
		if len(g.parts) > 1 {
			return p.Name == g.name() && p.Joined == g.hash()
		}
		q := g.parts[0]
		return p.Name == q.Name && p.Bytes == q.Bytes && p.Records == q.Records && p.XXH3 == q.XXH3
	})
}

// partsInPlace reports whether the parts of a finished output exist with their sizes. Parts on
// absent hosts count as existing.
func (d *Dir) partsInPlace(ctx context.Context, fsys filesys.FS, parts []Part) bool {
	err := each(len(parts), atOnce(d.Path), func(i int) error {
		fi, err := fsys.Stat(ctx, filesys.OnHost(filesys.Join(d.Path, parts[i].Name), parts[i].Host))
		if err == nil && fi.Size != parts[i].Bytes {
			return fs.ErrNotExist
		}
		return ignoreGone(err)
	})
	return err == nil
}

// checkPart returns an error when a part does not exist at its temporary path. If moved is set, an
// earlier Finish of the job may have moved it to its final path.
func (d *Dir) checkPart(ctx context.Context, fsys filesys.FS, job string, p Part, moved bool) error {
	from := filesys.Join(d.tempDir(job), p.Temp)
	fi, err := fsys.Stat(ctx, filesys.OnHost(from, p.Host))
	if err == nil && fi.Size != p.Bytes {
		return fmt.Errorf("%s has %s, its task wrote %d: something else writes there too; run the job again when that has ended", from, report.Plural(fi.Size, "byte"), p.Bytes)
	}
	if !errors.Is(err, fs.ErrNotExist) {
		return nil // the rename will return other errors
	}
	if !moved {
		return partGoneError(p, from)
	}
	fi, err = fsys.Stat(ctx, filesys.OnHost(filesys.Join(d.Path, p.Name), p.Host))
	if err == nil && fi.Size != p.Bytes {
		err = fs.ErrNotExist
	}
	if errors.Is(err, fs.ErrNotExist) {
		return partGoneError(p, from)
	}
	return nil
}

func partGoneError(p Part, from string) error {
	return fmt.Errorf("output part %s is gone (%s): if it was removed, run the job again; if workers wrote it, every one must see the same directory: use a shared file system, a dataset or an object store, or run embedded", p.Name, from)
}

// moveIn renames from to to, unless an earlier Finish did, and returns the final path of the file.
func moveIn(ctx context.Context, fsys filesys.FS, from, to string, p Part) (string, error) {
	step("rename part")
	there := filesys.OnHost(to, p.Host)
	err := fsys.Rename(ctx, filesys.OnHost(from, p.Host), there)
	if err == nil {
		return there, nil
	}
	if errors.Is(err, filesys.ErrGone) && p.Host != "" {
		// The host may be back under another name.
		for _, path := range []string{from, to} {
			if fi, serr := fsys.Stat(ctx, path); serr == nil && fi.Size == p.Bytes && len(fi.Hosts) > 0 && fi.Hosts[0] != p.Host {
				p.Host = fi.Hosts[0]
				return moveIn(ctx, fsys, from, to, p)
			}
		}
	}
	if !errors.Is(err, fs.ErrNotExist) {
		return "", err
	}
	if fi, serr := fsys.Stat(ctx, there); serr == nil && fi.Size == p.Bytes {
		return there, nil
	}
	return "", partGoneError(p, from)
}

// isSpread reports whether the files of one directory may be on several hosts.
func isSpread(ctx context.Context, path string) bool {
	fsys, err := filesys.Of(ctx, path)
	_, ok := fsys.(filesys.Spread)
	return err == nil && ok
}

// Abandon removes the temporary directory of the job.
func (d *Dir) Abandon(ctx context.Context, job string) error { return removeTemp(ctx, d.tempDir(job)) }

// removeTemp removes temporary files.
func removeTemp(ctx context.Context, path string) error {
	fsys, err := filesys.Of(ctx, path)
	if err != nil {
		return err
	}
	return ignoreGone(fsys.RemoveAll(ctx, path))
}

// ignoreGone ignores the error that a file could not be removed because its host is absent. Nobody
// reads the file if the host returns.
func ignoreGone(err error) error {
	if errors.Is(err, filesys.ErrGone) {
		return nil
	}
	return err
}

// manifestHost returns the host of the manifest, to write the next one there. Of two manifests on
// different hosts, the newer one counts. The first manifest lies beside parts of the job.
func (d *Dir) manifestHost(ctx context.Context, fsys filesys.FS, job string) string {
	for _, path := range []string{filesys.Join(d.Path, manifestName), d.tempDir(job)} {
		if fi, err := fsys.Stat(ctx, path); err == nil && len(fi.Hosts) > 0 {
			return fi.Hosts[0]
		}
	}
	return ""
}

// writeManifest replaces the manifest atomically, unless the claim was lost.
func (d *Dir) writeManifest(ctx context.Context, c *claim, m manifest) error {
	data, err := json.MarshalIndent(m, "", " ")
	if err != nil {
		return err
	}
	data = append(bytes.Replace(data, []byte("{\n \"layshaft\": "), []byte(manifestHead), 1), '\n')
	if err := c.check(ctx); err != nil {
		return err
	}
	step("write manifest")
	f, err := c.fsys.Create(ctx, c.path(manifestName))
	if err != nil {
		return c.explain(err)
	}
	_, err = f.Write(data)
	if err == nil && !d.NoSync {
		err = f.Sync()
	}
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	if err == nil {
		err = c.check(ctx)
	}
	if err != nil {
		return err
	}
	step("rename manifest")
	if err := c.fsys.Rename(ctx, f.Path(), filesys.OnHost(filesys.Join(d.Path, manifestName), filesys.Host(f.Path()))); err != nil {
		return c.explain(err)
	}
	return syncDir(ctx, c.fsys, d.Path, d.NoSync)
}

// makeDirs makes a directory and its parents, and makes their names durable.
func makeDirs(ctx context.Context, fsys filesys.FS, dir string, noSync bool) error {
	var grown []string // directories with a new name
	for d := filesys.Clean(dir); !noSync && d != filesys.Dir(d); d = filesys.Dir(d) {
		if _, err := fsys.Stat(ctx, d); !errors.Is(err, fs.ErrNotExist) {
			break
		}
		grown = append(grown, filesys.Dir(d))
	}
	err := fsys.MkdirAll(ctx, dir)
	for _, d := range grown {
		if err == nil {
			err = fsys.Sync(ctx, d)
		}
	}
	return err
}

// syncDir makes renames in dir durable.
func syncDir(ctx context.Context, fsys filesys.FS, dir string, noSync bool) error {
	if noSync {
		return nil
	}
	return fsys.Sync(ctx, dir)
}

// manifestHead is the start of every manifest of this program. Other programs write files named
// manifest.json too.
const manifestHead = `{"layshaft": `

// readManifest reads the manifest of an output directory.
func readManifest(ctx context.Context, dir string) (m manifest, err error) {
	path := filesys.Join(dir, manifestName)
	f, err := filesys.Open(ctx, path, nil, nil)
	if err != nil {
		return m, err
	}
	defer f.Close()
	head := make([]byte, len(manifestHead))
	if n, err := f.ReadAt(head, 0); string(head[:n]) != manifestHead {
		if n < len(head) && err != nil && !errors.Is(err, io.EOF) {
			return m, withPath(path, err)
		}
		return m, &foreignManifest{path}
	}
	data, err := io.ReadAll(f.Stream(0, 1<<62))
	if err != nil {
		return m, withPath(path, err)
	}
	if err := json.Unmarshal(data, &m); err != nil {
		return m, fmt.Errorf("%s: %w; choose another directory, or remove it", path, err)
	}
	return m, nil
}

// foreignManifest means that another program wrote a manifest.json.
type foreignManifest struct{ path string }

func (e *foreignManifest) Error() string {
	return e.path + " was not written by Layshaft; choose another directory, or remove it"
}

package mapreduce

import (
	"bufio"
	"bytes"
	"context"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"hash"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/zeebo/xxh3"

	"github.com/layshaft/layshaft/internal/files"
	"github.com/layshaft/layshaft/internal/filesys"
	"github.com/layshaft/layshaft/internal/job"
	"github.com/layshaft/layshaft/internal/jobdir"
	"github.com/layshaft/layshaft/internal/plain"
	"github.com/layshaft/layshaft/internal/record"
	"github.com/layshaft/layshaft/internal/report"
	"github.com/layshaft/layshaft/internal/state"
	"github.com/layshaft/layshaft/mapreduce/connector"
)

// Persist is two steps in a plan: a source of the records that earlier runs have kept, and the
// steps before it, which read the rest of the input. The plan is the same whatever is kept; only
// the input of its sources differs.
//
//	STATE/persist/KEY/JOB/kept.json     which files of the input, and where their records are
//	STATE/persist/KEY/JOB/f=FILE/part-00000-00000.kept
//
// KEY is a hash of the steps, the program, the parameters, the arguments and the environment. FILE
// is a hash of the path and the content of a file; all is one FILE where records of several files
// meet.

// Persist keeps the records of a dataset for later runs with the same Local.State: the steps before
// it are not run again for input that has not changed.
//
//   - Where only narrow steps, such as Map and Filter, lie between Read and Persist, records are
//     kept for each file. A later run reads new and changed files.
//   - Behind a shuffle, and with a source that does not read files, all records are kept together,
//     and used if all input is the same.
//
// Kept records are not used after a change of the program, the parameters, the arguments, the
// environment named by Env, or the content of their file. So the steps must depend on nothing else.
// Files of this machine are read to find changes. Name a directory, or quote a glob: if a shell
// expands the glob, each further file changes the arguments.
//
// The order of the records changes when some are kept, as in a Union. Counters count the
// records of this run. Nothing is kept without State, on a cluster, in plans that set bad records
// aside, for sources such as memio.Seq whose splits do not tell their content, and where a dataset
// before Persist is used elsewhere, too; Local.Explain prints the reason. The directory persist of
// State grows with every change; it can be removed.
func Persist[T any](d Dataset[T], opts ...Option) Dataset[T] {
	p := planOf(d.n)
	fresh := newNode[T](p, "Persist", opts, d.n)
	codec := valueCodec[T](fresh)
	x := &persisted{input: d.n, fresh: fresh}
	fresh.fuse = func(e *env, next any) any {
		if x.kept().drop {
			return func(*T) {}
		}
		return next.(func(*T))
	}
	kept := newNode[T](p, "Kept", opts)
	kept.read = &readRole{source: x, splits: x.splits, input: func() ([]job.Split, error) { return nil, nil },
		run: func(e *env, next any) error { return readKept(e, codec, next.(func(*T))) }}
	x.source = kept
	p.persisted = append(p.persisted, x)
	p.outs = append(p.outs, &out{name: x.String(), n: fresh, at: fresh.at, sink: &sinkRole{
		name:  x.String(),
		check: func(context.Context) error { return nil },
		open: func(e *env, t connector.SinkTask, done func([]byte)) (any, func() error, error) {
			return keepRecords(e, x, codec, t, done)
		},
		finish:  x.finish,
		abandon: func(ctx context.Context, job string) error { return x.kept().abandon(ctx, job) },
	}})
	return Union(Dataset[T]{fresh}, Dataset[T]{kept})
}

// persisted is a Persist in a plan.
type persisted struct {
	input, fresh, source *node
}

// String names it in plans and errors.
func (x *persisted) String() string { return "Persist at " + x.fresh.at }

// kept returns the records that this run uses and keeps.
func (x *persisted) kept() *keeping {
	if r, ok := x.fresh.plan.context().Value(reuseKey{}).(*reuse); ok && r.by[x.fresh.id] != nil {
		return r.by[x.fresh.id]
	}
	return &keeping{}
}

type reuseKey struct{}

// reuse has the kept records of earlier runs for one run. prepare fills it before any task runs,
// and all instances of the plan share it.
type reuse struct{ by map[int]*keeping } // by the number of the node fresh

// keeping has the records that one run uses and keeps at one Persist.
type keeping struct {
	dir       string            // of the key; empty if nothing is kept
	why       string            // the reason then
	undivided bool              // all records are kept together
	drop      bool              // all records are kept, so the records of earlier steps are not needed
	files     map[string]string // FILE by path, in all spellings
	// looked has size and time of the local files at the time when they were read.
	looked map[string]fs.FileInfo
	fresh  []string // FILEs whose records this run makes
	stored map[string][]files.Part
	at     map[string]string // directory of stored parts, by FILE
}

// keptIndex is kept.json.
type keptIndex struct {
	Files map[string][]files.Part `json:"files"`
}

const (
	keptName    = "kept.json"
	wholeFile   = "all"
	unknownFile = "unknown"
)

// planReuse decides for each Persist what this run uses of earlier runs and what it keeps.
func (c *compiled) planReuse(t *settings, id jobdir.Identity) error {
	r, ok := c.plan.context().Value(reuseKey{}).(*reuse)
	if !ok || len(c.plan.persisted) == 0 {
		return nil
	}
	clear(r.by)
	for _, n := range c.plan.nodes {
		n.skip, n.allKept = nil, false
	}
	for _, x := range c.plan.persisted {
		k, err := c.reuseOf(t, x, id)
		if err != nil {
			return err
		}
		r.by[x.fresh.id] = k
	}
	return nil
}

// reuse decides what this run uses of earlier runs, and adds it to the identity of the job. A job
// that the State directory has already goes on without it.
func (c *compiled) reuse(t *settings, name string) error {
	if err := c.planReuse(t, c.identity); err != nil {
		return err
	}
	r, ok := c.plan.context().Value(reuseKey{}).(*reuse)
	if !ok || r.stamp() == "" {
		return nil
	}
	if _, err := os.Stat(filepath.Join(t.State, string(jobID(name, hashIdentity(c.identity))))); err == nil {
		r.forget(c, "this job is in the state directory already")
		return nil
	}
	c.identity["kept"] = r.stamp()
	return nil
}

// reuseOf decides for one Persist.
func (c *compiled) reuseOf(t *settings, x *persisted, id jobdir.Identity) (*keeping, error) {
	before := map[*node]bool{} // the steps before it
	var walk func(n *node)
	walk = func(n *node) {
		if !before[n] {
			before[n] = true
			for _, i := range n.in {
				walk(i)
			}
		}
	}
	walk(x.input)
	switch {
	case t.State == "" || t.cluster != nil:
		return &keeping{why: "there is no -state"}, nil
	case c.plan.allowsBad():
		return &keeping{why: "the plan sets bad records aside"}, nil
	}
	k := &keeping{files: map[string]string{}, looked: map[string]fs.FileInfo{}, stored: map[string][]files.Part{}, at: map[string]string{}}
	h := xxh3.New()
	for _, part := range []string{"program", "parameters", "arguments", "environment"} {
		fmt.Fprintf(h, "%s %q\n", part, id[part])
	}
	fmt.Fprintln(h, x.fresh.typ)
	all := xxh3.New() // of the input
	var heads []*node
	for _, n := range c.plan.nodes {
		if !before[n] {
			continue
		}
		fmt.Fprintln(h, n.describe())
		if _, kept := n.readSource().(*persisted); kept {
			return &keeping{why: "it follows another Persist"}, nil
		}
		for _, reader := range c.readers[n] {
			if !before[reader.n] && reader.n != x.fresh {
				return &keeping{why: fmt.Sprintf("%s at %s is used elsewhere, too", n.label(), n.at)}, nil
			}
		}
		if len(c.outs[n]) > 0 {
			return &keeping{why: fmt.Sprintf("%s at %s is an output, too", n.label(), n.at)}, nil
		}
		if n.read != nil {
			heads = append(heads, n)
		}
		k.undivided = k.undivided || n.read == nil && (n.fuse == nil || n.side != nil || n.union || n.holds)
	}
	byFile := len(heads) == 1
	for _, n := range heads {
		hasFiles, known, err := n.lookAt(all, k)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", n.read.source, err)
		}
		if !known {
			return &keeping{why: fmt.Sprintf("nothing tells whether the input of %s at %s has changed", n.label(), n.at)}, nil
		}
		byFile = byFile && hasFiles
	}
	k.undivided = k.undivided || !byFile
	k.dir = filepath.Join(t.State, "persist", hexOf(h))
	wanted := map[string]bool{}
	for _, f := range k.files {
		wanted[f] = true
	}
	if k.undivided {
		all := wholeFile + "-" + hexOf(all)
		for path := range k.files {
			k.files[path] = all
		}
		wanted = map[string]bool{all: true}
	}
	if err := k.load(wanted); err != nil {
		return nil, err
	}
	for _, f := range slices.Sorted(maps.Keys(wanted)) {
		if k.at[f] == "" {
			k.fresh = append(k.fresh, f)
		}
	}
	k.drop = k.undivided && len(k.fresh) == 0
	for _, n := range heads {
		n.allKept = len(k.fresh) == 0
		if len(k.at) > 0 {
			n.skip = func(path string) bool {
				f := k.files[path]
				return f != "" && k.at[f] != ""
			}
		}
	}
	return k, nil
}

func (n *node) readSource() any {
	if n.read == nil {
		return nil
	}
	return n.read.source
}

// lookAt adds the input of a source to h, and its files to k. hasFiles means that the source reads
// nothing but files, and known that the hash changes with the input.
func (n *node) lookAt(h hash.Hash, k *keeping) (hasFiles, known bool, err error) {
	var found []files.File
	was := n.plan.ctx
	n.plan.ctx = files.Observe(was, func(fs []files.File) { found = append(found, fs...) })
	splits, err := n.read.input()
	n.plan.ctx = was
	if err != nil {
		return false, false, err
	}
	for _, f := range found {
		id, path := xxh3.New(), f.Path
		if filesys.Scheme(f.Path) == "" {
			path = absolute(f.Path)
			fmt.Fprintf(id, "%q %d ", path, f.Size)
			if k.looked[path], err = hashFile(id, path); err != nil {
				return false, false, err
			}
		} else {
			fmt.Fprintf(id, "%q %d %d %d", path, f.Size, f.ModTime.UnixNano(), f.Version)
		}
		for _, spelling := range []string{f.Path, path, filesys.DisplayText(path)} {
			k.files[spelling] = hexOf(id)
		}
		fmt.Fprintln(h, hexOf(id))
	}
	if len(found) > 0 {
		return true, true, nil
	}
	for _, s := range splits {
		if len(s.Data) == 0 {
			return false, false, nil
		}
		fmt.Fprintf(h, "%q %d %q\n", s.Label, s.Bytes, s.Data)
	}
	return false, len(splits) > 0, nil
}

func hexOf(h *xxh3.Hasher) string {
	sum := h.Sum128().Bytes()
	return hex.EncodeToString(sum[:])
}

// hashFile adds the content of a file to h, and returns the file as it was before.
func hashFile(h io.Writer, path string) (fs.FileInfo, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	_, err = io.CopyBuffer(struct{ io.Writer }{h}, struct{ io.Reader }{f}, make([]byte, 256<<10))
	return info, err
}

// changed returns the FILEs whose files are not as they were when their content was read.
func (k *keeping) changed() map[string]bool {
	out := map[string]bool{}
	for path, was := range k.looked {
		if now, err := os.Stat(path); err != nil || now.Size() != was.Size() || !now.ModTime().Equal(was.ModTime()) || !os.SameFile(now, was) {
			out[k.files[path]] = true
		}
	}
	return out
}

// load finds the wanted FILEs among the FILEs kept by earlier runs.
func (k *keeping) load(wanted map[string]bool) error {
	runs, err := os.ReadDir(k.dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	for _, run := range runs {
		dir := filepath.Join(k.dir, run.Name())
		data, err := state.ReadFile(filepath.Join(dir, keptName))
		if errors.Is(err, fs.ErrNotExist) {
			continue // that run did not end
		}
		if err != nil {
			return err
		}
		var x keptIndex
		if json.Unmarshal(data, &x) != nil {
			continue // its records are made again
		}
		for f, parts := range x.Files {
			if wanted[f] && k.at[f] == "" && isComplete(dir, parts) {
				k.at[f], k.stored[f] = dir, parts
			}
		}
	}
	return nil
}

// isComplete reports whether all parts are there, as they were written.
func isComplete(dir string, parts []files.Part) bool {
	return !slices.ContainsFunc(parts, func(p files.Part) bool {
		h := xxh3.New()
		info, err := hashFile(h, filepath.Join(dir, p.Name))
		return err != nil || info.Size() != p.Bytes || fmt.Sprintf("%016x", h.Sum64()) != p.XXH3
	})
}

// forget makes the run compute everything, and keep nothing.
func (r *reuse) forget(c *compiled, why string) {
	for _, k := range r.by {
		*k = keeping{why: why}
	}
	for _, n := range c.plan.nodes {
		n.skip, n.allKept = nil, false
	}
}

// stamp returns a hash of what a run uses of earlier runs; empty if it uses nothing.
func (r *reuse) stamp() string {
	h, any := xxh3.New(), false
	for _, id := range slices.Sorted(maps.Keys(r.by)) {
		for _, f := range slices.Sorted(maps.Keys(r.by[id].at)) {
			any = true
			fmt.Fprintln(h, id, f, r.by[id].at[f])
		}
	}
	if !any {
		return ""
	}
	return hexOf(h)
}

// keptPart is a part in a split.
type keptPart struct {
	Path  string `json:"path"`
	Bytes int64  `json:"bytes"`
	XXH3  string `json:"xxh3"`
}

// splits returns the parts that are kept, in splits of about target bytes.
func (x *persisted) splits(target int64) ([]job.Split, error) {
	k := x.kept()
	var out []job.Split
	var parts []keptPart
	var size int64
	add := func() error {
		data, err := json.Marshal(parts)
		out = append(out, job.Split{Label: fmt.Sprintf("kept %s of %s", report.Plural(len(parts), "part"), x), Bytes: size, Data: data})
		parts, size = nil, 0
		return err
	}
	for _, f := range slices.Sorted(maps.Keys(k.stored)) {
		for _, p := range k.stored[f] {
			parts = append(parts, keptPart{filepath.Join(k.at[f], p.Name), p.Bytes, p.XXH3})
			if size += p.Bytes; size >= target {
				if err := add(); err != nil {
					return nil, err
				}
			}
		}
	}
	if len(parts) > 0 {
		return out, add()
	}
	return out, nil
}

// readKept reads the records of a split.
func readKept[T any](e *env, codec *record.Codec[T], push func(*T)) error {
	if e.run.Split == nil || len(e.run.Split.Data) == 0 {
		return nil
	}
	var parts []keptPart
	if err := json.Unmarshal(e.run.Split.Data, &parts); err != nil {
		return err
	}
	for _, p := range parts {
		if err := readPart(e, p, codec, push); err != nil {
			return Fatal(fmt.Errorf("%s: %w; remove that directory, and its records are made again", p.Path, err))
		}
	}
	return nil
}

func readPart[T any](e *env, p keptPart, codec *record.Codec[T], push func(*T)) error {
	f, err := os.Open(p.Path)
	if err != nil {
		return err
	}
	defer f.Close()
	h := xxh3.New()
	in := bufio.NewReaderSize(io.TeeReader(f, h), 256<<10)
	var buf []byte
	for !e.stopped.Load() {
		n, err := binary.ReadUvarint(in)
		if errors.Is(err, io.EOF) {
			if got := fmt.Sprintf("%016x", h.Sum64()); got != p.XXH3 {
				return errors.New("the kept records are damaged")
			}
			return nil
		}
		if err != nil || n > uint64(p.Bytes) {
			return errors.New("the kept records are damaged")
		}
		buf = slices.Grow(buf[:0], int(n))[:n]
		if _, err := io.ReadFull(in, buf); err != nil {
			return err
		}
		var v T
		if rest, err := codec.Decode(bytes.Clone(buf), &v); err != nil || len(rest) > 0 {
			return errors.New("the kept records are damaged")
		}
		e.run.Progress.Records.Add(1)
		e.run.Progress.Bytes.Add(int64(n))
		push(&v)
	}
	return nil
}

// place returns the directory in which a job keeps records.
func (k *keeping) place(job string) files.Sink {
	return files.NewSink("Persist", &files.Dir{Path: filepath.Join(k.dir, job), Ext: "kept"})
}

// keepRecords writes the records of an attempt, by file.
func keepRecords[T any](e *env, x *persisted, codec *record.Codec[T], t connector.SinkTask, done func([]byte)) (any, func() error, error) {
	k := x.kept()
	if k.dir == "" || len(k.fresh) == 0 {
		return func(*T) {}, func() error { done(nil); return nil }, nil
	}
	of := func(T) string { return k.fresh[0] }
	if !k.undivided {
		of = func(T) string {
			if e.where == nil {
				return unknownFile
			}
			path, _, _ := e.where()
			if f := k.files[path]; f != "" {
				return f
			}
			return unknownFile
		}
	}
	var buf []byte
	w, err := files.OpenSink(e.ctx, files.FolderSink(k.place(t.Job), "f", of), files.Task(t), nil, func(dst []byte, v *T) ([]byte, error) {
		buf = codec.Append(buf[:0], v)
		return append(binary.AppendUvarint(dst, uint64(len(buf))), buf...), nil
	})
	if err != nil {
		return nil, nil, err
	}
	closed := false
	e.closers = append(e.closers, func() {
		if !closed {
			w.Abort()
		}
	})
	return func(v *T) {
			if e.err == nil {
				if err := w.Write(v); err != nil {
					e.fail(fmt.Errorf("%s: %w", x, err))
				}
			}
		}, func() error {
			part, err := w.Close()
			if err != nil {
				return fmt.Errorf("%s: %w", x, err)
			}
			closed = true
			done(part)
			return nil
		}, nil
}

// finish makes the records of a job available to later runs.
func (x *persisted) finish(ctx context.Context, job string, parts [][]byte) error {
	k := x.kept()
	if k.dir == "" || len(k.fresh) == 0 {
		return nil
	}
	place := k.place(job)
	place = files.FolderSink(place, "f", func(struct{}) string { return "" })
	if err := place.Check(ctx); err != nil {
		return err
	}
	if err := place.Finish(ctx, job, parts); err != nil {
		return err
	}
	list, err := files.Parts(ctx, place.Place())
	if err != nil {
		return err
	}
	index := keptIndex{Files: map[string][]files.Part{}}
	for _, f := range k.fresh {
		index.Files[f] = []files.Part{} // perhaps it has no records
	}
	for _, p := range list {
		f := strings.TrimPrefix(filepath.Dir(p.Name), "f=")
		if p.Records == 0 {
			continue
		}
		if index.Files[f] == nil {
			return nil // a source does not tell from which file a record is
		}
		index.Files[f] = append(index.Files[f], p)
	}
	for f := range k.changed() {
		if k.undivided {
			return nil
		}
		delete(index.Files, f)
	}
	data, err := json.Marshal(index)
	if err != nil {
		return err
	}
	return state.WriteFile(filepath.Join(place.Place(), keptName), append(data, '\n'))
}

// abandon removes the records of a failed job.
func (k *keeping) abandon(ctx context.Context, job string) error {
	if k.dir == "" {
		return nil
	}
	return k.place(job).Abandon(ctx, job)
}

// explainReuse prints what a run uses of earlier runs, and why it does not.
func (c *compiled) explainReuse(w io.Writer) {
	for _, x := range c.plan.persisted {
		k := x.kept()
		switch {
		case k.why != "":
			fmt.Fprintf(w, "%s: nothing is kept or used: %s\n", x, plain.Text(k.why))
		case k.drop:
			fmt.Fprintf(w, "%s: all records come from an earlier run\n", x)
		case k.undivided:
			fmt.Fprintf(w, "%s: no earlier run has this input, program, parameters and steps; the records are kept together\n", x)
		default:
			fmt.Fprintf(w, "%s: the records of %s come from earlier runs; %s to read: new, changed, or kept by another program or with other parameters\n",
				x, report.Plural(len(k.at), "file"), report.Plural(len(k.fresh), "file"))
		}
	}
}

package exec

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/layshaft/layshaft/internal/bytesize"
	"github.com/layshaft/layshaft/internal/filesys"
	"github.com/layshaft/layshaft/internal/partials"
	"github.com/layshaft/layshaft/internal/report"
	"github.com/layshaft/layshaft/mapreduce"
	"github.com/layshaft/layshaft/report/internal/bind"
	"github.com/layshaft/layshaft/report/internal/scan"
	"github.com/layshaft/layshaft/report/internal/sql"
	"github.com/layshaft/layshaft/report/internal/vec"
)

// Keep is where partial aggregates are kept.
type Keep struct {
	// Dir is the State directory.
	Dir string
	// Size is the number of bytes that all packs may take; zero or less means no limit.
	Size int64
}

// CheckKeep makes a State directory and checks that it can be written.
func CheckKeep(dir string) error { return partials.Check(dir) }

// maxStale is how many packs a plan may have before one run puts the useful parts of all into one.
const maxStale = 8

// input is a file of a candidate.
type input struct {
	path    string
	prefix  [8]byte
	byPath  bool   // its rows depend on its path
	state   string // see filesys.StateOf
	stamp   string // see partials.File
	content string // hash of the file, if it was read
	size    int64
	local   bool           // the file is on this machine
	kept    *partials.File // what is stored; nil for nothing
}

// stored is what a State directory has for a candidate.
type stored struct {
	candidate
	plan   string // hash of all that the groups of a file depend on, besides the file
	inputs []*input
	packs  []partials.Pack
	// outdated reports that some stamp is not the stored one, or that some groups are damaged.
	outdated bool
}

// missing returns the files without stored groups, and their bytes.
func (k *stored) missing() (some []*input, bytes int64) {
	for _, in := range k.inputs {
		if in.kept == nil {
			some = append(some, in)
			bytes += in.size
		}
	}
	return some, bytes
}

// Explain returns lines for people: what a run with stored groups reads, or why it reads all.
func Explain(ctx context.Context, t mapreduce.Target, s Statement, root bind.Node, k Keep) (lines []string, err error) {
	all, why := s.candidates(root)
	if len(all) == 0 {
		return []string{fmt.Sprintf("state %s: not used, because %s; the report reads all files", k.Dir, why)}, nil
	}
	store, err := partials.Open(k.Dir)
	if err != nil {
		return nil, err
	}
	defer store.Close()
	for _, c := range all {
		x, err := s.lookUp(ctx, t, store, c)
		if err != nil {
			return nil, err
		}
		some, bytes := x.missing()
		lines = append(lines, fmt.Sprintf("state %s: aggregate of %s: %d of %s kept; to read: %s, %s",
			k.Dir, strings.Join(x.scan.Table.Paths, " "), len(x.inputs)-len(some), report.Plural(len(x.inputs), "file"), report.Plural(len(some), "file"), bytesize.Format(bytes)))
	}
	return lines, nil
}

// RunKept is Run with the states of unchanged files from a State directory. It adds the states of
// the files that it reads.
func RunKept(ctx context.Context, t mapreduce.Target, s Statement, root bind.Node, k Keep) iter.Seq2[*vec.Batch, error] {
	all, _ := s.candidates(root)
	if len(all) == 0 {
		return Run(ctx, t, s, root)
	}
	return func(yield func(*vec.Batch, error) bool) {
		store, err := partials.Open(k.Dir)
		if err != nil {
			yield(nil, err)
			return
		}
		var superseded []string
		s.Kept = map[int][]partials.Extent{}
		for _, c := range all {
			var extents []partials.Extent
			var old []string
			if extents, old, err = s.complete(ctx, t, store, c); err != nil {
				break
			}
			s.Kept[c.number] = extents
			superseded = append(superseded, old...)
		}
		switch {
		case errors.Is(err, errUnknownFile):
			s.Kept = nil
			fallthrough
		case err == nil:
			for b, err := range Run(ctx, t, s, root) {
				if !yield(b, err) {
					break
				}
			}
		default:
			yield(nil, err)
		}
		_ = store.Close() // unlocking a file that is open does not fail
		if err == nil {
			_ = partials.Sweep(k.Dir, superseded, k.Size) // the next run tries again
		}
	}
}

// errUnknownFile means that a file cannot be told apart: the run reads everything.
var errUnknownFile = errors.New("a file has no name of its own")

// lookUp finds the stored groups of the files of a candidate as they are now.
func (s *Statement) lookUp(ctx context.Context, t mapreduce.Target, store *partials.Store, c candidate) (*stored, error) {
	k := &stored{candidate: c}
	h := sha256.New()
	err := mapreduce.WithFiles(ctx, t, func(ctx context.Context) (err error) {
		if k.inputs, err = inputsOf(ctx, c.scan); err != nil {
			return err
		}
		for _, o := range scansOf(c.agg) { // the other inputs of joins, whole
			if o == c.scan {
				continue
			}
			ins, err := inputsOf(ctx, o)
			if err == nil {
				err = hashAll(ctx, ins)
			}
			if err != nil {
				return err
			}
			for _, in := range ins {
				fmt.Fprintf(h, "%q %q %d\n", in.content, in.stampOfContent(), in.size)
			}
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	if err := s.describe(h, c); err != nil {
		return nil, err
	}
	k.plan = hex.EncodeToString(h.Sum(nil)[:10])
	if k.packs, err = store.Load(k.plan); err != nil {
		return nil, err
	}
	return k, k.match(ctx)
}

// describe writes all that the groups of a file depend on besides the file and the inputs of joins:
// the statement, the parameters, and how the tables are read.
func (s *Statement) describe(w io.Writer, c candidate) error {
	q, err := sql.Parse(s.Text)
	if err != nil {
		return err
	}
	fmt.Fprintf(w, "%d %d %q\n", partials.Format, c.number, sql.Format(q))
	out := json.NewEncoder(w)
	if err := out.Encode(s.Params); err != nil {
		return err
	}
	for _, x := range scansOf(c.agg) {
		t := *x.Table
		t.Paths, t.Only, t.Files, t.Bytes, t.Columns, t.Unique = nil, nil, 0, 0, nil, nil
		for _, col := range x.Cols {
			t.Columns = append(t.Columns, vec.Field{Name: col.Name, Type: col.Type})
		}
		if err := out.Encode(t); err != nil {
			return err
		}
	}
	return nil
}

// inputsOf looks at the files of a scan.
func inputsOf(ctx context.Context, s *bind.Scan) ([]*input, error) {
	fs, err := s.Table.Expand(ctx)
	if err != nil {
		return nil, err
	}
	byPath := len(s.Table.Partitions) > 0 || slices.ContainsFunc(s.Cols, func(c bind.Column) bool { return c.Name == scan.Filename })
	ins := make([]*input, len(fs))
	seen := map[[8]byte]bool{}
	for i, f := range fs {
		in := &input{path: f.Path, size: f.Size, byPath: byPath}
		full, err := filesys.Lend(context.WithoutCancel(ctx), f.Path)
		if err != nil {
			return nil, err
		}
		if in.prefix = filePrefix(full); seen[in.prefix] {
			return nil, errUnknownFile
		}
		seen[in.prefix] = true
		if in.local = filesys.Scheme(f.Path) == "" || filesys.Scheme(f.Path) == "file"; in.local {
			err = in.look()
		} else if f.Version != 0 {
			in.stamp = fmt.Sprintf("%s %d %d %d", f.Path, f.Size, f.ModTime.UnixNano(), f.Version)
		}
		if err != nil {
			return nil, err
		}
		ins[i] = in
	}
	return ins, nil
}

// open opens a file of this machine.
func (in *input) open() (*os.File, error) {
	return os.Open(filepath.FromSlash(strings.TrimPrefix(in.path, "file://")))
}

// look sets the stamp of a file of this machine.
func (in *input) look() error {
	f, err := in.open()
	if err != nil {
		return err
	}
	defer f.Close()
	state, changed := filesys.StateOf(f)
	in.state, in.stamp = state, ""
	if state != "" && time.Since(changed) > filesys.Settled {
		in.stamp = in.path + " " + state // a younger file may change without another state
	}
	return nil
}

// hash sets the content of a file of this machine.
func (in *input) hash(ctx context.Context) error {
	if !in.local || in.content != "" {
		return nil
	}
	f, err := in.open()
	if err != nil {
		return err
	}
	defer f.Close()
	h := sha256.New()
	for {
		if _, err := io.CopyN(h, f, 16<<20); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			return err
		}
		if err := ctx.Err(); err != nil {
			return context.Cause(ctx)
		}
	}
	in.content = hex.EncodeToString(h.Sum(nil))
	if in.byPath {
		in.content += " " + in.path
	}
	return nil
}

// stampOfContent is what stands for the content of a file that is not on this machine.
func (in *input) stampOfContent() string {
	switch {
	case in.local:
		return ""
	case in.stamp == "":
		return "never the same: " + time.Now().String()
	}
	return in.stamp
}

// hashAll hashes files, some at a time.
func hashAll(ctx context.Context, ins []*input) error {
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(2) // more only make disks seek
	for _, in := range ins {
		g.Go(func() error { return in.hash(ctx) })
	}
	return g.Wait()
}

// match finds the stored groups of each input.
func (k *stored) match(ctx context.Context) error {
	byStamp, byContent, sizes := map[string]*partials.File{}, map[string]*partials.File{}, map[int64]bool{}
	for _, p := range k.packs {
		for i := range p.Files {
			f := &p.Files[i]
			if f.Stamp != "" {
				byStamp[f.Stamp] = f
			}
			if f.Content != "" {
				byContent[f.Content], sizes[f.Size] = f, true
			}
		}
	}
	var unsure []*input
	for _, in := range k.inputs {
		if in.kept = byStamp[in.stamp]; in.kept != nil {
			in.content = in.kept.Content
		} else if in.local && sizes[in.size] {
			unsure = append(unsure, in)
		}
	}
	if err := hashAll(ctx, unsure); err != nil {
		return err
	}
	for _, in := range unsure {
		in.kept = byContent[in.content]
		k.outdated = k.outdated || in.kept != nil
	}
	g := errgroup.Group{}
	g.SetLimit(2)
	intact := make([]bool, len(k.inputs))
	for i, in := range k.inputs {
		g.Go(func() error {
			intact[i] = in.kept == nil || in.kept.Verify()
			return ctx.Err()
		})
	}
	if err := g.Wait(); err != nil {
		return err
	}
	for i, in := range k.inputs {
		if !intact[i] {
			in.kept, k.outdated = nil, true
		}
	}
	return nil
}

// complete returns the groups of all files of a candidate. It reads the files that are not stored,
// and stores them. superseded are packs that nothing needs after the run.
func (s *Statement) complete(ctx context.Context, t mapreduce.Target, store *partials.Store, c candidate) (extents []partials.Extent, superseded []string, err error) {
	k, err := s.lookUp(ctx, t, store, c)
	if err != nil {
		return nil, nil, err
	}
	some, _ := k.missing()
	live, total := int64(0), int64(0)
	for _, in := range k.inputs {
		if in.kept != nil {
			for _, e := range in.kept.Extents {
				live += e.Length
			}
		}
	}
	for _, p := range k.packs {
		total += p.Bytes
	}
	rewrite := k.outdated || len(k.packs) >= maxStale || total > 4*live+1<<20
	if len(some) > 0 || rewrite {
		w, err := store.Create(k.plan, s.Text)
		if err != nil {
			return nil, nil, err
		}
		files, err := s.write(ctx, t, k, some, rewrite, w)
		switch {
		case err == nil:
			err = w.Close(files)
		default:
			w.Abort()
		}
		if err != nil && !errors.Is(err, mapreduce.ErrExplained) {
			return nil, nil, err
		}
		if rewrite && err == nil {
			for _, p := range k.packs {
				superseded = append(superseded, p.Path)
			}
		}
	}
	for _, in := range k.inputs {
		extents = append(extents, in.kept.Extents...)
	}
	return extents, superseded, nil
}

// write reads the files some, and writes their groups to a pack; with rewrite, the stored groups of
// the other files, too. It returns the files for the index, and sets kept of all inputs.
func (s *Statement) write(ctx context.Context, t mapreduce.Target, k *stored, some []*input, rewrite bool, w *partials.Writer) (index []partials.File, err error) {
	if rewrite {
		for _, in := range k.inputs {
			if in.kept == nil {
				continue
			}
			f, err := w.Copy(*in.kept)
			if err != nil {
				return nil, err
			}
			f.Stamp = in.stamp
			in.kept = &f
			index = append(index, f)
		}
	}
	if len(some) == 0 {
		return index, nil
	}
	before := make([]string, len(some))
	for i, in := range some {
		before[i] = in.state
	}
	g, hashing := errgroup.WithContext(ctx)
	g.Go(func() error { return hashAll(hashing, some) })
	err = s.readGroups(ctx, t, k, some, w)
	if err = cmp.Or(err, g.Wait()); err != nil {
		return nil, err
	}
	for i, in := range some {
		if in.local {
			if err := in.look(); err != nil || in.state != before[i] {
				continue // it changed since; this run has read what it was
			}
		}
		if in.stamp == "" && in.content == "" {
			continue
		}
		f := *in.kept
		f.Stamp, f.Content, f.Size = in.stamp, in.content, in.size
		index = append(index, f)
	}
	return index, nil
}

// maxBuffered is the most bytes of groups that wait for more of their file.
const maxBuffered = 32 << 20

// readGroups runs the job that returns the groups of files, writes them, and sets kept.
func (s *Statement) readGroups(ctx context.Context, t mapreduce.Target, k *stored, some []*input, w *partials.Writer) error {
	run := *s
	run.Groups, run.Kept = k.number, nil
	if len(some) < len(k.inputs) {
		only := *k.scan.Table
		for _, in := range some {
			only.Only = append(only.Only, in.path)
		}
		run.Tables = slices.Clone(s.Tables)
		run.Tables[k.scan.Number] = &only
	}
	byPrefix := map[[8]byte]*input{}
	for _, in := range some {
		in.kept = &partials.File{}
		byPrefix[in.prefix] = in
	}
	waiting, buffered := map[*input][]byte{}, 0
	flush := func() error {
		for _, in := range some { // in order, so that equal runs write equal packs
			if data := waiting[in]; len(data) > 0 {
				e, err := w.Add(data)
				if err != nil {
					return err
				}
				in.kept.Extents = append(in.kept.Extents, e)
			}
		}
		clear(waiting)
		buffered = 0
		return nil
	}
	job, err := Report.Start(ctx, t, run)
	if err != nil {
		return err // also ErrExplained: without a run, nothing may be stored
	}
	defer job.Close()
	for block, err := range mapreduce.Rows[Block](job, "") {
		if err != nil {
			return err
		}
		for rest := block.Data; len(rest) > 0; {
			var key, states []byte
			if key, states, rest, err = partials.NextGroup(rest); err != nil {
				return err
			}
			if len(key) < 8 {
				return partials.ErrDamaged
			}
			in := byPrefix[[8]byte(key)]
			if in == nil {
				return errUnknownFile
			}
			size := len(waiting[in])
			waiting[in] = partials.AppendGroup(waiting[in], stringOf(key[8:]), stringOf(states))
			buffered += len(waiting[in]) - size
		}
		if buffered > maxBuffered {
			if err := flush(); err != nil {
				return err
			}
		}
	}
	if err := job.Wait(); err != nil {
		return err
	}
	return flush()
}

// Package partials keeps partial aggregates of files on disk, so that a later run of the same plan
// reads only the files that changed.
//
// A State directory has the directory partials with packs. One run writes at most one pack for each
// plan: for every file the extents with its groups, and what shows whether the file is the same
// later. A pack has a new name and appears when it is complete. It ends with an index, and index
// and extents have checksums, so a damaged pack is noticed and counts as missing.
//
// Runs share a lock while they use packs. Packs are removed under the exclusive lock alone.
package partials

import (
	"bufio"
	"cmp"
	"crypto/rand"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/zeebo/xxh3"

	"github.com/layshaft/layshaft/internal/state"
)

// Format is the version of the stored states of aggregates. Every change of their bytes needs
// another one, because packs of other versions are never read.
const Format = 2

const (
	dirName = "partials"
	suffix  = ".pack"
	magic   = "LAYPACK1"
	// trailer is the size of the end of a pack: length and checksum of the index, and magic.
	trailer = 8 + 8 + len(magic)
	// maxIndex limits the bytes of an index.
	maxIndex = 1 << 30
)

// ErrDamaged means a pack does not contain what was written.
var ErrDamaged = errors.New("the stored partial aggregates are damaged")

// Extent is a part of a pack.
type Extent struct {
	Path   string `json:"path,omitempty"` // of the pack; empty inside a pack
	Offset int64  `json:"o"`
	Length int64  `json:"n"`
	Sum    uint64 `json:"x"` // XXH3 of the bytes
}

// File is what a pack has of one input file.
type File struct {
	// Stamp is what a look at the file shows, without reading it: path, size, times and more. It is
	// empty if a look cannot show a change.
	Stamp string `json:"stamp"`
	// Content is the hash of the file; empty if it was not read.
	Content string   `json:"content,omitempty"`
	Size    int64    `json:"size"`
	Extents []Extent `json:"extents"` // none if the file has no groups
}

// index is the end of a pack.
type index struct {
	Format int    `json:"format"`
	Plan   string `json:"plan"`
	Query  string `json:"query"` // for people
	Files  []File `json:"files"`
}

// Store is an open State directory.
type Store struct {
	dir    string
	unlock func() error
}

// Check makes a State directory and checks that it can be written.
func Check(root string) error {
	dir := filepath.Join(root, dirName)
	err := state.MakeDir(dir, 0o700)
	if err == nil {
		err = state.CheckDir(dir)
	}
	if err != nil {
		return fmt.Errorf("state %s: %w; choose a directory that can be made and written", root, err)
	}
	return nil
}

// Open opens the partial aggregates of a State directory, and makes it if it is missing. Packs stay
// in place until Close.
func Open(root string) (*Store, error) {
	s := &Store{dir: filepath.Join(root, dirName)}
	if err := state.MakeDir(s.dir, 0o700); err != nil {
		return nil, fmt.Errorf("state %s: %w", root, err)
	}
	var err error
	if s.unlock, err = state.LockShared(s.dir); err != nil {
		return nil, fmt.Errorf("state %s: %w", root, err)
	}
	return s, nil
}

// Close ends the use of packs.
func (s *Store) Close() error { return s.unlock() }

// Pack is a complete pack.
type Pack struct {
	Path  string
	Files []File
	Bytes int64
}

// Load returns the packs of a plan, and marks them as used. Damaged ones and ones
// of other versions are left out.
func (s *Store) Load(plan string) ([]Pack, error) {
	paths, err := filepath.Glob(filepath.Join(s.dir, plan+"-*"+suffix))
	if err != nil {
		return nil, err
	}
	var packs []Pack
	for _, path := range paths {
		x, size, err := readIndex(path)
		if err != nil || x.Plan != plan {
			continue // a run writes its files again
		}
		now := time.Now()
		_ = os.Chtimes(path, now, now) // the time of use only decides which pack is removed first
		for i := range x.Files {
			for k := range x.Files[i].Extents {
				x.Files[i].Extents[k].Path = path
			}
		}
		packs = append(packs, Pack{path, x.Files, size})
	}
	return packs, nil
}

// readIndex reads the index of a pack.
func readIndex(path string) (x index, size int64, err error) {
	f, err := os.Open(path)
	if err != nil {
		return x, 0, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return x, 0, err
	}
	size = info.Size()
	var end [trailer]byte
	if size < int64(trailer) {
		return x, size, ErrDamaged
	}
	if _, err := f.ReadAt(end[:], size-int64(trailer)); err != nil {
		return x, size, err
	}
	n := binary.LittleEndian.Uint64(end[:])
	if string(end[16:]) != magic || n > maxIndex || int64(n) > size-int64(trailer) {
		return x, size, ErrDamaged
	}
	data := make([]byte, n)
	if _, err := f.ReadAt(data, size-int64(trailer)-int64(n)); err != nil {
		return x, size, err
	}
	if xxh3.Hash(data) != binary.LittleEndian.Uint64(end[8:]) || json.Unmarshal(data, &x) != nil || x.Format != Format {
		return x, size, ErrDamaged
	}
	return x, size, nil
}

// Read reads an extent from an open pack. The error wraps ErrDamaged if its checksum is wrong.
func (e Extent) Read(pack io.ReaderAt) ([]byte, error) {
	data := make([]byte, e.Length)
	if _, err := pack.ReadAt(data, e.Offset); err != nil && !errors.Is(err, io.EOF) {
		return nil, err
	}
	if xxh3.Hash(data) != e.Sum {
		return nil, fmt.Errorf("%s: %w; run the report again", e.Path, ErrDamaged)
	}
	return data, nil
}

// Verify reports whether all extents of a file have the right checksum.
func (f *File) Verify() bool {
	var pack *os.File
	defer func() {
		if pack != nil {
			pack.Close()
		}
	}()
	for _, e := range f.Extents {
		if pack == nil || pack.Name() != e.Path {
			if pack != nil {
				pack.Close()
			}
			var err error
			if pack, err = os.Open(e.Path); err != nil {
				pack = nil
				return false
			}
		}
		if _, err := e.Read(pack); err != nil {
			return false
		}
	}
	return true
}

// Writer writes a pack.
type Writer struct {
	tmp   *os.File
	out   *bufio.Writer
	path  string
	at    int64
	index index
}

// Create starts a pack of a plan. query is for people.
func (s *Store) Create(plan, query string) (*Writer, error) {
	var id [6]byte
	_, _ = rand.Read(id[:]) // it never fails
	name := fmt.Sprintf("%s-%x", plan, id)
	tmp, err := os.CreateTemp(s.dir, "tmp-")
	if err != nil {
		return nil, err
	}
	return &Writer{tmp: tmp, out: bufio.NewWriterSize(tmp, 1<<20), path: filepath.Join(s.dir, name+suffix),
		index: index{Format: Format, Plan: plan, Query: query}}, nil
}

// Add writes an extent. Its path is the path of the complete pack.
func (w *Writer) Add(data []byte) (Extent, error) {
	e := Extent{Path: w.path, Offset: w.at, Length: int64(len(data)), Sum: xxh3.Hash(data)}
	_, err := w.out.Write(data)
	w.at += int64(len(data))
	return e, err
}

// Copy writes the extents of a file of another pack.
func (w *Writer) Copy(f File) (File, error) {
	extents := f.Extents
	f.Extents = nil
	for _, e := range extents {
		pack, err := os.Open(e.Path)
		if err != nil {
			return f, err
		}
		data, err := e.Read(pack)
		pack.Close()
		if err != nil {
			return f, err
		}
		if e, err = w.Add(data); err != nil {
			return f, err
		}
		f.Extents = append(f.Extents, e)
	}
	return f, nil
}

// Close completes the pack with the index of its files, and makes it visible.
func (w *Writer) Close(files []File) error {
	w.index.Files = slices.Clone(files)
	for i := range w.index.Files {
		f := &w.index.Files[i]
		f.Extents = slices.Clone(f.Extents)
		for k := range f.Extents {
			f.Extents[k].Path = ""
		}
	}
	data, err := json.Marshal(w.index)
	if err == nil {
		end := binary.LittleEndian.AppendUint64(nil, uint64(len(data)))
		end = binary.LittleEndian.AppendUint64(end, xxh3.Hash(data))
		_, err = w.out.Write(append(append(data, end...), magic...))
	}
	err = cmp.Or(err, w.out.Flush(), w.tmp.Sync())
	if err = cmp.Or(err, w.tmp.Close()); err == nil {
		err = os.Rename(w.tmp.Name(), w.path)
	}
	if err != nil {
		w.Abort()
	}
	return err
}

// Abort removes the pack.
func (w *Writer) Abort() {
	_ = w.tmp.Close()
	_ = os.Remove(w.tmp.Name()) // Sweep removes what is left
}

// entry is a file in the directory of a Store.
type entry struct {
	path string
	size int64
	used time.Time
}

// entries lists packs and unfinished packs, those used longest ago first.
func entries(dir string) (all []entry, err error) {
	names, err := os.ReadDir(dir)
	for _, n := range names {
		if !strings.HasSuffix(n.Name(), suffix) && !strings.HasPrefix(n.Name(), "tmp-") {
			continue
		}
		path := filepath.Join(dir, n.Name())
		info, err := n.Info()
		if errors.Is(err, fs.ErrNotExist) {
			continue // removed meanwhile
		}
		if err != nil {
			return nil, err
		}
		all = append(all, entry{path, info.Size(), info.ModTime()})
	}
	slices.SortFunc(all, func(a, b entry) int { return cmp.Or(a.used.Compare(b.used), strings.Compare(a.path, b.path)) })
	return all, err
}

// Sweep removes the given packs, packs that are damaged or left unfinished, and then those used
// longest ago until the others have at most size bytes. While another run uses the directory it
// does nothing. The caller has closed its Store.
func Sweep(root string, superseded []string, size int64) error {
	dir := filepath.Join(root, dirName)
	unlock, err := state.Lock(dir)
	if errors.Is(err, state.ErrLocked) {
		return nil // the next run does it
	}
	if err != nil {
		return err
	}
	all, err := entries(dir)
	total := int64(0)
	for _, e := range all {
		total += e.size
	}
	for _, e := range all {
		drop := size > 0 && total > size || slices.Contains(superseded, e.path)
		if !drop {
			_, _, damaged := readIndex(e.path)
			drop = damaged != nil
		}
		if drop {
			err = cmp.Or(err, os.Remove(e.path))
			total -= e.size
		}
	}
	return cmp.Or(err, unlock())
}

// Plan is the packs of one plan, for people.
type Plan struct {
	ID    string    `json:"id"`
	Query string    `json:"query"`
	Files int       `json:"files"`
	Bytes int64     `json:"bytes"`
	Used  time.Time `json:"used"`
}

// List returns the plans in a State directory, the one used last first.
func List(root string) ([]Plan, error) {
	all, err := entries(filepath.Join(root, dirName))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	plans := map[string]*Plan{}
	var order []string
	for _, e := range slices.Backward(all) {
		id, _, ok := strings.Cut(filepath.Base(e.path), "-")
		x, _, damaged := readIndex(e.path)
		if !ok || damaged != nil {
			continue
		}
		p := plans[id]
		if p == nil {
			p = &Plan{ID: prefix + id, Query: x.Query, Used: e.used}
			plans[id] = p
			order = append(order, id)
		}
		p.Files += len(x.Files)
		p.Bytes += e.size
	}
	var out []Plan
	for _, id := range order {
		out = append(out, *plans[id])
	}
	return out, err
}

// prefix begins the ID of a plan where jobs have IDs, too.
const prefix = "report-"

// IsID reports whether id is the ID of a plan and not of a job.
func IsID(id string) bool { return strings.HasPrefix(id, prefix) }

// Drop removes the packs of a plan. The error wraps state.ErrLocked while a run uses the directory,
// and fs.ErrNotExist if there is no such plan.
func Drop(root, id string) error {
	dir := filepath.Join(root, dirName)
	plan := strings.TrimPrefix(id, prefix)
	paths, err := filepath.Glob(filepath.Join(dir, plan+"-*"+suffix))
	if err != nil || len(paths) == 0 || strings.ContainsAny(plan, `*?[\/`) {
		return fmt.Errorf("%s has no partial aggregates %q: %w; layshaft state list %s shows them", root, id, fs.ErrNotExist, root)
	}
	unlock, err := state.Lock(dir)
	if err != nil {
		return fmt.Errorf("partial aggregates %s: %w", id, err)
	}
	for _, path := range paths {
		err = cmp.Or(err, os.Remove(path))
	}
	return cmp.Or(err, unlock())
}

// AppendGroup appends a group, its key and its states, to the bytes of an extent.
func AppendGroup(dst []byte, key, states string) []byte {
	dst = append(binary.AppendUvarint(dst, uint64(len(key))), key...)
	return append(binary.AppendUvarint(dst, uint64(len(states))), states...)
}

// NextGroup reads a group. key and states share the memory of data.
func NextGroup(data []byte) (key, states, rest []byte, err error) {
	next := func() (b []byte) {
		n, w := binary.Uvarint(data)
		if w <= 0 || n > uint64(len(data)-w) {
			err = ErrDamaged
			return nil
		}
		b, data = data[w:w+int(n):w+int(n)], data[w+int(n):]
		return b
	}
	if key = next(); err == nil {
		states = next()
	}
	return key, states, data, err
}

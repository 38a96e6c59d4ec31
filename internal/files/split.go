package files

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"

	"github.com/layshaft/layshaft/internal/filesys"
	"github.com/layshaft/layshaft/internal/job"
)

// Slice is a contiguous range of one file. Split.Data is a JSON list of slices.
type Slice struct {
	// Path is the result of filesys.Lend, so that other machines with other working directories
	// find the file.
	Path   string `json:"p"`
	Offset int64  `json:"o,omitempty"` // first byte, counted after decompression
	Length int64  `json:"n"`           // bytes; -1 means to the end of the file
	Codec  Codec  `json:"c,omitempty"`
	Frame  int64  `json:"f,omitempty"` // position in the file of the compressed frame that starts at Offset
	// End is the position in the file where the frames with Length bytes end; zero for the last
	// slice, and when not compressed.
	End     int64    `json:"e,omitempty"`
	Size    int64    `json:"s"`           // of the file at the time of the split
	ModTime int64    `json:"t"`           // the same, in nanoseconds since 1970
	Hosts   []string `json:"h,omitempty"` // with a copy of the file at that time
	// Version is the Version of the File. It is part of the job's identity, and tells whether
	// another copy is equal.
	Version int64 `json:"i,omitempty"`

	opened filesys.File // the file, if it was opened with others; see smallAhead
}

// maxFiles limits the files of one split, to keep its description small.
const maxFiles = 4096

// defaultTarget is the default size of a split in bytes.
const defaultTarget = 64 << 20

// Splits cuts files into splits of about target bytes (64 MiB when zero), counted after
// decompression. It packs small files together, in the order of fs, if one worker holds all of
// them.
//
// A plain file is cut anywhere. A zstd file is cut between frames if their sizes are known. Other
// compressed files stay in one piece. If that makes a split larger than target, its Note explains
// it.
func Splits(ctx context.Context, fs []File, target int64) ([]job.Split, error) {
	if target <= 0 {
		target = defaultTarget
	}
	p := newPacker(target)
	for _, f := range fs {
		s, err := WholeFile(ctx, f)
		if err != nil {
			return nil, err
		}
		cuts, note := []cut{{}}, ""
		if f.Raw > target+target/8 {
			switch f.Codec {
			case Plain:
				cuts = plainCuts(f.Size, target)
			case Zstd:
				if cuts, note, err = zstdCuts(ctx, f, target); err != nil {
					return nil, err
				}
			default:
				note = f.Codec.String() + ": cannot be cut"
			}
		}
		if err := p.add(f, s, cuts, note); err != nil {
			return nil, err
		}
	}
	if err := p.bins.Flush(); err != nil {
		return nil, err
	}
	return p.out, nil
}

// cut is the start of a piece: its offset after decompression, and the position of its frame in the
// file.
type cut struct{ offset, frame int64 }

// plainCuts returns the starts of equal pieces of about target bytes.
func plainCuts(size, target int64) []cut {
	n := (size + target/2) / target
	cuts := make([]cut, n)
	for i := range cuts {
		cuts[i].offset = int64(float64(size) / float64(n) * float64(i))
	}
	return cuts
}

// packer turns slices into splits.
type packer struct {
	bins Bins[packed]
	out  []job.Split
}

// packed is a whole small file. It shares a split with others.
type packed struct {
	slice Slice
	name  string
}

func newPacker(target int64) *packer {
	p := &packer{}
	p.bins = Bins[packed]{Target: target, Most: maxFiles, Full: func(files []packed, bytes int64, hosts []string) error {
		label := files[0].name
		if n := len(files); n > 1 {
			label = fmt.Sprintf("%d files, %s … %s", n, label, files[n-1].name)
		}
		slices := make([]Slice, len(files))
		for i, f := range files {
			slices[i] = f.slice
		}
		return p.emit(label, bytes, "", hosts, slices)
	}}
	return p
}

// add adds the pieces of one file. A file in one piece that fits is packed with other files.
func (p *packer) add(f File, s Slice, cuts []cut, note string) error {
	if len(cuts) == 1 && note == "" {
		return p.bins.Add(packed{s, f.Path}, f.Raw, f.Hosts)
	}
	if err := p.bins.Flush(); err != nil {
		return err
	}
	for i, c := range cuts {
		s.Offset, s.Frame, s.End, s.Length = c.offset, c.frame, 0, -1
		end := f.Raw
		if i+1 < len(cuts) {
			end = cuts[i+1].offset
			s.Length, s.End = end-c.offset, cuts[i+1].frame
		}
		label := f.Path
		if len(cuts) > 1 {
			label = fmt.Sprintf("%s[%d:%d]", f.Path, c.offset, end)
		}
		if err := p.emit(label, max(end-c.offset, 0), note, f.Hosts, []Slice{s}); err != nil {
			return err
		}
	}
	return nil
}

func (p *packer) emit(label string, bytes int64, note string, hosts []string, slices []Slice) error {
	data, err := json.Marshal(slices)
	if err != nil {
		return fmt.Errorf("%s: %w", label, err)
	}
	p.out = append(p.out, job.Split{Label: label, Bytes: bytes, Note: note, Hosts: hosts, Data: data})
	return nil
}

// Bins packs small items, in order of arrival, into bins of about Target bytes. The items of one
// bin share a host; items without hosts go to bins of their own. Unfinished bins wait until they
// are full or Flush is called.
type Bins[T any] struct {
	Target int64                                              // bytes
	Most   int                                                // maximum number of items per bin; zero means no limit
	Full   func(items []T, bytes int64, hosts []string) error // receives a bin; each of hosts holds all its items

	open []bin[T] // in the order of their first items
}

type bin[T any] struct {
	items []T
	bytes int64
	hosts []string
}

// Add adds an item to the first bin that shares a host with it.
func (b *Bins[T]) Add(item T, bytes int64, hosts []string) error {
	for i := range b.open {
		o := &b.open[i]
		if len(hosts) == 0 != (len(o.hosts) == 0) {
			continue
		}
		shared := slices.DeleteFunc(slices.Clone(o.hosts), func(h string) bool { return !slices.Contains(hosts, h) })
		if len(shared) == 0 && len(hosts) > 0 {
			continue
		}
		if o.bytes+bytes <= b.Target+b.Target/8 && (b.Most == 0 || len(o.items) < b.Most) {
			o.items, o.bytes, o.hosts = append(o.items, item), o.bytes+bytes, shared
			return nil
		}
		full := *o
		b.open = slices.Delete(b.open, i, i+1)
		if err := b.Full(full.items, full.bytes, full.hosts); err != nil {
			return err
		}
		break
	}
	b.open = append(b.open, bin[T]{[]T{item}, bytes, hosts})
	return nil
}

// Flush passes all unfinished bins to Full.
func (b *Bins[T]) Flush() error {
	open := b.open
	b.open = nil
	for _, o := range open {
		if err := b.Full(o.items, o.bytes, o.hosts); err != nil {
			return err
		}
	}
	return nil
}

// SlicesOf returns the slices of a split that Splits made.
func SlicesOf(s job.Split) ([]Slice, error) {
	var out []Slice
	if err := json.Unmarshal(s.Data, &out); err != nil {
		return nil, fmt.Errorf("split %s: its description cannot be read: %w", s.Label, err)
	}
	return out, nil
}

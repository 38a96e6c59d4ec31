package files

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"

	"github.com/layshaft/layshaft/internal/job"
)

// Slice is a piece of one file. Split.Data holds a JSON list of them.
type Slice struct {
	Path    string   `json:"p"`           // as filesys.Lend gives it, so that another machine with another working directory finds it
	Offset  int64    `json:"o,omitempty"` // first byte, counted after decompression
	Length  int64    `json:"n"`           // bytes; -1 means to the end of the file
	Codec   Codec    `json:"c,omitempty"`
	Frame   int64    `json:"f,omitempty"` // where the compressed frame that starts at Offset lies in the file
	End     int64    `json:"e,omitempty"` // where the frames end that hold Length bytes; zero for the last, and when not compressed
	Size    int64    `json:"s"`           // of the file when it was cut
	ModTime int64    `json:"t"`           // the same, in nanoseconds since 1970
	Hosts   []string `json:"h,omitempty"` // that had it then
}

// maxFiles bounds the files of one split, so that its description stays small.
const maxFiles = 4096

// defaultTarget is the size of a split when the caller has no wish.
const defaultTarget = 64 << 20

// Splits cuts files into splits of about target bytes (64 MiB when zero), counted after decompression, and packs small files together, in the
// order of fs as far as the files of one split have a worker that holds them all. A plain file is cut anywhere and a zstd file between frames whose
// sizes are known; other compressed files, and all files when whole is set, stay in one piece, which the Note of the split says
// when that makes it larger than target.
func Splits(ctx context.Context, fs []File, target int64, whole bool) ([]job.Split, error) {
	if target <= 0 {
		target = defaultTarget
	}
	p := newPacker(target)
	for _, f := range fs {
		s, err := Whole(ctx, f)
		if err != nil {
			return nil, err
		}
		cuts, note := []cut{{}}, ""
		if f.Raw > target+target/8 {
			switch {
			case whole:
				note = "the format cannot be cut"
			case f.Codec == Gzip:
				note = "gzip: cannot be cut"
			case f.Codec == Zstd:
				if cuts, note, err = zstdCuts(ctx, f, target); err != nil {
					return nil, err
				}
			default:
				cuts = plainCuts(f.Size, target)
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

// cut is where a piece starts: its offset after decompression and the place of its frame.
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

// packer makes splits of slices.
type packer struct {
	bins Bins[packed]
	out  []job.Split
}

// packed is a whole small file that shares a split with others.
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

// add adds the pieces of one file. A file in one piece that fits is packed with its neighbours.
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

// Bins packs small items, in the order in which they come, into bins of about Target bytes. Items of one bin share a host; those
// without hosts share bins of their own. Bins that are begun wait until they are full or Flush is called.
type Bins[T any] struct {
	Target int64                                              // bytes
	Most   int                                                // items of one bin; zero means any number
	Full   func(items []T, bytes int64, hosts []string) error // takes a bin; hosts hold all of it

	open []bin[T] // in order of their first items
}

type bin[T any] struct {
	items []T
	bytes int64
	hosts []string
}

// Add puts an item into the first bin that is near enough.
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

// Flush hands over all bins that are begun.
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

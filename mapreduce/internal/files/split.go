package files

import (
	"encoding/json"
	"fmt"
	"path/filepath"

	"github.com/layshaft/layshaft/internal/job"
)

// Slice is a piece of one file. Split.Data holds a JSON list of them.
type Slice struct {
	Path    string `json:"p"`           // absolute, so that a worker with another working directory finds it
	Offset  int64  `json:"o,omitempty"` // first byte, counted after decompression
	Length  int64  `json:"n"`           // bytes; -1 means to the end of the file
	Codec   Codec  `json:"c,omitempty"`
	Frame   int64  `json:"f,omitempty"` // where the compressed frame that starts at Offset lies in the file
	Size    int64  `json:"s"`           // of the file when it was cut
	ModTime int64  `json:"t"`           // the same, in nanoseconds since 1970
}

// maxFiles bounds the files of one split, so that its description stays small.
const maxFiles = 4096

// defaultTarget is the size of a split when the caller has no wish.
const defaultTarget = 64 << 20

// Splits cuts files into splits of about target bytes (64 MiB when zero), counted after decompression, and packs small files together, in the
// order of fs. A plain file is cut anywhere and a zstd file between frames whose sizes are known; other compressed files, and all files
// when whole is set, stay in one piece, which the Note of the split says when that makes it larger than target.
func Splits(fs []File, target int64, whole bool) ([]job.Split, error) {
	if target <= 0 {
		target = defaultTarget
	}
	p := packer{target: target}
	for _, f := range fs {
		abs, err := filepath.Abs(f.Path)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", f.Path, err)
		}
		s := Slice{Path: abs, Length: -1, Codec: f.Codec, Size: f.Size, ModTime: f.ModTime.UnixNano()}
		cuts, note := []cut{{}}, ""
		if f.Raw > target+target/8 {
			switch {
			case whole:
				note = "the format cannot be cut"
			case f.Codec == Gzip:
				note = "gzip: cannot be cut"
			case f.Codec == Zstd:
				if cuts, note, err = zstdCuts(f, target); err != nil {
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
	if err := p.flush(); err != nil {
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

// packer gathers slices into splits.
type packer struct {
	target int64
	out    []job.Split
	slices []Slice
	names  []string
	bytes  int64
}

// add adds the pieces of one file. A file in one piece that fits is packed with its neighbours.
func (p *packer) add(f File, s Slice, cuts []cut, note string) error {
	if len(cuts) == 1 && note == "" {
		if len(p.slices) > 0 && (p.bytes+f.Raw > p.target+p.target/8 || len(p.slices) == maxFiles) {
			if err := p.flush(); err != nil {
				return err
			}
		}
		p.slices = append(p.slices, s)
		p.names = append(p.names, f.Path)
		p.bytes += f.Raw
		return nil
	}
	if err := p.flush(); err != nil {
		return err
	}
	for i, c := range cuts {
		s.Offset, s.Frame, s.Length = c.offset, c.frame, -1
		end := f.Raw
		if i+1 < len(cuts) {
			end = cuts[i+1].offset
			s.Length = end - c.offset
		}
		label := f.Path
		if len(cuts) > 1 {
			label = fmt.Sprintf("%s[%d:%d]", f.Path, c.offset, end)
		}
		if err := p.emit(label, max(end-c.offset, 0), note, []Slice{s}); err != nil {
			return err
		}
	}
	return nil
}

// flush makes a split of the packed files.
func (p *packer) flush() error {
	if len(p.slices) == 0 {
		return nil
	}
	label := p.names[0]
	if n := len(p.names); n > 1 {
		label = fmt.Sprintf("%d files, %s … %s", n, p.names[0], p.names[n-1])
	}
	err := p.emit(label, p.bytes, "", p.slices)
	p.slices, p.names, p.bytes = nil, nil, 0
	return err
}

func (p *packer) emit(label string, bytes int64, note string, slices []Slice) error {
	data, err := json.Marshal(slices)
	if err != nil {
		return fmt.Errorf("%s: %w", label, err)
	}
	p.out = append(p.out, job.Split{Label: label, Bytes: bytes, Note: note, Data: data})
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

// Package textio reads lines and words from text files and writes records as lines.
//
// Paths may be globs (with ** for any depth) or directories. Files that end in .gz or .zst, or begin like one, are
// decompressed. Lines and words alias the memory that the file was read into: they cost no copy and no allocation,
// and one that is kept keeps up to 256 KiB of its neighbours; strings.Clone frees it of them.
package textio

import (
	"bytes"
	"context"
	"fmt"
	"strings"
	"unsafe"

	"github.com/layshaft/layshaft/mapreduce"
	"github.com/layshaft/layshaft/mapreduce/internal/files"
)

// LineSource reads lines. It is a mapreduce.Source[string].
type LineSource struct {
	patterns []string
	delim    byte
}

// Lines reads the lines of files, without their line ends ("\n" or "\r\n"). Bytes that are not UTF-8 are passed as they are.
func Lines(patterns ...string) LineSource { return LineSource{patterns, '\n'} }

// Delimiter returns a source whose records end with b instead of a line end, as with find -print0.
func (s LineSource) Delimiter(b byte) LineSource {
	s.delim = b
	return s
}

// String returns textio.Lines("a", "b").
func (s LineSource) String() string {
	name := call("Lines", s.patterns)
	if s.delim != '\n' {
		name += fmt.Sprintf(".Delimiter(%q)", s.delim)
	}
	return name
}

// Splits cuts the files behind any byte; Read makes whole lines of that.
func (s LineSource) Splits(ctx context.Context, target int64) ([]mapreduce.Split, error) {
	return splits(ctx, s.patterns, target)
}

// Read hands every line of the split to r.
func (s LineSource) Read(ctx context.Context, split mapreduce.Split, r *mapreduce.Reader[string]) error {
	var line string
	return files.Chunks(ctx, split, s.delim, func(c files.Chunk) error {
		r.Path = c.Path
		records := int64(0)
		for off := 0; off < len(c.Data); records++ {
			end, next := len(c.Data), len(c.Data)
			if i := bytes.IndexByte(c.Data[off:], s.delim); i >= 0 {
				end, next = off+i, off+i+1
				if s.delim == '\n' && end > off && c.Data[end-1] == '\r' {
					end--
				}
			}
			r.Offset = c.Offset + int64(off)
			line = unsafe.String(&c.Data[off], end-off)
			r.Emit(&line)
			if r.Stopped() {
				return files.ErrStop
			}
			off = next
		}
		r.Add(records, int64(len(c.Data)))
		return nil
	})
}

// WordSource reads words. It is a mapreduce.Source[string].
type WordSource struct{ patterns []string }

// Fields reads the words of files: what strings.Fields finds in their lines.
func Fields(patterns ...string) WordSource { return WordSource{patterns} }

// String returns textio.Fields("a", "b").
func (s WordSource) String() string { return call("Fields", s.patterns) }

// Splits cuts the files behind any byte; Read makes whole words of that.
func (s WordSource) Splits(ctx context.Context, target int64) ([]mapreduce.Split, error) {
	return splits(ctx, s.patterns, target)
}

// Read hands every word of the split to r.
func (s WordSource) Read(ctx context.Context, split mapreduce.Split, r *mapreduce.Reader[string]) error {
	return files.Words(ctx, split, func(c files.Chunk) error {
		r.Path = c.Path
		n, ok := fields(c, r)
		if !ok {
			return files.ErrStop
		}
		r.Add(n, int64(len(c.Data)))
		return nil
	})
}

func splits(ctx context.Context, patterns []string, target int64) ([]mapreduce.Split, error) {
	fs, err := files.Expand(ctx, patterns)
	if err != nil {
		return nil, err
	}
	return files.Splits(ctx, fs, target, false)
}

func call(name string, args []string) string {
	quoted := make([]string, len(args))
	for i, a := range args {
		quoted[i] = fmt.Sprintf("%q", a)
	}
	return "textio." + name + "(" + strings.Join(quoted, ", ") + ")"
}

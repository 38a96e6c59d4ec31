// Package textio reads lines and words from text files, and writes records as lines.
//
//	lines := mapreduce.Read(p, textio.Lines("logs/**/*.log.gz"))
//	words := mapreduce.Read(p, textio.Fields("books"))
//
// Patterns are paths, globs (** matches any depth) and directories. A directory stands for all
// regular files below it. Links are followed, and each file is read once. Names that start with a
// dot or an underscore are left out unless the pattern spells them (_* does, * does not), or
// mapreduce.Local.Hidden is set. Files that the job itself writes are left out. A pattern without
// input is an error.
//
// Files compressed with gzip, zstd, bzip2 or xz are recognized by their first bytes or by their
// suffix. Plain files are split anywhere, into splits of 64 MiB by default. Zstd files are split at
// frames if the frames state their sizes. Other compressed files are read in one piece. Small files
// share a split.
//
// A file that is not text, such as a zip archive, a Parquet file, UTF-16 or a program, is an error
// that names the format, also within compressed files. So is a file whose lines end with a carriage
// return alone.
//
// Lines and words alias the memory of the file's data, so reading them neither copies nor
// allocates. A string that is kept for long keeps its block of 256 KiB (or more, for longer lines)
// in memory. strings.Clone makes an independent copy.
package textio

import (
	"bytes"
	"context"
	"fmt"
	"unsafe"

	"github.com/layshaft/layshaft/internal/files"
	"github.com/layshaft/layshaft/internal/job"
	"github.com/layshaft/layshaft/mapreduce/connector"
)

// LineSource reads lines. It is a connector.Source[string], made by Lines.
type LineSource struct {
	patterns []string
	delim    byte
}

// Lines returns a source of the lines of files, without their line ends ("\n" or "\r\n"). A byte
// order mark is skipped. Bytes other than UTF-8 are passed on unchanged. Empty lines are records
// too. A line of more than 64 MiB ends the job with an error.
func Lines(patterns ...string) LineSource { return LineSource{patterns, '\n'} }

// Delimiter returns a source whose records end with b instead of a line end, as in the output of
// find -print0.
func (s LineSource) Delimiter(b byte) LineSource {
	s.delim = b
	return s
}

// String returns the source and its options, such as textio.Lines("a", "b").
func (s LineSource) String() string {
	name := files.Call("textio.Lines", "", s.patterns)
	if s.delim != '\n' {
		name += fmt.Sprintf(".Delimiter(%q)", s.delim)
	}
	return name
}

// Splits cuts the files at any byte; Read completes the lines. target is the size of a split in
// bytes; zero means 64 MiB.
func (s LineSource) Splits(ctx context.Context, target int64) ([]connector.Split, error) {
	return splits(ctx, s.patterns, target)
}

// Read emits every line of the split. The position of a line is its offset in bytes in the
// decompressed file.
func (s LineSource) Read(ctx context.Context, split connector.Split, r *connector.Reader[string]) error {
	var line string
	return files.Chunks(ctx, job.Split(split), s.delim, func(c files.Chunk) error {
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

// WordSource reads words. It is a connector.Source[string], made by Fields.
type WordSource struct{ patterns []string }

// Fields returns a source of the words of files, as split by strings.Fields: at Unicode white
// space. Lines may have any length.
func Fields(patterns ...string) WordSource { return WordSource{patterns} }

// String returns the source, such as textio.Fields("a", "b").
func (s WordSource) String() string { return files.Call("textio.Fields", "", s.patterns) }

// Splits cuts the files at any byte; Read completes the words. target is the size of a split in
// bytes; zero means 64 MiB.
func (s WordSource) Splits(ctx context.Context, target int64) ([]connector.Split, error) {
	return splits(ctx, s.patterns, target)
}

// Read emits every word of the split. The position of a word is its offset in bytes in the
// decompressed file.
func (s WordSource) Read(ctx context.Context, split connector.Split, r *connector.Reader[string]) error {
	return files.Words(ctx, job.Split(split), func(c files.Chunk) error {
		r.Path = c.Path
		n, ok := fields(c, r)
		if !ok {
			return files.ErrStop
		}
		r.Add(n, int64(len(c.Data)))
		return nil
	})
}

func splits(ctx context.Context, patterns []string, target int64) ([]connector.Split, error) {
	fs, err := files.ExpandText(ctx, patterns)
	if err != nil {
		return nil, err
	}
	return files.Convert[connector.Split](files.Splits(ctx, fs, target))
}

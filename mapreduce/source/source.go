// Package source is a kit for files in formats of your own: it finds, opens, decompresses and cuts
// them, and you say where a record ends. A pattern is a path, a glob (** matches any depth) or a
// directory, on this machine, dataset://, s3:// or another place that the run knows.
//
//	events := mapreduce.Read(p, source.Starting(regexp.MustCompile(`^\d{4}-\d\d-\d\d `), "logs/**/*.log"))
//
// Ready formats are [Separated] for records between separators, [Starting] for records that begin
// with a line of a certain form, such as log entries with stack traces, [Paragraphs] for text
// between blank lines, [Delimited] for binary records after their length, and [Files] for whole
// files. [Records] takes a [Format] of your own: a split function, as bufio.Scanner has it. [As]
// decodes records into values; an error of the decoder makes a bad record, with path and position.
//
// Files with a suffix .gz, .zst, .bz2 or .xz are decompressed. Plain files are cut into splits at
// records, of 64 MiB by default, if the format can find a record from the middle of a file. A
// record is at most 64 MiB.
//
// For a sink, binio.WriteAs and binio.WriteFileAs write what an encoder appends, with all that
// sinks promise: [AppendDelimited] is such an encoder.
package source

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"regexp"
	"strconv"

	"github.com/layshaft/layshaft/internal/files"
	"github.com/layshaft/layshaft/internal/filesys"
	"github.com/layshaft/layshaft/internal/job"
	"github.com/layshaft/layshaft/internal/report"
	"github.com/layshaft/layshaft/internal/stanza"
	"github.com/layshaft/layshaft/mapreduce/connector"
)

// Format cuts the content of files into records.
type Format struct {
	// Split returns the first record of data, as with bufio.Scanner. data begins with a record. If
	// atEOF is set it ends with the file or with the split. Bytes that Split leaves there are an
	// error: the file ends within a record. Split must not keep data.
	Split bufio.SplitFunc
	// Start returns the position of any record that starts within data, after its first byte; -1 if
	// data shows none. data begins and ends anywhere in a file. So a large plain file can be cut.
	// Nil means that every file is read in one piece.
	Start func(data []byte) int
	// Binary switches off the checks of text: a byte order mark is data, and the first bytes may
	// look like an archive or image.
	Binary bool
}

// Source reads records of files as values of type T. It is a connector.Source[T].
type Source[T any] struct {
	name     string
	patterns []string
	format   Format
	err      error // in the arguments
	decode   func(record string, v *T) error
}

// Records returns a source with a format of your own.
func Records(f Format, patterns ...string) Source[string] {
	s := newSource(files.Call("source.Records", "", patterns), patterns, f)
	if f.Split == nil {
		s.err = errors.New("the format has no Split function")
	}
	return s
}

func newSource(name string, patterns []string, f Format) Source[string] {
	return Source[string]{name: name, patterns: patterns, format: f, decode: func(record string, v *string) error {
		*v = record
		return nil
	}}
}

// As decodes the records of a source into values. v may still contain the record before. An error
// makes the record a bad record; see mapreduce.MaxBad.
func As[T any](s Source[string], decode func(record string, v *T) error) Source[T] {
	d := Source[T]{name: s.name, patterns: s.patterns, format: s.format, err: s.err, decode: decode}
	if decode == nil {
		d.err = errors.New("the function given to As is nil")
	}
	return d
}

// Separated returns a source of the records between separators, such as "\n--\n". The last record
// of a file may lack its separator. A separator that can overlap itself, such as "\n\n", does not
// allow to cut files.
func Separated(separator string, patterns ...string) Source[string] {
	sep := []byte(separator)
	f := Format{Split: func(data []byte, atEOF bool) (int, []byte, error) {
		if i := bytes.Index(data, sep); i >= 0 {
			return i + len(sep), data[:i], nil
		}
		if atEOF {
			return len(data), data, nil
		}
		return 0, nil, nil
	}}
	overlaps := false
	for n := 1; n < len(sep); n++ {
		overlaps = overlaps || bytes.HasPrefix(sep, sep[len(sep)-n:])
	}
	if !overlaps {
		f.Start = func(data []byte) int {
			if i := bytes.Index(data, sep); i >= 0 {
				return i + len(sep)
			}
			return -1
		}
	}
	s := newSource(files.Call("source.Separated", strconv.Quote(separator), patterns), patterns, f)
	if separator == "" {
		s.err = errors.New("the separator is empty")
	}
	return s
}

// Starting returns a source of records of several lines, without their last line end. A record
// begins with a line that matches first. Lines before the first such line of a file are a record,
// too.
func Starting(first *regexp.Regexp, patterns ...string) Source[string] {
	// next returns the start of the first complete line after the first one that matches.
	next := func(data []byte, atEOF bool) int {
		for i := bytes.IndexByte(data, '\n') + 1; i > 0 && i < len(data); {
			n := bytes.IndexByte(data[i:], '\n')
			if n < 0 && !atEOF {
				return -1
			}
			line := data[i:]
			if n >= 0 {
				line = line[:n]
			}
			if first.Match(bytes.TrimSuffix(line, []byte("\r"))) {
				return i
			}
			if n < 0 {
				return -1
			}
			i += n + 1
		}
		return -1
	}
	s := newSource("", patterns, Format{
		Split: func(data []byte, atEOF bool) (int, []byte, error) {
			n := next(data, atEOF)
			if n < 0 {
				if !atEOF {
					return 0, nil, nil
				}
				n = len(data)
			}
			return n, bytes.TrimSuffix(bytes.TrimSuffix(data[:n], []byte("\n")), []byte("\r")), nil
		},
		Start: func(data []byte) int { return next(data, false) },
	})
	if first == nil {
		s.name, s.err = files.Call("source.Starting", "nil", patterns), errors.New("the regular expression is nil")
		return s
	}
	s.name = files.Call("source.Starting", fmt.Sprintf("%q", first), patterns)
	return s
}

// Paragraphs returns a source of the texts between blank lines, without their last line end. Lines
// of spaces and tabs are blank.
func Paragraphs(patterns ...string) Source[string] {
	return newSource(files.Call("source.Paragraphs", "", patterns), patterns, Format{
		Split: func(data []byte, atEOF bool) (int, []byte, error) {
			n, next := stanza.End(data, 0, atEOF)
			if n < 0 {
				return 0, nil, nil
			}
			text := bytes.TrimRight(data[:n], "\r\n")
			for { // there may be more than one blank line
				line, rest, more := bytes.Cut(text, []byte("\n"))
				if len(bytes.TrimSpace(line)) > 0 {
					return next, text, nil
				}
				if text = rest; !more {
					return next, nil, nil
				}
			}
		},
		Start: stanza.Start,
	})
}

// Delimited returns a source of binary records. Before each record is its length, as an unsigned
// varint: what AppendDelimited, and the delimited messages of protocol buffers, have. Files are
// read in one piece.
func Delimited(patterns ...string) Source[string] {
	return newSource(files.Call("source.Delimited", "", patterns), patterns, Format{Binary: true, Split: func(data []byte, _ bool) (int, []byte, error) {
		n, w := binary.Uvarint(data)
		switch {
		case w < 0 || n > files.MaxRecord:
			return 0, nil, fmt.Errorf("a record of %d bytes: the largest is %d; is this a file of delimited records?", n, files.MaxRecord)
		case w == 0 || uint64(len(data)-w) < n:
			return 0, nil, nil
		}
		return w + int(n), data[w : w+int(n)], nil
	}})
}

// AppendDelimited appends a record after its length, for Delimited. With binio.WriteAs it is a
// sink: binio.WriteAs(dir, source.AppendDelimited).
func AppendDelimited(dst []byte, record string) []byte {
	return append(binary.AppendUvarint(dst, uint64(len(record))), record...)
}

// Named returns the source with another name, for packages that build on this one. If err is not
// nil, plans with the source fail with it before they run.
func (s Source[T]) Named(name string, err error) Source[T] {
	s.name, s.err = name, cmp.Or(s.err, err)
	return s
}

// String names the source in plans and errors.
func (s Source[T]) String() string { return s.name }

// Splits cuts the files at records. target is the size of a split in bytes; zero means 64 MiB.
func (s Source[T]) Splits(ctx context.Context, target int64) ([]connector.Split, error) {
	if s.err != nil {
		return nil, fmt.Errorf("%s: %w", s.name, s.err)
	}
	fs, err := expand(ctx, s.patterns, s.format.Binary)
	if err != nil {
		return nil, err
	}
	cuts := make([][]int64, len(fs))
	if s.format.Start != nil {
		if cuts, err = files.CutsAt(ctx, fs, target, s.format.Start); err != nil {
			return nil, err
		}
	}
	return files.Convert[connector.Split](files.SplitsAt(ctx, fs, target, cuts))
}

// expand finds files. The first bytes of binary files do not matter.
func expand(ctx context.Context, patterns []string, binary bool) ([]files.File, error) {
	if !binary {
		return files.ExpandText(ctx, patterns)
	}
	fs, err := files.Expand(ctx, patterns)
	for i, f := range fs {
		if fs[i].Codec = files.BySuffix(f.Path); fs[i].Codec == files.Plain {
			fs[i].Raw = f.Size
		}
	}
	return fs, err
}

// Read emits every record of the split. The position of a record is its offset in bytes in the
// decompressed file, and for text its line, if the file was not cut.
func (s Source[T]) Read(ctx context.Context, split connector.Split, r *connector.Reader[T]) error {
	slices, err := files.SlicesOf(job.Split(split))
	if err != nil {
		return err
	}
	exact := files.Exact
	if s.format.Binary {
		exact = files.ExactBytes
	}
	var v T
	for _, sl := range slices {
		line := int64(0)
		counts := sl.Offset == 0 && !s.format.Binary
		if counts {
			line = 1
		}
		err := exact(ctx, sl, func(c files.Chunk, last bool) (at int, err error) {
			r.Path = c.Path
			records := int64(0)
			for at < len(c.Data) {
				n, record, err := s.format.Split(c.Data[at:], last)
				r.Offset, r.Line = c.Offset+int64(at), line
				final := errors.Is(err, bufio.ErrFinalToken)
				switch {
				case err != nil && !final:
					return at, fmt.Errorf("%s: byte %d: %w", c.Path, r.Offset, err)
				case n < 0 || n > len(c.Data)-at:
					return at, fmt.Errorf("%s: byte %d: the split function advanced by %d of %d bytes", c.Path, r.Offset, n, len(c.Data)-at)
				case n == 0 && record != nil && !final:
					return at, fmt.Errorf("%s: byte %d: the split function returned a record and did not advance", c.Path, r.Offset)
				}
				if record != nil {
					records++
					if err := s.decode(string(record), &v); err == nil {
						r.Emit(&v)
					} else if err := r.Bad(err, record); err != nil {
						return at, err
					}
				}
				if counts {
					line += int64(bytes.Count(c.Data[at:at+n], []byte{'\n'}))
				}
				at += n
				if final || r.Stopped() {
					return at, files.ErrStop
				}
				if n == 0 {
					break
				}
			}
			if last && at < len(c.Data) {
				return at, fmt.Errorf("%s: byte %d: the file ends within a record; %s left over", c.Path, c.Offset+int64(at), report.Plural(len(c.Data)-at, "byte"))
			}
			r.Add(records, int64(at))
			return at, nil
		})
		if err != nil || r.Stopped() {
			return err
		}
	}
	return nil
}

// File is a whole file.
type File struct {
	Path string // as the source names it in errors
	Data []byte // decompressed
}

// FileSource reads whole files. It is a connector.Source[File], made by Files.
type FileSource struct{ patterns []string }

// Files returns a source with one record for each file, of at most 64 MiB. Small files share a
// task.
func Files(patterns ...string) FileSource { return FileSource{patterns} }

// String returns the source, such as source.Files("img/*.png").
func (s FileSource) String() string { return files.Call("source.Files", "", s.patterns) }

// Splits packs the files into splits of about target bytes; zero means 64 MiB.
func (s FileSource) Splits(ctx context.Context, target int64) ([]connector.Split, error) {
	fs, err := expand(ctx, s.patterns, true)
	if err != nil {
		return nil, err
	}
	return files.Convert[connector.Split](files.SplitsAt(ctx, fs, target, make([][]int64, len(fs))))
}

// Read emits the files of the split.
func (s FileSource) Read(ctx context.Context, split connector.Split, r *connector.Reader[File]) error {
	slices, err := files.SlicesOf(job.Split(split))
	if err != nil {
		return err
	}
	for _, sl := range slices {
		f := File{Path: filesys.DisplayText(sl.Path)}
		err := files.ExactBytes(ctx, sl, func(c files.Chunk, last bool) (int, error) {
			if !last {
				return 0, nil
			}
			f.Data = bytes.Clone(c.Data)
			return len(c.Data), nil
		})
		if err != nil {
			return err
		}
		r.Path, r.Offset = sl.Path, 0
		r.Emit(&f)
		r.Add(1, int64(len(f.Data)))
		if r.Stopped() {
			return nil
		}
	}
	return nil
}

package scan

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"path"
	"slices"
	"strings"

	"golang.org/x/sync/errgroup"

	"github.com/layshaft/layshaft/internal/files"
)

// maxSampled is the most files that a sample is taken of. They are spread over all files.
const maxSampled = 64

// A sample has this many bytes of the start and of the middle of a file, and sampledBytes of all
// files.
const (
	leastSample, mostSample = 64 << 10, 256 << 10
	sampledBytes            = 4 << 20
)

// maxSampleBytes is the most of a file that is read to find its first two lines.
const maxSampleBytes = 16 << 20

// sample is a part of a file.
type sample struct {
	file files.File
	head []byte // decompressed
	// whole reports that head is all of the file.
	whole bool
	// middle is a part of the middle of the file, from the start of a line. It is empty if the file
	// is small or cannot be cut.
	middle []byte
}

// take reads samples of up to maxSampled files that are not empty.
func take(ctx context.Context, fs []files.File) ([]sample, error) {
	var some []files.File
	for i, f := range fs {
		// an even spread, with the first and the last file
		if f.Size > 0 && (len(fs) <= maxSampled || i == len(fs)-1 || i*(maxSampled-1)/(len(fs)-1) != (i-1)*(maxSampled-1)/(len(fs)-1) || i == 0) {
			some = append(some, f)
		}
	}
	if len(some) == 0 && len(fs) > maxSampled { // none of those had content
		for _, f := range fs {
			if f.Size > 0 && len(some) < maxSampled {
				some = append(some, f)
			}
		}
	}
	samples := make([]sample, len(some))
	size := min(max(sampledBytes/(2*max(len(some), 1)), leastSample), mostSample)
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(8)
	for i, f := range some {
		group.Go(func() (err error) {
			samples[i], err = takeOne(ctx, f, size)
			return err
		})
	}
	if err := group.Wait(); err != nil {
		return nil, err
	}
	// a compressed file may hold nothing
	return slices.DeleteFunc(samples, func(s sample) bool { return len(s.head) == 0 }), nil
}

// takeOne reads a sample of about size bytes of the start, and as many of the middle.
func takeOne(ctx context.Context, f files.File, size int) (s sample, err error) {
	s.file = f
	if f.Codec != files.Plain {
		slice, err := files.WholeFile(ctx, f)
		if err != nil {
			return s, err
		}
		err = files.Exact(ctx, slice, func(c files.Chunk, last bool) (int, error) {
			if !last && !hasLines(c.Data) {
				return 0, nil
			}
			n := len(c.Data)
			if hasLines(c.Data[:min(n, size)]) {
				n = min(n, size)
			}
			s.head, s.whole = append(padded(n)[:0], c.Data[:n]...), last && n == len(c.Data)
			return 0, files.ErrStop
		})
		return s, err
	}
	r, err := f.Open(ctx)
	if err != nil {
		return s, err
	}
	defer r.Close()
	var head []byte
	for want := int64(size); ; want *= 4 {
		head = padded(int(min(f.Size, want)))
		n, err := r.ReadAt(head, 0)
		if err != nil && !errors.Is(err, io.EOF) {
			return s, fmt.Errorf("%s: %w", f.Path, err)
		}
		if head = head[:n]; int64(n) < want || hasLines(head) || isBinary(head) {
			break
		}
	}
	if isBinary(head) { // the footer or the header has its columns
		s.head = head
		return s, nil
	}
	s.whole = f.Size <= int64(len(head))
	s.head = bytes.TrimPrefix(head, []byte("\xef\xbb\xbf"))
	if f.Size > 3*int64(len(head)) {
		middle := padded(size)
		n, err := r.ReadAt(middle, f.Size/2)
		if err != nil && !errors.Is(err, io.EOF) {
			return s, fmt.Errorf("%s: %w", f.Path, err)
		}
		_, s.middle, _ = bytes.Cut(middle[:n], []byte{'\n'})
	}
	return s, nil
}

// hasLines reports whether a sample that begins with head needs no more of its file: it has a
// header and a line, or is too long for that.
func hasLines(head []byte) bool {
	return len(head) >= maxSampleBytes || bytes.Count(head, []byte{'\n'}) >= 2
}

// isBinary reports whether a file is of Parquet or Avro.
func isBinary(head []byte) bool {
	return bytes.HasPrefix(head, []byte("PAR1")) || bytes.HasPrefix(head, []byte("Obj\x01"))
}

// padded returns n bytes with room for readers of whole words after them.
func padded(n int) []byte { return make([]byte, n, n+64) }

// lines calls line with the whole lines of the samples, up to limit of them, evenly from all parts.
func lines(samples []sample, limit int, line func(text []byte)) {
	parts := 0
	for _, s := range samples {
		if parts++; len(s.middle) > 0 {
			parts++
		}
	}
	if parts == 0 {
		return
	}
	each := max(limit/parts, 16)
	for _, s := range samples {
		for k, part := range [][]byte{s.head, s.middle} {
			complete := k == 0 && s.whole
			for n := 0; n < each && len(part) > 0; n++ {
				text, rest, more := bytes.Cut(part, []byte{'\n'})
				if !more && !complete && n > 0 {
					break
				}
				line(bytes.TrimSuffix(text, []byte{'\r'}))
				part = rest
			}
		}
	}
}

// suffixes are the formats of file names.
var suffixes = map[string]string{
	".csv": "csv", ".tsv": "tsv", ".tab": "tsv", ".json": "json", ".jsonl": "json", ".ndjson": "json", ".geojson": "json",
	".parquet": "parquet", ".pq": "parquet", ".avro": "avro",
}

// formatOf returns the format of a file, by its first bytes, its name and its content.
func formatOf(s sample) string {
	switch {
	case bytes.HasPrefix(s.head, []byte("PAR1")):
		return "parquet"
	case bytes.HasPrefix(s.head, []byte("Obj\x01")):
		return "avro"
	}
	name := strings.ToLower(s.file.Path)
	if (s.file.Codec != files.Plain || len(s.head) == 0) && files.BySuffix(name) != files.Plain {
		name = strings.TrimSuffix(name, path.Ext(name))
	}
	if f := suffixes[path.Ext(name)]; f != "" && f != "parquet" && f != "avro" {
		return f
	}
	return formatOfText(s)
}

// emptyError returns the error for an empty file of a format that has a header and an end.
func emptyError(path, format string) error {
	return fmt.Errorf("%s: the file is empty, and a file of format %s never is; fetch or write it again, or leave it out", path, format)
}

// sniffFormat returns the format of all files. Files of different formats are an error. Samples are
// of files that are not empty.
func sniffFormat(fs []files.File, samples []sample) (string, error) {
	if len(samples) == 0 {
		format := ""
		for i, f := range fs {
			if binary := suffixes[path.Ext(strings.ToLower(f.Path))]; binary == "parquet" || binary == "avro" {
				return "", emptyError(f.Path, binary)
			}
			if own := formatOf(sample{file: f}); i > 0 && own != format || own == "text" {
				return "", fmt.Errorf("%s is empty, so the format is not known; name the format, such as read_csv('…')", f.Path)
			} else {
				format = own
			}
		}
		return format, nil
	}
	format := formatOf(samples[0])
	for _, s := range samples[1:] {
		if f := formatOf(s); f != format {
			return "", fmt.Errorf("%s is of format %s, and %s of format %s; read them in two queries, or name the format, such as read_json('…')", samples[0].file.Path, format, s.file.Path, f)
		}
	}
	return format, nil
}

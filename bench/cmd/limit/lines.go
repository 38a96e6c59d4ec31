package main

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"slices"
	"sync/atomic"
)

const (
	chunkSize  = 1 << 20 // bytes that a worker reads at a time
	overlap    = 1 << 16 // bytes read after them, for the rest of the last line
	slackBytes = 32      // bytes readable after the slice that work gets
)

// chunk is a part of a file that begins at from. Its last line may end behind it.
type chunk struct {
	path       string
	from, size int64 // size of the file
}

// chunksOf divides files into chunks. It opens none, as there may be more than the system lets a
// process open.
func chunksOf(paths []string) ([]chunk, error) {
	var chunks []chunk
	for _, path := range paths {
		info, err := os.Stat(path)
		if err != nil {
			return nil, err
		}
		for from := int64(0); from < info.Size(); from += chunkSize {
			chunks = append(chunks, chunk{path, from, info.Size()})
		}
	}
	return chunks, nil
}

// eachChunk passes slices of whole lines to the workers until the files are done. Each slice has
// slackBytes readable bytes after it, and the first of them is a line feed if the last line lacks
// one. The next slice of a worker overwrites the previous one.
func eachChunk(paths []string, work func(worker int, lines []byte)) error {
	chunks, err := chunksOf(paths)
	if err != nil {
		return err
	}
	var next atomic.Int64
	return parallel(func(worker int) error {
		var in lineReader
		defer in.close()
		for {
			i := int(next.Add(1)) - 1
			if i >= len(chunks) {
				return nil
			}
			lines, err := in.read(chunks[i])
			if err != nil {
				return fmt.Errorf("%s: %w", chunks[i].path, err)
			}
			if len(lines) > 0 {
				work(worker, lines)
			}
		}
	})
}

// lineReader reads the chunks of one worker.
type lineReader struct {
	path string
	file *os.File // the file of the last chunk; nil at the start
	buf  []byte
}

func (r *lineReader) close() {
	if r.file != nil {
		r.file.Close()
	}
}

// read returns the lines that start in a chunk. The byte before a chunk shows whether its first
// byte starts a line.
func (r *lineReader) read(c chunk) ([]byte, error) {
	if r.path != c.path {
		r.close()
		var err error
		if r.file, err = os.Open(c.path); err != nil {
			r.file = nil
			return nil, err
		}
		r.path = c.path
	}
	before := min(c.from, 1)
	from := c.from - before
	b := r.buf[:0]
	// more reads up to n more bytes.
	more := func(n int64) error {
		at := len(b)
		n = min(n, c.size-from-int64(at))
		b = slices.Grow(b, int(n)+slackBytes)[:at+int(n)]
		_, err := io.ReadFull(io.NewSectionReader(r.file, from+int64(at), n), b[at:])
		return err
	}
	if err := more(before + chunkSize + overlap); err != nil {
		return nil, err
	}
	r.buf = b
	hi := int(min(before+chunkSize, int64(len(b))))
	lo := 0
	if before > 0 {
		first := bytes.IndexByte(b[:hi], '\n')
		if first < 0 { // a part of a line of another chunk
			return nil, nil
		}
		if lo = first + 1; lo == hi {
			return nil, nil
		}
	}
	for searched := hi - 1; ; {
		if n := bytes.IndexByte(b[searched:], '\n'); n >= 0 {
			hi = searched + n + 1
			break
		}
		searched = len(b)
		if from+int64(len(b)) == c.size {
			hi = len(b)
			b = append(b, '\n')
			break
		}
		if err := more(int64(len(b))); err != nil { // a long line
			return nil, err
		}
		r.buf = b
	}
	return slices.Grow(b[lo:hi], slackBytes)[: hi-lo : hi-lo+slackBytes], nil
}

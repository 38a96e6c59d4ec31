package main

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"sync/atomic"
)

const (
	chunkSize  = 1 << 20 // bytes that a worker takes at a time
	longest    = 1 << 16 // bytes of the longest line
	slackBytes = 32      // bytes readable after the slice that work gets
)

// eachChunk hands every worker slices of whole lines until the files are done. There are slackBytes readable bytes after each slice,
// and the first of them is a line feed when the last line lacks one. A worker's slice is overwritten by its next one.
func eachChunk(paths []string, work func(worker int, lines []byte)) error {
	type chunk struct {
		file      *os.File
		from, end int64
	}
	var chunks []chunk
	for _, path := range paths {
		f, err := os.Open(path)
		if err != nil {
			return err
		}
		defer f.Close()
		info, err := f.Stat()
		if err != nil {
			return err
		}
		for from := int64(0); from < info.Size(); from += chunkSize {
			chunks = append(chunks, chunk{f, from, info.Size()})
		}
	}
	var next atomic.Int64
	return parallel(func(worker int) error {
		buf := make([]byte, 1+chunkSize+longest+slackBytes)
		for {
			i := int(next.Add(1)) - 1
			if i >= len(chunks) {
				return nil
			}
			c := chunks[i]
			// A line belongs to the chunk that it starts in. The byte before a chunk says whether one starts at its first byte.
			lo := 0
			if c.from > 0 {
				c.from--
				lo = 1
			}
			n, err := c.file.ReadAt(buf[:min(int64(lo+chunkSize+longest), c.end-c.from)], c.from)
			if err != nil && err != io.EOF {
				return err
			}
			b, hi := buf[:n], min(lo+chunkSize, n)
			atEnd := c.from+int64(n) == c.end
			if rest := bytes.IndexByte(b[hi-1:], '\n'); rest >= 0 {
				hi += rest
			} else if atEnd {
				hi = n
				buf[n] = '\n'
			} else {
				return fmt.Errorf("%s: line longer than %d bytes before offset %d", c.file.Name(), longest, c.from+int64(n))
			}
			if lo > 0 {
				first := bytes.IndexByte(b, '\n')
				if first < 0 { // the end of a line that another chunk has
					continue
				}
				lo = first + 1
			}
			if lo < hi {
				work(worker, b[lo:hi:hi+slackBytes])
			}
		}
	})
}

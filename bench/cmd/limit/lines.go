package main

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"sync/atomic"
)

const (
	chunkSize  = 1 << 20 // bytes that a worker reads at a time
	longest    = 1 << 16 // bytes of the longest line
	slackBytes = 32      // bytes readable after the slice that work gets
)

// eachChunk passes slices of whole lines to the workers until the files are done. Each slice has
// slackBytes readable bytes after it, and the first of them is a line feed if the last line lacks
// one. The next slice of a worker overwrites the previous one.
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
			// A line belongs to the chunk of its first byte. The byte before a chunk shows
			// whether a line starts there.
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
				if first < 0 { // the end of a line of another chunk
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

package scan

import (
	"bytes"
	"context"
	"errors"
	"fmt"

	"github.com/layshaft/layshaft/internal/files"
	"github.com/layshaft/layshaft/mapreduce"
)

// isWhole reports whether the start of a file of JSON is no JSON Lines: an array of records, or a
// record of several lines.
func isWhole(head []byte) bool {
	text := bytes.TrimLeft(head, " \t\r\n")
	if len(text) == 0 || text[0] != '[' && text[0] != '{' {
		return false
	}
	line, rest, more := bytes.Cut(text, []byte{'\n'})
	w := walker{line}
	end := w.value(nil, 0, 0)
	complete := end > 0 && w.space(end) == len(line)
	if text[0] == '{' {
		return more && end < 0 && !complete
	}
	return !complete || len(bytes.TrimSpace(rest)) == 0
}

// documents finds the records in a text of JSON: the elements of arrays, or records one after
// another.
type documents struct{ inArray bool }

// next returns the next record of text from at: text[start:end]. ok is false if text ends before;
// start is then the position to continue at. last reports that no more text follows.
func (d *documents) next(text []byte, at int, last bool) (start, end int, ok bool) {
	for at < len(text) {
		switch c := text[at]; {
		case c == ' ' || c == '\t' || c == '\r' || c == '\n' || c == ',':
			at++
			continue
		case c == '[' && !d.inArray:
			d.inArray = true
			at++
			continue
		case c == ']' && d.inArray:
			d.inArray = false
			at++
			continue
		}
		end := recordEnd(text, at)
		if end < 0 && last {
			end = len(text)
		}
		return at, end, end > 0
	}
	return at, at, false
}

// recordEnd returns the end of the value at start, or -1 if text ends before. It checks nothing.
func recordEnd(text []byte, start int) int {
	depth := 0
	for i := start; i < len(text); i++ {
		switch text[i] {
		case '"':
			w := walker{text}
			end := w.str(i)
			if end < 0 {
				return -1
			}
			if i = end - 1; depth == 0 {
				return end
			}
		case '{', '[':
			depth++
		case '}', ']':
			if depth--; depth <= 0 {
				return max(i+depth+1, start+1) // a stray one belongs to nothing
			}
		case ',', ' ', '\t', '\r', '\n':
			if depth == 0 {
				return i
			}
		}
	}
	return -1
}

// eachDocument calls record with the records of text, until it returns false.
func eachDocument(text []byte, complete bool, record func(text []byte) bool) {
	var d documents
	for at := 0; ; {
		start, end, ok := d.next(text, at, complete)
		if !ok || !record(text[start:end]) {
			return
		}
		at = end
	}
}

// readWhole reads files that are not JSON Lines.
func (j *jsonReader) readWhole(ctx context.Context, split mapreduce.Split) error {
	slices, err := files.SlicesOf(jobSplit(split))
	if err != nil {
		return err
	}
	for _, sl := range slices {
		var d documents
		var free []byte
		err := files.Exact(ctx, sl, func(c files.Chunk, last bool) (int, error) {
			j.path = c.Path
			j.at.enter(c)
			rows, at := int64(0), 0
			for {
				start, end, ok := d.next(c.Data, at, last)
				j.at.lines += int64(bytes.Count(c.Data[at:start], []byte{'\n'}))
				if at = start; !ok {
					break
				}
				// the decoder needs a line, with padding after it
				text := c.Data[start:end]
				if len(free) < len(text)+len(padding) {
					free = make([]byte, max(256<<10, len(text)+len(padding)))
				}
				line := free[:len(text):len(text)]
				for i, b := range text {
					if b == '\n' {
						b = ' '
					}
					line[i] = b
				}
				copy(free[len(text):], padding)
				free = free[len(text)+1:]
				ok, err := j.row(line, c.Offset+int64(start))
				if err != nil {
					return 0, err
				}
				if ok {
					rows++
				}
				j.at.lines += int64(bytes.Count(text, []byte{'\n'}))
				at = end
			}
			if at == 0 && len(c.Data) >= files.MaxRecord {
				return 0, fmt.Errorf("%s:%d: a record is longer than %d bytes; is a bracket left open?", c.Path, j.at.line(j.at.lines), files.MaxRecord)
			}
			r := j.r
			r.Add(rows, int64(at))
			return at, nil
		})
		if err == nil {
			err = j.flush()
		}
		if errors.Is(err, files.ErrStop) {
			return nil
		}
		if err != nil {
			return err
		}
	}
	return nil
}

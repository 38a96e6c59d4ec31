package scan

import (
	"bytes"
	"context"
	"errors"
	"fmt"

	"github.com/layshaft/layshaft/internal/files"
	"github.com/layshaft/layshaft/mapreduce/connector"
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
type documents struct {
	array arrayState
	// lines is the number of line feeds before the start of the open array.
	lines, opened int64
}

// arrayState is what the next token of an array may be.
type arrayState uint8

const (
	noArray     arrayState = iota
	afterOpen              // a record or the end
	afterRecord            // a comma or the end
	afterComma             // a record
)

// piece is a record, text[start:end], or a place where the rules of arrays are broken.
type piece struct {
	start, end int
	problem    string
}

// next returns the next record of text from at. ok is false if text ends before; start is then the
// position to continue at. last reports that no more text follows.
func (d *documents) next(text []byte, at int, last bool) (p piece, ok bool) {
	for at < len(text) {
		switch c := text[at]; {
		case c == '\n':
			d.lines++
			at++
			continue
		case c == ' ' || c == '\t' || c == '\r':
			at++
			continue
		case c == '[' && d.array == noArray:
			d.array, d.opened = afterOpen, d.lines
			at++
			continue
		case c == ',' && d.array == afterRecord:
			d.array = afterComma
			at++
			continue
		case c == ',':
			return piece{at, at + 1, "expected a record, found a comma"}, true
		case c == ']' && d.array == afterComma:
			d.array = noArray
			return piece{at, at + 1, "expected a record after the comma, found the end of the array"}, true
		case c == ']' && d.array != noArray:
			d.array = noArray
			at++
			continue
		case d.array == afterRecord:
			d.array = afterComma
			return piece{at, at, "expected a comma or the end of the array, found another record"}, true
		}
		end := recordEnd(text, at)
		if end < 0 && last {
			end, d.array = len(text), noArray
		}
		if d.array != noArray && end > 0 {
			d.array = afterRecord
		}
		return piece{start: at, end: end}, end > 0
	}
	if last && d.array != noArray {
		d.array = noArray
		return piece{at, at, fmt.Sprintf("the array that begins in line %d has no end", d.opened+1)}, true
	}
	return piece{start: at}, false
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
		p, ok := d.next(text, at, complete)
		if !ok || p.problem == "" && !record(text[p.start:p.end]) {
			return
		}
		at = p.end
	}
}

// readWhole reads files that are not JSON Lines.
func (j *jsonReader) readWhole(ctx context.Context, split connector.Split) error {
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
				p, ok := d.next(c.Data, at, last)
				j.at.lines = d.lines
				if at = p.start; !ok {
					break
				}
				if at = p.end; p.problem != "" {
					err := j.bad(j.at.lines, c.Offset+int64(p.start), c.Data[p.start:p.end], func(where string) error {
						return fmt.Errorf("%s: %s", where, p.problem)
					})
					if err != nil {
						return 0, err
					}
					continue
				}
				// the decoder needs a line, with padding after it
				text := c.Data[p.start:p.end]
				if len(free) < len(text)+len(padding) {
					free = make([]byte, max(256<<10, len(text)+len(padding)))
				}
				line := free[:len(text):len(text)]
				for i, b := range text {
					if b == '\n' {
						b = '\t' // which strings may not have either
					}
					line[i] = b
				}
				copy(free[len(text):], padding)
				free = free[len(text)+1:]
				ok, err := j.row(line, c.Offset+int64(p.start))
				if err != nil {
					return 0, err
				}
				if ok {
					rows++
				}
				d.lines += int64(bytes.Count(text, []byte{'\n'}))
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

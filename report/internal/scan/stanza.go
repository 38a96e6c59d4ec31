package scan

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"unsafe"

	"golang.org/x/sync/errgroup"

	"github.com/layshaft/layshaft/internal/arena"
	"github.com/layshaft/layshaft/internal/files"
	"github.com/layshaft/layshaft/mapreduce"
	"github.com/layshaft/layshaft/report/internal/vec"
)

// keyOf returns the length of the key at the start of a line of a stanza, such as Package in
// Package: layshaft. It is 0 if the line has no key.
func keyOf(line []byte) int {
	for i, c := range line {
		switch {
		case c == ':':
			if i+1 < len(line) && line[i+1] != ' ' && line[i+1] != '\t' && line[i+1] != '\r' {
				return 0
			}
			return i
		case c <= ' ' || c >= 0x7f || i == 0 && (c == '#' || c == '-') || strings.IndexByte(`,;"{}[]()<>=`, c) >= 0:
			return 0
		}
	}
	return 0
}

// eachStanza calls stanza with the key and the value of each line of a text, and end after each
// paragraph with its start and end in text. It returns the position after the last whole paragraph;
// last reports that text ends with one. Continuation lines begin with a blank, which is not a part
// of the value; a lone dot there is an empty line.
func eachStanza(text []byte, last bool, member func(key, value string), end func(from, to int) error) (took int, err error) {
	for at := 0; at < len(text); {
		n, next := stanzaEnd(text, at, last)
		if n < 0 {
			return at, nil
		}
		key, value, found := "", "", false
		flush := func() {
			if found {
				member(key, value)
			}
			found = false
		}
		for rest := text[at:n]; len(rest) > 0; {
			line := rest
			if i := bytes.IndexByte(rest, '\n'); i >= 0 {
				line, rest = rest[:i], rest[i+1:]
			} else {
				rest = nil
			}
			line = bytes.TrimRight(line, "\r")
			switch k := keyOf(line); {
			case len(line) == 0 || line[0] == '#':
			case line[0] == ' ' || line[0] == '\t':
				more := string(bytes.TrimRight(line[1:], " \t"))
				if more == "." {
					more = ""
				}
				value += "\n" + more
			case k == 0:
				flush()
				key, value, found = "", unsafe.String(unsafe.SliceData(line), len(line)), true
			default:
				flush()
				v := bytes.Trim(line[k+1:], " \t")
				key, value, found = unsafe.String(unsafe.SliceData(line), k), unsafe.String(unsafe.SliceData(v), len(v)), true
			}
		}
		flush()
		if err := end(at, n); err != nil {
			return at, err
		}
		at = next
	}
	return len(text), nil
}

// stanzaEnd returns the end of the paragraph at a position, and the start of the next one. n is -1
// if the text ends before.
func stanzaEnd(text []byte, at int, last bool) (n, next int) {
	for i := at; ; {
		feed := bytes.IndexByte(text[i:], '\n')
		if feed < 0 {
			if last {
				return len(text), len(text)
			}
			return -1, at
		}
		i += feed + 1
		k := i
		for k < len(text) && (text[k] == '\r' || text[k] == ' ' || text[k] == '\t') {
			k++
		}
		switch {
		case k == len(text) && !last:
			return -1, at
		case k == len(text):
			return len(text), len(text)
		case text[k] == '\n':
			return i, k + 1
		}
	}
}

// resolveStanza infers the columns of stanzas: all keys, as text, numbers or times.
func resolveStanza(_ context.Context, t *Table, samples []sample, rows int) error {
	var all shape
	parts := 0
	for _, s := range samples {
		if parts++; len(s.middle) > 0 {
			parts++
		}
	}
	each := max(rows/max(parts, 1), 16)
	for _, s := range samples {
		for k, part := range [][]byte{s.head, s.middle} {
			n, keys := 0, 0
			if k == 1 { // it begins within a paragraph
				_, next := stanzaEnd(part, 0, true)
				part = part[next:]
			}
			_, err := eachStanza(part, k == 0 && s.whole, func(key, value string) {
				if f := all.field(key); f != nil && key != "" && value != "" {
					f.add(value)
				}
				keys++
			}, func(_, _ int) error {
				if n++; n >= each {
					return io.EOF
				}
				return nil
			})
			if err != nil && !errors.Is(err, io.EOF) {
				return err
			}
		}
	}
	for _, f := range all.columns(false) {
		if f.Name != "" {
			t.Columns = append(t.Columns, f)
		}
	}
	return t.noOptions()
}

// stanzaSplits cuts the files between paragraphs.
func (s *source) stanzaSplits(ctx context.Context, fs []files.File, target int64) ([]mapreduce.Split, error) {
	if target <= 0 {
		target = 64 << 20
	}
	cuts := make([][]int64, len(fs))
	group, groupCtx := errgroup.WithContext(ctx)
	group.SetLimit(8)
	for i, f := range fs {
		if f.Codec != files.Plain || f.Size <= target+target/8 {
			continue
		}
		group.Go(func() (err error) {
			cuts[i], err = stanzaCuts(groupCtx, f, target)
			return err
		})
	}
	if err := group.Wait(); err != nil {
		return nil, err
	}
	return files.Convert[mapreduce.Split](files.SplitsAt(ctx, fs, target, cuts))
}

// stanzaCuts returns the starts of paragraphs, one after each target bytes of a file.
func stanzaCuts(ctx context.Context, f files.File, target int64) (cuts []int64, err error) {
	r, err := f.Open(ctx)
	if err != nil {
		return nil, err
	}
	defer r.Close()
	block := make([]byte, 64<<10)
	for want := target; want < f.Size; want += target {
		if len(cuts) > 0 {
			want = max(want, cuts[len(cuts)-1]+1)
		}
		for at := want; at < f.Size; {
			n, err := r.ReadAt(block, at)
			if err != nil && !errors.Is(err, io.EOF) {
				return nil, fmt.Errorf("%s: %w", f.Path, err)
			}
			if n == 0 {
				break
			}
			if _, next := stanzaEnd(block[:n], 0, false); next > 0 && next < n {
				cuts = append(cuts, at+int64(next))
				break
			}
			at += max(int64(n)-4, 1) // an end may lie across blocks
		}
	}
	return cuts, nil
}

// readStanza reads paragraphs.
func (s *source) readStanza(ctx context.Context, split mapreduce.Split, r *mapreduce.Reader[vec.Batch]) error {
	var list []files.Slice
	if err := json.Unmarshal(split.Data, &list); err != nil {
		return fmt.Errorf("split %s: its description cannot be read: %w", split.Label, err)
	}
	t := s.newTextReader(ctx, r)
	index := map[string]int{}
	for i, f := range s.t.Columns {
		index[f.Name] = i
	}
	var keep arena.Arena
	for _, f := range t.fillers {
		if f != nil {
			f.keep = &keep
		}
	}
	fields, found := make([]string, len(s.t.Columns)), make([]bool, len(s.t.Columns))
	for _, sl := range list {
		err := files.Exact(ctx, sl, func(c files.Chunk, last bool) (int, error) {
			if err := t.enter(c); err != nil {
				return 0, err
			}
			rows, members, wrong, from := int64(0), 0, "", t.at.lines
			took, err := eachStanza(c.Data, last, func(key, value string) {
				members++
				if i, ok := index[key]; ok {
					fields[i], found[i] = value, true
				} else if key == "" {
					wrong = value
				}
			}, func(at, end int) (err error) {
				if wrong != "" {
					err = t.bad(from, c.Offset+int64(at), bytes.Clone(c.Data[at:end]), func(where string) error {
						return fmt.Errorf("%s: the paragraph has a line without a key: %.80q", where, wrong)
					})
				} else if members > 0 {
					rows++
					err = t.row(fields, func(i int) bool { return !found[i] || s.t.Columns[i].Type.Kind != vec.Text }, from, c.Offset+int64(at), c.Data[at:end])
				}
				clear(fields)
				clear(found)
				members, wrong = 0, ""
				_, next := stanzaEnd(c.Data, at, true)
				from += int64(bytes.Count(c.Data[at:next], []byte{'\n'}))
				return err
			})
			if err != nil {
				return 0, err
			}
			if took == 0 && len(c.Data) >= files.MaxRecord {
				return 0, fmt.Errorf("%s:%d: a paragraph is longer than %d bytes", c.Path, t.at.line(from), files.MaxRecord)
			}
			t.at.lines = from
			r.Add(rows, int64(took))
			return took, nil
		})
		if err != nil {
			return err
		}
		if r.Stopped() {
			return nil
		}
		if err := t.flush(); err != nil && !errors.Is(err, files.ErrStop) {
			return err
		}
	}
	return nil
}

package scan

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"

	"github.com/layshaft/layshaft/internal/arena"
	"github.com/layshaft/layshaft/internal/files"
	"github.com/layshaft/layshaft/internal/stanza"
	"github.com/layshaft/layshaft/mapreduce/connector"
	"github.com/layshaft/layshaft/report/internal/vec"
)

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
				_, next := stanza.End(part, 0, true)
				part = part[next:]
			}
			_, err := stanza.Each(part, k == 0 && s.whole, func(key, value string) {
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
func (s *source) stanzaSplits(ctx context.Context, fs []files.File, target int64) ([]connector.Split, error) {
	cuts, err := files.CutsAt(ctx, fs, target, stanza.Start)
	if err != nil {
		return nil, err
	}
	return files.Convert[connector.Split](files.SplitsAt(ctx, fs, target, cuts))
}

// readStanza reads paragraphs.
func (s *source) readStanza(ctx context.Context, split connector.Split, r *connector.Reader[vec.Batch]) error {
	var list []files.Slice
	if err := json.Unmarshal(split.Data, &list); err != nil {
		return fmt.Errorf("split %s: its description cannot be read: %w", split.Label, err)
	}
	t := s.newTextReader(ctx, r)
	index := map[string]int{}
	for i, f := range s.t.Columns {
		index[f.Name] = i
	}
	t.keep = new(arena.Arena)
	for _, f := range t.fillers {
		if f != nil {
			f.keep = t.keep
		}
	}
	fields, found := make([]string, len(s.t.Columns)), make([]bool, len(s.t.Columns))
	for _, sl := range list {
		err := files.Exact(ctx, sl, func(c files.Chunk, last bool) (int, error) {
			if err := t.enter(c); err != nil {
				return 0, err
			}
			rows, members, wrong, from := int64(0), 0, "", t.at.lines
			took, err := stanza.Each(c.Data, last, func(key, value string) {
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
				_, next := stanza.End(c.Data, at, true)
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

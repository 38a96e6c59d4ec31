package scan

import (
	"context"
	"fmt"
	"net/url"
	"slices"
	"strings"

	"github.com/layshaft/layshaft/internal/files"
	"github.com/layshaft/layshaft/report/internal/vec"
)

// NoPartition is how Hive spells a partition that is NULL.
const NoPartition = "__HIVE_DEFAULT_PARTITION__"

// partition is a folder of a path that gives a column a value, such as year=2024.
type partition struct {
	name, value string
	null        bool
}

// partitionsOf returns the partitions in a path.
func partitionsOf(path string) (all []partition) {
	folders := strings.Split(path, "/")
	for _, folder := range folders[:len(folders)-1] {
		name, value, ok := strings.Cut(folder, "=")
		if !ok || name == "" {
			continue
		}
		null := value == NoPartition // an equal text is escaped
		if text, err := url.PathUnescape(value); err == nil {
			value = text
		}
		if text, err := url.PathUnescape(name); err == nil {
			name = text
		}
		all = append(all, partition{name, value, null})
	}
	return all
}

// partition adds the columns that the folders of all files have in common, in the manner of Hive. A
// column of the same name inside the files is replaced.
func (t *Table) partition(fs []files.File) {
	var names []string
	var shapes []shape
	for i, f := range fs {
		var own []string
		for k, p := range partitionsOf(f.Path) {
			own = append(own, p.name)
			if i == 0 {
				shapes = append(shapes, shape{})
			}
			switch {
			case k >= len(shapes):
			case p.null:
				shapes[k].nulls++
			case isInteger(p.value):
				shapes[k].ints++ // also 01
			default:
				shapes[k].addString(p.value)
			}
		}
		if i == 0 {
			names = own
		} else if !slices.Equal(names, own) {
			return
		}
	}
	for k, name := range names {
		if slices.Contains(t.Partitions, name) {
			continue
		}
		t.Partitions = append(t.Partitions, name)
		column := vec.Field{Name: name, Type: shapes[k].typeOf(false)}
		if i := slices.IndexFunc(t.Columns, func(f vec.Field) bool { return f.Name == name }); i >= 0 {
			t.Columns[i] = column
		} else {
			t.Columns = append(t.Columns, column)
		}
	}
}

func isInteger(s string) bool {
	_, ok := parseInt(s)
	return ok && strings.Trim(s, "-0123456789") == ""
}

// ofFile reports whether a column has one value for all rows of a file.
func (t *Table) ofFile(name string) bool {
	return slices.Contains(t.Partitions, name) || name == Filename && !t.has(Filename)
}

// has reports whether a table has a column.
func (t *Table) has(name string) bool {
	return slices.ContainsFunc(t.Columns, func(f vec.Field) bool { return f.Name == name })
}

// valueOf returns the value of a partition column for a file, in one row.
func valueOf(path string, column vec.Field) (*vec.Vec, error) {
	f := newFiller(column.Type, nil)
	f.setNull(0)
	for _, p := range partitionsOf(path) {
		if p.name == column.Name && !p.null && !f.set(0, p.value) {
			return nil, fmt.Errorf("%s: partition %s: %q is not a valid %s; read the column with -types '%[2]s=text'", path, p.name, p.value, column.Type)
		}
	}
	return f.vec(1), nil
}

// fileColumns makes the columns that have one value for all rows of a file.
type fileColumns struct {
	s    *source
	path string
	made map[int]*vec.Vec // with the most rows, by index in s.columns
}

// column returns n rows of a column of s.columns.
func (f *fileColumns) column(i int, path string, n int) *vec.Vec {
	if f.path != path || f.made == nil {
		f.path, f.made = path, map[int]*vec.Vec{}
	}
	v := f.made[i]
	if v == nil {
		c := f.s.columns[i]
		if c.Name == Filename && !f.s.t.has(Filename) {
			v = &vec.Vec{Type: vec.Of(vec.Text), Codes: make([]uint32, vec.Size), Dict: []string{path}}
		} else if one, err := valueOf(path, c); err == nil {
			v = one.Repeat(0, vec.Size).Flat()
		} else { // Splits has refused it
			v = vec.NullOf(c.Type, vec.Size).Flat()
		}
		f.made[i] = v
	}
	w := *v
	w.Len = n
	cut(&w, n)
	return &w
}

// expand returns the files that may have wanted rows.
func (s *source) expand(ctx context.Context) ([]files.File, error) {
	fs, err := files.Expand(ctx, s.t.Paths)
	if err == nil {
		err = s.t.encode(fs)
	}
	for i := 0; i < len(fs) && err == nil; i++ {
		switch binary := s.t.Format == "parquet" || s.t.Format == "avro"; {
		case binary && fs[i].Size == 0:
			err = emptyError(fs[i].Path, s.t.Format)
		case binary:
		default:
			err = fs[i].CheckText()
		}
	}
	if s.t.Only != nil {
		only := map[string]bool{}
		for _, path := range s.t.Only {
			only[path] = true
		}
		fs = slices.DeleteFunc(fs, func(f files.File) bool { return !only[f.Path] })
	}
	if err != nil || len(s.t.Partitions) == 0 {
		return fs, err
	}
	for i, c := range s.columns {
		if !slices.Contains(s.t.Partitions, c.Name) {
			continue
		}
		values := make([]*vec.Vec, len(fs))
		for k, f := range fs {
			if values[k], err = valueOf(f.Path, c); err != nil {
				return nil, err
			}
		}
		kept := fs[:0]
		for k, f := range fs {
			if !slices.ContainsFunc(s.bounds, func(b Bound) bool { return b.Column == i && excludesValue(b, values[k]) }) {
				kept = append(kept, f)
			}
		}
		fs = kept
	}
	return fs, nil
}

// excludesValue reports whether the value in row 0 does not fulfil a bound.
func excludesValue(b Bound, v *vec.Vec) bool {
	switch {
	case b.Op == "is null":
		return !v.Null(0)
	case b.Op == "is not null" || v.Null(0):
		return v.Null(0)
	case b.Values == nil || !b.Values.Type.Equal(v.Type):
		return false
	}
	key := v.AppendKey(nil, 0, vec.Order{})
	return excludes(b, key, key)
}

// Stats is how much a source reads.
type Stats struct {
	// Files and Bytes are the files with wanted rows, and the bytes of the wanted columns in them.
	Files int
	Bytes int64
	// Groups is the number of row groups in files of Parquet; Skipped is how many of them have no
	// wanted row by their statistics.
	Groups, Skipped int
}

// Stats returns how much Source(columns, bounds) would read.
func (t *Table) Stats(ctx context.Context, columns []vec.Field, bounds []Bound) (st Stats, err error) {
	s := &source{t: t, columns: columns, bounds: bounds}
	fs, err := s.expand(ctx)
	if err != nil {
		return st, err
	}
	for _, f := range fs {
		if f.Size == 0 {
			continue
		}
		if st.Files++; t.Format != "parquet" {
			st.Bytes += f.Size
			continue
		}
		groups, total, err := s.parquetGroups(ctx, f)
		if err != nil {
			return st, err
		}
		st.Groups, st.Skipped = st.Groups+total, st.Skipped+total-len(groups)
		for _, g := range groups {
			st.Bytes += g.Bytes
		}
	}
	return st, nil
}

package scan

import (
	"context"
	"fmt"

	"github.com/parquet-go/parquet-go"
	"github.com/parquet-go/parquet-go/format"
	"golang.org/x/sync/errgroup"

	"github.com/layshaft/layshaft/internal/files"
	"github.com/layshaft/layshaft/internal/parquetfile"
	"github.com/layshaft/layshaft/report/internal/vec"
)

// resolveParquet reads the columns from the footers of the sampled files. Columns of several types
// are widened to a type that holds all.
func resolveParquet(ctx context.Context, t *Table, samples []sample, _ int) error {
	asText := false
	for name, value := range t.Options {
		if name != "binary_as_string" {
			return fmt.Errorf("option %q is not known for parquet; the option is binary_as_string", name)
		}
		asText = value == "true"
	}
	schemas := make([][]vec.Field, len(samples))
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(8)
	for i, s := range samples {
		group.Go(func() error {
			f := s.file
			file, closer, err := parquetfile.Open(ctx, f.Path, f.Hosts, f.Version, f.Size, f.ModTime.UnixNano())
			if err != nil {
				return err
			}
			defer closer.Close()
			return parquetfile.Recover(f.Path, func() (err error) {
				schemas[i], err = schemaOf(f.Path, file, asText)
				return err
			})
		})
	}
	if err := group.Wait(); err != nil {
		return err
	}
	for i, schema := range schemas {
		if err := t.addColumns(samples[i].file.Path, schema); err != nil {
			return err
		}
	}
	return nil
}

// schemaOf returns the columns of a file.
func schemaOf(path string, file *parquet.File, asText bool) (fields []vec.Field, err error) {
	elements := parquetfile.Elements(file)
	for _, c := range file.Root().Columns() {
		typ, err := columnType(c, elements, asText)
		if err != nil {
			return nil, fmt.Errorf("%s: column %q: %w", path, c.Name(), err)
		}
		fields = append(fields, vec.Field{Name: c.Name(), Type: typ})
	}
	return fields, nil
}

// columnType returns the type of a column of a file.
func columnType(c *parquet.Column, elements map[*parquet.Column]*format.SchemaElement, asText bool) (vec.Type, error) {
	list, element := parquetfile.ElementOf(c)
	switch {
	case list != nil && parquetfile.IsMap(c) && len(list.Columns()) == 2:
		key, err := columnType(list.Columns()[0], elements, asText)
		if err != nil {
			return key, err
		}
		value, err := columnType(list.Columns()[1], elements, asText)
		return vec.MapOf(key, value), err
	case list != nil:
		elem, err := elementType(element, list, elements, asText)
		return vec.ListOf(elem), err
	case !c.Leaf():
		return structType(c, elements, asText)
	}
	d, err := newDecoder(c, elements[c], asText)
	return d.typ, err
}

// elementType returns the type of the elements of a list. An element that is the repeated column
// itself is no list of its own.
func elementType(element, list *parquet.Column, elements map[*parquet.Column]*format.SchemaElement, asText bool) (vec.Type, error) {
	switch {
	case element != list:
		return columnType(element, elements, asText)
	case element.Leaf():
		d, err := newDecoder(element, elements[element], asText)
		return d.typ, err
	}
	return structType(element, elements, asText)
}

func structType(c *parquet.Column, elements map[*parquet.Column]*format.SchemaElement, asText bool) (t vec.Type, err error) {
	t.Kind = vec.Struct
	for _, f := range c.Columns() {
		typ, err := columnType(f, elements, asText)
		if err != nil {
			return t, err
		}
		t.Fields = append(t.Fields, vec.Field{Name: f.Name(), Type: typ})
	}
	return t, nil
}

// widen returns a type that holds the values of two types.
func widen(a, b vec.Type) (vec.Type, bool) {
	if a.Equal(b) {
		return a, true
	}
	if a.Kind > b.Kind {
		a, b = b, a
	}
	switch {
	case a.Kind == vec.Null:
		return b, true
	case b.Kind == vec.Float && (a.Kind == vec.Int || a.Kind == vec.Decimal):
		return b, true
	case a.Kind == vec.Int && b.Kind == vec.Decimal:
		return vec.DecimalOf(min(max(b.Precision, 19+b.Scale), vec.MaxPrecision), b.Scale), 19+b.Scale <= vec.MaxPrecision
	case a.Kind == vec.Decimal && b.Kind == vec.Decimal:
		scale, whole := max(a.Scale, b.Scale), max(a.Precision-a.Scale, b.Precision-b.Scale)
		return vec.DecimalOf(min(whole+scale, vec.MaxPrecision), scale), whole+scale <= vec.MaxPrecision
	case a.Kind == vec.Date && (b.Kind == vec.Timestamp || b.Kind == vec.TimestampTZ):
		return b, true
	case a.Kind == vec.Text && (b.Kind == vec.Blob || b.Kind == vec.JSON):
		return a, true
	}
	return a, false
}

// parquetGroups returns the row groups of a file that may have wanted rows, as pieces, and the
// number of all row groups.
func (s *source) parquetGroups(ctx context.Context, f files.File) (out []parquetfile.Piece, total int, err error) {
	if f.Size == 0 {
		return nil, 0, nil
	}
	p, err := parquetfile.NewPiece(ctx, f)
	if err != nil {
		return nil, 0, err
	}
	file, closer, err := p.Open(ctx)
	if err != nil {
		return nil, 0, err
	}
	defer closer.Close()
	err = parquetfile.Recover(p.Path, func() error {
		columns, err := s.match(p.Path, file)
		if err != nil {
			return err
		}
		leaves := columns.leaves()
		p.Total = len(file.RowGroups())
		for i := range p.Total {
			if columns.skips(file, i, s.bounds) {
				continue
			}
			p.Groups, p.Bytes = []int{i}, max(parquetfile.Bytes(file, i, leaves), 1)
			if s.extremes {
				if _, ok := columns.extremes(file, i, p.Path); ok {
					p.Bytes = 1
				}
			}
			out = append(out, p)
		}
		return nil
	})
	return out, p.Total, err
}

package parquetio

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"io"

	"github.com/parquet-go/parquet-go"
	"github.com/parquet-go/parquet-go/encoding/thrift"
	"github.com/parquet-go/parquet-go/format"

	"github.com/layshaft/layshaft/internal/files"
	"github.com/layshaft/layshaft/internal/parquetfile"
	"github.com/layshaft/layshaft/internal/report"
)

// Parquet files cannot be joined byte by byte: their footers have offsets. A joined file has the
// pages of all files as they are, and a new footer. Row groups that are much smaller than the size
// of row groups are written anew together, because readers are slow with many small ones.

// smallGroup is the part of the size of a row group below which row groups are written anew.
const smallGroup = 8

// joining joins files to w.
type joining struct {
	w       io.Writer
	offset  int64
	meta    format.FileMetaData
	columns []format.ColumnIndex
	offsets []format.OffsetIndex

	limit  int64 // bytes of a row group, encoded but not compressed
	make   func(w io.Writer) *parquet.GenericWriter[any]
	packed bytes.Buffer
	rows   *parquet.GenericWriter[any] // of packed; nil if there are no rows
	bytes  int64                       // of these rows
}

// join is the files.Joiner of s.
func (s Sink[T]) join(w io.Writer, all []files.JoinFile) error {
	schema, _, err := s.compile()
	if err != nil {
		return err
	}
	j := &joining{w: w, limit: s.rowGroup, make: func(w io.Writer) *parquet.GenericWriter[any] {
		schema, options := withoutBounds(schema)
		return parquet.NewGenericWriter[any](w, append(options, schema, parquet.Compression(s.codec))...)
	}}
	if err := j.write([]byte("PAR1")); err != nil {
		return err
	}
	for _, f := range all {
		if err := j.add(f); err != nil {
			return fmt.Errorf("%s: %w", f.Path, err)
		}
	}
	if err := j.flush(); err != nil {
		return err
	}
	return j.end()
}

// countRows is the files.Counter of Parquet files.
func countRows(f io.ReaderAt, size int64) (n int64, err error) {
	err = parquetfile.Recover("the file", func() error {
		file, err := parquet.OpenFile(f, size, parquet.SkipBloomFilters(true), parquet.SkipPageIndex(true))
		if err == nil {
			n = file.NumRows()
		}
		return err
	})
	return n, err
}

func (j *joining) write(b []byte) error {
	n, err := j.w.Write(b)
	j.offset += int64(n)
	return err
}

// add adds the row groups of a file.
func (j *joining) add(f files.JoinFile) error {
	src, err := f.Open()
	if err != nil {
		return err
	}
	defer src.Close()
	return parquetfile.Recover(f.Path, func() error {
		file, err := parquet.OpenFile(src, f.Part.Bytes, parquet.SkipBloomFilters(true))
		if err != nil {
			return err
		}
		if file.NumRows() != f.Part.Records {
			return fmt.Errorf("it has %s, its task wrote %d", report.Plural(file.NumRows(), "row"), f.Part.Records)
		}
		if j.meta.Schema == nil {
			m := file.Metadata()
			j.meta = format.FileMetaData{Version: m.Version, Schema: m.Schema, KeyValueMetadata: m.KeyValueMetadata, CreatedBy: m.CreatedBy, ColumnOrders: m.ColumnOrders}
		}
		for i, g := range file.RowGroups() {
			n := file.Metadata().RowGroups[i].TotalByteSize
			if n >= j.limit/smallGroup {
				if err := j.flush(); err != nil {
					return err
				}
				if err := j.copyGroup(file, i, src.Stream); err != nil {
					return err
				}
				continue
			}
			if j.bytes+n > j.limit {
				if err := j.flush(); err != nil {
					return err
				}
			}
			if j.rows == nil {
				j.packed.Reset()
				j.rows = j.make(&j.packed)
			}
			rows := g.Rows()
			_, err := parquet.CopyRows(j.rows, rows)
			if cerr := rows.Close(); err == nil {
				err = cerr
			}
			if err != nil {
				return err
			}
			j.bytes += n
		}
		return nil
	})
}

// flush writes the rows of small row groups as one.
func (j *joining) flush() error {
	if j.rows == nil {
		return nil
	}
	err := j.rows.Close()
	j.rows, j.bytes = nil, 0
	if err != nil {
		return err
	}
	b := j.packed.Bytes()
	file, err := parquet.OpenFile(bytes.NewReader(b), int64(len(b)), parquet.SkipBloomFilters(true))
	if err != nil {
		return err
	}
	for i := range file.RowGroups() {
		if err := j.copyGroup(file, i, func(from, n int64) io.Reader { return bytes.NewReader(b[from : from+n]) }); err != nil {
			return err
		}
	}
	return nil
}

// copyGroup copies the pages of a row group. stream reads the file.
func (j *joining) copyGroup(file *parquet.File, i int, stream func(from, n int64) io.Reader) error {
	g := file.Metadata().RowGroups[i]
	g.Columns = append(thrift.Slice[format.ColumnChunk](nil), g.Columns...)
	g.FileOffset, g.Ordinal = j.offset, int16(len(j.meta.RowGroups)) // only encryption needs the ordinal
	for k := range g.Columns {
		c := &g.Columns[k]
		m := &c.MetaData
		from := m.DataPageOffset
		if d := m.DictionaryPageOffset; d > 0 && d < from {
			from = d
		}
		shift := j.offset - from
		n, err := io.Copy(j.w, stream(from, m.TotalCompressedSize))
		if j.offset += n; err != nil {
			return err
		}
		if n != m.TotalCompressedSize {
			return io.ErrUnexpectedEOF
		}
		if m.DataPageOffset += shift; m.DictionaryPageOffset > 0 {
			m.DictionaryPageOffset += shift
		}
		if c.FileOffset > 0 {
			c.FileOffset += shift
		}
		m.BloomFilterOffset, m.BloomFilterLength = 0, 0
		at := i*len(g.Columns) + k
		j.columns = append(j.columns, file.ColumnIndexes()[at])
		index := file.OffsetIndexes()[at]
		index.PageLocations = append(thrift.Slice[format.PageLocation](nil), index.PageLocations...)
		for p := range index.PageLocations {
			index.PageLocations[p].Offset += shift
		}
		j.offsets = append(j.offsets, index)
	}
	j.meta.RowGroups = append(j.meta.RowGroups, g)
	j.meta.NumRows += g.NumRows
	return nil
}

// end writes the indexes of pages and the footer.
func (j *joining) end() error {
	protocol, at := new(thrift.CompactProtocol), 0
	for i := range j.meta.RowGroups {
		for k := range j.meta.RowGroups[i].Columns {
			c := &j.meta.RowGroups[i].Columns[k]
			b, err := thrift.Marshal(protocol, &j.columns[at])
			if err != nil {
				return err
			}
			c.ColumnIndexOffset, c.ColumnIndexLength = j.offset, int32(len(b))
			if err := j.write(b); err != nil {
				return err
			}
			at++
		}
	}
	at = 0
	for i := range j.meta.RowGroups {
		for k := range j.meta.RowGroups[i].Columns {
			c := &j.meta.RowGroups[i].Columns[k]
			b, err := thrift.Marshal(protocol, &j.offsets[at])
			if err != nil {
				return err
			}
			c.OffsetIndexOffset, c.OffsetIndexLength = j.offset, int32(len(b))
			if err := j.write(b); err != nil {
				return err
			}
			at++
		}
	}
	b, err := thrift.Marshal(protocol, &j.meta)
	if err != nil {
		return err
	}
	b = binary.LittleEndian.AppendUint32(b, uint32(len(b)))
	return j.write(append(b, "PAR1"...))
}

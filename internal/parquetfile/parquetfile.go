// Package parquetfile opens Parquet files safely: it refuses files that the library would read
// wrongly, and turns its panics into errors.
package parquetfile

import (
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"strings"

	"github.com/parquet-go/parquet-go"
	"github.com/parquet-go/parquet-go/format"

	"github.com/layshaft/layshaft/internal/files"
	"github.com/layshaft/layshaft/internal/filesys"
	"github.com/layshaft/layshaft/internal/report"
)

// readBuffer is the read size per column in bytes, for local files. Remote files have latency, so
// Open uses four times as much.
const readBuffer = 256 << 10

// Open opens a file of a split, as files.Open. It checks that the file still has its size and its
// time of change, in nanoseconds since 1970. The caller closes closer.
func Open(ctx context.Context, path string, hosts []string, version, size, modTime int64) (file *parquet.File, closer io.Closer, err error) {
	f, err := files.Open(ctx, path, hosts, version)
	if err != nil {
		return nil, nil, err
	}
	buffer := readBuffer
	if !filesys.IsLocal(f) {
		buffer = 4 * readBuffer
	}
	err = Recover(path, func() error {
		info, err := f.Stat()
		if err == nil {
			err = files.CheckUnchanged(info, path, size, modTime)
		}
		if err != nil {
			return err
		}
		if err := checkEnd(f, size); err != nil {
			return notParquet(f, path, err)
		}
		if file, err = parquet.OpenFile(f, size, parquet.SkipPageIndex(true), parquet.SkipBloomFilters(true), parquet.ReadBufferSize(buffer)); err != nil {
			return notParquet(f, path, err)
		}
		return nil
	})
	if err != nil {
		f.Close()
		return nil, nil, err
	}
	return file, f, nil
}

// notParquet returns the error for a file that the library cannot open because of err.
func notParquet(f io.ReaderAt, path string, err error) error {
	var head [16]byte
	n, _ := f.ReadAt(head[:], 0) // an error leaves it unnamed
	return files.NotParquet(path, head[:n], err)
}

// checkEnd checks the length of the footer in the last bytes of a file. The library would allocate
// that length unchecked.
func checkEnd(r io.ReaderAt, size int64) error {
	var end [8]byte
	if size < int64(len(end)) {
		return nil // the library returns a better error
	}
	if _, err := r.ReadAt(end[:], size-int64(len(end))); err != nil && err != io.EOF {
		return err
	}
	if n := int64(binary.LittleEndian.Uint32(end[:])); string(end[4:]) == "PAR1" && n > size-int64(len(end)) {
		return fmt.Errorf("its footer would have %d bytes, the file has %d", n, size)
	}
	return nil
}

// Recover calls f and converts a panic into an error. The library panics on some damaged files.
func Recover(path string, f func() error) (err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("%s: damaged, or of an unsupported kind: %v", path, r)
		}
	}()
	return f()
}

// Check refuses files that would be read wrongly. The first case is a footer that contradicts
// itself, which no checksum covers. The second is a wanted column compressed with LZ4: for such
// pages the library (0.32) may return wrong bytes, and loops on a damaged page.
func Check(file *parquet.File, columns []*parquet.Column) error {
	meta, rows := file.Metadata(), int64(0)
	for i := range meta.RowGroups {
		g := &meta.RowGroups[i]
		rows += g.NumRows
		for _, col := range columns {
			chunk, name := &g.Columns[col.Index()].MetaData, strings.Join(col.Path(), ".")
			if chunk.Codec == format.Lz4Raw {
				return fmt.Errorf("column %q is compressed with LZ4, which cannot be read; write the file with zstd or snappy", name)
			}
			if n := chunk.NumValues; n != g.NumRows && col.MaxRepetitionLevel() == 0 || n < g.NumRows {
				return fmt.Errorf("damaged: row group %d has %s, its column %q %d values; fetch or write it again", i, report.Plural(g.NumRows, "row"), name, n)
			}
		}
	}
	if rows != meta.NumRows {
		return fmt.Errorf("damaged: its row groups have %s, its footer has %d; fetch or write it again", report.Plural(rows, "row"), meta.NumRows)
	}
	return nil
}

// Bytes returns the size in the file of some columns in a row group.
func Bytes(file *parquet.File, group int, columns []*parquet.Column) (n int64) {
	for _, col := range columns {
		n += file.Metadata().RowGroups[group].Columns[col.Index()].MetaData.TotalCompressedSize
	}
	return n
}

// Elements returns the descriptions of all columns of a file. They have logical types that the
// library drops, such as FLOAT16.
func Elements(file *parquet.File) map[*parquet.Column]*format.SchemaElement {
	all, elements := map[*parquet.Column]*format.SchemaElement{}, file.Metadata().Schema
	var number func(*parquet.Column)
	number = func(c *parquet.Column) {
		if len(elements) > 0 {
			all[c], elements = &elements[0], elements[1:]
		}
		for _, child := range c.Columns() {
			number(child)
		}
	}
	number(file.Root())
	return all
}

// ElementOf returns the repeated column of a list or map and the column of its elements, or nil if
// c is neither. Both are the same where an element can be neither null nor a list. It knows the
// forms of older writers; see LogicalTypes.md of the Parquet format.
func ElementOf(c *parquet.Column) (list, element *parquet.Column) {
	if c.Repeated() {
		return c, c
	}
	if len(c.Columns()) != 1 || !c.Columns()[0].Repeated() {
		return nil, nil
	}
	list = c.Columns()[0]
	if len(list.Columns()) != 1 || list.Name() == "array" || list.Name() == c.Name()+"_tuple" {
		return list, list
	}
	return list, list.Columns()[0]
}

// IsMap reports whether a column is a map.
func IsMap(c *parquet.Column) bool {
	if c.Leaf() || c.Type().LogicalType() == nil {
		return false
	}
	_, ok := c.Type().LogicalType().Value.(*format.MapType)
	return ok
}

package parquetfile

import (
	"github.com/parquet-go/parquet-go"
	"github.com/parquet-go/parquet-go/format"
)

// boundsIndex makes an index of pages in which each page has the same bounds.
type boundsIndex struct {
	least, most []byte
	nulls       []int64 // by page
	empty       []bool  // the pages without a value
}

// NewBoundsIndex returns an indexer for the pages of a column. In its index, each page with a value
// has the bounds least and most, whatever its values are. Use it for types that the library
// compares wrongly, such as decimals of bytes: the library ignores their sign.
func NewBoundsIndex(least, most []byte) parquet.ColumnIndexer {
	return &boundsIndex{least: least, most: most}
}

// Reset begins a row group.
func (x *boundsIndex) Reset() { x.nulls, x.empty = nil, nil }

// IndexPage adds a page.
func (x *boundsIndex) IndexPage(values, nulls int64, _, _ parquet.Value) {
	x.nulls, x.empty = append(x.nulls, nulls), append(x.empty, values == nulls)
}

// ColumnIndex returns the index.
func (x *boundsIndex) ColumnIndex() format.ColumnIndex {
	index := format.ColumnIndex{NullPages: x.empty, NullCounts: x.nulls}
	for _, empty := range x.empty {
		least, most := x.least, x.most
		if empty {
			least, most = []byte{}, []byte{}
		}
		index.MinValues, index.MaxValues = append(index.MinValues, least), append(index.MaxValues, most)
	}
	return index
}

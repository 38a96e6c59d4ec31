package parquetio_test

import (
	"math/big"
	"os"
	"path/filepath"
	"reflect"
	"testing"

	"github.com/parquet-go/parquet-go"

	"github.com/layshaft/layshaft/mapreduce"
	"github.com/layshaft/layshaft/mapreduce/connector"
	"github.com/layshaft/layshaft/mapreduce/memio"
	"github.com/layshaft/layshaft/mapreduce/parquetio"
)

// TestDecimalsOfBytes writes negative decimals as bytes. The library's least and greatest value
// would be wrong, so readers would skip rows: the file has none for a row group, and the
// bounds of the type in the index of pages.
func TestDecimalsOfBytes(t *testing.T) {
	type inner struct {
		Wide [12]byte `parquet:"wide,decimal(2:28)"`
	}
	type row struct {
		ID    int64
		Inner inner
		Least [16]byte `parquet:"least,decimal(4:38)"`
	}
	number := func(b []byte, n int64) {
		x := big.NewInt(n)
		if n < 0 {
			x.Add(x, new(big.Int).Lsh(big.NewInt(1), uint(8*len(b))))
		}
		x.FillBytes(b)
	}
	var rows []row
	for i := range int64(200) {
		r := row{ID: i}
		number(r.Inner.Wide[:], i-100)
		number(r.Least[:], 5000-100*i)
		rows = append(rows, r)
	}
	for name, sink := range map[string]func(path string) connector.Sink[row]{
		"dir": func(path string) connector.Sink[row] { return parquetio.Write[row](path) },
		"one": func(path string) connector.Sink[row] { return parquetio.WriteFile[row](path + "/part-00000.parquet") },
	} {
		out := filepath.Join(t.TempDir(), name)
		if err := os.MkdirAll(out, 0o700); err != nil {
			t.Fatal(err)
		}
		if _, err := mapreduce.Define("decimals", func(p *mapreduce.Plan, _ mapreduce.None) mapreduce.Dataset[mapreduce.None] {
			mapreduce.Read(p, memio.Slice(rows)).WriteTo(sink(out))
			return mapreduce.Nothing(p)
		}).Collect(t.Context(), mapreduce.Local{Slots: 1}, mapreduce.None{}); err != nil {
			t.Fatal(err)
		}
		path := out + "/part-00000.parquet"
		if got, _, err := read(parquetio.Rows[row](path), 1<<20); err != nil || !reflect.DeepEqual(got, rows) {
			t.Errorf("%s: %d rows, %v", name, len(got), err)
		}
		f, err := os.Open(path)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		info, err := f.Stat()
		if err != nil {
			t.Fatal(err)
		}
		file, err := parquet.OpenFile(f, info.Size())
		if err != nil {
			t.Fatal(err)
		}
		for i, chunk := range file.Metadata().RowGroups[0].Columns {
			s := chunk.MetaData.Statistics
			if hasBounds := s.MinValue != nil || s.MaxValue != nil; hasBounds != (i == 0) {
				t.Errorf("%s: column %v has bounds %x to %x", name, chunk.MetaData.PathInSchema, s.MinValue, s.MaxValue)
			}
			index := file.ColumnIndexes()[i]
			if i > 0 && (index.MinValues[0][0] != 0x80 || index.MaxValues[0][0] != 0x7f) {
				t.Errorf("%s: column %v has pages from %x to %x", name, chunk.MetaData.PathInSchema, index.MinValues[0], index.MaxValues[0])
			}
		}
	}
}

package parquetio_test

import (
	"bytes"
	"log"
	"path/filepath"
	"strings"
	"testing"

	"github.com/layshaft/layshaft/mapreduce"
	"github.com/layshaft/layshaft/mapreduce/memio"
	"github.com/layshaft/layshaft/mapreduce/parquetio"
)

type narrow struct {
	Price int64   `parquet:"price,decimal(1:3)"`
	Maybe *int64  `parquet:"maybe,decimal(2:9),optional"`
	List  []Inner `parquet:"list"`
}

type Inner struct {
	Price int64 `parquet:"price,decimal(0:1)"`
}

// Decimals of few digits in int64 are written and read without a line of the library on the
// standard logger, which keeps its writer.
func TestLibraryIsQuiet(t *testing.T) {
	var b bytes.Buffer
	before := log.Writer()
	log.SetOutput(&b)
	defer log.SetOutput(before)
	in := []narrow{{Price: 123, List: []Inner{{Price: 7}}}}
	dir := filepath.Join(t.TempDir(), "out")
	write := mapreduce.Define("write", func(p *mapreduce.Plan, _ struct{}) mapreduce.Dataset[narrow] {
		d := mapreduce.Read(p, memio.Slice(in))
		d.WriteTo(parquetio.Write[narrow](dir))
		return d
	})
	read := mapreduce.Define("read", func(p *mapreduce.Plan, _ struct{}) mapreduce.Dataset[narrow] {
		return mapreduce.Read(p, parquetio.Rows[narrow](dir))
	})
	if _, err := write.Collect(t.Context(), nil, struct{}{}); err != nil {
		t.Fatal(err)
	}
	got, err := read.Collect(t.Context(), nil, struct{}{})
	if err != nil || len(got) != 1 || got[0].Price != 123 || got[0].List[0].Price != 7 {
		t.Errorf("read %+v, %v", got, err)
	}
	log.Print("mine")
	if text := b.String(); !strings.HasSuffix(text, "mine\n") || strings.Count(text, "\n") != 1 {
		t.Errorf("the logger has %q, want the line of the test alone", text)
	}
}

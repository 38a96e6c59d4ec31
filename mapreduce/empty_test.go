package mapreduce_test

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/layshaft/layshaft/mapreduce"
	"github.com/layshaft/layshaft/mapreduce/avroio"
	"github.com/layshaft/layshaft/mapreduce/binio"
	"github.com/layshaft/layshaft/mapreduce/csvio"
	"github.com/layshaft/layshaft/mapreduce/jsonio"
	"github.com/layshaft/layshaft/mapreduce/memio"
	"github.com/layshaft/layshaft/mapreduce/parquetio"
	"github.com/layshaft/layshaft/mapreduce/stanzaio"
	"github.com/layshaft/layshaft/mapreduce/textio"
)

type emptyRow struct {
	I int64  `parquet:"i" csv:"i" json:"i" avro:"i"`
	S string `parquet:"s" csv:"s" json:"s" avro:"s"`
}

const emptySchema = `{"type":"record","name":"row","fields":[{"name":"i","type":"long"},{"name":"s","type":"string"}]}`

// TestEmptyResults writes empty datasets to every sink, after every kind of stage, and reads each
// of them back.
func TestEmptyResults(t *testing.T) {
	ctx := context.Background()
	dir := t.TempDir()
	type source = func(p *mapreduce.Plan) mapreduce.Dataset[emptyRow]
	sources := map[string]source{
		"no row groups": func(p *mapreduce.Plan) mapreduce.Dataset[emptyRow] {
			return mapreduce.Read(p, parquetio.Rows[emptyRow]("parquetio/testdata/cases/nogroups.parquet"))
		},
		"no values": func(p *mapreduce.Plan) mapreduce.Dataset[emptyRow] {
			return mapreduce.Read(p, memio.Slice[emptyRow](nil))
		},
	}
	stages := map[string]func(mapreduce.Dataset[emptyRow]) mapreduce.Dataset[emptyRow]{
		"read": func(d mapreduce.Dataset[emptyRow]) mapreduce.Dataset[emptyRow] { return d },
		"filter": func(d mapreduce.Dataset[emptyRow]) mapreduce.Dataset[emptyRow] {
			return d.Filter(func(emptyRow) bool { return false })
		},
		"distinct": func(d mapreduce.Dataset[emptyRow]) mapreduce.Dataset[emptyRow] { return mapreduce.Distinct(d) },
	}
	n := 0
	place := func(name string) string {
		n++
		return filepath.Join(dir, "out", strings.Repeat("x", n), name)
	}
	for from, source := range sources {
		for through, stage := range stages {
			run := func(to string, sink mapreduce.Sink[emptyRow]) {
				d := mapreduce.Define("empty", func(p *mapreduce.Plan, _ struct{}) mapreduce.Dataset[emptyRow] { return stage(source(p)) })
				if err := d.WriteTo(ctx, mapreduce.Local{}, struct{}{}, sink); err != nil {
					t.Errorf("%s, %s, %s: %v", from, through, to, err)
				}
			}
			back := func(to string, src mapreduce.Source[emptyRow]) {
				d := mapreduce.Define("back", func(p *mapreduce.Plan, _ struct{}) mapreduce.Dataset[emptyRow] { return mapreduce.Read(p, src) })
				for r, err := range d.Run(ctx, mapreduce.Local{}, struct{}{}) {
					t.Errorf("%s, %s, %s: read back %v, %v", from, through, to, r, err)
				}
			}
			p := place("one.csv")
			run("one csv", csvio.WriteFile[emptyRow](p))
			back("one csv", csvio.Rows[emptyRow](p))
			if got, err := os.ReadFile(p); err != nil || string(got) != "i,s\n" {
				t.Errorf("%s, %s: one.csv contains %q, %v", from, through, got, err)
			}
			if through != "read" || from == "no values" {
				continue // the other sinks share the mechanism
			}
			p = place("parquet")
			run("parquet", parquetio.Write[emptyRow](p))
			back("parquet", parquetio.Rows[emptyRow](p))
			p = place("csv")
			run("csv", csvio.Write[emptyRow](p))
			back("csv", csvio.Rows[emptyRow](p))
			p = place("jsonl")
			run("jsonl", jsonio.Write[emptyRow](p))
			back("jsonl", jsonio.Rows[emptyRow](p))
			p = place("one.jsonl.gz")
			run("one jsonl", jsonio.WriteFile[emptyRow](p))
			back("one jsonl", jsonio.Rows[emptyRow](p))
			one := func(r emptyRow) string { return r.S }
			for name, x := range map[string]struct {
				to   func(dir string) mapreduce.Sink[emptyRow]
				from func(dir string) mapreduce.Source[emptyRow]
			}{
				"text": {func(d string) mapreduce.Sink[emptyRow] {
					return textio.WriteAs(d, func(dst []byte, r emptyRow) []byte { return append(dst, r.S...) })
				}, func(d string) mapreduce.Source[emptyRow] { return csvio.Rows[emptyRow](d).NoHeader() }},
				"csv of a size":    {func(d string) mapreduce.Sink[emptyRow] { return csvio.Write[emptyRow](d).FileSize(1 << 20) }, func(d string) mapreduce.Source[emptyRow] { return csvio.Rows[emptyRow](d) }},
				"csv in folders":   {func(d string) mapreduce.Sink[emptyRow] { return csvio.Write[emptyRow](d).Folder("f", one) }, func(d string) mapreduce.Source[emptyRow] { return csvio.Rows[emptyRow](d) }},
				"jsonl in folders": {func(d string) mapreduce.Sink[emptyRow] { return jsonio.Write[emptyRow](d).Folder("f", one) }, func(d string) mapreduce.Source[emptyRow] { return jsonio.Rows[emptyRow](d) }},
				"parquet of a size": {func(d string) mapreduce.Sink[emptyRow] { return parquetio.Write[emptyRow](d).FileSize(1 << 20) },
					func(d string) mapreduce.Source[emptyRow] { return parquetio.Rows[emptyRow](d) }},
				"parquet in folders": {func(d string) mapreduce.Sink[emptyRow] { return parquetio.Write[emptyRow](d).Folder("f", one) },
					func(d string) mapreduce.Source[emptyRow] { return parquetio.Rows[emptyRow](d) }},
				"one parquet": {func(d string) mapreduce.Sink[emptyRow] { return parquetio.WriteFile[emptyRow](d) }, func(d string) mapreduce.Source[emptyRow] { return parquetio.Rows[emptyRow](d) }},
				"avro":        {func(d string) mapreduce.Sink[emptyRow] { return avroio.Write[emptyRow](d, emptySchema) }, func(d string) mapreduce.Source[emptyRow] { return avroio.Rows[emptyRow](d) }},
				"one avro":    {func(d string) mapreduce.Sink[emptyRow] { return avroio.WriteFile[emptyRow](d, emptySchema) }, func(d string) mapreduce.Source[emptyRow] { return avroio.Rows[emptyRow](d) }},
				"stanzas":     {func(d string) mapreduce.Sink[emptyRow] { return stanzaio.Write[emptyRow](d) }, func(d string) mapreduce.Source[emptyRow] { return stanzaio.Rows[emptyRow](d) }},
				"records": {func(d string) mapreduce.Sink[emptyRow] {
					return binio.WriteAs(d, func(dst []byte, r emptyRow) []byte { return append(dst, "12345678"...) })
				}, func(d string) mapreduce.Source[emptyRow] {
					return binio.RecordsAs(8, func(string, *emptyRow) error { return nil }, d)
				}},
			} {
				p := place(strings.ReplaceAll(name, " ", "-"))
				run(name, x.to(p))
				back(name, x.from(p))
			}
		}
	}
}

package source_test

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/layshaft/layshaft/layshafttest"
	"github.com/layshaft/layshaft/mapreduce"
	"github.com/layshaft/layshaft/mapreduce/avroio"
	"github.com/layshaft/layshaft/mapreduce/binio"
	"github.com/layshaft/layshaft/mapreduce/connector"
	"github.com/layshaft/layshaft/mapreduce/csvio"
	"github.com/layshaft/layshaft/mapreduce/jsonio"
	"github.com/layshaft/layshaft/mapreduce/memio"
	"github.com/layshaft/layshaft/mapreduce/parquetio"
	"github.com/layshaft/layshaft/mapreduce/source"
	"github.com/layshaft/layshaft/mapreduce/stanzaio"
	"github.com/layshaft/layshaft/mapreduce/textio"
)

// sale is a record of all formats. Its brand is in the name of the folder.
type sale struct {
	Brand string `csv:"-" json:"-" parquet:"-" avro:"brand" stanza:"-"`
	ID    int64  `csv:"id" json:"id" parquet:"id" avro:"id" stanza:"Id"`
	Shop  string `csv:"shop" json:"shop" parquet:"shop" avro:"shop" stanza:"Shop"`
}

func brandOf(s sale) string { return s.Brand }

func (s sale) line() string { return fmt.Sprintf("%d\t%s", s.ID, s.Shop) }

func fromLine(l string) (s sale) {
	_, _ = fmt.Sscanf(l, "%d\t%s", &s.ID, &s.Shop)
	return s
}

const saleSchema = `{"type": "record", "name": "sale", "fields": [{"name": "brand", "type": "string"}, {"name": "id", "type": "long"}, {"name": "shop", "type": "string"}]}`

// layouts write sales to a directory or to one file, and read them again.
var layouts = map[string]struct {
	dir, file func(path string, size int64) connector.Sink[sale]
	rows      func(path string) connector.Source[sale]
}{
	"csv": {
		func(p string, n int64) connector.Sink[sale] {
			return csvio.Write[sale](p).FileSize(n).Folder("brand", brandOf)
		},
		func(p string, _ int64) connector.Sink[sale] { return csvio.WriteFile[sale](p) },
		func(p string) connector.Source[sale] { return csvio.Rows[sale](p) },
	},
	"csv.gz": {
		func(p string, n int64) connector.Sink[sale] {
			return csvio.Write[sale](p).Gzip().Folder("brand", brandOf).FileSize(n)
		},
		func(p string, _ int64) connector.Sink[sale] { return csvio.WriteFile[sale](p) },
		func(p string) connector.Source[sale] { return csvio.Rows[sale](p) },
	},
	"jsonl.zst": {
		func(p string, n int64) connector.Sink[sale] {
			return jsonio.Write[sale](p).FileSize(n).Folder("brand", brandOf).Zstd()
		},
		func(p string, _ int64) connector.Sink[sale] { return jsonio.WriteFile[sale](p) },
		func(p string) connector.Source[sale] { return jsonio.Rows[sale](p) },
	},
	"parquet": {
		func(p string, n int64) connector.Sink[sale] {
			return parquetio.Write[sale](p).RowGroup(2000).FileSize(n).Folder("brand", brandOf)
		},
		func(p string, _ int64) connector.Sink[sale] { return parquetio.WriteFile[sale](p).RowGroup(2000) },
		func(p string) connector.Source[sale] { return parquetio.Rows[sale](p) },
	},
	"avro": {
		func(p string, n int64) connector.Sink[sale] {
			return avroio.Write[sale](p, saleSchema).FileSize(n).Folder("brand", brandOf)
		},
		func(p string, _ int64) connector.Sink[sale] { return avroio.WriteFile[sale](p, saleSchema) },
		func(p string) connector.Source[sale] { return avroio.Rows[sale](p) },
	},
	"stanza": {
		func(p string, n int64) connector.Sink[sale] {
			return stanzaio.Write[sale](p).FileSize(n).Folder("brand", brandOf)
		},
		func(p string, _ int64) connector.Sink[sale] { return stanzaio.WriteFile[sale](p) },
		func(p string) connector.Source[sale] { return stanzaio.Rows[sale](p) },
	},
	"txt": {
		func(p string, n int64) connector.Sink[sale] {
			return textio.WriteAs(p, func(dst []byte, s sale) []byte { return append(dst, s.line()...) }).FileSize(n).Folder("brand", brandOf)
		},
		func(p string, _ int64) connector.Sink[sale] {
			return textio.WriteFileAs(p, func(dst []byte, s sale) []byte { return append(dst, s.line()...) })
		},
		func(p string) connector.Source[sale] {
			return source.As(source.Separated("\n", p), func(l string, s *sale) error { *s = fromLine(l); return nil })
		},
	},
	"bin": {
		func(p string, n int64) connector.Sink[sale] {
			return binio.WriteAs(p, func(dst []byte, s sale) []byte { return append(dst, s.line()+"\n"...) }).FileSize(n).Folder("brand", brandOf)
		},
		func(p string, _ int64) connector.Sink[sale] {
			return binio.WriteFileAs(p, func(dst []byte, s sale) []byte { return append(dst, s.line()+"\n"...) })
		},
		func(p string) connector.Source[sale] {
			return source.As(source.Separated("\n", p), func(l string, s *sale) error { *s = fromLine(l); return nil })
		},
	},
}

// sales returns n sales of few brands, one of them missing.
func sales(n int) []sale {
	all := make([]sale, n)
	for i := range all {
		all[i] = sale{[]string{"", "a", "b/c", "é"}[i*i%7%4], int64(i + 1), fmt.Sprint("shop", i%13)}
	}
	return all
}

// into writes sales in several tasks.
type into struct {
	Format, Path string
	N            int
	File         bool
	Size         int64
}

var writeSales = mapreduce.Define("write-sales", func(p *mapreduce.Plan, in into) mapreduce.Dataset[mapreduce.None] {
	d := mapreduce.Read(p, memio.Slice(sales(in.N)))
	// a shuffle, so that there are several tasks
	d = mapreduce.Map(mapreduce.SortBy(d, func(s sale) int64 { return s.ID }, mapreduce.Parallel(5)), func(s sale) sale { return s })
	if f := layouts[in.Format]; in.File {
		d.WriteTo(f.file(in.Path, in.Size))
	} else {
		d.WriteTo(f.dir(in.Path, in.Size))
	}
	return mapreduce.Nothing(p)
})

// tree returns the content of all files below dir, without manifests.
func tree(t *testing.T, dir string) map[string]string {
	t.Helper()
	all := map[string]string{}
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || d.Name() == "manifest.json" {
			return err
		}
		b, err := os.ReadFile(path)
		rel, _ := filepath.Rel(dir, path)
		all[rel] = string(b)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// TestLayouts writes sales in all formats into folders and into one file, inside the process with
// little memory and on a cluster: the files have the same bytes, and the same sales are in them.
func TestLayouts(t *testing.T) {
	for name, f := range layouts {
		for _, in := range []into{{N: 3000, Size: 4000}, {N: 3000, Size: 1 << 20}, {N: 0, Size: 4000}, {N: 3000, File: true}, {N: 0, File: true}} {
			t.Run(fmt.Sprintf("%s/file=%v,n=%d,size=%d", name, in.File, in.N, in.Size), func(t *testing.T) {
				if testing.Short() && name != "parquet" && (in.N == 0 || in.Size == 1<<20) {
					t.Skip("the layout is the same for all formats")
				}
				dir := t.TempDir()
				write := func(name string, target mapreduce.Target) map[string]string {
					t.Helper()
					in := in
					in.Format, in.Path = f0(t), filepath.Join(dir, name)
					if in.File {
						in.Path = filepath.Join(in.Path, "all")
					}
					if _, err := writeSales.Collect(t.Context(), target, in); err != nil {
						t.Fatal(err)
					}
					return tree(t, filepath.Join(dir, name))
				}
				want := write("one", mapreduce.Local{Slots: 1, Memory: 8 << 20})
				if got := write("many", mapreduce.Local{Slots: 3, Memory: 24 << 20}); !equal(got, want) {
					t.Errorf("other slots and memory wrote other files: %v, want %v", names(got), names(want))
				}
				synctest.Test(t, func(t *testing.T) {
					if in.N > 0 && name != "parquet" && name != "csv.gz" {
						return // the place of the sink is the same for all formats
					}
					if got := write("cluster", layshafttest.Start(t, 2).Target()); !equal(got, want) {
						t.Errorf("a cluster wrote other files: %v, want %v", names(got), names(want))
					}
				})
				path := filepath.Join(dir, "one")
				rows := f.rows(path)
				if !in.File {
					rows = source.Folders(rows, func(folders map[string]string, s *sale) error {
						s.Brand = folders["brand"]
						return nil
					})
				}
				got, err := mapreduce.Define("read-sales", func(p *mapreduce.Plan, _ mapreduce.None) mapreduce.Dataset[sale] {
					return mapreduce.SortBy(mapreduce.Read(p, rows), func(s sale) int64 { return s.ID })
				}).Collect(t.Context(), mapreduce.Local{}, mapreduce.None{})
				all := sales(in.N)
				if in.File && name != "avro" {
					for i := range all {
						all[i].Brand = ""
					}
				}
				if err != nil || !slices.Equal(got, all) {
					t.Errorf("%d sales, want %d; %v", len(got), len(all), err)
				}
				if small := in.Size == 1<<20 || in.N == 0; !in.File && small && len(want) > 4 {
					t.Errorf("small files were not joined: %v", names(want))
				}
			})
		}
	}
}

// f0 returns the format of a subtest.
func f0(t *testing.T) string { return strings.Split(t.Name(), "/")[1] }

func names(m map[string]string) (all []string) {
	for n, text := range m {
		all = append(all, fmt.Sprintf("%s (%d bytes)", n, len(text)))
	}
	slices.Sort(all)
	return all
}

func equal(a, b map[string]string) bool {
	if len(a) != len(b) {
		return false
	}
	for k := range a {
		if a[k] != b[k] {
			return false
		}
	}
	return true
}

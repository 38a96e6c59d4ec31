package stanzaio_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/layshaft/layshaft/mapreduce"
	"github.com/layshaft/layshaft/mapreduce/connector"
	"github.com/layshaft/layshaft/mapreduce/memio"
	"github.com/layshaft/layshaft/mapreduce/stanzaio"
)

// Package is a paragraph of the list of packages of Debian.
type Package struct {
	Name        string `stanza:"Package"`
	Section     string
	Description string
	Size        int64     `stanza:"Installed-Size"`
	Score       float64   `stanza:"X-Score"`
	Essential   bool      `stanza:"essential"`
	Built       time.Time `stanza:"Build-Date"`
	Note        string    `stanza:"-"`
	hidden      int
}

const list = `# packages
Package: layshaft
Installed-Size: 12
Description: MapReduce for Go
 It runs inside your program,
 .
 or on a cluster.

package: tools
Essential: yes
Unknown: x
Section: admin
X-Score: 0.5
Build-Date: 2026-11-30T12:00:00Z
`

var packages = []Package{
	{Name: "layshaft", Size: 12, Description: "MapReduce for Go\nIt runs inside your program,\n\nor on a cluster."},
	{Name: "tools", hidden: 0, Essential: true, Section: "admin", Score: 0.5, Built: time.Date(2026, 11, 30, 12, 0, 0, 0, time.UTC)},
}

func write(t *testing.T, text string) string {
	path := filepath.Join(t.TempDir(), "Packages")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func run[T any](t *testing.T, build func(p *mapreduce.Plan) mapreduce.Dataset[T], opts ...mapreduce.PlanOption) ([]T, error) {
	return mapreduce.Define("stanzas", func(p *mapreduce.Plan, _ mapreduce.None) mapreduce.Dataset[T] { return build(p) }, opts...).
		Collect(t.Context(), mapreduce.Local{Reporting: mapreduce.Reporting{Quarantine: filepath.Join(t.TempDir(), "bad")}}, mapreduce.None{})
}

func TestRows(t *testing.T) {
	path := write(t, list)
	got, err := run(t, func(p *mapreduce.Plan) mapreduce.Dataset[Package] {
		return mapreduce.Read(p, stanzaio.Rows[Package](path))
	})
	if err != nil || !reflect.DeepEqual(got, packages) {
		t.Errorf("%+v, %v", got, err)
	}
	all, err := run(t, func(p *mapreduce.Plan) mapreduce.Dataset[stanzaio.Stanza] {
		return mapreduce.Read(p, stanzaio.Stanzas(path))
	})
	if err != nil || len(all) != 2 || all[1].Get("PACKAGE") != "tools" || len(all[0]) != 3 || all[0].Get("Unknown") != "" {
		t.Errorf("%q, %v", all, err)
	}
}

// TestWrite writes paragraphs, structs and compressed files, and reads them again.
func TestWrite(t *testing.T) {
	for name, sink := range map[string]func(path string) connector.Sink[Package]{
		"dir":    func(path string) connector.Sink[Package] { return stanzaio.Write[Package](path) },
		"zst":    func(path string) connector.Sink[Package] { return stanzaio.Write[Package](path).Zstd() },
		"one":    func(path string) connector.Sink[Package] { return stanzaio.WriteFile[Package](path) },
		"one.gz": func(path string) connector.Sink[Package] { return stanzaio.WriteFile[Package](path) },
	} {
		out := filepath.Join(t.TempDir(), name)
		if _, err := run(t, func(p *mapreduce.Plan) mapreduce.Dataset[mapreduce.None] {
			mapreduce.Read(p, memio.Slice(packages)).WriteTo(sink(out))
			return mapreduce.Nothing(p)
		}); err != nil {
			t.Fatal(err)
		}
		got, err := run(t, func(p *mapreduce.Plan) mapreduce.Dataset[Package] {
			return mapreduce.Read(p, stanzaio.Rows[Package](out))
		})
		if err != nil || !reflect.DeepEqual(got, packages) {
			t.Errorf("%s: %+v, %v", name, got, err)
		}
	}
}

func TestErrors(t *testing.T) {
	type twice struct {
		A string
		B string `stanza:"a"`
	}
	type list struct{ Names []string }
	read := func(text string) error {
		path := write(t, text)
		_, err := run(t, func(p *mapreduce.Plan) mapreduce.Dataset[Package] {
			return mapreduce.Read(p, stanzaio.Rows[Package](path))
		})
		return err
	}
	_, errTwice := stanzaio.Rows[twice]("x").Splits(t.Context(), 0)
	_, errList := stanzaio.Rows[list]("x").Splits(t.Context(), 0)
	out := filepath.Join(t.TempDir(), "out")
	write := func(s stanzaio.Stanza) error {
		_, err := run(t, func(p *mapreduce.Plan) mapreduce.Dataset[mapreduce.None] {
			mapreduce.Read(p, memio.Of(s)).WriteTo(stanzaio.Write[stanzaio.Stanza](out))
			return mapreduce.Nothing(p)
		})
		return err
	}
	for want, err := range map[string]error{
		`two fields take the key a`: errTwice,
		`stanzaio.Rows("x"): field Names: type []string: a field is a string`: errList,
		`stanzaio.Write("out"): rows are structs, not int`:                    stanzaio.Write[int]("out").Check(t.Context()),
		`"a key" cannot be a key`:                                             write(stanzaio.Stanza{{"a key", "x"}}),
		`Text: a line with a lone dot cannot be written`:                      write(stanzaio.Stanza{{"Text", "x\n.\ny"}}),
		`a paragraph without a field cannot be written`:                       write(stanzaio.Stanza{}),
		`Installed-Size: strconv.ParseInt: parsing "x"`:                       read("Package: a\nInstalled-Size: x\n"),
		`Essential: "maybe" is not yes or no`:                                 read("Essential: maybe\n"),
		`the paragraph has a line without a key: "just text"`:                 read("Package: a\n\nPackage: b\njust text\n"),
	} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %s", err, want)
		}
	}
}

// The sections of a list of packages.
func Example() {
	file, err := os.CreateTemp("", "Packages")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer os.Remove(file.Name())
	if _, err := file.WriteString("Package: a\nSection: admin\n\nPackage: b\nSection: net\n\nPackage: c\nSection: admin\n"); err != nil {
		fmt.Println(err)
		return
	}
	if err := file.Close(); err != nil {
		fmt.Println(err)
		return
	}
	sections := mapreduce.Define("sections", func(p *mapreduce.Plan, path string) mapreduce.Dataset[mapreduce.KV[string, int64]] {
		return mapreduce.CountBy(mapreduce.Read(p, stanzaio.Rows[Package](path)), func(x Package) string { return x.Section }, mapreduce.Parallel(1))
	})
	fmt.Println(sections.Collect(context.Background(), mapreduce.Local{}, file.Name()))
	// Output: [{admin 2} {net 1}] <nil>
}

package avroio_test

import (
	"bytes"
	"context"
	"fmt"
	"math/big"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/hamba/avro/v2/ocf"

	"github.com/layshaft/layshaft/mapreduce"
	"github.com/layshaft/layshaft/mapreduce/avroio"
	"github.com/layshaft/layshaft/mapreduce/connector"
	"github.com/layshaft/layshaft/mapreduce/memio"
)

// Product is a record of the tests.
type Product struct {
	Name  string   `avro:"name"`
	Cents int64    `avro:"cents"`
	Tags  []string `avro:"tags"`
	Note  *string  `avro:"note"`
}

const schema = `{"type": "record", "name": "product", "fields": [
	{"name": "name", "type": "string"}, {"name": "cents", "type": "long"},
	{"name": "tags", "type": {"type": "array", "items": "string"}}, {"name": "note", "type": ["null", "string"]}]}`

func product(i int64) Product {
	x := Product{Name: fmt.Sprint("product ", i), Cents: i * i, Tags: []string{}}
	for range i % 3 {
		x.Tags = append(x.Tags, strings.Repeat("t", int(i%50)))
	}
	if i%2 == 0 {
		x.Note = &x.Name
	}
	return x
}

func write[T any](dir, schema string, source connector.Source[T], target mapreduce.Local) error {
	_, err := mapreduce.Define("write", func(p *mapreduce.Plan, _ mapreduce.None) mapreduce.Dataset[mapreduce.None] {
		mapreduce.Read(p, source).WriteTo(avroio.Write[T](dir, schema))
		return mapreduce.Nothing(p)
	}).Collect(context.Background(), target, mapreduce.None{})
	return err
}

func read[T any](patterns ...string) ([]T, error) {
	return mapreduce.Define("read", func(p *mapreduce.Plan, _ mapreduce.None) mapreduce.Dataset[T] {
		return mapreduce.Read(p, avroio.Rows[T](patterns...))
	}).Collect(context.Background(), mapreduce.Local{Slots: 2}, mapreduce.None{})
}

// TestRoundTrip writes several files with several blocks, twice with equal bytes, and reads them
// again here and with package ocf.
func TestRoundTrip(t *testing.T) {
	const n = 5000
	dir := filepath.Join(t.TempDir(), "out")
	if err := write(dir, schema, memio.Generate(n, product).Cut(3), mapreduce.Local{Slots: 2, Verify: true}); err != nil {
		t.Fatal(err)
	}
	rows, err := read[Product](dir)
	if err != nil || len(rows) != n {
		t.Fatalf("%d rows, %v", len(rows), err)
	}
	for i, x := range rows {
		if want := product(int64(i)); !reflect.DeepEqual(x, want) {
			t.Fatalf("row %d is %+v, want %+v", i, x, want)
		}
	}
	names, err := read[struct {
		Name string `avro:"name"`
	}](dir + "/*.avro")
	if err != nil || len(names) != n || names[n-1].Name != "product 4999" {
		t.Errorf("%d names, %v", len(names), err)
	}
	data, err := os.ReadFile(filepath.Join(dir, "part-00000.avro"))
	if err != nil {
		t.Fatal(err)
	}
	d, err := ocf.NewDecoder(bytes.NewReader(data))
	if err != nil {
		t.Fatal(err)
	}
	count := 0
	for d.HasNext() {
		var x Product
		if err := d.Decode(&x); err != nil {
			t.Fatal(err)
		}
		count++
	}
	if d.Error() != nil || count == 0 {
		t.Errorf("%d records, %v", count, d.Error())
	}
}

// TestErrors checks damaged files and schemas that do not fit.
func TestErrors(t *testing.T) {
	dir := t.TempDir()
	if err := write(dir+"/out", schema, memio.Generate(3000, product), mapreduce.Local{}); err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile(dir + "/out/part-00000.avro")
	if err != nil {
		t.Fatal(err)
	}
	damaged := func(name string, data []byte) error {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, data, 0o600); err != nil {
			t.Fatal(err)
		}
		_, err := read[Product](path)
		return err
	}
	for want, err := range map[string]error{
		"short.avro: record ":                   damaged("short.avro", data[:len(data)/2]),
		"text.avro: record 0: not an Avro file": damaged("text.avro", []byte("name,cents\n")),
		`avroio.Write("out"): schema: `:         avroio.Write[Product]("out", `{"type": "recordd"}`).Check(t.Context()),
		`avroio.Write("other"): schema: `:       avroio.Write[int]("other", schema).Check(t.Context()),
		"damaged.avro: record ":                 damaged("damaged.avro", bytes.ReplaceAll(data, data[len(data)-16:], make([]byte, 16))[:len(data)-1]),
	} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %s", err, want)
		}
	}
}

// Values fit a schema that the zero value does not fit.
// Text that is not UTF-8 would make files that other readers refuse.
func TestTextMustBeUTF8(t *testing.T) {
	type in struct {
		S *string `avro:"s"`
	}
	type rec struct {
		S string            `avro:"s"`
		B []byte            `avro:"b"`
		L []string          `avro:"l"`
		M map[string]string `avro:"m"`
		I []in              `avro:"i"`
		X string            `avro:"-"`
	}
	const schema = `{"type":"record","name":"r","fields":[{"name":"s","type":"string"},{"name":"b","type":"bytes"},{"name":"l","type":{"type":"array","items":"string"}},
		{"name":"m","type":{"type":"map","values":"string"}},{"name":"i","type":{"type":"array","items":{"type":"record","name":"in","fields":[{"name":"s","type":["null","string"]}]}}}]}`
	bad := "a\xff"
	good := rec{"é", []byte(bad), []string{""}, map[string]string{"k": "v"}, []in{{}}, bad}
	if err := write[rec](t.TempDir()+"/out", schema, memio.Of(good), mapreduce.Local{}); err != nil {
		t.Error(err)
	}
	for want, r := range map[string]rec{`"s"`: {S: bad}, `"l"`: {L: []string{"x", bad}}, `"m"`: {M: map[string]string{bad: ""}}, `"i.s"`: {I: []in{{}, {&bad}}}} {
		if err := write[rec](t.TempDir()+"/out", schema, memio.Of(r), mapreduce.Local{}); err == nil || !strings.Contains(err.Error(), "field "+want+`: "a\xff" is not UTF-8`) {
			t.Errorf("%s: %v", want, err)
		}
	}
}

func TestNoZeroValue(t *testing.T) {
	type sale struct {
		Price *big.Rat `avro:"price"`
		Kind  string   `avro:"kind"`
	}
	const schema = `{"type": "record", "name": "sale", "fields": [
		{"name": "price", "type": {"type": "bytes", "logicalType": "decimal", "precision": 6, "scale": 2}},
		{"name": "kind", "type": {"type": "enum", "name": "kind", "symbols": ["cash", "card"]}}]}`
	dir := filepath.Join(t.TempDir(), "out")
	if err := write(dir, schema, memio.Of(sale{big.NewRat(5, 4), "card"}), mapreduce.Local{}); err != nil {
		t.Fatal(err)
	}
	got, err := read[sale](dir)
	if err != nil || len(got) != 1 || got[0].Price.Cmp(big.NewRat(5, 4)) != 0 || got[0].Kind != "card" {
		t.Errorf("%+v, %v", got, err)
	}
}

// Records of Avro are ordinary structs.
func Example() {
	dir, err := os.MkdirTemp("", "example")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer os.RemoveAll(dir)
	type City struct {
		Name   string `avro:"name"`
		People int64  `avro:"people"`
	}
	const schema = `{"type": "record", "name": "city", "fields": [{"name": "name", "type": "string"}, {"name": "people", "type": "long"}]}`
	cities := mapreduce.Define("cities", func(p *mapreduce.Plan, dir string) mapreduce.Dataset[mapreduce.None] {
		mapreduce.Read(p, memio.Of(City{"Oslo", 700_000}, City{"Bergen", 290_000})).WriteTo(avroio.Write[City](dir+"/cities", schema))
		return mapreduce.Nothing(p)
	})
	if _, err := cities.Collect(context.Background(), mapreduce.Local{}, dir); err != nil {
		fmt.Println(err)
		return
	}
	large := mapreduce.Define("large", func(p *mapreduce.Plan, dir string) mapreduce.Dataset[City] {
		return mapreduce.Read(p, avroio.Rows[City](dir+"/cities")).Filter(func(c City) bool { return c.People > 500_000 })
	})
	fmt.Println(large.Collect(context.Background(), mapreduce.Local{}, dir))
	// Output: [{Oslo 700000}] <nil>
}

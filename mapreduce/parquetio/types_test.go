package parquetio_test

import (
	"archive/zip"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/layshaft/layshaft/mapreduce/connector"
	"github.com/layshaft/layshaft/mapreduce/parquetio"
)

// inner is a struct around the value of a test file.
type inner[V any] struct {
	V V `parquet:"v"`
}

// The records read the values of testdata/types.zip: alone, and beside and within other parts.
type (
	alone[V any]    = inner[V]
	pointer[V any]  = inner[*V]
	required[V any] struct {
		R V `parquet:"r"`
	}
	besideList[V any] struct {
		V    V        `parquet:"v"`
		Tags []string `parquet:"tags,list"`
	}
	besideMap[V any] struct {
		V V            `parquet:"v"`
		M map[string]V `parquet:"m"`
	}
	list[V any] struct {
		L []V `parquet:"l"`
	}
	pointers[V any] struct {
		V *V   `parquet:"v"`
		L []*V `parquet:"l,list"`
	}
	lists[V any] struct {
		LL [][]V `parquet:"ll,list"`
	}
	structs[V any] struct {
		S inner[V]    `parquet:"s"`
		L []inner[*V] `parquet:"ls"`
	}
	optional[V any] struct {
		S *inner[V]    `parquet:"s"`
		L []*inner[*V] `parquet:"ls,list"`
	}
)

// readAs compares the rows of a file, read as T. A file without a part, such as "ls", is skipped.
func readAs[T any](t *testing.T, path string, want ...T) {
	t.Helper()
	rows, _, err := read(connector.Source[T](parquetio.Rows[T](path)), 0)
	if err != nil && strings.Contains(err.Error(), "no column") {
		return
	}
	if err != nil || !reflect.DeepEqual(rows, want) {
		t.Errorf("%T: %v\n got %s\nwant %s", *new(T), err, show(rows), show(want))
	}
}

func show(v any) string {
	s := fmt.Sprintf("%+v", v)
	if strings.Contains(s, "0x") {
		s = fmt.Sprintf("%#v", v)
	}
	return s
}

// check reads the values a, null, b of a file in all ways.
func check[V any](a, b V) func(*testing.T, string) {
	return func(t *testing.T, path string) {
		var zero V
		tags := [][]string{{"x", "y"}, {}, nil}
		readAs(t, path, alone[V]{a}, alone[V]{}, alone[V]{b})
		readAs(t, path, pointer[V]{&a}, pointer[V]{}, pointer[V]{&b})
		readAs(t, path, required[V]{a}, required[V]{a}, required[V]{b})
		readAs(t, path, besideList[V]{a, tags[0]}, besideList[V]{zero, tags[1]}, besideList[V]{b, tags[2]})
		readAs(t, path, besideMap[V]{a, map[string]V{"k": a, "n": zero}}, besideMap[V]{zero, map[string]V{}}, besideMap[V]{V: b})
		readAs(t, path, list[V]{[]V{a, zero}}, list[V]{[]V{}}, list[V]{})
		readAs(t, path, pointers[V]{&a, []*V{&a, nil}}, pointers[V]{nil, []*V{}}, pointers[V]{V: &b})
		readAs(t, path, lists[V]{[][]V{{a}, {}}}, lists[V]{}, lists[V]{[][]V{{b, a}}})
		readAs(t, path, structs[V]{inner[V]{a}, []inner[*V]{{&a}}}, structs[V]{L: []inner[*V]{}}, structs[V]{L: []inner[*V]{{&b}, {nil}}})
		readAs(t, path, optional[V]{&inner[V]{a}, []*inner[*V]{{&a}}}, optional[V]{&inner[V]{}, []*inner[*V]{}}, optional[V]{nil, []*inner[*V]{{&b}, {nil}}})
	}
}

// checkNulls reads a file with nothing but nulls.
func checkNulls[V any](t *testing.T, path string) {
	readAs(t, path, alone[V]{}, alone[V]{}, alone[V]{})
	readAs(t, path, pointer[V]{}, pointer[V]{}, pointer[V]{})
	readAs(t, path, besideList[V]{Tags: []string{"x", "y"}}, besideList[V]{Tags: []string{}}, besideList[V]{})
}

var (
	at      = time.Date(2024, 3, 10, 12, 34, 56, 123456000, time.UTC)
	atMilli = at.Truncate(time.Millisecond)
	at2     = time.Date(1969, 12, 31, 23, 59, 59, 999000000, time.UTC)
	clock   = time.Hour + 2*time.Minute + 3*time.Second + 5*time.Millisecond
	clock2  = 24*time.Hour - time.Millisecond
	uuids   = [2][16]byte{{0, 0x11, 0x22, 0x33, 0x44, 0x55, 0x66, 0x77, 0x88, 0x99, 0xaa, 0xbb, 0xcc, 0xdd, 0xee, 0xff}, {15: 1}}
)

type ways []func(*testing.T, string)

// conversions are the Go types that can hold a type of a file, with the values of testdata/make.py.
var conversions = map[string]ways{
	"bool":       {check(true, false)},
	"int8":       {check(int8(-128), int8(127)), check(-128, 127)},
	"int16":      {check(int16(-32768), int16(5)), check(int32(-32768), int32(5))},
	"int32":      {check(int32(-1<<31), int32(5)), check(-1<<31, 5)},
	"int64":      {check(int64(-1<<63), int64(1<<63-1)), check(-1<<63, 1<<63-1)},
	"page2":      {check(int64(-1<<63), int64(1<<63-1))},
	"uint8":      {bytesInLists, check(int16(255), int16(1)), check(uint64(255), uint64(1))},
	"uint16":     {check(uint16(65535), uint16(1)), check(int32(65535), int32(1))},
	"uint32":     {check(uint32(1<<32-1), uint32(1)), check(int64(1<<32-1), int64(1))},
	"uint64":     {check(uint64(1<<64-1), uint64(1)), check(uint(1<<64-1), uint(1))},
	"half":       {check(float32(1.5), float32(-0.25)), check(1.5, -0.25), check([]byte{0, 0x3e}, []byte{0, 0xb4})},
	"float":      {check(float32(1.5), float32(-0.25)), check(1.5, -0.25)},
	"double":     {check(1.5, -0.25)},
	"string":     {check("é", ""), check([]byte("é"), []byte{})},
	"plain":      {check("é", ""), check([]byte("é"), []byte{})},
	"dictionary": {check("é", ""), check([]byte("é"), []byte{})},
	"enum":       {check("é", "")},
	"json":       {check(`{"a":1}`, "[]")},
	"binary":     {check([]byte{0xff, 0}, []byte{}), check("\xff\x00", "")},
	"fixed8":     {check([8]byte([]byte("12345678")), [8]byte([]byte("abcdefgh"))), check([]byte("12345678"), []byte("abcdefgh"))},
	"uuid":       {check("00112233-4455-6677-8899-aabbccddeeff", "00000000-0000-0000-0000-000000000001"), check(uuids[0], uuids[1])},
	"dec0":       {check(int64(1234), int64(-1)), check(int32(1234), int32(-1))},
	"dec9":       {decimals32, decimals64},
	"dec9i":      {decimals32, decimals64},
	"dec18":      {decimals64},
	"dec18i":     {decimals64},
	"dec38":      {decimals64},
	"date":       {check(at.Truncate(24*time.Hour), at2.Truncate(24*time.Hour)), units},
	"time_ms":    {check(clock, clock2)},
	"time_us":    {check(clock, clock2)},
	"time_ns":    {check(clock, clock2)},
	"ts_ms":      {check(atMilli, at2)},
	"ts_us":      {check(at, at2), units},
	"ts_ns":      {check(at, at2)},
	"tz_us":      {check(at, at2), units},
	"int96":      {check(at, at2)},
	"null":       {checkNulls[string], checkNulls[int64], checkNulls[time.Time], checkNulls[[8]byte], checkNulls[[]byte], checkNulls[map[string]int], checkNulls[[]int32]},
}

// decimals32 reads 12.34, null, -0.01 into int32.
func decimals32(t *testing.T, path string) {
	type one struct {
		V int32 `parquet:"v,decimal(2:9)"`
	}
	type beside struct {
		V    *int32           `parquet:"v,decimal(2:9)"`
		L    []int32          `parquet:"l,list" parquet-element:",decimal(2:9)"`
		M    map[string]int32 `parquet:"m" parquet-value:",decimal(2:9)"`
		Tags []string         `parquet:"tags"`
	}
	a, b := int32(1234), int32(-1)
	readAs(t, path, one{a}, one{}, one{b})
	readAs(t, path, beside{&a, []int32{a, 0}, map[string]int32{"k": a, "n": 0}, []string{"x", "y"}}, beside{L: []int32{}, M: map[string]int32{}, Tags: []string{}}, beside{V: &b})
}

// decimals64 reads 12.34, null, -0.01 into int64.
func decimals64(t *testing.T, path string) {
	type one struct {
		V int64 `parquet:"v,decimal(2:18)"`
	}
	type beside struct {
		V    *int64           `parquet:"v,decimal(2:18)"`
		L    []int64          `parquet:"l,list" parquet-element:",decimal(2:18)"`
		M    map[string]int64 `parquet:"m" parquet-value:",decimal(2:18)"`
		Tags []string         `parquet:"tags"`
	}
	a, b := int64(1234), int64(-1)
	readAs(t, path, one{a}, one{}, one{b})
	readAs(t, path, beside{&a, []int64{a, 0}, map[string]int64{"k": a, "n": 0}, []string{"x", "y"}}, beside{L: []int64{}, M: map[string]int64{}, Tags: []string{}}, beside{V: &b})
}

// bytesInLists reads 255, null, 1 into slices of bytes.
func bytesInLists(t *testing.T, path string) {
	type rec struct {
		V uint8   `parquet:"v"`
		L []uint8 `parquet:"l,list"`
	}
	readAs(t, path, rec{255, []uint8{255, 0}}, rec{0, []uint8{}}, rec{1, nil})
}

// units reads times into integers of the same unit.
func units(t *testing.T, path string) {
	type day struct {
		V *int32 `parquet:"v,date"`
	}
	type micro struct {
		V    int64    `parquet:"v,timestamp(microsecond)"`
		Tags []string `parquet:"tags,list"`
	}
	a, b := int32(at.Unix()/86400), int32(-1)
	if strings.HasSuffix(path, "date.parquet") {
		readAs(t, path, day{&a}, day{}, day{&b})
		return
	}
	readAs(t, path, micro{at.UnixMicro(), []string{"x", "y"}}, micro{0, []string{}}, micro{at2.UnixMicro(), nil})
}

// TestTypesOfOtherWriters reads every type that pyarrow, DuckDB and Polars write into every Go type
// that can hold it: alone and with neighbours, optional and required, in lists, maps and structs.
func TestTypesOfOtherWriters(t *testing.T) {
	archive, err := zip.OpenReader("testdata/types.zip")
	if err != nil {
		t.Fatal(err)
	}
	defer archive.Close()
	dir := t.TempDir()
	for _, f := range archive.File {
		r, err := f.Open()
		if err != nil {
			t.Fatal(err)
		}
		data, err := io.ReadAll(r)
		if err != nil {
			t.Fatal(err)
		}
		path := filepath.Join(dir, strings.ReplaceAll(f.Name, "/", "-"))
		if err := os.WriteFile(path, data, 0o600); err != nil {
			t.Fatal(err)
		}
		t.Run(f.Name, func(t *testing.T) {
			name := strings.TrimSuffix(filepath.Base(f.Name), ".parquet")
			if conversions[name] == nil {
				t.Fatal("no conversion is tested")
			}
			for _, way := range conversions[name] {
				way(t, path)
			}
		})
	}
}

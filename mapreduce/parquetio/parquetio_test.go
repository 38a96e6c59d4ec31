package parquetio_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"reflect"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/parquet-go/parquet-go"
	"github.com/parquet-go/parquet-go/deprecated"

	"github.com/layshaft/layshaft/mapreduce/connector"
	"github.com/layshaft/layshaft/mapreduce/parquetio"
)

// encode returns a Parquet file with row groups of perGroup rows.
func encode[T any](t testing.TB, list []T, perGroup int64) []byte {
	t.Helper()
	var b bytes.Buffer
	w := parquet.NewGenericWriter[T](&b, parquet.MaxRowsPerRowGroup(perGroup), parquet.PageBufferSize(300))
	if _, err := w.Write(list); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func write(t testing.TB, data []byte) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "x.parquet")
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func read[T any](s connector.Source[T], target int64) (rows []T, splits int, err error) {
	cut, err := s.Splits(context.Background(), target)
	if err != nil {
		return nil, 0, err
	}
	for _, c := range cut {
		if err := s.Read(context.Background(), c, connector.NewReader(func(v *T) { rows = append(rows, *v) }, nil)); err != nil {
			return nil, 0, err
		}
	}
	return rows, len(cut), nil
}

func mustRead[T any](t testing.TB, s connector.Source[T], target int64) []T {
	t.Helper()
	rows, _, err := read(s, target)
	if err != nil {
		t.Fatal(err)
	}
	return rows
}

type place struct {
	City string  `parquet:"city,dict"`
	Lat  float32 `parquet:"lat"`
}

// plain has a field of every kind that is read column by column.
type plain struct {
	S    string     `parquet:"s"`
	Dict string     `parquet:"dict,dict"`
	Null *string    `parquet:"null,dict"`
	Opt  string     `parquet:"opt,optional,dict"`
	B    []byte     `parquet:"b"`
	OK   bool       `parquet:"ok"`
	I    int        `parquet:"i"`
	I8   int8       `parquet:"i8"`
	I16  int16      `parquet:"i16"`
	I32  int32      `parquet:"i32,delta"`
	U    uint64     `parquet:"u"`
	U32  uint32     `parquet:"u32"`
	F    float64    `parquet:"f"`
	PF   *float64   `parquet:"pf"`
	PI   *int64     `parquet:"pi"`
	T    time.Time  `parquet:"t"`
	TM   time.Time  `parquet:"tm,timestamp(millisecond)"`
	PT   *time.Time `parquet:"pt"`
	Home place      `parquet:"home"`
}

// nested needs the library's reader.
type nested struct {
	ID    int64            `parquet:"id"`
	Tags  []string         `parquet:"tags,list"`
	Bare  []int32          `parquet:"bare"`
	Attrs map[string]int64 `parquet:"attrs"`
	Where *place           `parquet:"where"`
	All   []place          `parquet:"all"`
}

func word(rng *rand.Rand, n int) string {
	b := make([]byte, rng.IntN(n))
	for i := range b {
		b[i] = 'a' + byte(rng.IntN(26))
	}
	return string(b)
}

func maybe[V any](rng *rand.Rand, v V) *V {
	if rng.IntN(3) == 0 {
		return nil
	}
	return &v
}

func randomPlain(rng *rand.Rand, n int) []plain {
	out := make([]plain, n)
	for i := range out {
		at := time.UnixMilli(rng.Int64N(1e13) - 5e12).UTC()
		out[i] = plain{S: word(rng, 20), Dict: word(rng, 3), Null: maybe(rng, word(rng, 3)), Opt: word(rng, 2), B: []byte(word(rng, 9)), OK: rng.IntN(2) == 0,
			I: int(rng.Uint64()), I8: int8(rng.Uint32()), I16: int16(rng.Uint32()), I32: int32(rng.Uint32()), U: rng.Uint64(), U32: rng.Uint32(), F: rng.NormFloat64(),
			PF: maybe(rng, rng.Float64()), PI: maybe(rng, rng.Int64()), T: at.Add(time.Duration(rng.IntN(1e6))), TM: at,
			PT: maybe(rng, at), Home: place{word(rng, 3), rng.Float32()}}
	}
	return out
}

func randomNested(rng *rand.Rand, n int) []nested {
	out := make([]nested, n)
	for i := range out {
		out[i].ID = int64(i)
		for range rng.IntN(4) {
			out[i].Tags = append(out[i].Tags, word(rng, 9))
			out[i].Bare = append(out[i].Bare, int32(rng.Uint32()))
			out[i].All = append(out[i].All, place{word(rng, 5), rng.Float32()})
		}
		out[i].Attrs = map[string]int64{word(rng, 3): rng.Int64()}
		out[i].Where = maybe(rng, place{word(rng, 5), 1})
	}
	return out
}

// everyCut writes rows, and demands them back whatever the splits.
func everyCut[T any](t *testing.T, list []T) {
	t.Helper()
	path := write(t, encode(t, list, 700))
	other := write(t, encode(t, list[:10], 700))
	want := append(append([]T{}, list...), list[:10]...)
	for _, target := range []int64{1, 10_000, 1 << 30} {
		got, splits, err := read(parquetio.Rows[T](path, other), target)
		if err != nil {
			t.Fatal(err)
		}
		if len(got) != len(want) {
			t.Fatalf("%d rows, want %d", len(got), len(want))
		}
		for i := range got {
			if g, w := fmt.Sprintf("%+v", deep(got[i])), fmt.Sprintf("%+v", deep(want[i])); g != w {
				t.Fatalf("target %d: row %d\n%s\nwant\n%s", target, i, g, w)
			}
		}
		if groups := (len(list)+699)/700 + 1; target == 1 && splits != groups || target > 1<<20 && splits != 1 {
			t.Errorf("target %d: %d splits of %d row groups", target, splits, groups)
		}
	}
}

// deep replaces pointers by what they point to, for comparing and printing.
func deep(v any) any {
	r := reflect.ValueOf(v)
	switch r.Kind() {
	case reflect.Pointer:
		if r.IsNil() {
			return "nil"
		}
		return deep(r.Elem().Interface())
	case reflect.Struct:
		if at, ok := v.(time.Time); ok {
			return at.UTC().Format(time.RFC3339Nano)
		}
		out := make([]any, r.NumField())
		for i := range out {
			out[i] = deep(r.Field(i).Interface())
		}
		return out
	}
	return v
}

func TestPlainFields(t *testing.T) {
	everyCut(t, randomPlain(rand.New(rand.NewPCG(1, 0)), 1500))
}

func TestNestedFields(t *testing.T) {
	everyCut(t, randomNested(rand.New(rand.NewPCG(2, 0)), 1500))
}

func TestWrittenRowsAreReadBack(t *testing.T) {
	list := randomPlain(rand.New(rand.NewPCG(3, 0)), 5000)
	for name, sink := range map[string]func(string) parquetio.Sink[plain]{
		"zstd":   parquetio.Write[plain],
		"snappy": func(dir string) parquetio.Sink[plain] { return parquetio.Write[plain](dir).Snappy().RowGroup(100_000) },
	} {
		dir := filepath.Join(t.TempDir(), "out")
		save(t, sink(dir), list[:2000], nil, list[2000:])
		got, splits, err := read(parquetio.Rows[plain](dir), 1)
		if err != nil {
			t.Fatal(err)
		}
		if !reflect.DeepEqual(deepAll(got), deepAll(list)) {
			t.Errorf("%s: rows differ", name)
		}
		if want := map[string]int{"zstd": 2, "snappy": 5}[name]; splits < want {
			t.Errorf("%s: %d row groups, want %d or more", name, splits, want)
		}
	}
}

func deepAll(list []plain) (out []any) {
	for _, v := range list {
		out = append(out, deep(v))
	}
	return out
}

func save[T any](t testing.TB, sink connector.Sink[T], tasks ...[]T) {
	t.Helper()
	ctx := context.Background()
	if err := sink.Check(ctx); err != nil {
		t.Fatal(err)
	}
	var parts [][]byte
	for i, list := range tasks {
		w, err := sink.Open(ctx, connector.SinkTask{Job: "j", Index: i, Of: len(tasks), Attempt: 1})
		if err != nil {
			t.Fatal(err)
		}
		for k := range list {
			if err := w.Write(&list[k]); err != nil {
				t.Fatal(err)
			}
		}
		part, err := w.Close()
		if err != nil {
			t.Fatal(err)
		}
		parts = append(parts, part)
	}
	if err := sink.Finish(ctx, "j", parts); err != nil {
		t.Fatal(err)
	}
}

// A column that T does not name is not read: damage to it goes unnoticed.
func TestOnlyTheColumnsOfTheStructAreRead(t *testing.T) {
	type wide struct {
		A    string `parquet:"a"`
		Junk string `parquet:"junk,plain,uncompressed"`
		B    []int  `parquet:"b"`
	}
	list := make([]wide, 500)
	for i := range list {
		list[i] = wide{fmt.Sprint("a", i), "JUNKJUNK" + fmt.Sprint(i), []int{i}}
	}
	data := encode(t, list, 1000)
	head := bytes.Index(data, []byte("JUNKJUNK"))
	for i := range 2000 {
		data[head+i] ^= 0xff
	}
	path := write(t, data)
	type flat struct {
		A string `parquet:"a"`
	}
	type list2 struct {
		B []int  `parquet:"b"`
		A string `parquet:"a"`
	}
	if got := mustRead(t, parquetio.Rows[flat](path), 0); len(got) != 500 || got[499].A != "a499" {
		t.Error(len(got))
	}
	if got := mustRead(t, parquetio.Rows[list2](path), 0); len(got) != 500 || got[499].B[0] != 499 {
		t.Error(len(got))
	}
	if _, _, err := read(parquetio.Rows[wide](path), 0); err == nil || !strings.Contains(err.Error(), "x.parquet") {
		t.Errorf("damage in a column that is wanted: %v", err)
	}
	narrow, _ := parquetio.Rows[flat](path).Splits(context.Background(), 0)
	all, _ := parquetio.Rows[wide](path).Splits(context.Background(), 0)
	if narrow[0].Bytes*2 > all[0].Bytes {
		t.Errorf("one of three columns counts %d of %d bytes", narrow[0].Bytes, all[0].Bytes)
	}
}

func TestWidening(t *testing.T) {
	type file struct {
		I  int32            `parquet:"i"`
		U  uint32           `parquet:"u"`
		F  float32          `parquet:"f"`
		T  deprecated.Int96 `parquet:"t"`
		N  *int32           `parquet:"n"`
		MS int64            `parquet:"ms,timestamp(millisecond)"`
		D  int32            `parquet:"d,date"`
	}
	type rec struct {
		I  int64     `parquet:"i"`
		U  *int64    `parquet:"u"`
		F  float64   `parquet:"f"`
		T  time.Time `parquet:"t"`
		N  int       `parquet:"n"`
		MS time.Time `parquet:"ms,timestamp(nanosecond)"`
		D  time.Time `parquet:"d,date"`
	}
	day := int64(7 * time.Hour)
	path := write(t, encode(t, []file{{-5, 4e9, 0.5, deprecated.Int96{uint32(day), uint32(day >> 32), 2440588 + 1}, nil, 1500, -1}}, 10))
	got := mustRead(t, parquetio.Rows[rec](path), 0)
	u := int64(4e9)
	want := rec{-5, &u, 0.5, time.Unix(86400+7*3600, 0).UTC(), 0, time.UnixMilli(1500).UTC(), time.Date(1969, 12, 31, 0, 0, 0, 0, time.UTC)}
	if len(got) != 1 || fmt.Sprint(deep(got[0])) != fmt.Sprint(deep(want)) {
		t.Errorf("got %v", deep(got))
	}
}

func TestRefusals(t *testing.T) {
	type file struct {
		ID    int64     `parquet:"id"`
		Name  string    `parquet:"name"`
		Price float64   `parquet:"price"`
		Tags  []string  `parquet:"tags"`
		At    time.Time `parquet:"at"`
		Dec   int64     `parquet:"dec,decimal(2:18)"`
	}
	path := write(t, encode(t, []file{{ID: 1}}, 10))
	type missing struct{ Name string }
	type narrow struct {
		ID int32 `parquet:"id"`
	}
	type unsigned struct {
		ID uint64 `parquet:"id"`
	}
	type text struct {
		ID string `parquet:"id"`
	}
	type float struct {
		ID float64 `parquet:"id"`
	}
	type small struct {
		Price float32 `parquet:"price"`
	}
	type list struct {
		Name []string `parquet:"name"`
	}
	type unlist struct {
		Tags string `parquet:"tags"`
	}
	type raw struct {
		At int64 `parquet:"at"`
	}
	type cents struct {
		Dec int64 `parquet:"dec"`
	}
	type when struct {
		ID time.Time `parquet:"id"`
	}
	type dated struct {
		D []*struct {
			At time.Time `parquet:",date"`
		}
	}
	type channel struct{ C chan int }
	type empty struct{}
	for _, c := range []struct {
		err  error
		want string
	}{
		{refusal[missing](path), `x.parquet: no column "Name"; the columns are "id", "name", "price", "tags", "at", "dec"; name the right one with a parquet tag`},
		{refusal[narrow](path), `x.parquet: column "id" is INT(64,true) in the file and int32 in parquetio_test.narrow: the file may hold larger values; make the field an int64`},
		{refusal[unsigned](path), `the file may hold values below zero; make the field an int64`},
		{refusal[text](path), `column "id" is INT(64,true) in the file and string in parquetio_test.text: make the field an int64`},
		{refusal[float](path), `column "id" is INT(64,true) in the file and float64 in`},
		{refusal[small](path), `column "price" is DOUBLE in the file and float32 in parquetio_test.small: the file may hold more digits; make the field a float64`},
		{refusal[list](path), `column "name" is STRING in the file and []string in parquetio_test.list: make the field a string or a []byte`},
		{refusal[unlist](path), `column "tags" is a list of STRING in the file and string in parquetio_test.unlist: make the field a slice`},
		{refusal[raw](path), "a plain integer would lose the unit; make the field a time.Time, or an int64 with the tag `parquet:\"at,timestamp(nanosecond)\"`"},
		{refusal[cents](path), "without its scale the number would be another one; make the field an int64 with the tag `parquet:\"dec,decimal(2:18)\"`"},
		{refusal[when](path), `only a timestamp or a date is a time.Time`},
		{refusal[channel](path), `cannot be a Parquet row`},
		{refusal[empty](path), `no exported field`},
		{refusal[int](path), `int is not a struct`},
		{refusal[file](write(t, []byte("a,b\n1,2\n3,4\n"))), `x.parquet: not a Parquet file, or damaged`},
		{refusal[file](write(t, []byte("\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\x00"))), `x.parquet: it is gzip data, not Parquet; decompress it`},
		{refusal[file](write(t, nil)), `x.parquet: not a Parquet file, or damaged`},
		{refusal[file](path + ".missing"), `no such file`},
		{parquetio.Write[channel](t.TempDir()).Check(context.Background()), `cannot be a Parquet row`},
		{parquetio.Write[dated](t.TempDir()).Check(context.Background()), `At: a time.Time cannot be written as a date`},
		{parquetio.Write[file](t.TempDir()).RowGroup(0).Check(context.Background()), `needs at least 1 byte`},
	} {
		if c.err == nil || !strings.Contains(c.err.Error(), c.want) {
			t.Errorf("got  %v\nwant %s", c.err, c.want)
		}
	}
	type allowed struct {
		ID   int64  `parquet:"id"`
		Gone string `parquet:"gone"`
	}
	if got := mustRead(t, parquetio.Rows[allowed](path).AllowMissing("gone"), 0); len(got) != 1 || got[0] != (allowed{ID: 1}) {
		t.Errorf("got %v", got)
	}
}

func refusal[T any](path string) error {
	_, err := parquetio.Rows[T](path).Splits(context.Background(), 0)
	return err
}

// The library would write another time.
func TestTimesThatDoNotFitAreRefused(t *testing.T) {
	type rec struct {
		Opt time.Time  `parquet:"opt,optional"`
		Nil *time.Time `parquet:"nil"`
		Big time.Time  `parquet:"big,timestamp(microsecond)"`
		At  time.Time  `parquet:"at"`
	}
	ok := rec{At: time.Unix(0, 0).UTC()}
	dir := filepath.Join(t.TempDir(), "out")
	sink := parquetio.Write[rec](dir)
	save(t, sink, []rec{ok})
	if got := mustRead(t, parquetio.Rows[rec](dir), 0); len(got) != 1 || got[0] != ok {
		t.Errorf("got %v", got)
	}
	w, err := sink.Open(context.Background(), connector.SinkTask{Job: "k", Of: 1, Attempt: 1})
	if err != nil {
		t.Fatal(err)
	}
	defer w.Abort()
	late := time.Date(2300, 1, 1, 0, 0, 0, 0, time.UTC)
	for _, bad := range []rec{{}, {At: late}, {At: ok.At, Opt: late}, {At: ok.At, Nil: &late}, {At: ok.At, Nil: new(time.Time)}} {
		if err := w.Write(&bad); err == nil || !strings.Contains(err.Error(), "does not fit into nanoseconds") {
			t.Errorf("%v: %v", bad, err)
		}
	}
}

// TestLZ4IsRefused: the library hands out wrong values for such pages. When it no longer does, the
// refusal can go.
func TestLZ4IsRefused(t *testing.T) {
	type rec struct {
		ID   int64  `parquet:"id,lz4"`
		Name string `parquet:"name"`
	}
	rng := rand.New(rand.NewPCG(6, 0))
	list := make([]rec, 2000)
	for i := range list {
		list[i] = rec{rng.Int64(), "x"}
	}
	path := write(t, encode(t, list, 1000))
	if err := refusal[rec](path); err == nil || !strings.Contains(err.Error(), `column "id" is compressed with LZ4, which cannot be read; write the file with zstd or snappy`) {
		t.Errorf("got %v", err)
	}
	type name struct {
		Name string `parquet:"name"`
	}
	if got := mustRead(t, parquetio.Rows[name](path), 0); len(got) != len(list) {
		t.Errorf("%d rows of a column without LZ4", len(got))
	}
}

// TestDamagedFooter changes every byte of a footer, which has no checksum: it must not cost rows,
// nor memory for what the file cannot hold.
func TestDamagedFooter(t *testing.T) {
	type rec struct {
		ID   int64  `parquet:"id"`
		Name string `parquet:"name"`
	}
	list := make([]rec, 300)
	for i := range list {
		list[i] = rec{int64(i), "x"}
	}
	data := encode(t, list, 200)
	footer := len(data) - 8 - int(binary.LittleEndian.Uint32(data[len(data)-8:]))
	stride := 1
	if testing.Short() {
		stride = 17
	}
	for at := footer; at < len(data); at += stride {
		for _, flip := range []byte{1, 0x10, 0x80, 0xff} {
			b := bytes.Clone(data)
			b[at] ^= flip
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			rows, _, err := read(parquetio.Rows[rec](write(t, b)), 1)
			runtime.ReadMemStats(&after)
			if err == nil && len(rows) != len(list) {
				t.Errorf("byte %d changed by %#x: %d rows and no error", at-footer, flip, len(rows))
			}
			if n := after.TotalAlloc - before.TotalAlloc; n > 128<<20 {
				t.Errorf("byte %d changed by %#x: %d MiB, %v", at-footer, flip, n>>20, err)
			}
		}
	}
}

func TestPositionsAndStopping(t *testing.T) {
	path := write(t, encode(t, randomPlain(rand.New(rand.NewPCG(4, 0)), 1500), 1000))
	s := parquetio.Rows[place2](path)
	cut, err := s.Splits(context.Background(), 1)
	if err != nil || len(cut) != 2 {
		t.Fatal(len(cut), err)
	}
	var r *connector.Reader[place2]
	lines := []int64{}
	r = connector.NewReader(func(*place2) { lines = append(lines, r.Line) }, nil)
	if err := s.Read(context.Background(), cut[1], r); err != nil {
		t.Fatal(err)
	}
	if len(lines) != 500 || lines[0] != 1001 || lines[499] != 1500 {
		t.Errorf("%d rows, the first is %d", len(lines), lines[0])
	}
	if err := os.WriteFile(path, []byte("other"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := s.Read(context.Background(), cut[0], r); err == nil || !strings.Contains(err.Error(), "changed while the job ran") {
		t.Errorf("got %v", err)
	}
}

type place2 struct {
	S string `parquet:"s"`
}

// A damaged file is an error or other rows, never a crash.
func FuzzDamage(f *testing.F) {
	rng := rand.New(rand.NewPCG(5, 0))
	data := encode(f, randomPlain(rng, 60), 40)
	lists := encode(f, randomNested(rng, 20), 40)
	for i := range 16 {
		f.Add(i*197%len(data), byte(1<<(i%8)), i%2 == 0)
	}
	f.Fuzz(func(t *testing.T, at int, flip byte, plainRows bool) {
		b := bytes.Clone(data)
		if !plainRows {
			b = bytes.Clone(lists)
		}
		b[(at%len(b)+len(b))%len(b)] ^= flip
		path := write(t, b)
		if plainRows {
			_, _, _ = read(parquetio.Rows[plain](path), 1)
		} else {
			_, _, _ = read(parquetio.Rows[nested](path), 1)
		}
	})
}

// A file that is written again with its size and time is another input.
func TestRewrittenFileIsAnotherInput(t *testing.T) {
	type row struct {
		A int64 `parquet:"a,plain,uncompressed"`
	}
	path, then := write(t, encode(t, []row{{1}}, 10)), time.Unix(1_700_000_000, 0)
	input := func() string {
		if err := os.Chtimes(path, then, then); err != nil {
			t.Fatal(err)
		}
		splits, err := parquetio.Rows[row](path).Splits(context.Background(), 0)
		if err != nil || len(splits) != 1 {
			t.Fatalf("%v, %v", splits, err)
		}
		return string(splits[0].Data)
	}
	before := input()
	if err := os.WriteFile(path, encode(t, []row{{2}}, 10), 0o600); err != nil {
		t.Fatal(err)
	}
	if after := input(); after == before {
		t.Errorf("both inputs are %s", after)
	}
}

// An older file does not pass as the result of a job whose parts are elsewhere. The result of the
// job does, when Finish is repeated.
func TestFinishPartsElsewhere(t *testing.T) {
	ctx, here, there := context.Background(), filepath.Join(t.TempDir(), "f"), filepath.Join(t.TempDir(), "f")
	type row struct{ N int }
	open := func(path, job string, rows ...row) [][]byte {
		t.Helper()
		w, err := parquetio.WriteFile[row](path).Open(ctx, connector.SinkTask{Job: job, Of: 1, Attempt: 1})
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range rows {
			if err := w.Write(&r); err != nil {
				t.Fatal(err)
			}
		}
		part, err := w.Close()
		if err != nil {
			t.Fatal(err)
		}
		return [][]byte{part}
	}
	sink := parquetio.WriteFile[row](here)
	old := open(here, "old", row{1}, row{2}, row{3})
	for range 2 {
		if err := sink.Finish(ctx, "old", old); err != nil {
			t.Fatal(err)
		}
	}
	if err := sink.Finish(ctx, "new", open(there, "new", row{4})); err == nil || !strings.Contains(err.Error(), "shared file system") {
		t.Errorf("Finish without the parts: %v", err)
	}
	if err := os.WriteFile(here, []byte("no Parquet"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := sink.Finish(ctx, "old", old); err == nil || !strings.Contains(err.Error(), "shared file system") {
		t.Errorf("Finish over a foreign file: %v", err)
	}
}

package scan

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/parquet-go/parquet-go"

	"github.com/layshaft/layshaft/report/internal/vec"
)

// record has a column of every kind that the library can write.
type record struct {
	ID       int64             `parquet:"id"`
	Small    int32             `parquet:"small"`
	Unsigned uint64            `parquet:"unsigned"`
	Name     string            `parquet:"name,dict"`
	Note     *string           `parquet:"note,optional"`
	Code     *string           `parquet:"code,optional,dict"`
	Price    int64             `parquet:"price,decimal(2:12)"`
	Wide     [16]byte          `parquet:"wide,decimal(3:38)"`
	Rating   float32           `parquet:"rating"`
	Score    *float64          `parquet:"score,optional"`
	OK       *bool             `parquet:"ok,optional"`
	Day      int32             `parquet:"day,date"`
	At       time.Time         `parquet:"at,timestamp(nanosecond)"`
	Local    int64             `parquet:"local,timestamp(millisecond:local)"`
	Clock    int32             `parquet:"clock,time(millisecond)"`
	UUID     [16]byte          `parquet:"uuid,uuid"`
	Data     []byte            `parquet:"data"`
	Tags     []string          `parquet:"tags,list"`
	Counts   map[string]*int32 `parquet:"counts,optional"`
	Maker    *maker            `parquet:"maker,optional"`
	Offers   []maker           `parquet:"offers,list"`
}

type maker struct {
	Name  string   `parquet:"name,dict"`
	Towns []string `parquet:"towns,list"`
}

func recordOf(i int) record {
	text, half, yes, small := fmt.Sprintf("n%d", i%7), float64(i)/2, i%3 == 0, int32(i)
	r := record{ID: int64(i), Small: int32(-i), Unsigned: 1<<63 + uint64(i), Name: fmt.Sprintf("name%d", i%5), Price: int64(i * 5), Rating: float32(i) / 4,
		Day: int32(19000 + i), At: time.Unix(int64(i), 999), Local: int64(i) * 1000, Clock: int32(i), Data: []byte{byte(i)}}
	r.Wide[15], r.Wide[14] = byte(i), 1
	if i%2 == 0 {
		r.Note, r.Code, r.Score, r.OK = &text, &text, &half, &yes
		r.Maker = &maker{Name: text}
		r.Counts = map[string]*int32{"a": &small}
	}
	for k := range i % 3 {
		r.Tags = append(r.Tags, fmt.Sprint(k))
		r.Offers = append(r.Offers, maker{fmt.Sprint(i), []string{"x", "y"}[:k]})
	}
	return r
}

func parquetFile[T any](t testing.TB, name string, rows []T, options ...parquet.WriterOption) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	w := parquet.NewGenericWriter[T](f, options...)
	if _, err := w.Write(rows); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	return path
}

func records(n int) (rows []record) {
	for i := range n {
		rows = append(rows, recordOf(i))
	}
	return rows
}

// Every kind of column is read, with NULL, in batches that cross pages.
func TestParquetKinds(t *testing.T) {
	for _, options := range [][]parquet.WriterOption{nil, {parquet.PageBufferSize(512), parquet.MaxRowsPerRowGroup(1500)}, {parquet.DataPageVersion(1), parquet.PageBufferSize(100)}} {
		table := resolve(t, Request{Paths: []string{parquetFile(t, "a.parquet", records(3000), options...)}})
		want := "id bigint, small bigint, unsigned decimal(20,0), name text, note text, code text, price decimal(12,2), wide decimal(38,3), rating double, score double, " +
			"ok boolean, day date, at timestamptz, local timestamp, clock time, uuid text, data blob, tags text[], counts map(text, bigint), maker struct(name text, towns text[]), " +
			"offers struct(name text, towns text[])[]"
		if got := schema(table); got != want {
			t.Errorf("columns are\n%s\nwant\n%s", got, want)
		}
		rows, _ := read(t, table, table.Columns, 1)
		if len(rows) != 3000 {
			t.Fatalf("%d rows", len(rows))
		}
		for i, row := range rows {
			x := recordOf(i)
			or := func(ok bool, s string, args ...any) string {
				if ok {
					return fmt.Sprintf(s, args...)
				}
				return "NULL"
			}
			even := i%2 == 0
			var offers []string
			for k, o := range x.Offers {
				offers = append(offers, fmt.Sprintf("(%s,[%s])", o.Name, strings.Join(o.Towns[:k], ",")))
			}
			wide := vec.Int128{Lo: uint64(256 + i%256)}
			want := strings.Join([]string{fmt.Sprint(i), fmt.Sprint(-i), fmt.Sprint(1<<63 + uint64(i)), x.Name, or(even, "n%d", i%7), or(even, "n%d", i%7),
				fmt.Sprintf("%d.%02d", i*5/100, i*5%100), string(vec.AppendDecimal(nil, wide, 3)), fmt.Sprint(float64(i) / 4), or(even, "%v", float64(i)/2), or(even, "%v", i%3 == 0),
				fmt.Sprint(19000 + i), fmt.Sprint(int64(i) * 1e6), fmt.Sprint(int64(i) * 1e6), fmt.Sprint(int64(i) * 1000), "00000000-0000-0000-0000-000000000000", string(x.Data),
				"[" + strings.Join(x.Tags, ",") + "]", or(even, "[(a,%d)]", i), or(even, "(n%d,[])", i%7), "[" + strings.Join(offers, ",") + "]"}, " | ")
			if row != want {
				t.Fatalf("row %d is\n%s\nwant\n%s", i, row, want)
			}
		}
	}
}

// Pruned structs, columns in another order, the name of the file, and columns that a file lacks.
func TestParquetColumns(t *testing.T) {
	type other struct {
		ID    int32  `parquet:"id"`
		Extra string `parquet:"extra"`
	}
	dir := filepath.Dir(parquetFile(t, "a.parquet", records(2)))
	if err := os.Rename(parquetFile(t, "b.parquet", []other{{7, "x"}}), dir+"/b.parquet"); err != nil {
		t.Fatal(err)
	}
	table := resolve(t, Request{Paths: []string{dir}})
	name := vec.Type{Kind: vec.Struct, Fields: []vec.Field{{Name: "name", Type: vec.Of(vec.Text)}}}
	rows, _ := read(t, table, []vec.Field{{Name: "extra", Type: vec.Of(vec.Text)}, {Name: "maker", Type: name}, {Name: Filename, Type: vec.Of(vec.Text)}, {Name: "id", Type: vec.Of(vec.Int)}}, 0)
	want := fmt.Sprintf("NULL | (n0) | %[1]s/a.parquet | 0\nNULL | NULL | %[1]s/a.parquet | 1\nx | NULL | %[1]s/b.parquet | 7", dir)
	if got := strings.Join(rows, "\n"); got != want {
		t.Errorf("rows are\n%s\nwant\n%s", got, want)
	}
}

// Bounds of decimals whose bytes were compared without their sign are not used.
func TestParquetSigns(t *testing.T) {
	type row struct {
		Wide [16]byte `parquet:"wide,decimal(0:38)"`
	}
	minus, five := row{}, row{}
	for i := range minus.Wide {
		minus.Wide[i] = 0xff
	}
	five.Wide[15] = 5
	table := resolve(t, Request{Paths: []string{parquetFile(t, "a.parquet", []row{minus, five})}})
	for op, value := range map[string]int64{">": 0, "<": 0, "=": 5} {
		if rows, _ := read(t, table, table.Columns, 0, Bound{0, op, &vec.Vec{Type: vec.HugeInt, Len: 1, Ints: []int64{value}}}); len(rows) != 2 {
			t.Errorf("%s %d: rows are %v", op, value, rows)
		}
	}
	if rows, _ := readAll(t, table.Extremes(table.Columns), table.Columns, 0); strings.Join(rows, " ") != "-1 5" {
		t.Errorf("extremes are %v", rows)
	}
}

// The statistics of a row group have the least and the greatest value of its columns, unless a
// column is one of texts, floats or lists.
func TestParquetExtremes(t *testing.T) {
	table := resolve(t, Request{Paths: []string{parquetFile(t, "a.parquet", records(250), parquet.MaxRowsPerRowGroup(100))}})
	column := func(name string) vec.Field {
		return table.Columns[slices.IndexFunc(table.Columns, func(f vec.Field) bool { return f.Name == name })]
	}
	for _, c := range []struct {
		columns string
		want    string // the first rows
		rows    int
	}{
		{"id", "0|99|100|199|200|249", 6},
		{"small price day", "-99 | 0.00 | 19000|0 | 4.95 | 19099|-199 | 5.00 | 19100", 6},
		{"unsigned wide", "9223372036854775808 | 0.256|9223372036854775907 | 0.355", 6},
		{"at", "0|99000000", 6},
		{"id name", "0 | name0|1 | name1|2 | name2", 250},
		{"rating", "0|0.25", 250}, {"score", "0|NULL|1", 250}, {"tags", "[]|[0]", 250},
	} {
		var fields []vec.Field
		for name := range strings.FieldsSeq(c.columns) {
			fields = append(fields, column(name))
		}
		rows, bad := readAll(t, table.Extremes(fields), fields, 0)
		if got := strings.Join(rows, "|"); !strings.HasPrefix(got+"|", c.want+"|") || len(rows) != c.rows || bad != nil {
			t.Errorf("%s: %d rows %.200s, want %d: %s; %v", c.columns, len(rows), got, c.rows, c.want, bad)
		}
	}
}

// Row groups that cannot have wanted rows are skipped, by statistics and by dictionary, and no
// others are.
func TestParquetBounds(t *testing.T) {
	path := parquetFile(t, "a.parquet", records(1000), parquet.MaxRowsPerRowGroup(100))
	table := resolve(t, Request{Paths: []string{path}})
	texts := func(values ...string) *vec.Vec {
		return &vec.Vec{Type: vec.Of(vec.Text), Len: len(values), Strings: values}
	}
	ints := func(typ vec.Type, values ...int64) *vec.Vec {
		return &vec.Vec{Type: typ, Len: len(values), Ints: values}
	}
	for _, c := range []struct {
		column, op string
		values     *vec.Vec
		rows       int
	}{
		{"id", "=", ints(vec.Of(vec.Int), 250), 100}, {"id", "<", ints(vec.Of(vec.Int), 200), 200}, {"id", "<=", ints(vec.Of(vec.Int), 200), 300},
		{"id", ">", ints(vec.Of(vec.Int), 899), 100}, {"id", ">=", ints(vec.Of(vec.Int), 899), 200}, {"id", "in", ints(vec.Of(vec.Int), 5, 999, 5000), 200},
		{"id", "<>", ints(vec.Of(vec.Int), 5), 1000}, {"price", "<", ints(vec.DecimalOf(12, 2), 500), 100}, {"id", "is null", nil, 0}, {"note", "is null", nil, 1000},
		{"name", "=", texts("name3"), 1000}, {"name", "=", texts("name33"), 0}, {"name", "=", texts("zz"), 0}, {"name", "in", texts("x", "name1"), 1000}, {"name", "in", texts(), 0},
		{"day", "=", ints(vec.Of(vec.Date), 19001), 100}, {"tags", "is null", nil, 1000},
		{"rating", ">", &vec.Vec{Type: vec.Of(vec.Float), Len: 1, Floats: []float64{1e9}}, 1000}, {"rating", "<", &vec.Vec{Type: vec.Of(vec.Float), Len: 1, Floats: []float64{25}}, 100},
	} {
		for _, f := range table.Columns {
			if f.Name != c.column {
				continue
			}
			rows, _ := read(t, table, []vec.Field{f}, 1, Bound{0, c.op, c.values})
			if len(rows) != c.rows {
				t.Errorf("%s %s: %d rows, want %d", c.column, c.op, len(rows), c.rows)
			}
		}
	}
}

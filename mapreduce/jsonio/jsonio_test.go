package jsonio_test

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/layshaft/layshaft/mapreduce/connector"
	"github.com/layshaft/layshaft/mapreduce/jsonio"
)

type product struct {
	SKU   string            `json:"sku"`
	Price int64             `json:"price" decimal:"2"`
	Tags  []string          `json:"tags,omitempty"`
	Attr  map[string]string `json:"attr,omitempty"`
}

// row is a record and where it was found.
type row[T any] struct {
	Rec    T
	Path   string
	Offset int64
}

// read returns the records of a source that is cut into splits of target bytes, and the complaints
// about malformed rows.
func read[T any](t testing.TB, src connector.Source[T], target int64) (rows []row[T], bad []string) {
	t.Helper()
	splits, err := src.Splits(t.Context(), target)
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range splits {
		var r *connector.Reader[T]
		r = connector.NewReader(func(rec *T) {
			if r.Line != 0 {
				t.Errorf("line %d of a good row is kept", r.Line)
			}
			rows = append(rows, row[T]{*rec, filepath.Base(r.Path), r.Offset})
		}, func(err error, raw []byte) error {
			bad = append(bad, fmt.Sprintf("%d@%d %s|%s", r.Line, r.Offset, strings.TrimPrefix(err.Error(), filepath.Dir(r.Path)+"/"), raw))
			return nil
		})
		if err := src.Read(t.Context(), s, r); err != nil {
			t.Fatal(err)
		}
	}
	return rows, bad
}

func file(t testing.TB, name, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	return path
}

const catalog = "\ufeff" + `{"sku":"A","price":12.34,"tags":["x","y\n"],"unknown":[1,{"a":"}"}]}` + "\r\n" +
	"\n  \t\r\n" +
	`{"price":5,"sku":"B"}` + "\n" +
	`{"sku":"broken","price":1.234}` + "\n" +
	`{"sku":"C","attr":{"k":"v"},"price":0.5}` + "\n" +
	`{"sku":"cut","pri` + "\n" +
	`null` + "\n" +
	`{"sku":"D"}`

var (
	wantRows = []row[product]{
		{product{SKU: "A", Price: 1234, Tags: []string{"x", "y\n"}}, "c.jsonl", at(`{"sku":"A"`)},
		{product{SKU: "B", Price: 500}, "c.jsonl", at(`{"price":5`)},
		{product{SKU: "C", Price: 50, Attr: map[string]string{"k": "v"}}, "c.jsonl", at(`{"sku":"C"`)},
		{product{}, "c.jsonl", at("null")},
		{product{SKU: "D"}, "c.jsonl", at(`{"sku":"D"`)},
	}
	wantBad = []string{
		`5@101 c.jsonl:5: offset 24: field price: expected a number with at most 2 decimals that fits int64, found 1.234|{"sku":"broken","price":1.234}`,
		`7@173 c.jsonl:7: offset 17: expected the end of the string, found the end of the line|{"sku":"cut","pri`,
	}
)

// at returns the offset of s in the catalog.
func at(s string) int64 { return int64(strings.Index(catalog, s)) }

func TestEveryCutGivesTheSameRows(t *testing.T) {
	path := file(t, "c.jsonl", catalog)
	for target := int64(1); target <= int64(len(catalog))+1; target++ {
		rows, bad := read(t, jsonio.Rows[product](path), target)
		if !reflect.DeepEqual(rows, wantRows) || !reflect.DeepEqual(bad, wantBad) {
			t.Fatalf("splits of %d bytes:\n got %+v\n%s\nwant %+v\n%s", target, rows, strings.Join(bad, "\n"), wantRows, strings.Join(wantBad, "\n"))
		}
	}
}

func TestManyFiles(t *testing.T) {
	dir := t.TempDir()
	for i, text := range []string{"{\"sku\":\"A\"}\nx\n", "", "\n\n{}\n[]", "{\"sku\":\"B\"}\n\nnot JSON\n"} {
		if err := os.WriteFile(filepath.Join(dir, fmt.Sprintf("%d.jsonl", i)), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	for _, target := range []int64{1, 5, 20, 0} {
		rows, bad := read(t, jsonio.Rows[product](dir), target)
		if want := []row[product]{{product{SKU: "A"}, "0.jsonl", 0}, {product{}, "2.jsonl", 2}, {product{SKU: "B"}, "3.jsonl", 0}}; !reflect.DeepEqual(rows, want) {
			t.Errorf("rows %+v, want %+v", rows, want)
		}
		if want := []string{
			"2@12 0.jsonl:2: offset 0: expected an object, found x|x",
			"4@5 2.jsonl:4: offset 0: expected an object, found an array|[]",
			"3@13 3.jsonl:3: offset 0: expected an object, found not|not JSON",
		}; !reflect.DeepEqual(bad, want) {
			t.Errorf("malformed %q\nwant %q", bad, want)
		}
	}
}

func TestCompressed(t *testing.T) {
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	fmt.Fprint(w, catalog)
	w.Close()
	rows, bad := read(t, jsonio.Rows[product](file(t, "c.jsonl", b.String())), 10)
	if !reflect.DeepEqual(rows, wantRows) || !reflect.DeepEqual(bad, wantBad) {
		t.Fatalf("got %+v, %s", rows, bad)
	}
}

// TestTwoRecordsInOneLine reads a file whose second line holds two records.
func TestTwoRecordsInOneLine(t *testing.T) {
	type one struct{ A int }
	path := file(t, "x.jsonl", "{\"A\":1}\n{\"A\":2}{\"A\":3}\n{\"A\":4,\"b\":01}\n")
	loose := jsonio.Rows[one](path).Loose()
	rows, bad := read(t, loose, 0)
	if want := []string{`2@8 x.jsonl:2: offset 7: expected the end of the line, found an object|{"A":2}{"A":3}`}; len(rows) != 2 || rows[1].Rec.A != 4 || !reflect.DeepEqual(bad, want) {
		t.Errorf("rows %v, malformed %q, want %q", rows, bad, want)
	}
	if rows, bad = read(t, jsonio.Rows[one](path), 0); len(rows) != 1 || len(bad) != 2 || !strings.HasPrefix(bad[1], "3@23 x.jsonl:3: offset 12: expected a comma or a closing brace") {
		t.Errorf("rows %v, malformed %q", rows, bad)
	}
	if got := loose.String(); !strings.HasSuffix(got, `x.jsonl").Loose()`) {
		t.Errorf("the source is called %s", got)
	}
}

func TestOtherTypes(t *testing.T) {
	path := file(t, "x.jsonl", "{\"a\":1,\"b\":[true,null]}\n\n{\"a\":2}\n")
	if rows, _ := read(t, jsonio.Rows[map[string]any](path), 9); len(rows) != 2 || !reflect.DeepEqual(rows[0].Rec, map[string]any{"a": 1.0, "b": []any{true, nil}}) {
		t.Errorf("maps: %v", rows)
	}
	if rows, _ := read(t, jsonio.Rows[string](path), 9); len(rows) != 2 || rows[0].Rec != `{"a":1,"b":[true,null]}` || rows[1].Rec != `{"a":2}` {
		t.Errorf("lines: %v", rows)
	}
	if rows, _ := read(t, jsonio.Rows[json.RawMessage](path), 9); len(rows) != 2 || string(rows[1].Rec) != `{"a":2}` {
		t.Errorf("raw lines: %v", rows)
	}
	if rows, _ := read(t, jsonio.Rows[*product](path), 9); len(rows) != 2 || rows[0].Rec == rows[1].Rec {
		t.Errorf("pointers: %v", rows)
	}
}

func TestReadStops(t *testing.T) {
	src := jsonio.Rows[product](file(t, "c.jsonl", catalog))
	splits, err := src.Splits(t.Context(), 0)
	if err != nil {
		t.Fatal(err)
	}
	err = src.Read(t.Context(), splits[0], connector.NewReader(func(*product) {}, nil))
	if want := "c.jsonl:5: offset 24: field price:"; err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("error %v, want one with %s", err, want)
	}
}

func TestRefusesTypes(t *testing.T) {
	type bad struct {
		Inner []struct{ C chan int }
	}
	_, err := jsonio.Rows[bad]("x").Splits(t.Context(), 0)
	if want := "jsonio.Rows(\"x\"): rows of jsonio_test.bad: field Inner[].C: type chan int: JSON has no form for it: leave it out with `json:\"-\"`"; err == nil || err.Error() != want {
		t.Errorf("error %v\nwant %s", err, want)
	}
	err = jsonio.Write[bad](t.TempDir()).Check(t.Context())
	if err == nil || !strings.HasSuffix(err.Error(), "field Inner[].C: type chan int: JSON has no form for it: leave it out with `json:\"-\"`") {
		t.Errorf("error %v", err)
	}
}

// write writes each element of parts as one task's output.
func write[T any](t *testing.T, s connector.Sink[T], parts ...[]T) {
	t.Helper()
	ctx := context.Background()
	if err := s.Check(ctx); err != nil {
		t.Fatal(err)
	}
	var done [][]byte
	for i, recs := range parts {
		w, err := s.Open(ctx, connector.SinkTask{Job: "j1", Index: i, Of: len(parts), Attempt: 1})
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range recs {
			if err := w.Write(&r); err != nil {
				t.Fatal(err)
			}
		}
		part, err := w.Close()
		if err != nil {
			t.Fatal(err)
		}
		done = append(done, part)
	}
	if err := s.Finish(ctx, "j1", done); err != nil {
		t.Fatal(err)
	}
}

func TestWrite(t *testing.T) {
	recs := []product{{SKU: "A<", Price: 1234, Tags: []string{"x"}}, {SKU: "B", Price: -5}, {SKU: "C", Attr: map[string]string{"k": "v\n"}}}
	dir := filepath.Join(t.TempDir(), "out")
	write(t, connector.Sink[product](jsonio.Write[product](dir)), recs[:2], recs[2:])
	got, err := os.ReadFile(filepath.Join(dir, "part-00000.jsonl"))
	if want := "{\"sku\":\"A<\",\"price\":12.34,\"tags\":[\"x\"]}\n{\"sku\":\"B\",\"price\":-0.05}\n"; err != nil || string(got) != want {
		t.Errorf("%s, %v; want %s", got, err, want)
	}
	for _, sink := range []jsonio.Sink[product]{jsonio.WriteFile[product](filepath.Join(t.TempDir(), "x.jsonl.gz")), jsonio.WriteFile[product](filepath.Join(t.TempDir(), "x.jsonl")).Zstd()} {
		write(t, connector.Sink[product](sink), recs[:2], recs[2:])
		path := strings.Split(sink.String(), `"`)[1]
		var back []product
		rows, _ := read(t, jsonio.Rows[product](path), 0)
		for _, r := range rows {
			back = append(back, r.Rec)
		}
		if !reflect.DeepEqual(back, recs) {
			t.Errorf("%s: read back as %+v", sink, back)
		}
	}
}

func TestWriteErrorNamesTheField(t *testing.T) {
	type report struct {
		Mean float64 `json:"mean"`
	}
	sink := jsonio.WriteFile[report](filepath.Join(t.TempDir(), "r.jsonl"))
	w, err := sink.Open(t.Context(), connector.SinkTask{Job: "j1", Of: 1, Attempt: 1})
	if err != nil {
		t.Fatal(err)
	}
	defer w.Abort()
	if err := w.Write(&report{math.NaN()}); err == nil || !strings.Contains(err.Error(), "field mean: NaN has no form in JSON") {
		t.Errorf("error %v", err)
	}
}

package csvio_test

import (
	"bytes"
	"context"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"math"
	"math/big"
	"math/rand/v2"
	"net/netip"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/klauspost/compress/gzip"

	"github.com/layshaft/layshaft/mapreduce"
	"github.com/layshaft/layshaft/mapreduce/connector"
	"github.com/layshaft/layshaft/mapreduce/csvio"
)

// write writes a file into a temporary directory and returns its path.
func write(t testing.TB, name, content string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	overwrite(t, path, content)
	return path
}

func overwrite(t testing.TB, path, content string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
}

// event is a row that a source gave, or the raw bytes of one that it found malformed.
type event struct {
	row any
	bad string
}

// readAll reads all splits of a source, one after the other, and returns what it gave and the
// errors of malformed rows.
func readAll[T any](t testing.TB, s connector.Source[T], target int64) (events []event, bad []error, splits int) {
	t.Helper()
	cut, err := s.Splits(context.Background(), target)
	if err != nil {
		t.Fatal(err)
	}
	kept := make(map[int][]byte) // looked at when all is read
	for _, c := range cut {
		r := connector.NewReader(func(v *T) { events = append(events, event{row: *v}) }, func(err error, raw []byte) error {
			bad = append(bad, err)
			kept[len(events)] = raw
			events = append(events, event{})
			return nil
		})
		if err := s.Read(context.Background(), c, r); err != nil {
			t.Fatal(err)
		}
	}
	for i, raw := range kept {
		events[i].bad = string(raw)
	}
	return events, bad, len(cut)
}

func rows[T any](t testing.TB, s connector.Source[T], target int64) (out []T) {
	t.Helper()
	events, bad, _ := readAll(t, s, target)
	if len(bad) > 0 {
		t.Fatal(bad[0])
	}
	for _, e := range events {
		out = append(out, e.row.(T))
	}
	return out
}

// oracle reads with encoding/csv; a malformed row is nil.
func oracle(content string, comma rune) (out [][]string) {
	r := csv.NewReader(strings.NewReader(strings.TrimPrefix(content, "\xef\xbb\xbf")))
	r.Comma = comma
	var parse *csv.ParseError
	for {
		row, err := r.Read()
		switch {
		case err == io.EOF:
			return out
		case errors.As(err, &parse):
			out = append(out, nil)
		default:
			out = append(out, row)
		}
	}
}

// random makes text in which everything that matters is frequent.
func random(rng *rand.Rand, alphabet string, n int) string {
	b := make([]byte, n)
	for i := range b {
		b[i] = alphabet[rng.IntN(len(alphabet))]
	}
	return string(b)
}

func compare(t *testing.T, path, content string) {
	t.Helper()
	if !strings.Contains(content, "\n") && strings.Contains(strings.TrimRight(content, "\r"), "\r") {
		return // refused: its lines seem to end with CR alone
	}
	want := oracle(content, ',')
	if len(want) > 0 && want[0] == nil {
		return // no first row to take the number of columns from
	}
	overwrite(t, path, content)
	s := csvio.Rows[[]string](path).NoHeader()
	events, _, _ := readAll(t, s, 1<<20)
	if len(events) != len(want) {
		t.Fatalf("%q: %d rows, encoding/csv has %d:\n%q\n%q", content, len(events), len(want), events, want)
	}
	for i, e := range events {
		row, _ := e.row.([]string)
		for k := range row {
			row[k] = strings.ReplaceAll(row[k], "\r\n", "\n") // encoding/csv drops these carriage returns
		}
		if !slices.Equal(row, want[i]) {
			t.Fatalf("%q: row %d is %q, encoding/csv has %q", content, i, row, want[i])
		}
	}
}

func TestRowsAgreeWithEncodingCSV(t *testing.T) {
	rng, path := rand.New(rand.NewPCG(1, 0)), filepath.Join(t.TempDir(), "x.csv")
	texts := 1000
	if testing.Short() {
		texts = 100
	}
	for i := range texts {
		alphabet := []string{"a,\"\n", "ab,,,\n", "a,\"\"\"\r\n\n", "abcdefgh,\"\n\xff", "ab\",\",\n"}[i%5]
		compare(t, path, random(rng, alphabet, rng.IntN(60)))
	}
}

func FuzzRows(f *testing.F) {
	for _, s := range []string{"a,b\n1,2\n", "\"a\nb\",\"c\"\"d\"\r\n", "a\"b,c\nd,e", "\"a\"b\nc\n", "\"open", "\r\n\r", "\xef\xbb\xbf\"a\"\n", ",\n,,\n"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, content string) { compare(t, filepath.Join(t.TempDir(), "x.csv"), content) })
}

// everyCut reads content with many targets and demands the same rows, malformed ones included.
func everyCut(t *testing.T, path, content string, targets ...int64) {
	t.Helper()
	overwrite(t, path, content)
	s := csvio.Rows[[]string](path).NoHeader("a", "b", "c")
	want, _, _ := readAll(t, s, 1<<40)
	for _, target := range targets {
		got, _, n := readAll(t, s, target)
		if !reflect.DeepEqual(got, want) {
			t.Fatalf("%q in %d splits (target %d):\n%q\nwant\n%q", content, n, target, got, want)
		}
	}
}

func TestEveryCutGivesTheSameRows(t *testing.T) {
	rng, path := rand.New(rand.NewPCG(2, 0)), filepath.Join(t.TempDir(), "x.csv")
	texts := 100
	if testing.Short() {
		texts = 20
	}
	for i := range texts {
		alphabet := []string{"a,\"\n", "aaaa,,\"\n\n", "a,\"\"\"\r\n", "abcdefghijkl,\n"}[i%4]
		everyCut(t, path, random(rng, alphabet, rng.IntN(100)), 1, 2, 7, 25)
	}
}

func TestWellFormedRowsWithLineFeedsAreCutBetweenRows(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 0))
	var b bytes.Buffer
	w := csv.NewWriter(&b)
	want := [][]string{}
	for range 2000 {
		row := []string{random(rng, "ab\n\"", rng.IntN(9)), random(rng, "abc,", rng.IntN(9)), random(rng, "abcdef \n", rng.IntN(30))}
		want = append(want, row)
		w.Write(row)
	}
	w.Flush()
	path := write(t, "x.csv", "x,y,z\n"+b.String())
	for _, target := range []int64{300, 1000, 10000, 1 << 30} {
		s := csvio.Rows[[]string](path)
		if got := rows(t, s, target); !reflect.DeepEqual(got, want) {
			t.Errorf("target %d: rows differ", target)
		}
		if _, _, n := readAll(t, s, target); int64(n) < int64(b.Len())/target/3 {
			t.Errorf("target %d: only %d splits of %d bytes", target, n, b.Len())
		}
	}
}

func FuzzCuts(f *testing.F) {
	f.Add("\"a\nb\",\"c\n\n\"\"d\",e\n1,2,3\n", int64(3))
	f.Add("a\"b,\nc,d,e\n\"f\"g,\"\n\",i\n", int64(5))
	f.Add("\xef\xbb\xbf\"\n\"\n\"\n\n", int64(1))
	f.Fuzz(func(t *testing.T, content string, target int64) {
		everyCut(t, filepath.Join(t.TempDir(), "x.csv"), content, max(1, target%100))
	})
}

type Money int64

type Inner struct {
	City string
	Zip  *int `csv:"zip"`
}

type Everything struct {
	S    string
	I    int8    `csv:"i8"`
	U    uint16  `json:"u16"`
	F    float64 `csv:"f"`
	F32  float32
	B    bool
	T    time.Time
	Day  time.Time  `layout:"2006-01-02"`
	P    *float64   `csv:"p"`
	Addr netip.Addr `csv:"ip"`
	N    *big.Int
	Cost Money  `decimal:"2"`
	Rate *int32 `decimal:"3" csv:"rate,omitempty"`
	Zero int    `csv:"zero,omitempty"`
	Raw  []byte
	Home Inner
	Inner
	Gone  string        `csv:"gone,optional"`
	Skip  chan struct{} `csv:"-"`
	local int
}

var everything = `s,I8,i8,u16,f,f32,b,t,DAY,p,ip,n,COST,rate,zero,raw,Home.City,Home.zip,City,zip
"a ""b"", c",x,-128,65535,-0.1,1.5,true,2024-07-04T01:55:31Z,2024-07-04,,10.0.0.1,123456789012345678901234567890,-12.3,0.125,,raw,Rome,,Bonn,53111
`

func TestFieldsOfEveryKind(t *testing.T) {
	zip, rate := 53111, int32(125)
	n, _ := new(big.Int).SetString("123456789012345678901234567890", 10)
	want := Everything{S: `a "b", c`, I: -128, U: 65535, F: -0.1, F32: 1.5, B: true, T: time.Date(2024, 7, 4, 1, 55, 31, 0, time.UTC),
		Day: time.Date(2024, 7, 4, 0, 0, 0, 0, time.UTC), Addr: netip.MustParseAddr("10.0.0.1"), N: n, Cost: -1230, Rate: &rate,
		Raw: []byte("raw"), Home: Inner{City: "Rome"}, Inner: Inner{"Bonn", &zip}}
	got := rows(t, csvio.Rows[Everything](write(t, "x.csv", everything)), 0)
	if len(got) != 1 || !reflect.DeepEqual(got[0], want) {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
	_ = want.local
	_ = want.Skip
}

func TestWrittenRowsAreReadBack(t *testing.T) {
	f, zip, rate := 1e300, 7, int32(-5)
	want := []Everything{{S: "a,\"\n\r", I: -1, F: 1e-9, F32: 0.1, T: time.Unix(5, 7).UTC(), Day: time.Date(1, 2, 3, 0, 0, 0, 0, time.UTC),
		P: &f, Addr: netip.MustParseAddr("::1"), N: big.NewInt(-5), Cost: math.MinInt64 + 8, Rate: &rate, Zero: 3, Raw: []byte{}, Inner: Inner{" x", &zip}, Gone: "here"},
		{B: true, U: 9, Addr: netip.MustParseAddr("1.2.3.4"), Raw: []byte("é"), Cost: 5, S: `\.`}}
	for _, mode := range []string{"dir", "file", "zst", "tsv", "tsvfile"} {
		dir := t.TempDir()
		sink := map[string]csvio.Sink[Everything]{
			"dir":     csvio.Write[Everything](filepath.Join(dir, "out")),
			"file":    csvio.WriteFile[Everything](filepath.Join(dir, "out")).Comma(';'),
			"zst":     csvio.Write[Everything](filepath.Join(dir, "out")).Zstd(),
			"tsv":     csvio.WriteTSV[Everything](filepath.Join(dir, "out")),
			"tsvfile": csvio.WriteTSVFile[Everything](filepath.Join(dir, "out")).Gzip(),
		}[mode]
		save(t, sink, want[:1], want[1:])
		source := csvio.Rows[Everything](filepath.Join(dir, "out"))
		switch mode {
		case "file":
			source = source.Comma(';')
		case "tsv", "tsvfile":
			source = csvio.TSV[Everything](filepath.Join(dir, "out"))
		}
		if got := rows(t, source, 0); !reflect.DeepEqual(got, want) {
			t.Errorf("%s: got  %+v\nwant %+v", mode, got, want)
		}
	}
}

// save writes the output of one task for each list, and commits it.
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

func TestSinkQuotesAsEncodingCSV(t *testing.T) {
	rng := rand.New(rand.NewPCG(4, 0))
	var list [][]string
	for range 500 {
		list = append(list, []string{random(rng, "ab\"", rng.IntN(6)), random(rng, " a,\n\r", rng.IntN(4)), random(rng, "\\.é\t", rng.IntN(3))})
	}
	var want bytes.Buffer
	w := csv.NewWriter(&want)
	w.Write([]string{"x", "y y", "z,"})
	w.WriteAll(list)
	path := filepath.Join(t.TempDir(), "out.csv")
	save(t, csvio.WriteFile[[]string](path).Header("x", "y y", "z,"), list)
	got, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want.Bytes()) {
		t.Errorf("got\n%q\nwant\n%q", got, want.Bytes())
	}
}

func TestKeyValuePairsAndSingleEmptyCells(t *testing.T) {
	type Key struct{ Brand, Category string }
	dir := t.TempDir()
	type KV = mapreduce.KV[Key, int]
	list := []KV{{Key: Key{"a", "b"}, Value: 1}, {Key: Key{"", ""}, Value: -2}}
	save(t, csvio.WriteFile[KV](dir+"/kv"), list)
	if got := rows(t, csvio.Rows[KV](dir+"/kv"), 0); !slices.Equal(got, list) {
		t.Errorf("got %v", got)
	}
	if text, _ := os.ReadFile(dir + "/kv"); string(text) != "Brand,Category,value\na,b,1\n,,-2\n" {
		t.Errorf("wrote %q", text)
	}
	type one struct{ X string }
	save(t, csvio.WriteFile[one](dir+"/one").NoHeader(), []one{{"a"}, {""}, {"b"}})
	if got := rows(t, csvio.Rows[one](dir+"/one").NoHeader(), 0); !slices.Equal(got, []one{{"a"}, {""}, {"b"}}) {
		t.Errorf("got %v", got)
	}
}

func TestSeveralFiles(t *testing.T) {
	dir := t.TempDir()
	var z bytes.Buffer
	zw := gzip.NewWriter(&z)
	zw.Write([]byte("c,b,a\n6,5,4\n"))
	zw.Close()
	for name, content := range map[string]string{"1.csv": "a,b,c\n1,2,3\n", "2.csv": "", "3.csv.gz": z.String(), "4.csv": "\xef\xbb\xbfb,\"a\",c\r\n\r\n8,7,9\r\n", "5.csv": "a,b,c", "6.csv": "c,b,a\n12,11,10"} {
		os.WriteFile(filepath.Join(dir, name), []byte(content), 0o600)
	}
	for _, target := range []int64{1, 1 << 20} {
		got := rows(t, csvio.Rows[[]string](dir), target)
		if want := [][]string{{"1", "2", "3"}, {"4", "5", "6"}, {"7", "8", "9"}, {"10", "11", "12"}}; !reflect.DeepEqual(got, want) {
			t.Errorf("target %d: got %q", target, got)
		}
		if got := rows(t, csvio.Rows[[]string](dir).Columns("c", "a"), target); !reflect.DeepEqual(got, [][]string{{"3", "1"}, {"6", "4"}, {"9", "7"}, {"12", "10"}}) {
			t.Errorf("target %d: columns c and a: %q", target, got)
		}
		type rec struct{ A, B int }
		if got := rows(t, csvio.Rows[rec](dir), target); !slices.Equal(got, []rec{{1, 2}, {4, 5}, {7, 8}, {10, 11}}) {
			t.Errorf("target %d: got %v", target, got)
		}
	}
	if h, err := csvio.Rows[[]string](dir).Header(context.Background()); err != nil || !slices.Equal(h, []string{"a", "b", "c"}) {
		t.Errorf("header %q, %v", h, err)
	}
}

func TestOptions(t *testing.T) {
	path := write(t, "x", "a \"b\"\t\"c\n\"d\t2\n")
	events, bad, _ := readAll(t, csvio.TSV[[]string](path).NoQuotes().NoHeader("x", "y"), 3)
	if len(bad) != 0 || len(events) != 2 || !slices.Equal(events[1].row.([]string), []string{`"d`, "2"}) {
		t.Errorf("%q %v", events, bad)
	}
	type ab struct {
		B int `csv:"b"`
		A int `csv:"a"`
	}
	path = write(t, "y", "1;2\n3;4\n")
	if got := rows(t, csvio.Rows[ab](path).Comma(';').NoHeader("a", "b"), 1); !slices.Equal(got, []ab{{2, 1}, {4, 3}}) {
		t.Error(got)
	}
	if got := rows(t, csvio.Rows[ab](path).Comma(';').NoHeader(), 1); !slices.Equal(got, []ab{{1, 2}, {3, 4}}) {
		t.Error(got)
	}
	if s := csvio.TSV[ab]("x", "y").NoHeader("a").NoQuotes().NoLineFeeds().String(); s != `csvio.Rows[csvio_test.ab]("x", "y").Comma('\t').NoHeader("a").NoQuotes().NoLineFeeds()` {
		t.Error(s)
	}
}

func TestNoLineFeedsIsChecked(t *testing.T) {
	s := csvio.Rows[[]string](write(t, "x", "a,b\n\"1\n\",2\n")).NoLineFeeds()
	cut, err := s.Splits(context.Background(), 1<<20)
	if err != nil {
		t.Fatal(err)
	}
	err = s.Read(context.Background(), cut[0], connector.NewReader(func(*[]string) {}, nil))
	if err == nil || !strings.Contains(err.Error(), "x:2: a cell contains a line feed") {
		t.Errorf("got %v", err)
	}
}

func TestStopsWhenAsked(t *testing.T) {
	s := csvio.Rows[[]string](write(t, "x", "a\n1\n2\n"))
	cut, _ := s.Splits(context.Background(), 1<<20)
	ctx, cancel := context.WithCancelCause(context.Background())
	cancel(errors.New("enough"))
	if err := s.Read(ctx, cut[0], connector.NewReader(func(*[]string) {}, nil)); err == nil || err.Error() != "enough" {
		t.Errorf("got %v", err)
	}
}

func TestMalformedRows(t *testing.T) {
	type rec struct {
		Name  string
		Price int16 `csv:"price"`
		Cost  uint8 `csv:"cost,omitempty" decimal:"2"`
		When  *time.Time
		Ratio float64 `csv:"ratio,omitempty"`
		OK    *bool
	}
	for _, c := range []struct{ row, want string }{
		{"a,1", "x.csv:4: the row has 2 cells, the header has 6; is a separator not quoted, or one missing?"},
		{"a,1,,,,,", "x.csv:4: the row has 7 cells, the header has 6"},
		{"a,,,,,", `x.csv:4: column "price", field rec.Price int16: "": the cell is empty; make the field a pointer, or tag it csv:",omitempty" to read zero`},
		{"a,12.5,,,,", `"12.5": not a whole number; correct the cell`},
		{"a,99999,,,,", `"99999": out of the range of int16; make the field wider`},
		{"a,99999999999999999999,,,,", `out of the range of int64`},
		{"a,1,1.234,,,", `"1.234": more than 2 decimals`},
		{"a,1,2.56,,,", `"2.56": out of the range of uint8`},
		{"a,1,-1,,,", `"-1": below zero`},
		{"a,1,x,,,", `"x": not a number`},
		{"a,1,,yesterday,,", `"yesterday": not a time of layout "2006-01-02T15:04:05Z07:00"; correct the cell, or name its layout with a layout tag`},
		{"a,1,,,1e999,", `"1e999": out of the range of a float`},
		{"a,1,,,1.2.3,", `"1.2.3": not a number; correct the cell, or make the field a string`},
		{"a,1,,,,maybe", `"maybe": not a truth value`},
		{`a 5" pipe,1,,,,`, `x.csv:4: column "name": a quote in an unquoted cell; quote the cell and double the quote, as in "a 5"" pipe"`},
		{`a,"1"2,,,,`, `x.csv:4: column "price": a character follows a closing quote`},
		{strings.Repeat("a", 100) + ",b" + strings.Repeat("c", 100) + ",,,,", `"b` + strings.Repeat("c", 59) + `…"`},
	} {
		path := write(t, "x.csv", "name,price,cost,when,ratio,ok\n\"b\nc\",1,,,,\n"+c.row+"\nd,2,2.5,,,\n")
		for _, target := range []int64{1, 1 << 20} {
			events, bad, _ := readAll(t, csvio.Rows[rec](path), target)
			if len(bad) != 1 || !strings.Contains(bad[0].Error(), c.want) {
				t.Errorf("%q: %v\nwant %s", c.row, bad, c.want)
				continue
			}
			if events[1].bad != c.row+"\n" || events[2].row.(rec).Cost != 250 {
				t.Errorf("%q: set aside %q; went on with %v", c.row, events[1].bad, events[2])
			}
		}
	}
	_, bad, _ := readAll(t, csvio.Rows[rec](write(t, "x.csv", "name,price,cost,when,ratio,ok\n\"b,1,,,,\n")), 1)
	if len(bad) != 1 || !strings.Contains(bad[0].Error(), "x.csv:2: a quoted cell is not closed; add the closing quote") {
		t.Errorf("%v", bad)
	}
}

func TestRefusals(t *testing.T) {
	type rec struct{ Name, Brand string }
	type tagged struct {
		A int `csv:"a" json:"b"`
	}
	type twice struct {
		A int `csv:"x"`
		B int `csv:"x"`
	}
	type badKind struct{ M map[string]int }
	type badTag struct {
		A int `csv:"a,omitzero"`
	}
	type badDecimal struct {
		A float64 `decimal:"2"`
	}
	type nothing struct{ a int }
	_ = nothing{}.a
	path := write(t, "x.csv", "NAME,brnd,name\n")
	file := func(content string) string { return write(t, "x.csv", content) }
	for _, c := range []struct {
		err  error
		want string
	}{
		{refusal(csvio.Rows[rec](path)), `x.csv: columns 1 and 3 both fit`},
		{refusal(csvio.Rows[rec](file("name,brnd\n"))), `x.csv: no column "Brand" for field rec.Brand; the columns are "name", "brnd"; name the right one with a csv tag, or tag the field csv:",optional"`},
		{refusal(csvio.Rows[tagged](file("A,b\n"))), `no column "a" for field tagged.A`},
		{refusal(csvio.Rows[twice](path)), `fields twice.A and twice.B are both column "x"`},
		{refusal(csvio.Rows[badKind](file("m\n"))), `field badKind.M map[string]int cannot be read from a cell`},
		{refusal(csvio.Rows[badTag](path)), `unknown csv option "omitzero"`},
		{refusal(csvio.Rows[badDecimal](path)), `decimal:"2" needs an integer field`},
		{refusal(csvio.Rows[nothing](path)), `has no exported field`},
		{refusal(csvio.Rows[int](path)), `int is neither a struct nor []string`},
		{refusal(csvio.Rows[rec](path).Comma('"')), `Comma('"')`},
		{refusal(csvio.Rows[rec](path).Columns("name")), `Columns is for []string`},
		{refusal(csvio.Rows[[]string](path).Columns("nam")), `no column "nam"; the columns are "NAME", "brnd", "name"`},
		{refusal(csvio.Rows[[]string](file("{\"brand\":\"a\"}\n"))), `looks like JSON; read it with package jsonio`},
		{refusal(csvio.Rows[[]string](file("\"a\n"))), `the header cannot be read: a quoted cell is not closed`},
		{refusal(csvio.Rows[[]string](file("a,b\n"), file("a\n"))), `x.csv: 1 column, where the first file has 2`},
		{refusal(csvio.Rows[[]string](file("a,b\n"), file("c,a\n"))), `no column "b"`},
		{refusal(csvio.Rows[[]string](path + ".missing")), `no such file`},
		{csvio.Write[badKind](t.TempDir()).Check(context.Background()), `badKind.M map[string]int cannot be written to a cell`},
		{csvio.Write[rec](t.TempDir()).Header("a").Check(context.Background()), `Header is for []string`},
		{csvio.Write[rec](t.TempDir()).Comma('\n').Check(context.Background()), `Comma('\n')`},
	} {
		if c.err == nil || !strings.Contains(c.err.Error(), c.want) {
			t.Errorf("got  %v\nwant %s", c.err, c.want)
		}
	}
}

func refusal[T any](s csvio.Source[T]) error {
	_, err := s.Splits(context.Background(), 1<<20)
	return err
}

func TestStringsStayWhatTheyAre(t *testing.T) {
	var b strings.Builder
	b.WriteString("a,b\n")
	const n = 100_000
	for i := range n {
		if i%1000 == 0 {
			fmt.Fprintf(&b, "bad%d\n", i)
		} else {
			fmt.Fprintf(&b, "%d,\"x%d\"\n", i, i)
		}
	}
	type rec struct{ A, B string }
	got, _, _ := readAll(t, csvio.Rows[rec](write(t, "x", b.String())), 1<<19)
	if len(got) != n {
		t.Fatalf("%d rows", len(got))
	}
	for i, e := range got {
		want := event{row: rec{fmt.Sprint(i), fmt.Sprint("x", i)}}
		if i%1000 == 0 {
			want = event{bad: fmt.Sprintf("bad%d\n", i)}
		}
		if e != want {
			t.Fatalf("row %d is %v", i, e)
		}
	}
}

func TestLineNumbersInTheMiddleOfAFile(t *testing.T) {
	var b strings.Builder
	b.WriteString("a\n")
	for i := range 300 {
		fmt.Fprintf(&b, "\"%d\n\"\n", i)
		if i%10 == 9 {
			b.WriteString("bad,row\n")
		}
	}
	path := write(t, "x", b.String())
	for _, target := range []int64{1, 300, 1 << 20} {
		_, bad, _ := readAll(t, csvio.Rows[[]string](path), target)
		if len(bad) != 30 {
			t.Fatalf("%d malformed rows", len(bad))
		}
		for i, err := range bad {
			if want := fmt.Sprintf("x:%d: ", 22+21*i); !strings.Contains(err.Error(), want) {
				t.Errorf("target %d: %v, want %s", target, err, want)
			}
		}
	}
}

// TestFilesThatAreNoCSV reads files without a header, and with other line ends or content.
func TestFilesThatAreNoCSV(t *testing.T) {
	type rec struct {
		A int `csv:"a"`
	}
	dir := t.TempDir()
	for name, content := range map[string]string{"empty.csv": "", "blank.csv": "\n\n", "cr.csv": "a\r1\r2\r", "mixed.csv": "a\r1\r2\n", "zip.csv": "PK\x03\x04\x14\x00", "good.csv": "a\n7\n"} {
		overwrite(t, filepath.Join(dir, name), content)
	}
	for pattern, want := range map[string]string{
		"empty.csv":         "empty.csv: the file is empty, so it has no header; write one, or use NoHeader",
		"blank.csv":         "blank.csv: the file is empty, so it has no header",
		"{blank,empty}.csv": "blank.csv and 1 other file: they are empty",
		"cr.csv":            "cr.csv: its lines end with CR alone",
		"mixed.csv":         "mixed.csv: its lines end with CR alone",
		"zip.csv":           "zip.csv: it is a zip archive, or an Excel or Word file, not text; unpack it, or export its text",
	} {
		_, err := csvio.Rows[rec](filepath.Join(dir, pattern)).Splits(t.Context(), 0)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %s", pattern, err, want)
		}
	}
	for _, s := range []csvio.Source[rec]{csvio.Rows[rec](filepath.Join(dir, "{empty,good}.csv")), csvio.Rows[rec](filepath.Join(dir, "empty.csv")).NoHeader()} {
		if _, err := s.Splits(t.Context(), 0); err != nil {
			t.Errorf("%s: %v", s, err)
		}
	}
}

// TestZonesDoNotDependOnTheMachine reads times with offsets and abbreviations in two zones.
func TestZonesDoNotDependOnTheMachine(t *testing.T) {
	type rec struct {
		At   time.Time `csv:"at"`
		Both time.Time `csv:"both" layout:"2006-01-02 15:04 -0700 MST"`
		Day  time.Time `csv:"day" layout:"2006-01-02 15:04 UTC"`
	}
	path := filepath.Join(t.TempDir(), "x.csv")
	overwrite(t, path, "at,both,day\n2024-03-10T12:00:00-08:00,2024-03-10 12:00 -0800 PST,2024-03-10 20:00 UTC\n")
	defer func(was *time.Location) { time.Local = was }(time.Local)
	for _, zone := range []*time.Location{time.UTC, time.FixedZone("PST", -8*3600)} {
		time.Local = zone
		rows, bad, _ := readAll(t, csvio.Rows[rec](path), 0)
		if len(bad) > 0 || len(rows) != 1 {
			t.Fatal(rows, bad)
		}
		r := rows[0].row.(rec)
		want := time.Date(2024, 3, 10, 20, 0, 0, 0, time.UTC)
		if !r.At.Equal(want) || !r.Both.Equal(want) || !r.Day.Equal(want) || r.Day.Location() != time.UTC || r.At.Location() == time.Local && zone != time.UTC {
			t.Errorf("in %v: %v", zone, r)
		}
	}
	type refused struct {
		At *time.Time `csv:"at" layout:"Mon, 02 Jan 2006 15:04:05 MST"`
	}
	want := `field refused.At: layout "Mon, 02 Jan 2006 15:04:05 MST": the offset of an abbreviation such as PST depends on the machine; use -0700 in place of MST, or spell the zone, such as "Mon, 02 Jan 2006 15:04:05 UTC"`
	if _, err := csvio.Rows[refused](path).Splits(t.Context(), 0); err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("%v", err)
	}
	if err := csvio.Write[refused](t.TempDir()).Check(t.Context()); err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("%v", err)
	}
}

package parquetio_test

import (
	"strings"
	"testing"
	"time"

	"github.com/layshaft/layshaft/mapreduce/connector"
	"github.com/layshaft/layshaft/mapreduce/parquetio"
)

// TestFilesOfPyarrow reads files whose columns were once refused, called damaged or read wrongly.
func TestFilesOfPyarrow(t *testing.T) {
	type cents struct {
		Price *int64 `parquet:"price,decimal(2:18)"`
	}
	a, b := int64(1234), int64(-1)
	for _, name := range []string{"dec_int64", "dec_flba"} {
		readAs(t, "testdata/cases/"+name+".parquet", cents{&a}, cents{&b}, cents{})
	}
	type hash struct {
		H [8]byte `parquet:"h"`
	}
	type maybe struct {
		H *[8]byte `parquet:"h"`
	}
	h1, h2 := [8]byte([]byte("12345678")), [8]byte([]byte("abcdefgh"))
	readAs(t, "testdata/cases/flba8.parquet", hash{h1}, hash{h2}, hash{})
	readAs(t, "testdata/cases/flba8.parquet", maybe{&h1}, maybe{&h2}, maybe{})
	type null struct {
		I int64    `parquet:"i"`
		S string   `parquet:"s"`
		L []string `parquet:"l,list"`
	}
	rows, _, err := read(parquetio.Rows[null]("testdata/cases/nullcol.parquet").AllowMissing("l"), 0)
	if err != nil || len(rows) != 2 || rows[1].I != 2 || rows[1].S != "" {
		t.Errorf("%+v, %v", rows, err)
	}
	type misc struct {
		T32 time.Duration  `parquet:"t32"`
		T64 *time.Duration `parquet:"t64,time(microsecond)"`
		Dur int64          `parquet:"dur"`
		U64 uint64         `parquet:"u64"`
		U8  uint8          `parquet:"u8"`
		H   float32        `parquet:"h"`
		Bin []byte         `parquet:"bin"`
		LS  string         `parquet:"ls"`
		Dic string         `parquet:"dic"`
		D64 time.Time      `parquet:"d64"`
	}
	t32 := time.Hour + 2*time.Minute + 3*time.Second
	t64 := t32 + 5*time.Microsecond
	readAs(t, "testdata/cases/misc.parquet", misc{t32, &t64, 1000, 1<<64 - 1, 255, 1.5, []byte{255, 0}, "x", "x", time.Date(2024, 1, 1, 0, 0, 0, 0, time.UTC)})

	type pair struct {
		A *int64 `parquet:"a"`
		B string `parquet:"b"`
	}
	type item struct {
		Q int64 `parquet:"q"`
	}
	type nest struct {
		ID   int64            `parquet:"id"`
		Tags []*string        `parquet:"tags,list"`
		M    map[string]int64 `parquet:"m"`
		St   *pair            `parquet:"st"`
		LS   []item           `parquet:"ls"`
		LL   [][]int64        `parquet:"ll,list"`
	}
	s, one := "a", int64(1)
	readAs(t, "testdata/cases/nest_item.parquet",
		nest{1, []*string{&s, nil}, map[string]int64{"k": 1}, &pair{&one, "x"}, []item{{1}}, [][]int64{{1, 2}, {}}},
		nest{2, []*string{}, map[string]int64{}, nil, []item{}, [][]int64{}},
		nest{ID: 3, St: &pair{}})
}

// TestFileAndFieldMustAgree lists fields that do not say the same as their column.
func TestFileAndFieldMustAgree(t *testing.T) {
	type scale4 struct {
		Price int64    `parquet:"price,decimal(4:18)"`
		Tags  []string `parquet:"tags,list"`
	}
	type scale2 struct {
		Price []byte `parquet:"price,decimal(2:18)"`
	}
	type short struct {
		H [4]byte `parquet:"h"`
	}
	type long struct {
		H *[16]byte `parquet:"h"`
	}
	type text struct {
		H string `parquet:"h"`
	}
	type twice struct {
		A int64 `parquet:"a"`
	}
	type narrow struct {
		U int64 `parquet:"u64"`
	}
	type micro struct {
		T int64 `parquet:"t64,time(nanosecond)"`
	}
	type plain struct {
		T int64 `parquet:"t64"`
	}
	type tagged struct {
		Dur int64 `parquet:"dur,timestamp(microsecond)"`
	}
	type half struct {
		H int32 `parquet:"h"`
	}
	type day struct {
		D int32 `parquet:"d64"`
	}
	type list struct {
		Tags string `parquet:"tags"`
	}
	type element struct {
		LL [][]string `parquet:"ll,list"`
	}
	type group struct {
		St string `parquet:"st"`
	}
	type mapped struct {
		M []string `parquet:"m,list"`
	}
	type same struct {
		A int64 `parquet:"a"`
		B int64 `parquet:"a"`
	}
	for _, c := range []struct {
		err  error
		want string
	}{
		{refusal[scale4]("testdata/cases/dec_int64.parquet"), "column \"price\" is DECIMAL(18,2) in the file and int64 tagged DECIMAL(18,4) in parquetio_test.scale4: the values would be wrong by a factor of ten to the power of 2; make the field an int64 with the tag `parquet:\"price,decimal(2:18)\"`"},
		{refusal[scale2]("testdata/cases/dec_int64_s4.parquet"), "the values would be wrong by a factor"},
		{refusal[scale4]("testdata/cases/dec_flba.parquet"), "make the field an int32 with the tag `parquet:\"price,decimal(2:9)\"`"},
		{refusal[short]("testdata/cases/flba8.parquet"), `column "h" is FIXED_LEN_BYTE_ARRAY(8) in the file and [4]uint8 in parquetio_test.short: make the field a [8]byte or a []byte`},
		{refusal[long]("testdata/cases/flba8.parquet"), `make the field a [8]byte or a []byte`},
		{refusal[text]("testdata/cases/flba8.parquet"), `make the field a [8]byte or a []byte`},
		{refusal[twice]("testdata/cases/dupcol.parquet"), `two columns are called "a"; write the file with a name for each`},
		{refusal[narrow]("testdata/cases/misc.parquet"), `the file may hold larger values; make the field a uint64`},
		{refusal[micro]("testdata/cases/misc.parquet"), `the units differ; make the field a time.Duration`},
		{refusal[plain]("testdata/cases/misc.parquet"), `a plain integer would lose the unit; make the field a time.Duration`},
		{refusal[tagged]("testdata/cases/misc.parquet"), `the column has no unit, the tag has one; make the field an int64`},
		{refusal[half]("testdata/cases/misc.parquet"), `column "h" is FLOAT16 in the file and int32 in parquetio_test.half: make the field a float32`},
		{refusal[day]("testdata/cases/misc.parquet"), "make the field a time.Time, or an int32 with the tag `parquet:\"d64,date\"`"},
		{refusal[list]("testdata/cases/nest_item.parquet"), "column \"tags\" is a list of STRING in the file and string in parquetio_test.list: make the field a slice with the tag `parquet:\"tags,list\"`"},
		{refusal[element]("testdata/cases/nest_item.parquet"), `column "ll" is INT64 in the file and string in parquetio_test.element: make the field an int64`},
		{refusal[group]("testdata/cases/nest_item.parquet"), `column "st" is a group in the file and string in parquetio_test.group: make the field a struct`},
		{refusal[mapped]("testdata/cases/nest_item.parquet"), `column "m" is a map in the file and []string in parquetio_test.mapped: make the field a map`},
		{refusal[same]("testdata/cases/misc.parquet"), `parquetio_test.same has two fields for column "a"`},
		{parquetio.Write[same](t.TempDir()).Check(t.Context()), `parquetio_test.same has two fields for column "a"`},
	} {
		if c.err == nil || !strings.Contains(c.err.Error(), c.want) {
			t.Errorf("got  %v\nwant %s", c.err, c.want)
		}
	}
}

// TestTextMustBeUTF8 writes bytes that are not UTF-8 into text columns at all depths.
func TestTextMustBeUTF8(t *testing.T) {
	type in struct {
		S string `parquet:"s,optional"`
	}
	type rec struct {
		S    string            `parquet:"s"`
		P    *string           `parquet:"p"`
		B    []byte            `parquet:"b,string"`
		E    string            `parquet:"e,enum"`
		In   in                `parquet:"in"`
		L    []string          `parquet:"l,list"`
		Bare []string          `parquet:"bare"`
		M    map[string]string `parquet:"m"`
		All  []*in             `parquet:"all,list"`
		Raw  string            `parquet:"raw,bytes"`
		Bin  []byte            `parquet:"bin"`
		RawL []string          `parquet:"rawl,list" parquet-element:",bytes"`
		At   []time.Time       `parquet:"at,list"`
	}
	bad := "a\xff"
	dir := t.TempDir()
	sink := parquetio.Write[rec](dir)
	save(t, sink, []rec{{S: "ok", Raw: bad, Bin: []byte(bad), RawL: []string{bad}}})
	if got := mustRead(t, parquetio.Rows[rec](dir), 0); got[0].Raw != bad || string(got[0].Bin) != bad || got[0].RawL[0] != bad {
		t.Errorf("bytes are read back as %+v", got)
	}
	w, err := sink.Open(t.Context(), connector.SinkTask{Job: "k", Of: 1, Attempt: 1})
	if err != nil {
		t.Fatal(err)
	}
	defer w.Abort()
	for want, r := range map[string]rec{
		`column "s": "a\xff" is not UTF-8; write bytes with the option bytes in the tag parquet, or replace`: {S: bad},
		`column "p":`:    {P: &bad},
		`column "b":`:    {B: []byte(bad)},
		`column "e":`:    {E: bad},
		`column "in.s":`: {In: in{bad}},
		`column "l": "a\xff" is not UTF-8; write bytes with the option bytes in the tag parquet-element`: {L: []string{"x", bad}},
		`column "bare":`:           {Bare: []string{bad}},
		`in the tag parquet-key`:   {M: map[string]string{bad: ""}},
		`in the tag parquet-value`: {M: map[string]string{"": bad}},
		`column "all.s":`:          {All: []*in{nil, {bad}}},
		`column "at": 2300-01-01 00:00:00 +0000 UTC does not fit into nanoseconds`: {At: []time.Time{time.Date(2300, 1, 1, 0, 0, 0, 0, time.UTC)}},
	} {
		if err := w.Write(&r); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got  %v\nwant %s", err, want)
		}
	}
}

// TestIntegersMustFitTheirColumn writes integers that the tag of their field does not allow.
func TestIntegersMustFitTheirColumn(t *testing.T) {
	type rec struct {
		I8  int64         `parquet:"i8,int(8)"`
		U8  int64         `parquet:"u8,uint(8)"`
		S   uint32        `parquet:"s,int(32)"`
		Dec *int64        `parquet:"dec,decimal(2:12)"`
		D   time.Duration `parquet:"d,time(microsecond)"`
		MS  int32         `parquet:"ms,time(millisecond)"`
		L   []int32       `parquet:"l,list" parquet-element:",int(16)"`
	}
	low, high := int64(-999_999_999_999), int64(1_000_000_000_000)
	dir := t.TempDir()
	sink := parquetio.Write[rec](dir)
	save(t, sink, []rec{{-128, 255, 1<<31 - 1, &low, 24*time.Hour - 1, 86_399_999, []int32{-32768, 32767}}, {}})
	w, err := sink.Open(t.Context(), connector.SinkTask{Job: "k", Of: 1, Attempt: 1})
	if err != nil {
		t.Fatal(err)
	}
	defer w.Abort()
	for want, r := range map[string]rec{
		`column "i8": 128 is outside the range of its type INT(8,true)`: {I8: 128},
		`column "i8": -129`:      {I8: -129},
		`column "u8": -1 is`:     {U8: -1},
		`column "u8": 256`:       {U8: 256},
		`column "s": 2147483648`: {S: 1 << 31},
		`column "dec": 1000000000000 is outside the range of its type DECIMAL(12,2)`: {Dec: &high},
		`column "d": 24h0m0s is outside`:                                             {D: 24 * time.Hour},
		`column "d": -1ns is outside`:                                                {D: -1},
		`column "ms": 86400000 is outside`:                                           {MS: 86_400_000},
		`column "l": 32768 is outside`:                                               {L: []int32{1, 32768}},
	} {
		if err := w.Write(&r); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got  %v\nwant %s", err, want)
		}
	}
}

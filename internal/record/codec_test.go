package record

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"net/netip"
	"reflect"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"
	"unsafe"

	"pgregory.net/rapid"
)

// benchRecord is the record of the package's speed benchmarks.
type benchRecord struct {
	Name  string
	Units int64
	Price float64
	Tags  []string
}

type (
	inner struct {
		A int8
		B *string
	}
	scalars struct {
		Bool                       bool
		I                          int
		I8                         int8
		I16                        int16
		I32                        int32
		I64                        int64
		U                          uint
		U8                         uint8
		U16                        uint16
		U32                        uint32
		U64                        uint64
		F32                        float32
		F64                        float64
		S                          string
		Raw                        []byte
		ID                         [16]byte
		private                    int32
		_                          int64
		inner                      // embedded
		Empty                      struct{}
		Duration                   time.Duration
		NoBytes                    [0]byte
		Pairs                      [3]inner
		C64                        complex64
		C128                       complex128
		Nested, Deeper, Down, Deep struct{ X, Y uint16 }
	}
	nested struct {
		Lists   [][]string
		Maps    map[string]map[int16][]byte
		Structs []inner
		PP      **int64
		Arrays  [][2]string
		Set     map[string]struct{}
		ByKey   map[inner0]bool
	}
	inner0 struct {
		A int8
		S string
	}
	tree struct {
		Name string
		Kids []tree
		Next *tree
		More map[string]tree
	}
	// labelled encodes itself.
	labelled struct{ text string }
)

func (l labelled) MarshalBinary() ([]byte, error) {
	if l.text == "refuse" {
		return nil, errors.New("refused")
	}
	return []byte("<" + l.text + ">"), nil
}

func (l *labelled) UnmarshalBinary(b []byte) error {
	if l.text != "" {
		return errors.New("the receiver was not reset")
	}
	if len(b) < 2 || b[0] != '<' || b[len(b)-1] != '>' {
		return errors.New("no label")
	}
	l.text = string(b[1 : len(b)-1])
	return nil
}

var drawScalars = rapid.Custom(func(t *rapid.T) scalars {
	s := scalars{
		Bool: rapid.Bool().Draw(t, "bool"),
		I:    rapid.Int().Draw(t, "i"), I8: rapid.Int8().Draw(t, "i8"), I16: rapid.Int16().Draw(t, "i16"), I32: rapid.Int32().Draw(t, "i32"), I64: rapid.Int64().Draw(t, "i64"),
		U: rapid.Uint().Draw(t, "u"), U8: rapid.Uint8().Draw(t, "u8"), U16: rapid.Uint16().Draw(t, "u16"), U32: rapid.Uint32().Draw(t, "u32"), U64: rapid.Uint64().Draw(t, "u64"),
		F32: rapid.Float32().Draw(t, "f32"), F64: rapid.Float64().Draw(t, "f64"), S: rapid.String().Draw(t, "s"), Raw: drawBytes.Draw(t, "raw"),
		private: rapid.Int32().Draw(t, "private"), inner: drawInner.Draw(t, "inner"), Duration: time.Duration(rapid.Int64().Draw(t, "duration")),
		C64: complex(rapid.Float32().Draw(t, "re"), 1), C128: complex(2, rapid.Float64().Draw(t, "im")),
	}
	s.ID[3], s.Pairs[1], s.Deep.Y = s.U8, drawInner.Draw(t, "pair"), s.U16
	return s
})

var drawBytes = rapid.OneOf(rapid.Just[[]byte](nil), rapid.SliceOf(rapid.Byte()))

var drawInner = rapid.Custom(func(t *rapid.T) inner {
	return inner{A: rapid.Int8().Draw(t, "a"), B: rapid.Ptr(rapid.String(), true).Draw(t, "b")}
})

var drawNested = rapid.Custom(func(t *rapid.T) nested {
	words := rapid.SliceOfN(rapid.StringN(0, 5, -1), 0, 4)
	return nested{
		Lists:   rapid.OneOf(rapid.Just[[][]string](nil), rapid.SliceOf(rapid.OneOf(rapid.Just[[]string](nil), words))).Draw(t, "lists"),
		Maps:    rapid.OneOf(rapid.Just[map[string]map[int16][]byte](nil), rapid.MapOf(rapid.String(), rapid.MapOf(rapid.Int16(), drawBytes))).Draw(t, "maps"),
		Structs: rapid.SliceOf(drawInner).Draw(t, "structs"),
		PP:      rapid.Ptr(rapid.Ptr(rapid.Int64(), true), true).Draw(t, "pp"),
		Arrays:  rapid.SliceOf(rapid.Custom(func(t *rapid.T) [2]string { return [2]string{rapid.String().Draw(t, "0"), ""} })).Draw(t, "arrays"),
		Set:     rapid.MapOf(rapid.String(), rapid.Just(struct{}{})).Draw(t, "set"),
		ByKey: rapid.MapOf(rapid.Custom(func(t *rapid.T) inner0 {
			return inner0{rapid.Int8().Draw(t, "a"), rapid.String().Draw(t, "s")}
		}), rapid.Bool()).Draw(t, "by key"),
	}
})

func drawTree(t *rapid.T, depth int) tree {
	n := tree{Name: rapid.StringN(0, 3, -1).Draw(t, "name")}
	if depth == 0 {
		return n
	}
	for range rapid.IntRange(0, 2).Draw(t, "kids") {
		n.Kids = append(n.Kids, drawTree(t, depth-1))
	}
	if rapid.Bool().Draw(t, "has next") {
		next := drawTree(t, depth-1)
		n.Next = &next
	}
	if rapid.Bool().Draw(t, "has more") {
		n.More = map[string]tree{"x": drawTree(t, depth-1), "y": {}}
	}
	return n
}

// TestRoundTrip encodes random values, decodes them over other values and compares. It also checks
// that every encoding marks its end: no prefix of it decodes.
func TestRoundTrip(t *testing.T) {
	t.Run("scalars", roundTrip(drawScalars))
	t.Run("nested", roundTrip(drawNested))
	t.Run("tree", roundTrip(rapid.Custom(func(t *rapid.T) tree { return drawTree(t, 4) })))
	t.Run("int8", roundTrip(rapid.Int8()))
	t.Run("pointer", roundTrip(rapid.Ptr(rapid.Uint32(), true)))
	t.Run("strings", roundTrip(rapid.SliceOf(rapid.String())))
	t.Run("label", roundTrip(rapid.Map(rapid.StringN(0, 9, -1), func(s string) labelled { return labelled{s + "!"} })))
	t.Run("label pointers", roundTrip(rapid.SliceOf(rapid.Ptr(rapid.Just(labelled{"a"}), true))))
	t.Run("address", roundTrip(rapid.SampledFrom([]netip.Addr{{}, netip.MustParseAddr("10.0.0.1"), netip.MustParseAddr("fe80::1%eth0")})))
	t.Run("nothing", roundTrip(rapid.Just(struct{}{})))
	t.Run("nothings", roundTrip(rapid.SliceOf(rapid.Just(struct{}{}))))
	t.Run("empty arrays", roundTrip(rapid.SliceOf(rapid.Just([0]string{}))))
	t.Run("map of nothing", roundTrip(rapid.SampledFrom([]map[struct{}]struct{}{nil, {}, {{}: {}}})))
	t.Run("bench record", roundTrip(rapid.Custom(func(t *rapid.T) benchRecord {
		return benchRecord{rapid.String().Draw(t, "name"), rapid.Int64().Draw(t, "units"), rapid.Float64().Draw(t, "price"), rapid.SliceOf(rapid.String()).Draw(t, "tags")}
	})))
}

func roundTrip[T any](draw *rapid.Generator[T]) func(*testing.T) {
	return func(t *testing.T) {
		c, err := For[T]()
		if err != nil {
			t.Fatal(err)
		}
		rapid.Check(t, func(t *rapid.T) {
			want, got := draw.Draw(t, "value"), draw.Draw(t, "what was there before")
			enc := c.Append([]byte("head"), &want)
			if !bytes.HasPrefix(enc, []byte("head")) {
				t.Fatal("Append overwrote what was there")
			}
			enc = enc[4:]
			rest, err := c.Decode(append(enc[:len(enc):len(enc)], "tail"...), &got)
			if err != nil || string(rest) != "tail" {
				t.Fatalf("Decode: %v, rest %q", err, rest)
			}
			if !reflect.DeepEqual(got, want) {
				t.Fatalf("got  %#v\nwant %#v", got, want)
			}
			if again := c.Append(nil, &got); !bytes.Equal(again, enc) {
				t.Fatalf("encoding of the decoded value is %x, was %x", again, enc)
			}
			for n := range enc {
				if _, err := c.Decode(enc[:n:n], &got); !errors.Is(err, ErrCorrupt) {
					t.Fatalf("decoding %d of %d bytes: %v", n, len(enc), err)
				}
			}
		})
	}
}

func TestRoundTripSpecialFloats(t *testing.T) {
	c, err := For[[2]float64]()
	if err != nil {
		t.Fatal(err)
	}
	c32, err := For[float32]()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range []float64{0, math.Copysign(0, -1), math.Inf(1), math.Inf(-1), math.NaN(), math.Float64frombits(0x7ff8dead00000001), math.SmallestNonzeroFloat64, math.MaxFloat64} {
		v, got := [2]float64{f, f}, [2]float64{}
		if _, err := c.Decode(c.Append(nil, &v), &got); err != nil || math.Float64bits(got[1]) != math.Float64bits(f) {
			t.Errorf("%v came back as %v: %v", f, got[1], err)
		}
		w, got32 := float32(f), float32(1)
		if _, err := c32.Decode(c32.Append(nil, &w), &got32); err != nil || math.Float32bits(got32) != math.Float32bits(w) {
			t.Errorf("float32 %v came back as %v: %v", w, got32, err)
		}
	}
}

func TestRoundTripTime(t *testing.T) {
	c, err := For[struct{ At time.Time }]()
	if err != nil {
		t.Fatal(err)
	}
	for _, at := range []time.Time{{}, time.Unix(0, 0).UTC(), time.Date(2026, 11, 3, 4, 5, 6, 789, time.FixedZone("x", 3600*5+1800)), time.Date(-200, 1, 1, 0, 0, 0, 1, time.UTC), time.Now()} {
		v, got := struct{ At time.Time }{at}, struct{ At time.Time }{time.Now()}
		if _, err := c.Decode(c.Append(nil, &v), &got); err != nil || !got.At.Equal(at) || got.At.Format(time.RFC3339Nano) != at.Format(time.RFC3339Nano) {
			t.Errorf("%v came back as %v: %v", at, got.At, err)
		}
	}
}

// TestEqualMapsEncodeEqually fills maps in many orders.
func TestEqualMapsEncodeEqually(t *testing.T) {
	c, err := For[map[string][]int]()
	if err != nil {
		t.Fatal(err)
	}
	rapid.Check(t, func(t *rapid.T) {
		keys := rapid.SliceOfDistinct(rapid.String(), rapid.ID).Draw(t, "keys")
		var encs [2][]byte
		for i := range encs {
			m := map[string][]int{}
			for n, k := range rapid.Permutation(keys).Draw(t, "order") {
				m[k] = []int{len(k), n * 0}
			}
			encs[i] = c.Append(nil, &m)
		}
		if !bytes.Equal(encs[0], encs[1]) {
			t.Fatalf("%x and %x", encs[0], encs[1])
		}
	})
}

// TestDecodedStringsAlias checks that decoding copies no text.
func TestDecodedStringsAlias(t *testing.T) {
	c, err := For[benchRecord]()
	if err != nil {
		t.Fatal(err)
	}
	v := benchRecord{Name: "a name", Tags: []string{"a tag"}}
	enc := c.Append(nil, &v)
	var got benchRecord
	if _, err := c.Decode(enc, &got); err != nil {
		t.Fatal(err)
	}
	lo, hi := uintptr(unsafe.Pointer(&enc[0])), uintptr(unsafe.Pointer(&enc[len(enc)-1]))
	for _, s := range []string{got.Name, got.Tags[0]} {
		if p := uintptr(unsafe.Pointer(unsafe.StringData(s))); p < lo || p > hi {
			t.Errorf("%q was copied", s)
		}
	}
}

func TestDecodedBytesCannotGrowIntoTheirNeighbours(t *testing.T) {
	c, err := For[[2][]byte]()
	if err != nil {
		t.Fatal(err)
	}
	v := [2][]byte{[]byte("left"), []byte("right")}
	enc := c.Append(nil, &v)
	var got [2][]byte
	if _, err := c.Decode(enc, &got); err != nil {
		t.Fatal(err)
	}
	_ = append(got[0], "XXXXXXXXX"...)
	if string(got[1]) != "right" {
		t.Errorf("appending to one slice changed the other to %q", got[1])
	}
}

func TestRefusedTypes(t *testing.T) {
	type line struct{ Done chan int }
	type order struct {
		Lines []line
		By    map[string]*line
	}
	for _, c := range []struct {
		err  error
		want string
	}{
		{errOf(For[chan int]()), "type chan int cannot be encoded: chan int is chan int: a chan has no meaning in another process; leave it out of the record"},
		{errOf(For[order]()), "type record.order cannot be encoded: record.order.Lines[].Done is chan int: a chan has no meaning in another process; leave it out of the record"},
		{errOf(For[map[string]*line]()), "type map[string]*record.line cannot be encoded: map[string]*record.line[].Done is chan int: a chan has no meaning in another process; leave it out of the record"},
		{errOf(For[[2]func()]()), "type [2]func() cannot be encoded: [2]func()[] is func(): a func has no meaning in another process; leave it out of the record"},
		{errOf(For[struct{ Any any }]()), "type struct { Any interface {} } cannot be encoded: struct { Any interface {} }.Any is interface {}: an interface does not say what to decode; use a concrete type"},
		{errOf(For[map[any]int]()), "type map[interface {}]int cannot be encoded: map[interface {}]int[key] is interface {}: an interface does not say what to decode; use a concrete type"},
		{errOf(For[struct{ P unsafe.Pointer }]()), "type struct { P unsafe.Pointer } cannot be encoded: struct { P unsafe.Pointer }.P is unsafe.Pointer: a unsafe.Pointer has no meaning in another process; leave it out of the record"},
	} {
		var te *TypeError
		if !errors.As(c.err, &te) || te.Error() != c.want {
			t.Errorf("got  %v\nwant %s", c.err, c.want)
		}
	}
	for range 2 {
		if errOf(For[line]()) == nil {
			t.Error("a refused type was accepted")
		}
	}
}

func errOf[T any](_ T, err error) error { return err }

func TestMarshalErrorPanicsWithTheType(t *testing.T) {
	c, err := For[labelled]()
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err, ok := recover().(error); !ok || err.Error() != "encode record.labelled: refused" {
			t.Errorf("recovered %v", err)
		}
	}()
	c.Append(nil, &labelled{"refuse"})
}

// TestCompileFromManyGoroutines compiles recursive programs at the same time, for the race
// detector.
func TestCompileFromManyGoroutines(t *testing.T) {
	type b struct{ L []*b }
	type a struct {
		B b
		M map[string]b
	}
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			v, got := a{B: b{L: []*b{{}, nil}}}, a{}
			c, err := For[a]()
			if i%2 == 0 {
				_, err = For[b]()
			}
			if err != nil || c == nil {
				t.Error(err)
				return
			}
			if _, err := c.Decode(c.Append(nil, &v), &got); err != nil || !reflect.DeepEqual(got, v) {
				t.Errorf("got %+v, %v", got, err)
			}
		})
	}
	wg.Wait()
}

// hostile decodes data as a T. It fails if that panics, takes too much memory, or accepts bytes
// that encode differently.
func hostile[T any](t testing.TB, data []byte) {
	c, err := For[T]()
	if err != nil {
		t.Fatal(err)
	}
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	var v T
	rest, err := c.Decode(data, &v)
	runtime.ReadMemStats(&after)
	if took, most := after.TotalAlloc-before.TotalAlloc, uint64(1<<20+512*len(data)); took > most {
		t.Fatalf("decoding %d bytes took %d bytes of memory, want at most %d", len(data), took, most)
	}
	if err != nil {
		if !errors.Is(err, ErrCorrupt) {
			t.Fatalf("error %v is not ErrCorrupt", err)
		}
		return
	}
	if len(rest) > len(data) || !bytes.HasSuffix(data, rest) {
		t.Fatalf("the rest is not the end of the input")
	}
	enc := c.Append(nil, &v)
	var again T
	if rest, err := c.Decode(enc, &again); err != nil || len(rest) > 0 {
		t.Fatalf("decoded %x, whose encoding %x does not decode: %v", data, enc, err)
	}
	if twice := c.Append(nil, &again); !bytes.Equal(twice, enc) {
		t.Fatalf("encodings differ: %x, then %x", enc, twice)
	}
}

var hostiles = []func(testing.TB, []byte){
	hostile[scalars], hostile[nested], hostile[tree], hostile[benchRecord], hostile[[]labelled], hostile[[][4096]byte], hostile[[]struct{}],
	hostile[[][]struct{}], hostile[map[uint8][1 << 12]int64], hostile[[]time.Time], hostile[[]*[512]string], hostile[map[struct{}]struct{}],
}

func TestHostileLengths(t *testing.T) {
	for _, claim := range []uint64{1 << 10, 1 << 20, 1 << 31, 1<<31 - 1, 1 << 40, math.MaxInt64, math.MaxUint64} {
		head := binary.AppendUvarint(nil, claim)
		for i, h := range hostiles {
			t.Run(fmt.Sprintf("type=%d/claim=%d", i, claim), func(t *testing.T) {
				start := time.Now()
				h(t, head)
				h(t, append(head, strings.Repeat("\x02", 1<<12)...))
				h(t, append([]byte{2}, head...))
				if d := time.Since(start); d > time.Second {
					t.Errorf("took %v", d)
				}
			})
		}
	}
}

// FuzzDecode decodes arbitrary bytes as many types.
func FuzzDecode(f *testing.F) {
	name := "x"
	s, err := For[scalars]()
	if err != nil {
		f.Fatal(err)
	}
	n, err := For[nested]()
	if err != nil {
		f.Fatal(err)
	}
	tr, err := For[tree]()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(byte(0), s.Append(nil, &scalars{S: "text", Raw: []byte{1}, inner: inner{B: &name}}))
	f.Add(byte(1), n.Append(nil, &nested{Lists: [][]string{{"a"}, nil}, Maps: map[string]map[int16][]byte{"a": {1: nil}}, Arrays: make([][2]string, 2)}))
	f.Add(byte(2), tr.Append(nil, &tree{Kids: []tree{{}, {Name: "k"}}, Next: &tree{}, More: map[string]tree{"": {}}}))
	for i := range hostiles {
		f.Add(byte(i), []byte{0xff, 0xff, 0xff, 0xff, 7, 1, 1, 1})
		f.Add(byte(i), []byte("\x03\x00\x00\x00<a>"))
	}
	f.Fuzz(func(t *testing.T, kind byte, data []byte) {
		hostiles[int(kind)%len(hostiles)](t, data)
	})
}

var sampleRecord = benchRecord{"Acme cordless drill 18V", 1042, 129.95, []string{"tools", "cordless", "sale"}}

func BenchmarkEncode(b *testing.B) {
	c, err := For[benchRecord]()
	if err != nil {
		b.Fatal(err)
	}
	var buf []byte
	b.ReportAllocs()
	for b.Loop() {
		buf = c.Append(buf[:0], &sampleRecord)
	}
	b.SetBytes(int64(len(buf)))
}

func BenchmarkDecode(b *testing.B) {
	c, err := For[benchRecord]()
	if err != nil {
		b.Fatal(err)
	}
	enc := c.Append(nil, &sampleRecord)
	var v benchRecord
	b.SetBytes(int64(len(enc)))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := c.Decode(enc, &v); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkDecodeFlat decodes a record without slices: it allocates nothing.
func BenchmarkDecodeFlat(b *testing.B) {
	type flat struct {
		Name  string
		Units int64
		Price float64
	}
	c, err := For[flat]()
	if err != nil {
		b.Fatal(err)
	}
	v := flat{sampleRecord.Name, sampleRecord.Units, sampleRecord.Price}
	enc := c.Append(nil, &v)
	b.SetBytes(int64(len(enc)))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := c.Decode(enc, &v); err != nil {
			b.Fatal(err)
		}
	}
}

type chain struct {
	N    int
	Next *chain
	All  []chain
	By   map[string]*chain
}

// TestDeepAndEndlessValues: a long chain decodes, and a value that contains itself is an error and
// does not end the process.
func TestDeepAndEndlessValues(t *testing.T) {
	c, err := For[chain]()
	if err != nil {
		t.Fatal(err)
	}
	var deep *chain
	for i := range 20_000 {
		deep = &chain{N: i, Next: deep}
	}
	var back chain
	if rest, err := c.Decode(c.Append(nil, deep), &back); err != nil || len(rest) > 0 || back.Next.Next.N != 19_997 {
		t.Errorf("%d left, %v", len(rest), err)
	}
	ring := &chain{}
	ring.Next = ring
	slice := chain{All: make([]chain, 1)}
	slice.All[0].All = slice.All
	mapped := chain{By: map[string]*chain{}}
	mapped.By["me"] = &mapped
	for _, endless := range []*chain{ring, &slice, &mapped} {
		func() {
			defer func() {
				if v := recover(); v == nil || !strings.Contains(fmt.Sprint(v), "one contains itself") {
					t.Errorf("recovered %v, want an error that says that the value contains itself", v)
				}
			}()
			c.Append(nil, endless)
		}()
	}
	if got := c.Append(nil, &chain{N: 1}); len(got) == 0 { // the depth returned to zero
		t.Error("nothing is encoded afterwards")
	}
}

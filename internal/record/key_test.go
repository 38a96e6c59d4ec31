package record

import (
	"bytes"
	"cmp"
	"errors"
	"math"
	"reflect"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// keyText draws short strings of few bytes, zeros among them, so that they share beginnings and
// escape each other.
var keyText = rapid.Map(rapid.SliceOfN(rapid.SampledFrom([]byte{0, 1, 'a', 0xfe, 0xff}), 0, 5), func(b []byte) string { return string(b) })

var keyFloat = rapid.OneOf(rapid.Float64(), rapid.SampledFrom([]float64{0, math.Copysign(0, -1), math.Inf(1), math.Inf(-1), math.NaN(),
	math.Float64frombits(0xfff8000000000001), math.SmallestNonzeroFloat64, -math.SmallestNonzeroFloat64, math.MaxFloat64, -math.MaxFloat64}))

var keyMoment = rapid.Custom(func(t *rapid.T) time.Time {
	at := time.Unix(rapid.OneOf(rapid.Int64Range(-3, 3), rapid.Int64Range(-1e11, 1e11)).Draw(t, "sec"), rapid.Int64Range(0, 999999999).Draw(t, "nsec"))
	if rapid.Bool().Draw(t, "elsewhere") {
		return at.In(time.FixedZone("", rapid.IntRange(-12, 12).Draw(t, "zone")*3600))
	}
	return at.UTC()
})

func smallInt[I int | int8 | int16 | int32 | int64](lo, hi I) *rapid.Generator[I] {
	return rapid.OneOf(rapid.SampledFrom([]I{lo, lo + 1, -1, 0, 1, hi - 1, hi}), rapid.Map(rapid.Int64(), func(i int64) I { return I(i) }))
}

func smallUint[I uint8 | uint16 | uint32 | uint64](hi I) *rapid.Generator[I] {
	return rapid.OneOf(rapid.SampledFrom([]I{0, 1, hi / 2, hi/2 + 1, hi - 1, hi}), rapid.Map(rapid.Uint64(), func(i uint64) I { return I(i) }))
}

// compareFloats puts NaN last; the standard order puts it first.
func compareFloats(a, b float64) int {
	switch {
	case a != a || b != b:
		return compareBools(a != a, b != b)
	}
	return cmp.Compare(a, b)
}

func compareBools(a, b bool) int {
	switch {
	case a == b:
		return 0
	case b:
		return -1
	}
	return 1
}

type (
	word string
	pair struct{ A, B string }
	wide struct {
		Name  string
		Day   time.Time
		Price float32
		_     int32
		Codes [2]string
		N     int16
		OK    bool
		U     uint32
		In    struct{ S word }
	}
)

func compareWide(a, b wide) int {
	return cmp.Or(strings.Compare(a.Name, b.Name), a.Day.Compare(b.Day), compareFloats(float64(a.Price), float64(b.Price)),
		strings.Compare(a.Codes[0], b.Codes[0]), strings.Compare(a.Codes[1], b.Codes[1]), cmp.Compare(a.N, b.N), compareBools(a.OK, b.OK),
		cmp.Compare(a.U, b.U), cmp.Compare(a.In.S, b.In.S))
}

var keyWide = rapid.Custom(func(t *rapid.T) wide {
	w := wide{Name: rapid.SampledFrom([]string{"", "a", "a\x00", "a\x00b"}).Draw(t, "name"), Day: keyMoment.Draw(t, "day"), Price: float32(keyFloat.Draw(t, "price")), N: smallInt[int16](math.MinInt16, math.MaxInt16).Draw(t, "n"),
		OK: rapid.Bool().Draw(t, "ok"), U: smallUint[uint32](math.MaxUint32).Draw(t, "u")}
	w.Codes[0], w.Codes[1], w.In.S = keyText.Draw(t, "code"), keyText.Draw(t, "code"), word(keyText.Draw(t, "in"))
	if rapid.Bool().Draw(t, "same day") {
		w.Day, w.Price = time.Unix(0, 0), 1
	}
	return w
})

// TestKeyOrder checks that encodings compare like the values, alone and with more key behind them,
// and that they decode.
func TestKeyOrder(t *testing.T) {
	t.Run("bool", keyOrder(rapid.Bool(), compareBools))
	t.Run("int", keyOrder(smallInt[int](math.MinInt, math.MaxInt), cmp.Compare))
	t.Run("int8", keyOrder(smallInt[int8](math.MinInt8, math.MaxInt8), cmp.Compare))
	t.Run("int16", keyOrder(smallInt[int16](math.MinInt16, math.MaxInt16), cmp.Compare))
	t.Run("int32", keyOrder(smallInt[int32](math.MinInt32, math.MaxInt32), cmp.Compare))
	t.Run("int64", keyOrder(smallInt[int64](math.MinInt64, math.MaxInt64), cmp.Compare))
	t.Run("uint8", keyOrder(smallUint[uint8](math.MaxUint8), cmp.Compare))
	t.Run("uint16", keyOrder(smallUint[uint16](math.MaxUint16), cmp.Compare))
	t.Run("uint32", keyOrder(smallUint[uint32](math.MaxUint32), cmp.Compare))
	t.Run("uint64", keyOrder(smallUint[uint64](math.MaxUint64), cmp.Compare))
	t.Run("float64", keyOrder(keyFloat, compareFloats))
	t.Run("float32", keyOrder(rapid.Map(keyFloat, func(f float64) float32 { return float32(f) }), func(a, b float32) int { return compareFloats(float64(a), float64(b)) }))
	t.Run("string", keyOrder(keyText, strings.Compare))
	t.Run("named string", keyOrder(rapid.Map(keyText, func(s string) word { return word(s) }), cmp.Compare))
	t.Run("time", keyOrder(keyMoment, time.Time.Compare))
	t.Run("pair", keyOrder(rapid.Custom(func(t *rapid.T) pair { return pair{keyText.Draw(t, "a"), keyText.Draw(t, "b")} }),
		func(x, y pair) int { return cmp.Or(strings.Compare(x.A, y.A), strings.Compare(x.B, y.B)) }))
	t.Run("array", keyOrder(rapid.Custom(func(t *rapid.T) [3]int8 {
		return [3]int8{rapid.Int8Range(-1, 1).Draw(t, "0"), rapid.Int8().Draw(t, "1"), rapid.Int8().Draw(t, "2")}
	}), func(x, y [3]int8) int {
		return cmp.Or(cmp.Compare(x[0], y[0]), cmp.Compare(x[1], y[1]), cmp.Compare(x[2], y[2]))
	}))
	t.Run("struct", keyOrder(keyWide, compareWide))
	t.Run("nothing", keyOrder(rapid.Just(struct{}{}), func(_, _ struct{}) int { return 0 }))
}

func keyOrder[K any](draw *rapid.Generator[K], compare func(a, b K) int) func(*testing.T) {
	return func(t *testing.T) {
		c, err := ForKey[K]()
		if err != nil {
			t.Fatal(err)
		}
		rapid.Check(t, func(t *rapid.T) {
			a, b := draw.Draw(t, "a"), draw.Draw(t, "b")
			if rapid.IntRange(0, 4).Draw(t, "equal") == 0 {
				b = a
			}
			want := compare(a, b)
			x, y := c.Append(nil, &a), c.Append(nil, &b)
			if got := bytes.Compare(x, y); got != want {
				t.Fatalf("encodings of %#v and %#v compare as %d, want %d:\n%x\n%x", a, b, got, want, x, y)
			}
			var back K
			if err := c.Decode(x, &back); err != nil || compare(a, back) != 0 {
				t.Fatalf("%#v came back as %#v: %v", a, back, err)
			}
			// In a key of several parts, later parts decide only between equal earlier ones.
			behind, after := keyText.Draw(t, "behind a"), keyText.Draw(t, "behind b")
			px := append(c.AppendPart([]byte("~"), &a), behind...)[1:]
			py := append(c.AppendPart([]byte("~"), &b), after...)[1:]
			if got, want := bytes.Compare(px, py), cmp.Or(want, strings.Compare(behind, after)); got != want {
				t.Fatalf("parts of %#v + %q and %#v + %q compare as %d, want %d:\n%x\n%x", a, behind, b, after, got, want, px, py)
			}
			rest, err := c.DecodePart(px, &back)
			if err != nil || string(rest) != behind || compare(a, back) != 0 {
				t.Fatalf("part of %#v came back as %#v with rest %q, want %q: %v", a, back, rest, behind, err)
			}
			part := px[:len(px)-len(behind)]
			for n := range part {
				if _, err := c.DecodePart(part[:n:n], &back); !errors.Is(err, ErrCorrupt) {
					t.Fatalf("%d of %d bytes decoded: %v", n, len(part), err)
				}
			}
		})
	}
}

func TestStringKeysAreThemselves(t *testing.T) {
	c, err := ForKey[word]()
	if err != nil {
		t.Fatal(err)
	}
	if k := word("a\x00b"); !c.IsString || string(c.Append(nil, &k)) != "a\x00b" {
		t.Errorf("IsString %v, encoding %q", c.IsString, c.Append(nil, &k))
	}
	for _, not := range []bool{mustKey[pair](t).IsString, mustKey[int](t).IsString, mustKey[struct {
		_ int
		S string
	}](t).IsString} {
		if not {
			t.Error("IsString is true for another type")
		}
	}
}

func mustKey[K any](t testing.TB) *KeyCodec[K] {
	c, err := ForKey[K]()
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestRefusedKeys(t *testing.T) {
	const why = ": a key is made of booleans, numbers, strings, time.Time, and arrays and structs of those"
	type tagged struct{ Tags []string }
	for _, c := range []struct {
		err  error
		want string
	}{
		{errOf(ForKey[map[string]int]()), "type map[string]int cannot be encoded: map[string]int is map[string]int" + why},
		{errOf(ForKey[tagged]()), "type record.tagged cannot be encoded: record.tagged.Tags is []string" + why},
		{errOf(ForKey[[2]*int]()), "type [2]*int cannot be encoded: [2]*int[] is *int" + why},
		{errOf(ForKey[struct{ C complex64 }]()), "type struct { C complex64 } cannot be encoded: struct { C complex64 }.C is complex64" + why},
	} {
		var te *TypeError
		if !errors.As(c.err, &te) || te.Error() != c.want {
			t.Errorf("got  %v\nwant %s", c.err, c.want)
		}
	}
}

// FuzzKeyDecode decodes arbitrary bytes as keys: it must not panic, and accepted bytes must encode
// to the same bytes.
func FuzzKeyDecode(f *testing.F) {
	c, p, n := mustKey[wide](f), mustKey[pair](f), mustKey[[2]float32](f)
	f.Add(c.Append(nil, &wide{Name: "a\x00b", Day: time.Unix(1, 2)}))
	f.Add(p.Append(nil, &pair{"a\x00", "b"}))
	f.Add(n.Append(nil, &[2]float32{-1, float32(math.NaN())}))
	f.Add([]byte{0, 0xff, 0, 1, 0, 1})
	f.Fuzz(func(t *testing.T, data []byte) {
		checkKey(t, c, data)
		checkKey(t, p, data)
		checkKey(t, n, data)
	})
}

func checkKey[K any](t *testing.T, c *KeyCodec[K], data []byte) {
	var k, again K
	if err := c.Decode(data, &k); err == nil {
		enc := c.Append(nil, &k)
		if err := c.Decode(enc, &again); err != nil || !bytes.Equal(c.Append(nil, &again), enc) {
			t.Fatalf("%#v does not come back: %v", k, err)
		}
	} else if !errors.Is(err, ErrCorrupt) {
		t.Fatalf("error %v is not ErrCorrupt", err)
	}
	if rest, err := c.DecodePart(data, &k); err == nil {
		enc := c.AppendPart(nil, &k)
		if left, err := c.DecodePart(enc, &again); err != nil || len(left) > 0 || !bytes.HasSuffix(data, rest) {
			t.Fatalf("part %#v does not come back: %v", k, err)
		}
	}
}

func BenchmarkKeyEncode(b *testing.B) {
	b.Run("string", benchKey(word("Acme cordless drill")))
	b.Run("int64", benchKey(int64(-1042)))
	b.Run("struct", benchKey(struct {
		Brand string
		Year  int16
		Price float64
	}{"Acme", 2026, 129.95}))
}

func benchKey[K any](k K) func(*testing.B) {
	return func(b *testing.B) {
		c, err := ForKey[K]()
		if err != nil {
			b.Fatal(err)
		}
		var buf []byte
		b.ReportAllocs()
		for b.Loop() {
			buf = c.Append(buf[:0], &k)
		}
	}
}

func BenchmarkKeyDecode(b *testing.B) {
	type key struct {
		Brand string
		Year  int16
		Price float64
	}
	c, err := ForKey[key]()
	if err != nil {
		b.Fatal(err)
	}
	k := key{"Acme", 2026, 129.95}
	enc := c.Append(nil, &k)
	b.ReportAllocs()
	for b.Loop() {
		if err := c.Decode(enc, &k); err != nil {
			b.Fatal(err)
		}
	}
	if !reflect.DeepEqual(k, key{"Acme", 2026, 129.95}) {
		b.Fatal(k)
	}
}

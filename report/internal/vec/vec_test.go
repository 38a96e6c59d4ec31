package vec

import (
	"bytes"
	"math"
	"math/big"
	"math/rand/v2"
	"testing"
)

// Every kind survives both encodings, and keys order like values.
func TestEncodings(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 0))
	types := []Type{Of(Bool), Of(Int), DecimalOf(12, 2), HugeInt, Of(Float), Of(Text), Of(Date), Of(Interval), ListOf(Of(Int)),
		{Kind: Struct, Fields: []Field{{"a", Of(Int)}, {"b", Of(Text)}}}, ListOf(ListOf(Of(Text)))}
	for _, typ := range types {
		b := NewBuilder(typ, 0)
		for range 200 {
			appendRandom(b, r)
		}
		v := b.Done()
		keys, rows := NewBuilder(typ, 0), NewBuilder(typ, 0)
		for i := range v.Len {
			rest, err := keys.DecodeKey(v.AppendKey(nil, i, Order{}))
			if err != nil || len(rest) > 0 {
				t.Fatalf("%s: key of row %d: rest %x, %v", typ, i, rest, err)
			}
			if rest, err = DecodeRow(AppendRow(nil, []*Vec{v}, i), []*Builder{rows}); err != nil || len(rest) > 0 {
				t.Fatalf("%s: row %d: rest %x, %v", typ, i, rest, err)
			}
		}
		for i := range v.Len {
			key := v.AppendKey(nil, i, Order{})
			if got := keys.Done().AppendKey(nil, i, Order{}); !bytes.Equal(got, key) {
				t.Errorf("%s: row %d came back from its key as %x, want %x", typ, i, got, key)
			}
			if got := rows.Done().AppendKey(nil, i, Order{}); !bytes.Equal(got, key) {
				t.Errorf("%s: row %d came back as %x, want %x", typ, i, got, key)
			}
			up := bytes.Compare(key, v.AppendKey(nil, 0, Order{}))
			down := bytes.Compare(v.AppendKey(nil, i, Order{Desc: true, NullsFirst: true}), v.AppendKey(nil, 0, Order{Desc: true, NullsFirst: true}))
			if up != -down {
				t.Errorf("%s: rows %d and 0 compare as %d, and as %d in the reverse order", typ, i, up, down)
			}
		}
	}
}

func appendRandom(b *Builder, r *rand.Rand) {
	if r.IntN(5) == 0 {
		b.AppendNull()
		return
	}
	switch b.Type.Kind {
	case Bool:
		b.AppendBool(r.IntN(2) == 0)
	case Int, Date:
		b.AppendInt(int64(r.Uint64()))
	case Decimal:
		if b.Type.Precision > 18 && r.IntN(2) == 0 {
			b.AppendInt128(Int128{int64(r.Uint64()) >> 8, r.Uint64()})
		} else {
			b.AppendInt(r.Int64N(1000) - 500)
		}
	case Float:
		b.AppendFloat([]float64{0, math.Copysign(0, -1), math.Inf(1), math.NaN(), r.NormFloat64()}[r.IntN(5)])
	case Text:
		b.AppendString([]string{"", "a", "a\x00", "a\x00\xff", "b"}[r.IntN(5)])
	case Interval:
		b.AppendSpan(Span{int32(r.IntN(9)) - 4, int32(r.IntN(9)) - 4, r.Int64N(1e12)})
	case List:
		elems := builder(b.Elem)
		for range r.IntN(3) {
			appendRandom(elems, r)
		}
		b.endList(elems)
	case Struct:
		for i, f := range b.Fields {
			fb := builder(f)
			appendRandom(fb, r)
			b.Fields[i] = &fb.Vec
		}
		b.added()
	}
}

// Arithmetic of 128 bits agrees with math/big.
func TestInt128(t *testing.T) {
	r := rand.New(rand.NewPCG(2, 0))
	number := func() Int128 {
		x := Int128{int64(r.Uint64()), r.Uint64()}
		shift := r.IntN(127)
		if shift >= 64 {
			return Int128Of(x.Hi >> (shift - 64))
		}
		x.Lo = x.Lo>>shift | uint64(x.Hi)<<(64-shift)
		x.Hi >>= shift
		return x
	}
	check := func(op string, x, y, got Int128, ok bool, want *big.Int) {
		t.Helper()
		w, fits := Int128OfBig(want)
		if ok != fits || ok && got != w {
			t.Fatalf("%v %s %v = %v %v, want %v %v", x.Big(), op, y.Big(), got.Big(), ok, want, fits)
		}
	}
	for range 100_000 {
		x, y := number(), number()
		sum, ok := x.Add(y)
		check("+", x, y, sum, ok, new(big.Int).Add(x.Big(), y.Big()))
		diff, ok := x.Sub(y)
		check("-", x, y, diff, ok, new(big.Int).Sub(x.Big(), y.Big()))
		product, ok := x.Mul(y)
		check("*", x, y, product, ok, new(big.Int).Mul(x.Big(), y.Big()))
		check("* 64", x, y, Mul64(int64(x.Lo), int64(y.Lo)), true, new(big.Int).Mul(big.NewInt(int64(x.Lo)), big.NewInt(int64(y.Lo))))
		if y.Sign() != 0 {
			q, rem := x.QuoRem(y)
			wq, wr := new(big.Int).QuoRem(x.Big(), y.Big(), new(big.Int))
			check("/", x, y, q, true, wq)
			check("%", x, y, rem, true, wr)
		}
		if back, exact, ok := ParseDecimal(string(AppendDecimal(nil, x, 5)), 38, 5); x.Big().CmpAbs(Pow10(38).Big()) < 0 && (back != x || !exact || !ok) {
			t.Fatalf("%s came back as %s, %v, %v", AppendDecimal(nil, x, 5), AppendDecimal(nil, back, 5), exact, ok)
		}
	}
}

func TestParseDecimal(t *testing.T) {
	for _, c := range []struct {
		text      string
		want      string
		exact, ok bool
	}{
		{"12.34", "12.34", true, true}, {"-0.005", "-0.01", false, true}, {"1e3", "1000.00", true, true}, {"1.5e-1", "0.15", true, true},
		{"12.3400", "12.34", true, true}, {".5", "0.50", true, true}, {"5.", "5.00", true, true}, {"", "", false, false}, {".", "", false, false},
		{"1.2.3", "", false, false}, {"1e", "", false, false}, {"99999999999", "", false, false}, {"-7", "-7.00", true, true},
		{"123456e-4", "12.35", false, true}, {"1e-9", "0.00", false, true}, {"0e999999", "0.00", true, true},
	} {
		x, exact, ok := ParseDecimal(c.text, 10, 2)
		if ok != c.ok || ok && (exact != c.exact || string(AppendDecimal(nil, x, 2)) != c.want) {
			t.Errorf("ParseDecimal(%q) = %s, exact %v, ok %v; want %s, %v, %v", c.text, AppendDecimal(nil, x, 2), exact, ok, c.want, c.exact, c.ok)
		}
	}
}

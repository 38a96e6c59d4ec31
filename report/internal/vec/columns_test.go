package vec

import (
	"bytes"
	"math/rand/v2"
	"slices"
	"testing"
)

// Columns of every kind come back in blocks of any size, and damaged bytes never cause a panic.
func TestColumns(t *testing.T) {
	r := rand.New(rand.NewPCG(2, 0))
	types := []Type{Of(Bool), Of(Int), DecimalOf(12, 2), HugeInt, Of(Float), Of(Text), Of(Date), Of(Interval), Of(Null), ListOf(Of(Int)),
		{Kind: Struct, Fields: []Field{{"a", Of(Int)}, {"b", Of(Text)}}}}
	for range 100 {
		var encoded [][]byte
		var sizes []int
		var want, got []*Builder
		for _, typ := range types {
			want, got = append(want, NewBuilder(typ, 0)), append(got, NewBuilder(typ, 0))
		}
		for range 1 + r.IntN(4) {
			n := r.IntN(40)
			var cols []*Vec
			small := int64(1) << r.IntN(63)
			nullable := r.IntN(2) == 0
			for i, typ := range types {
				b := NewBuilder(typ, 0)
				for range n {
					switch {
					case typ.Kind == Int && !nullable:
						b.AppendInt(r.Int64N(small) - small/2)
					case typ.Kind == Null:
						b.AppendNull()
					default:
						appendRandom(b, r)
					}
				}
				v := b.Done()
				if n > 0 && r.IntN(6) == 0 { // all rows have the first value
					one := v.Gather([]int32{0})
					one.Const, one.Len, v = true, n, one
				}
				if typ.Kind == Text && r.IntN(2) == 0 && !v.Const {
					v = &Vec{Type: typ, Len: n, Nulls: v.Nulls, Dict: v.Strings, Codes: make([]uint32, n)}
					for i := range v.Codes {
						v.Codes[i] = uint32(i)
					}
				}
				cols = append(cols, v)
				for row := range n {
					want[i].Append(v, row)
				}
			}
			encoded, sizes = append(encoded, AppendColumns(nil, cols, n)), append(sizes, n)
		}
		for i, e := range encoded {
			if rest, err := DecodeColumns(e, got, sizes[i]); err != nil || len(rest) > 0 {
				t.Fatalf("%d bytes are left, %v", len(rest), err)
			}
		}
		for i, b := range got {
			v, w := b.Done(), want[i].Done()
			if v.Len != w.Len {
				t.Fatalf("%s: %d rows, want %d", types[i], v.Len, w.Len)
			}
			for row := range w.Len {
				if a, b := v.AppendKey(nil, row, Order{}), w.AppendKey(nil, row, Order{}); !bytes.Equal(a, b) {
					t.Fatalf("%s: row %d came back as %x, want %x", types[i], row, a, b)
				}
			}
		}
		for i, e := range encoded {
			for range 30 {
				if len(e) == 0 {
					break
				}
				bad := bytes.Clone(e)[:1+r.IntN(len(e))]
				bad[r.IntN(len(bad))] ^= 1 << r.IntN(8)
				var into []*Builder
				for _, typ := range types {
					into = append(into, NewBuilder(typ, 0))
				}
				_, _ = DecodeColumns(bad, into, sizes[i])
			}
		}
	}
}

// Selected and CountTrue find the rows of any number.
func TestSelected(t *testing.T) {
	r := rand.New(rand.NewPCG(4, 0))
	for n := range 70 {
		keep := New(Of(Bool), n)
		var want []int32
		for i := range n {
			if keep.Bools[i] = r.IntN(3) > 0; keep.Bools[i] {
				want = append(want, int32(i))
			}
		}
		if got := Selected(keep); !slices.Equal(got, want) || CountTrue(keep.Bools) != len(want) {
			t.Errorf("%v: rows %v, %d", keep.Bools, got, CountTrue(keep.Bools))
		}
	}
}

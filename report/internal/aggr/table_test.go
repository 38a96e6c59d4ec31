package aggr

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"

	"github.com/layshaft/layshaft/report/internal/vec"
)

// randomVec returns n values of a type, from a small set, in one of the forms that a Vec may have.
func randomVec(r *rand.Rand, t vec.Type, n int) *vec.Vec {
	b := vec.NewBuilder(t, n)
	nulls := r.IntN(2) == 0
	for range n {
		appendRandom(b, r, nulls)
	}
	v := b.Done()
	switch form := r.IntN(4); {
	case form == 0 && n > 0:
		return v.Repeat(0, n)
	case form == 1 && t.Kind == vec.Text:
		codes := &vec.Vec{Type: t, Len: n, Nulls: v.Nulls, Dict: []string{"unused", ""}}
		for _, s := range v.Strings {
			codes.Codes = append(codes.Codes, uint32(len(codes.Dict)))
			codes.Dict = append(codes.Dict, s)
		}
		return codes
	case form == 2 && t.Kind == vec.Decimal:
		v.Widen()
	}
	return v
}

func appendRandom(b *vec.Builder, r *rand.Rand, nulls bool) {
	if nulls && r.IntN(5) == 0 {
		b.AppendNull()
		return
	}
	switch b.Type.Kind {
	case vec.Null:
		b.AppendNull()
	case vec.Bool:
		b.AppendBool(r.IntN(2) == 0)
	case vec.Float:
		b.AppendFloat([]float64{0, math.Copysign(0, -1), math.Inf(1), math.Inf(-1), math.NaN(), 1e300, -1e300, 5e-324, 0.1, -0.1, r.NormFloat64()}[r.IntN(11)])
	case vec.Text, vec.Blob, vec.JSON:
		b.AppendString([]string{"", "a", "a\x00", "b", "seven77", "eight888", "nine99999", "exactly sixteen!", "more than sixteen", "more than sixteem"}[r.IntN(10)])
	case vec.Interval:
		b.AppendSpan(vec.Span{Months: int32(r.IntN(3)), Days: int32(r.IntN(40)), Micros: r.Int64N(3)})
	case vec.Decimal:
		if b.Type.Precision > 18 && r.IntN(3) == 0 {
			b.AppendInt128(vec.Int128{Hi: 1<<58 - r.Int64N(3), Lo: r.Uint64()})
		} else {
			b.AppendInt(r.Int64N(10) - 5)
		}
	case vec.List:
		one := vec.NewBuilder(*b.Type.Elem, 0)
		for range r.IntN(3) {
			appendRandom(one, r, nulls)
		}
		elems := one.Done()
		b.Append(&vec.Vec{Type: b.Type, Len: 1, Offsets: []int32{0, int32(elems.Len)}, Elem: elems}, 0)
	default:
		b.AppendInt([]int64{0, 1, -1, math.MaxInt64, math.MinInt64, r.Int64N(20)}[r.IntN(6)])
	}
}

var allTypes = []vec.Type{vec.Of(vec.Int), vec.Of(vec.Text), vec.Of(vec.Float), vec.Of(vec.Bool), vec.Of(vec.Date), vec.DecimalOf(12, 2), vec.HugeInt,
	vec.Of(vec.Interval), vec.ListOf(vec.Of(vec.Text)), vec.Of(vec.TimestampTZ), vec.Of(vec.Blob), vec.Of(vec.Null), vec.ListOf(vec.Of(vec.Int))}

// TestTable compares the numbers of groups with a map of encoded keys.
func TestTable(t *testing.T) {
	for seed := range uint64(60) {
		t.Run(fmt.Sprintf("seed=%d", seed), func(t *testing.T) {
			r := rand.New(rand.NewPCG(seed, 0))
			types := make([]vec.Type, r.IntN(6))
			if seed%20 == 19 {
				types = make([]vec.Type, 40)
			}
			for i := range types {
				types[i] = allTypes[r.IntN(len(allTypes))]
			}
			table := NewTable(types)
			want := map[string]uint32{}
			var keys []string
			var out []uint32
			for range 12 {
				n := r.IntN(200)
				cols := make([]*vec.Vec, len(types))
				for i, typ := range types {
					cols[i] = randomVec(r, typ, n)
				}
				out = table.Groups(cols, n, out)
				for i := range n {
					var key []byte
					for _, c := range cols {
						key = c.AppendKey(key, i, vec.Order{})
					}
					g, ok := want[string(key)]
					if !ok {
						g = uint32(len(want))
						want[string(key)] = g
						keys = append(keys, string(key))
					}
					if out[i] != g {
						t.Fatalf("%v: row %d of key %q is in group %d, want %d", types, i, key, out[i], g)
					}
				}
				if table.Len() != len(want) {
					t.Fatalf("Len = %d, want %d", table.Len(), len(want))
				}
				for g, key := range keys {
					if got := table.AppendKey(nil, g); string(got) != key {
						t.Fatalf("key of group %d is %q, want %q", g, got, key)
					}
				}
			}
		})
	}
}

func BenchmarkTable(b *testing.B) {
	r := rand.New(rand.NewPCG(1, 0))
	const rows = 1 << 20
	strs := func(distinct int, format string) *vec.Vec {
		v := vec.New(vec.Of(vec.Text), rows)
		for i := range v.Strings {
			v.Strings[i] = fmt.Sprintf(format, r.IntN(distinct))
		}
		return v
	}
	ints := func(distinct int) *vec.Vec {
		v := vec.New(vec.Of(vec.Int), rows)
		for i := range v.Ints {
			v.Ints[i] = int64(r.IntN(distinct))
		}
		return v
	}
	codes := vec.New(vec.Of(vec.Text), rows)
	codes.Strings, codes.Codes = nil, make([]uint32, rows)
	for i := range 50 {
		codes.Dict = append(codes.Dict, fmt.Sprint("category ", i))
	}
	for i := range codes.Codes {
		codes.Codes[i] = uint32(r.IntN(50))
	}
	low, high := strs(50, "category %d"), strs(1_000_000, "brand %d")
	for _, c := range []struct {
		name string
		cols []*vec.Vec
	}{
		{"codes", []*vec.Vec{codes}},
		{"text,50", []*vec.Vec{low}},
		{"text,1e6", []*vec.Vec{high}},
		{"long text,50", []*vec.Vec{strs(50, "a long category of goods %d")}},
		{"long text,1e6", []*vec.Vec{strs(1_000_000, "a long category of goods %d")}},
		{"int,50", []*vec.Vec{ints(50)}},
		{"int,1e6", []*vec.Vec{ints(1_000_000)}},
		{"text+text,50x20", []*vec.Vec{low, strs(20, "color %d")}},
		{"int+text,50x20", []*vec.Vec{ints(50), strs(20, "color %d")}},
		{"int+text,1e6x50", []*vec.Vec{ints(1_000_000), low}},
		{"int x3,50x20x3", []*vec.Vec{ints(50), ints(20), ints(3)}},
	} {
		types := make([]vec.Type, len(c.cols))
		for i, v := range c.cols {
			types[i] = v.Type
		}
		table := NewTable(types)
		var batches [][]*vec.Vec
		for from := 0; from < rows; from += vec.Size {
			cols := make([]*vec.Vec, len(c.cols))
			for i, v := range c.cols {
				w := &vec.Vec{Type: v.Type, Len: vec.Size, Dict: v.Dict}
				switch {
				case v.Codes != nil:
					w.Codes = v.Codes[from : from+vec.Size]
				case v.Strings != nil:
					w.Strings = v.Strings[from : from+vec.Size]
				default:
					w.Ints = v.Ints[from : from+vec.Size]
				}
				cols[i] = w
			}
			batches = append(batches, cols)
		}
		b.Run(c.name, func(b *testing.B) {
			var out []uint32
			rows := 0
			for i := 0; b.Loop(); i++ {
				out = table.Groups(batches[i%len(batches)], vec.Size, out)
				rows += vec.Size
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(rows), "ns/row")
			b.ReportMetric(float64(table.Len()), "groups")
		})
	}
}

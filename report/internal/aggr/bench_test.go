package aggr

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/layshaft/layshaft/report/internal/vec"
)

// BenchmarkAdd measures one row of each aggregate, in one group, 100 groups and 1e6 groups.
func BenchmarkAdd(b *testing.B) {
	float, integer, text := vec.Of(vec.Float), vec.Of(vec.Int), vec.Of(vec.Text)
	r := rand.New(rand.NewPCG(1, 0))
	const batches = 64
	column := func(t vec.Type, at int) *vec.Vec {
		v := vec.New(t, vec.Size)
		for i := range vec.Size {
			switch t.Kind {
			case vec.Float:
				v.Floats[i] = float64(r.IntN(1_000_000)) / 100
			case vec.Text:
				v.Strings[i] = fmt.Sprint("brand ", r.IntN(3000))
			case vec.Bool:
				v.Bools[i] = r.IntN(2) == 0
			default:
				v.Ints[i] = r.Int64N(1_000_000)
			}
		}
		return v
	}
	for _, c := range []testCall{
		{name: "count"}, {name: "count", args: []vec.Type{float}}, {name: "sum", args: []vec.Type{integer}},
		{name: "sum", args: []vec.Type{vec.DecimalOf(12, 2)}}, {name: "sum", args: []vec.Type{float}}, {name: "avg", args: []vec.Type{float}},
		{name: "min", args: []vec.Type{integer}}, {name: "max", args: []vec.Type{float}}, {name: "max", args: []vec.Type{text}},
		{name: "max", args: []vec.Type{vec.HugeInt}}, {name: "bool_and", args: []vec.Type{vec.Of(vec.Bool)}},
		{name: "stddev", args: []vec.Type{float}}, {name: "corr", args: []vec.Type{float, float}}, {name: "kurtosis", args: []vec.Type{float}},
		{name: "count", args: []vec.Type{text}, distinct: true}, {name: "count", args: []vec.Type{integer}, distinct: true},
		{name: "approx_count_distinct", args: []vec.Type{text}}, {name: "p95", args: []vec.Type{float}}, {name: "median", args: []vec.Type{float}},
		{name: "first", args: []vec.Type{text}}, {name: "arg_max", args: []vec.Type{text, float}}, {name: "mode", args: []vec.Type{text}},
		{name: "array_agg", args: []vec.Type{text}}, {name: "string_agg", args: []vec.Type{text}},
	} {
		f := c.bind(b)
		var args [batches][]*vec.Vec
		for i := range args {
			for _, t := range f.Args {
				args[i] = append(args[i], column(t, i))
			}
			if f.Ordinal {
				v := vec.New(integer, vec.Size)
				for k := range v.Ints {
					v.Ints[k] = int64(i*vec.Size + k)
				}
				args[i] = append(args[i], v)
			}
		}
		for _, groups := range []int{1, 100, 1_000_000} {
			if groups > 100 && c.name != "count" && c.name != "sum" && c.name != "max" && c.name != "avg" {
				continue
			}
			numbers := make([][]uint32, batches)
			for i := range numbers {
				numbers[i] = make([]uint32, vec.Size)
				for k := range numbers[i] {
					numbers[i][k] = uint32(r.IntN(groups))
				}
			}
			b.Run(fmt.Sprintf("%v,%d groups", c, groups), func(b *testing.B) {
				s := f.New()
				s.Resize(groups)
				b.ResetTimer()
				rows := 0
				for i := 0; b.Loop(); i++ {
					if i%1000 == 999 {
						s = f.New() // values that are kept must not fill the memory
						s.Resize(groups)
					}
					var err error
					if groups == 1 {
						err = s.AddAll(0, args[i%batches], vec.Size)
					} else {
						err = s.Add(numbers[i%batches], args[i%batches])
					}
					if err != nil {
						b.Fatal(err)
					}
					rows += vec.Size
				}
				b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(rows), "ns/row")
			})
		}
	}
}

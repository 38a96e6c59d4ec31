package agg

import (
	"math/rand/v2"
	"strconv"
	"testing"
)

// BenchmarkAggregates folds a million records of a catalogue into 800 groups; one op is one Add.
func BenchmarkAggregates(b *testing.B) {
	r := rand.New(rand.NewPCG(1, 2))
	brands := rand.NewZipf(r, 1.1, 1, 4999)
	items := make([]item, 1<<20)
	for i := range items {
		items[i] = item{Brand: "brand " + strconv.FormatUint(brands.Uint64(), 10), Price: 100 * r.ExpFloat64(), Units: r.Int64N(9)}
	}
	benchAgg(b, "Count", items, Count[item]())
	benchAgg(b, "Sum of ints", items, Sum(unitsOf))
	benchAgg(b, "Sum of floats", items, Sum(priceOf))
	benchAgg(b, "Max", items, Max(priceOf))
	benchAgg(b, "MaxBy", items, MaxBy(priceOf))
	benchAgg(b, "TopK 10", items, TopK(10, priceOf))
	benchAgg(b, "Quantiles", items, Quantiles(priceOf, 0.5))
	benchAgg(b, "Histogram", items, Histogram(priceOf, 1, 10, 100, 1000))
	benchAgg(b, "CountDistinct", items, CountDistinct(brandOf))
	benchAgg(b, "CountDistinctApprox", items, CountDistinctApprox(brandOf))
	type line struct {
		n       int64
		revenue float64
		units   int64
	}
	benchAgg(b, "Compose3", items, Compose3(Count[item](), Sum(priceOf), Sum(unitsOf),
		func(n int64, revenue float64, units int64) line { return line{n, revenue, units} }))
	type acc struct {
		N       int64
		Revenue Total[float64]
		Units   int64
	}
	benchAgg(b, "the same by hand", items, Agg[item, acc, line]{
		Add: func(a *acc, v item) {
			a.N++
			a.Revenue.Add(v.Price)
			a.Units += v.Units
		},
	})
}

func benchAgg[T, A, R any](b *testing.B, name string, items []T, agg Agg[T, A, R]) {
	b.Run(name, func(b *testing.B) {
		groups := make([]A, 800)
		b.ReportAllocs()
		for i := 0; b.Loop(); i++ {
			agg.Add(&groups[i*7919%len(groups)], items[i&(len(items)-1)])
		}
	})
}

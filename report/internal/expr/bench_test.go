package expr

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/layshaft/layshaft/report/internal/vec"
)

// BenchmarkEval measures a full batch of rows. Divide by 1,024 for the time of a row.
func BenchmarkEval(b *testing.B) {
	r := rand.New(rand.NewPCG(1, 1))
	n := vec.Size
	price := vec.New(vec.DecimalOf(18, 2), n)
	stock, other := vec.New(vec.Of(vec.Int), n), vec.New(vec.Of(vec.Int), n)
	rating, ts := vec.New(vec.Of(vec.Float), n), vec.New(vec.Of(vec.Timestamp), n)
	name := vec.New(vec.Of(vec.Text), n)
	category := &vec.Vec{Type: vec.Of(vec.Text), Len: n, Codes: make([]uint32, n)}
	for i := range 40 {
		category.Dict = append(category.Dict, fmt.Sprint("category ", i))
	}
	maybe := vec.New(vec.Of(vec.Int), n)
	maybe.Nulls = make([]bool, n)
	for i := range n {
		price.Ints[i], stock.Ints[i], other.Ints[i] = r.Int64N(1_000_00), r.Int64N(1000), r.Int64N(1000)+1
		rating.Floats[i], ts.Ints[i] = r.Float64()*5, r.Int64N(1_700_000_000_000_000)
		name.Strings[i] = fmt.Sprint("product number ", r.IntN(1_000_000))
		category.Codes[i] = uint32(r.IntN(40))
		maybe.Ints[i], maybe.Nulls[i] = r.Int64N(100), r.IntN(4) == 0
	}
	batch := &vec.Batch{N: n}
	s := schema{}
	for i, c := range []struct {
		name string
		v    *vec.Vec
	}{{"price", price}, {"stock", stock}, {"other", other}, {"rating", rating}, {"ts", ts}, {"name", name}, {"category", category}, {"maybe", maybe}} {
		batch.Cols = append(batch.Cols, c.v)
		s[c.name] = Column(i, c.v.Type, c.name, 0)
	}
	for _, text := range []string{
		"price > 4", "price * stock", "stock + other", "stock * 3", "stock / other", "rating >= 4", "rating * 2.5", "maybe > 50",
		"category = 'category 7'", "name = 'product number 5'", "category IN ('category 1', 'category 2')", "stock IN (1, 2, 3)",
		"rating >= 4 AND stock > 0", "price > 4 AND category = 'category 7'", "name LIKE 'product%'", "name LIKE '%99%'", "name LIKE '%r_9%'",
		"name ~ '9+$'", "lower(category)", "lower(name)", "length(name)", "substr(name, 9, 6)", "date_trunc('month', ts)", "extract(year FROM ts)",
		"CASE WHEN stock > 500 THEN 'high' ELSE 'low' END", "coalesce(maybe, 0)", "price::double", "stock::text", "price * (1 - 0.05) * 1.19",
		"price / stock::decimal(18,2)", "round(price / 3, 2)", "category || '-' || stock", "stock IS NULL", "maybe IS NULL",
	} {
		e, err := s.parse(b, text)
		if err != nil {
			b.Fatal(text, err)
		}
		b.Run(text, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, err := e.Eval(batch); err != nil && text != "price / stock::decimal(18,2)" {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(n), "ns/row")
		})
	}
}

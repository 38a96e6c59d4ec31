package mapreduce_test

import (
	"testing"

	"github.com/layshaft/layshaft/mapreduce"
	"github.com/layshaft/layshaft/mapreduce/memio"
)

// Two branches of one Read that meet again are drawn from independently: their records do not come
// in pairs.
func TestSampleOfBranches(t *testing.T) {
	const n, other = 1000, 10_000
	got := run(t, mapreduce.Local{Slots: 2}, func(p *mapreduce.Plan) mapreduce.Dataset[int64] {
		numbers := mapreduce.Read(p, memio.Generate(n, func(i int64) int64 { return i }).Cut(3))
		both := mapreduce.Union(numbers, mapreduce.Map(numbers, func(i int64) int64 { return i + other }))
		return mapreduce.Sample(both, 200, 3)
	})
	drawn := map[int64]bool{}
	for _, i := range got {
		drawn[i] = true
	}
	pairs := 0
	for i := range drawn {
		if drawn[i+other] {
			pairs++
		}
	}
	if len(drawn) != 200 || pairs > 30 { // 10 on average
		t.Errorf("%d records with %d pairs", len(drawn), pairs)
	}
}

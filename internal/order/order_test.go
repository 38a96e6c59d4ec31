package order

import (
	"cmp"
	"math/rand/v2"
	"slices"
	"testing"
)

func TestSort(t *testing.T) {
	t.Parallel()
	type row struct{ key, at int }
	r := rand.New(rand.NewPCG(1, 0))
	for n := range 100 {
		rows := make([]row, n)
		for i := range rows {
			rows[i] = row{r.IntN(n/3 + 1), i}
		}
		want := slices.Clone(rows)
		slices.SortStableFunc(want, func(a, b row) int { return cmp.Compare(a.key, b.key) })
		Sort(rows, func(a, b *row) int { return cmp.Compare(a.key, b.key) })
		if !slices.Equal(rows, want) {
			t.Fatalf("%d rows: %v, want %v", n, rows, want)
		}
	}
}

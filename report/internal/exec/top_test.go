package exec

import (
	"fmt"
	"math/rand/v2"
	"reflect"
	"slices"
	"strings"
	"testing"
)

// The heap keeps the rows that a stable sort puts first.
func TestTopHeap(t *testing.T) {
	r := rand.New(rand.NewPCG(6, 0))
	for _, limit := range []int{0, 1, 7, 300} {
		for _, keys := range []int{1, 5, 1000} {
			h := &topHeap{limit: limit}
			var rows []Row
			for i := range 200 {
				row := Row{fmt.Sprint(r.IntN(keys)), fmt.Sprint("row ", i)}
				rows = append(rows, row)
				if err := h.add(row); err != nil {
					t.Fatal(err)
				}
			}
			slices.SortStableFunc(rows, func(a, b Row) int { return strings.Compare(a.Key, b.Key) })
			if got, want := h.sorted(), rows[:min(limit, len(rows))]; !reflect.DeepEqual(got, want) {
				t.Errorf("the first %d of %d keys:\n%v\nwant\n%v", limit, keys, got, want)
			}
		}
	}
}

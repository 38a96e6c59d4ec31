package mapreduce_test

import (
	"context"
	"fmt"
	"slices"
	"testing"

	"github.com/layshaft/layshaft/mapreduce"
	"github.com/layshaft/layshaft/mapreduce/memio"
)

// Left records are decoded once for a key if they are small and share no memory, and else for each
// right record. The rows are the same.
func TestJoinOfManyRightRecords(t *testing.T) {
	type left struct {
		Key, N int64
		Name   string
	}
	type leftList struct {
		left
		List []int64
	}
	const rights = 100 // of key 0; the other keys have one each
	define := func(lefts int64, list bool) *mapreduce.Definition[mapreduce.None, string] {
		return mapreduce.Define("join", func(p *mapreduce.Plan, _ mapreduce.None) mapreduce.Dataset[string] {
			right := mapreduce.Read(p, memio.Generate(rights+9, func(i int64) int64 { return max(0, i-rights) }))
			row := func(l left, r int64) string { return fmt.Sprint(l.N, l.Name, r) }
			of := func(i int64) left { return left{i % 10, i, fmt.Sprint("left ", i)} }
			rkey := func(r int64) int64 { return r }
			if !list {
				ls := mapreduce.Read(p, memio.Generate(lefts, of))
				return mapreduce.Join(ls, right, func(l left) int64 { return l.Key }, rkey, row)
			}
			ls := mapreduce.Read(p, memio.Generate(lefts, func(i int64) leftList { return leftList{of(i), []int64{i}} }))
			return mapreduce.Join(ls, right, func(l leftList) int64 { return l.Key }, rkey, func(l leftList, r int64) string {
				if l.List[0]++; l.List[0] != l.N+1 { // must not be seen by the next call
					return "changed"
				}
				return row(l.left, r)
			})
		})
	}
	for _, lefts := range []int64{10, 300, 15_000} {
		var rows [2][]string
		for i, list := range []bool{false, true} {
			d := define(lefts, list)
			var err error
			if rows[i], err = d.Collect(context.Background(), mapreduce.Local{Slots: 1}, mapreduce.None{}); err != nil {
				t.Fatal(err)
			}
		}
		if want := int(lefts / 10 * (rights + 9)); len(rows[0]) != want {
			t.Errorf("%d lefts: %d rows, want %d", lefts, len(rows[0]), want)
		}
		if !slices.Equal(rows[0], rows[1]) {
			t.Errorf("%d lefts: the rows differ when the left records have slices", lefts)
		}
	}
}

package exec

import (
	"testing"

	"github.com/layshaft/layshaft/mapreduce"
	"github.com/layshaft/layshaft/report/internal/aggr"
	"github.com/layshaft/layshaft/report/internal/bind"
	"github.com/layshaft/layshaft/report/internal/expr"
	"github.com/layshaft/layshaft/report/internal/vec"
)

// TestFoldsLittle checks when rows skip the table of their task: if nearly all of the sample differ
// and the table would have to be written several times.
func TestFoldsLittle(t *testing.T) {
	n := &bind.Aggregate{Keys: []*expr.Expr{expr.Column(0, vec.Of(vec.Int), "k", 0)}}
	for _, c := range []struct {
		name   string
		key    func(i int) int64
		memory int64
		want   bool
	}{
		{"all differ", func(i int) int64 { return int64(i) }, 64 << 20, true},
		{"all differ, much memory", func(i int) int64 { return int64(i) }, 1 << 40, true},
		{"one in 100 repeats, little memory", func(i int) int64 { return int64(i - i%100/99) }, 4 << 20, true},
		{"one in 100 repeats, much memory", func(i int) int64 { return int64(i - i%100/99) }, 1 << 40, false},
		{"two of each", func(i int) int64 { return int64(i / 2) }, 64 << 20, false},
		{"three groups", func(i int) int64 { return int64(i % 3) }, 1 << 20, false},
		{"three groups, hardly any memory", func(i int) int64 { return int64(i % 3) }, 1 << 10, false},
	} {
		f := &fold{n: n, task: mapreduce.Task{Memory: c.memory}, table: aggr.NewTable(keyTypes(n)), folded: sampleRows}
		keys := vec.New(vec.Of(vec.Int), sampleRows)
		for i := range keys.Ints {
			keys.Ints[i] = c.key(i)
		}
		f.table.Groups([]*vec.Vec{keys}, sampleRows, nil)
		if got := f.foldsLittle(); got != c.want {
			t.Errorf("%s: %v, want %v", c.name, got, c.want)
		}
	}
}

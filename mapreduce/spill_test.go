package mapreduce_test

import (
	"bytes"
	"fmt"
	"iter"
	"math/rand/v2"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/layshaft/layshaft/mapreduce"
	"github.com/layshaft/layshaft/mapreduce/agg"
	"github.com/layshaft/layshaft/mapreduce/memio"
)

// page is a record large enough to fill memory.
type page struct {
	ID   int64
	Host string
	Body []byte
}

// makePage makes record i of about a kilobyte that does not repeat.
func makePage(i int64) page {
	r := rand.New(rand.NewPCG(uint64(i), 3))
	body := make([]byte, 700+i%600)
	for j := range body {
		body[j] = byte(r.Uint32())
	}
	return page{i, fmt.Sprintf("host-%d.example.com/with/a/long/path", i*7919%900), body}
}

// TestSpill gives operators more data than memory: for each attempt ten times as much, five times
// with -short.
func TestSpill(t *testing.T) {
	n := int64(40_000)
	if testing.Short() {
		n = 20_000
	}
	target := mapreduce.Local{Slots: 2, Workers: 2, Memory: 16 << 20}
	source := memio.Generate(n, makePage).Cut(5)
	type digest struct{ N, Hash int64 } // of records, in order
	add := func(d *digest, x page) {
		d.N++
		d.Hash = d.Hash*1000003 + x.ID + int64(x.Body[len(x.Body)-1])
	}
	want := map[string]digest{}
	lists := map[string][]page{}
	for i := range n {
		x := makePage(i)
		d := want[x.Host]
		add(&d, x)
		want[x.Host] = d
		lists[x.Host] = append(lists[x.Host], page{ID: x.ID, Body: x.Body[:1]})
	}
	check := func(t *testing.T, got []kv[string, digest]) {
		t.Helper()
		if len(got) != len(want) {
			t.Errorf("%d keys, want %d", len(got), len(want))
		}
		for _, r := range got {
			if r.Value != want[r.Key] {
				t.Fatalf("%s: %+v, want %+v", r.Key, r.Value, want[r.Key])
			}
		}
	}
	host := func(x page) string { return x.Host }
	digestOf := func(k string, values iter.Seq[page]) kv[string, digest] {
		var d digest
		for x := range values {
			add(&d, x)
		}
		return kv[string, digest]{Key: k, Value: d}
	}
	t.Run("GroupBy", func(t *testing.T) {
		check(t, run(t, target, func(p *mapreduce.Plan) mapreduce.Dataset[kv[string, digest]] {
			return mapreduce.GroupBy(mapreduce.Read(p, source), host, digestOf, mapreduce.Parallel(3))
		}))
	})
	t.Run("AggregateBy", func(t *testing.T) { // accumulators that hold whole records
		check(t, run(t, target, func(p *mapreduce.Plan) mapreduce.Dataset[kv[string, digest]] {
			all := agg.MapResult(agg.CollectList[page](int(n)), func(l []page) digest { return digestOf("", slices.Values(l)).Value })
			return mapreduce.AggregateBy(mapreduce.Read(p, source), host, all, mapreduce.Parallel(3))
		}))
	})
	t.Run("SortBy", func(t *testing.T) {
		rows := run(t, target, func(p *mapreduce.Plan) mapreduce.Dataset[page] {
			return mapreduce.SortBy(mapreduce.Read(p, source), host)
		})
		if len(rows) != int(n) {
			t.Fatalf("%d rows, want %d", len(rows), n)
		}
		for i := 1; i < len(rows); i++ {
			if c := strings.Compare(rows[i-1].Host, rows[i].Host); c > 0 || c == 0 && rows[i-1].ID >= rows[i].ID {
				t.Fatalf("row %d: %s %d stands before %s %d", i, rows[i-1].Host, rows[i-1].ID, rows[i].Host, rows[i].ID)
			}
			if x := makePage(rows[i].ID); !bytes.Equal(x.Body, rows[i].Body) {
				t.Fatalf("row %d: the body differs", i)
			}
		}
	})
	t.Run("Join", func(t *testing.T) { // one key whose left records do not fit
		const big = "one host"
		got := run(t, target, func(p *mapreduce.Plan) mapreduce.Dataset[int64] {
			left, right := mapreduce.Read(p, source), mapreduce.Read(p, memio.Of(1, 2, 3))
			sums := mapreduce.Join(left, right, func(page) string { return big }, func(int) string { return big },
				func(l page, r int) int64 { return int64(r)*l.ID + int64(l.Body[0]) })
			return mapreduce.Aggregate(sums, agg.Sum(func(n int64) int64 { return n }))
		})
		sum := 6 * n * (n - 1) / 2
		for _, l := range lists {
			for _, x := range l {
				sum += 3 * int64(x.Body[0])
			}
		}
		if !reflect.DeepEqual(got, []int64{sum}) {
			t.Fatalf("got %v, want %d", got, sum)
		}
	})
	t.Run("many keys", func(t *testing.T) { // more keys than fit into a table
		got := run(t, target, func(p *mapreduce.Plan) mapreduce.Dataset[kv[int64, int64]] {
			d := mapreduce.Read(p, memio.Generate(600_000, func(i int64) int64 { return i * 7919 % 300_000 }).Cut(3))
			return mapreduce.CountBy(d, func(i int64) int64 { return i })
		})
		if len(got) != 300_000 {
			t.Fatalf("%d keys, want 300000", len(got))
		}
		for _, r := range got {
			if r.Value != 2 {
				t.Fatalf("key %d: %d, want 2", r.Key, r.Value)
			}
		}
	})
}

package mapreduce_test

import (
	"cmp"
	"context"
	"flag"
	"fmt"
	"iter"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/layshaft/layshaft/mapreduce"
	"github.com/layshaft/layshaft/mapreduce/memio"
)

// The tests here, in operators_test.go, plans_test.go and spill_test.go run operators and plans on
// random data with random cuts. The number of workers and slots is random, and the memory is the
// minimum. The tests compare the rows with the result of a few lines of ordinary Go.

// more makes the random tests longer: go test ./mapreduce -more 20.
var more = flag.Uint64("more", 1, "factor for the number of random tests")

// item is a record of the models.
type item struct {
	ID    int64
	Brand string
	Shop  int8
	Price float64
	Tags  []string
}

type brandShop struct {
	Brand string
	Shop  int8
}

func (x item) brand() string { return x.Brand }

// scene is a random input and a random place to run.
type scene struct {
	r      *rand.Rand
	items  []item
	others []item
	target mapreduce.Target
}

func newScene(r *rand.Rand) *scene {
	s := &scene{r: r, target: randomTarget(r)}
	s.items, s.others = s.draw(r.IntN(400)), s.draw(r.IntN(60))
	return s
}

func randomTarget(r *rand.Rand) mapreduce.Target {
	slots := 1 + r.IntN(4)
	return mapreduce.Local{Slots: slots, Workers: max(1, r.IntN(2*slots)-slots), Memory: int64(slots) * 8 << 20}
}

func (s *scene) draw(n int) []item {
	brands := []string{"", "a", "a\x00", "a\x00b", "Acme", "Acme & Sons of Sheffield, Ltd.", "ä", "Bolt", "\xff"}
	prices := []float64{math.NaN(), math.Inf(-1), -1, math.Copysign(0, -1), 0, 0.5, 9.99, 1e300}
	all := make([]item, n)
	for i := range all {
		all[i] = item{ID: int64(i), Brand: brands[s.r.IntN(len(brands))], Shop: int8(s.r.IntN(5) - 2), Price: prices[s.r.IntN(len(prices))]}
		for range s.r.IntN(3) {
			all[i].Tags = append(all[i].Tags, brands[s.r.IntN(len(brands))])
		}
	}
	return all
}

// read reads the items in a random number of splits.
func (s *scene) read(p *mapreduce.Plan, items []item) mapreduce.Dataset[item] {
	return mapreduce.Read(p, memio.Slice(items).Cut(1+len(items)%7))
}

// parallel returns an option that sets a random number of partitions, and the number.
func (s *scene) parallel() (mapreduce.ParallelOption, int) {
	n := 1 + s.r.IntN(6)
	return mapreduce.Parallel(n), n
}

// run runs a plan.
func run[T any](t *testing.T, target mapreduce.Target, build func(p *mapreduce.Plan) mapreduce.Dataset[T]) []T {
	t.Helper()
	rows, err := mapreduce.Define("model", func(p *mapreduce.Plan, _ none) mapreduce.Dataset[T] { return build(p) }).Collect(context.Background(), target, none{})
	if err != nil {
		t.Fatal(err)
	}
	return rows
}

func text[T any](rows []T) []string {
	all := make([]string, len(rows))
	for i, r := range rows {
		all[i] = fmt.Sprintf("%#v", r)
	}
	return all
}

// same compares rows in order.
func same[T any](t *testing.T, got, want []T) {
	t.Helper()
	g, w := text(got), text(want)
	if slices.Equal(g, w) {
		return
	}
	for i := range max(len(g), len(w)) {
		if i >= len(g) || i >= len(w) || g[i] != w[i] {
			t.Fatalf("%d rows, want %d; they differ from row %d on:\n got %s\nwant %s", len(g), len(w), i, g[min(i, len(g)):min(i+3, len(g))], w[min(i, len(w)):min(i+3, len(w))])
		}
	}
}

// sameSet compares rows in any order.
func sameSet[T any](t *testing.T, got, want []T) {
	t.Helper()
	g, w := text(got), text(want)
	slices.Sort(g)
	slices.Sort(w)
	same(t, g, w)
}

// sameByKey compares rows in any order of partitions, and checks that the keys ascend within each
// of them.
func sameByKey[K any, T any](t *testing.T, got, want []T, parts int, key func(T) K, compare func(a, b K) int) {
	t.Helper()
	sameSet(t, got, want)
	falls := 0
	for i := 1; i < len(got); i++ {
		if compare(key(got[i-1]), key(got[i])) > 0 {
			falls++
		}
	}
	if falls >= parts {
		t.Fatalf("keys fall %d times in %d partitions", falls, parts)
	}
}

func comparePrices(a, b float64) int { // NaN last
	if a != a || b != b {
		return cmp.Compare(b, a)
	}
	return cmp.Compare(a, b)
}

func compareBrandShop(a, b brandShop) int {
	return cmp.Or(strings.Compare(a.Brand, b.Brand), cmp.Compare(a.Shop, b.Shop))
}

// groups returns the items of each key in their order.
func groups[K comparable](items []item, key func(item) K) map[K][]item {
	by := map[K][]item{}
	for _, x := range items {
		by[key(x)] = append(by[key(x)], x)
	}
	return by
}

func ids(items iter.Seq[item]) string {
	var b strings.Builder
	for x := range items {
		fmt.Fprint(&b, x.ID, " ")
	}
	return b.String()
}

type kv[K, V any] = mapreduce.KV[K, V]

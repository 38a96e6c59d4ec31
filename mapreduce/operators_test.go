package mapreduce_test

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"iter"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/layshaft/layshaft/mapreduce"
	"github.com/layshaft/layshaft/mapreduce/agg"
	"github.com/layshaft/layshaft/mapreduce/memio"
)

// operators holds one check for each operator.
var operators = map[string]func(t *testing.T, s *scene){
	"narrow": func(t *testing.T, s *scene) {
		ctxOK := func(ctx context.Context) bool { return ctx != nil && ctx.Err() == nil }
		got := run(t, s.target, func(p *mapreduce.Plan) mapreduce.Dataset[kv[int64, string]] {
			d := s.read(p, s.items).Filter(func(x item) bool { return x.Shop != 0 })
			d = d.TryFilter(func(ctx context.Context, x item) (bool, error) { return x.Price >= 0 && ctxOK(ctx), nil })
			d = mapreduce.TryMap(d, func(ctx context.Context, x item) (item, error) { x.ID *= 2; return x, nil })
			tags := mapreduce.FlatMap(d, func(x item) iter.Seq[item] {
				return func(yield func(item) bool) {
					for _, tag := range x.Tags {
						if !yield(item{ID: x.ID, Brand: tag}) {
							return
						}
					}
				}
			})
			twice := mapreduce.FlatMapEmit(tags, func(x item, emit func(item)) { emit(x); emit(item{ID: -x.ID, Brand: x.Brand}) })
			some := mapreduce.TryFlatMap(twice, func(ctx context.Context, x item, emit func(item)) error {
				if x.ID%3 != 0 && ctxOK(ctx) {
					emit(x)
				}
				return nil
			})
			keyed := mapreduce.KeyBy(mapreduce.Map(some, func(x item) item { x.Brand += "!"; return x }), item.brand)
			return mapreduce.Map(mapreduce.Values(keyed), func(x item) kv[int64, string] { return kv[int64, string]{Key: x.ID, Value: x.Brand} })
		})
		var want []kv[int64, string]
		for _, x := range s.items {
			if x.Shop == 0 || !(x.Price >= 0) {
				continue
			}
			for _, tag := range x.Tags {
				for _, id := range []int64{2 * x.ID, -2 * x.ID} {
					if id%3 != 0 {
						want = append(want, kv[int64, string]{Key: id, Value: tag + "!"})
					}
				}
			}
		}
		same(t, got, want)
	},
	"Union": func(t *testing.T, s *scene) {
		got := run(t, s.target, func(p *mapreduce.Plan) mapreduce.Dataset[item] {
			d, o := s.read(p, s.items), s.read(p, s.others)
			return mapreduce.Union(d, o, d.Filter(func(x item) bool { return x.Shop > 0 }), d)
		})
		want := slices.Concat(s.items, s.others, s.items)
		for _, x := range s.items {
			if x.Shop > 0 {
				want = append(want, x)
			}
		}
		sameSet(t, got, want)
	},
	"AggregateBy": func(t *testing.T, s *scene) {
		opt, parts := s.parallel()
		key := func(x item) brandShop { return brandShop{x.Brand, x.Shop} }
		got := run(t, s.target, func(p *mapreduce.Plan) mapreduce.Dataset[kv[brandShop, string]] {
			all := agg.MapResult(agg.CollectList[item](5), func(l []item) string { return ids(slices.Values(l)) })
			return mapreduce.AggregateBy(s.read(p, s.items), key, all, opt)
		})
		var want []kv[brandShop, string]
		for k, l := range groups(s.items, key) {
			want = append(want, kv[brandShop, string]{Key: k, Value: ids(slices.Values(l[:min(5, len(l))]))})
		}
		sameByKey(t, got, want, parts, func(r kv[brandShop, string]) brandShop { return r.Key }, compareBrandShop)
	},
	"Aggregate": func(t *testing.T, s *scene) {
		got := run(t, s.target, func(p *mapreduce.Plan) mapreduce.Dataset[int64] {
			return mapreduce.Aggregate(s.read(p, s.items), agg.Sum(func(x item) int64 { return x.ID }))
		})
		n := int64(len(s.items))
		same(t, got, []int64{n * (n - 1) / 2})
	},
	"ReduceByKey": func(t *testing.T, s *scene) { // values meet in order
		opt, parts := s.parallel()
		got := run(t, s.target, func(p *mapreduce.Plan) mapreduce.Dataset[kv[int8, string]] {
			d := mapreduce.Map(s.read(p, s.items), func(x item) kv[int8, string] { return kv[int8, string]{Key: x.Shop, Value: fmt.Sprint(x.ID, " ")} })
			return mapreduce.ReduceByKey(d, func(a, b string) string { return a + b }, opt)
		})
		var want []kv[int8, string]
		for k, l := range groups(s.items, func(x item) int8 { return x.Shop }) {
			want = append(want, kv[int8, string]{Key: k, Value: ids(slices.Values(l))})
		}
		sameByKey(t, got, want, parts, func(r kv[int8, string]) int8 { return r.Key }, cmp.Compare[int8])
	},
	"CountBy": func(t *testing.T, s *scene) {
		opt, parts := s.parallel()
		got := run(t, s.target, func(p *mapreduce.Plan) mapreduce.Dataset[kv[string, int64]] {
			return mapreduce.CountBy(s.read(p, s.items), item.brand, opt)
		})
		var want []kv[string, int64]
		for k, l := range groups(s.items, item.brand) {
			want = append(want, kv[string, int64]{Key: k, Value: int64(len(l))})
		}
		sameByKey(t, got, want, parts, func(r kv[string, int64]) string { return r.Key }, strings.Compare)
	},
	"Distinct": func(t *testing.T, s *scene) {
		opt, parts := s.parallel()
		got := run(t, s.target, func(p *mapreduce.Plan) mapreduce.Dataset[brandShop] {
			d := mapreduce.Map(s.read(p, s.items), func(x item) brandShop { return brandShop{x.Brand, x.Shop} })
			return mapreduce.Distinct(d, opt)
		})
		var want []brandShop
		for k := range groups(s.items, func(x item) brandShop { return brandShop{x.Brand, x.Shop} }) {
			want = append(want, k)
		}
		sameByKey(t, got, want, parts, func(k brandShop) brandShop { return k }, compareBrandShop)
	},
	"GroupBy": func(t *testing.T, s *scene) { // values come in the order read, and may be left
		opt, parts := s.parallel()
		take := s.r.IntN(6)
		got := run(t, s.target, func(p *mapreduce.Plan) mapreduce.Dataset[kv[string, string]] {
			return mapreduce.GroupBy(s.read(p, s.items), item.brand, func(k string, values iter.Seq[item]) kv[string, string] {
				var first []item
				if take > 0 {
					for x := range values {
						if first = append(first, x); len(first) == take {
							break
						}
					}
				}
				return kv[string, string]{Key: k, Value: ids(slices.Values(first))}
			}, opt)
		})
		var want []kv[string, string]
		for k, l := range groups(s.items, item.brand) {
			want = append(want, kv[string, string]{Key: k, Value: ids(slices.Values(l[:min(take, len(l))]))})
		}
		sameByKey(t, got, want, parts, func(r kv[string, string]) string { return r.Key }, strings.Compare)
	},
	"SortValues": func(t *testing.T, s *scene) {
		opt, parts := s.parallel()
		got := run(t, s.target, func(p *mapreduce.Plan) mapreduce.Dataset[kv[string, string]] {
			return mapreduce.TryGroupBy(s.read(p, s.items), item.brand, func(_ context.Context, k string, values iter.Seq[item], emit func(kv[string, string])) error {
				emit(kv[string, string]{Key: k, Value: ids(values)})
				if k == "a" {
					emit(kv[string, string]{Key: k, Value: "again"})
				}
				return nil
			}, opt, mapreduce.SortValues(func(x item) float64 { return x.Price }))
		})
		var want []kv[string, string]
		for k, l := range groups(s.items, item.brand) {
			slices.SortStableFunc(l, func(a, b item) int { return comparePrices(a.Price, b.Price) })
			want = append(want, kv[string, string]{Key: k, Value: ids(slices.Values(l))})
			if k == "a" {
				want = append(want, kv[string, string]{Key: k, Value: "again"})
			}
		}
		sameByKey(t, got, want, parts, func(r kv[string, string]) string { return r.Key }, strings.Compare)
	},
	"Join": func(t *testing.T, s *scene) {
		opt, parts := s.parallel()
		got := run(t, s.target, func(p *mapreduce.Plan) mapreduce.Dataset[kv[string, string]] {
			return mapreduce.Join(s.read(p, s.others), s.read(p, s.items), item.brand, item.brand, func(l, r item) kv[string, string] {
				return kv[string, string]{Key: l.Brand, Value: fmt.Sprint(l.ID, r.ID)}
			}, opt)
		})
		var want []kv[string, string]
		for _, r := range s.items {
			for _, l := range s.others {
				if l.Brand == r.Brand {
					want = append(want, kv[string, string]{Key: l.Brand, Value: fmt.Sprint(l.ID, r.ID)})
				}
			}
		}
		sameByKey(t, got, want, parts, func(r kv[string, string]) string { return r.Key }, strings.Compare)
	},
	"LeftJoin": func(t *testing.T, s *scene) {
		opt, _ := s.parallel()
		cheap := func(x item) bool { return x.Price < 1 && x.Shop < 0 }
		got := run(t, s.target, func(p *mapreduce.Plan) mapreduce.Dataset[string] {
			d := s.read(p, s.items)
			return mapreduce.LeftJoin(d, d.Filter(cheap), func(x item) brandShop { return brandShop{x.Brand, x.Shop} }, func(x item) brandShop { return brandShop{x.Brand, x.Shop} }, func(l item, r *item) string {
				if r == nil {
					return fmt.Sprint(l.ID, " alone")
				}
				return fmt.Sprint(l.ID, " ", r.ID)
			}, opt)
		})
		var want []string
		for _, l := range s.items {
			alone := true
			for _, r := range s.items {
				if cheap(r) && l.Brand == r.Brand && l.Shop == r.Shop {
					alone = false
					want = append(want, fmt.Sprint(l.ID, " ", r.ID))
				}
			}
			if alone {
				want = append(want, fmt.Sprint(l.ID, " alone"))
			}
		}
		sameSet(t, got, want)
	},
	"CoGroup": func(t *testing.T, s *scene) { // lefts may be ranged over twice, and rights be left
		opt, parts := s.parallel()
		got := run(t, s.target, func(p *mapreduce.Plan) mapreduce.Dataset[kv[string, string]] {
			return mapreduce.CoGroup(s.read(p, s.items), s.read(p, s.others), item.brand, item.brand,
				func(_ context.Context, k string, ls, rs iter.Seq[item], emit func(kv[string, string])) error {
					v := ids(ls) + "|" + ids(ls) + "|"
					if k != "Bolt" {
						v += ids(rs)
					}
					emit(kv[string, string]{Key: k, Value: v})
					return nil
				}, opt)
		})
		var want []kv[string, string]
		left, right := groups(s.items, item.brand), groups(s.others, item.brand)
		for k := range groups(slices.Concat(s.items, s.others), item.brand) {
			v := strings.Repeat(ids(slices.Values(left[k]))+"|", 2)
			if k != "Bolt" {
				v += ids(slices.Values(right[k]))
			}
			want = append(want, kv[string, string]{Key: k, Value: v})
		}
		sameByKey(t, got, want, parts, func(r kv[string, string]) string { return r.Key }, strings.Compare)
	},
	"BroadcastJoin": func(t *testing.T, s *scene) { // in the order of the left side; of equal right keys the last counts
		got := run(t, s.target, func(p *mapreduce.Plan) mapreduce.Dataset[string] {
			return mapreduce.BroadcastJoin(s.read(p, s.items), s.read(p, s.others), item.brand, item.brand, func(l item, r *item) string {
				if r == nil {
					return fmt.Sprint(l.ID, " alone")
				}
				return fmt.Sprint(l.ID, " ", r.ID)
			})
		})
		last := groups(s.others, item.brand)
		var want []string
		for _, l := range s.items {
			if rs := last[l.Brand]; len(rs) > 0 {
				want = append(want, fmt.Sprint(l.ID, " ", rs[len(rs)-1].ID))
			} else {
				want = append(want, fmt.Sprint(l.ID, " alone"))
			}
		}
		same(t, got, want)
	},
	"SortBy": func(t *testing.T, s *scene) { // stable, in total order
		opt, _ := s.parallel()
		opts, sign := []mapreduce.SortOption{opt}, 1
		if s.r.IntN(2) == 0 {
			opts, sign = append(opts, mapreduce.Descending()), -1
		}
		if s.r.IntN(2) == 0 {
			got := run(t, s.target, func(p *mapreduce.Plan) mapreduce.Dataset[item] {
				return mapreduce.SortBy(s.read(p, s.items), func(x item) float64 { return x.Price }, opts...)
			})
			want := slices.Clone(s.items)
			slices.SortStableFunc(want, func(a, b item) int { return sign * comparePrices(a.Price, b.Price) })
			same(t, got, want)
			return
		}
		got := run(t, s.target, func(p *mapreduce.Plan) mapreduce.Dataset[item] {
			return mapreduce.SortBy(s.read(p, s.items), func(x item) brandShop { return brandShop{x.Brand, x.Shop} }, opts...)
		})
		want := slices.Clone(s.items)
		slices.SortStableFunc(want, func(a, b item) int {
			return sign * compareBrandShop(brandShop{a.Brand, a.Shop}, brandShop{b.Brand, b.Shop})
		})
		same(t, got, want)
	},
	"Sort": func(t *testing.T, s *scene) {
		opt, _ := s.parallel()
		opts, sign := []mapreduce.SortOption{opt}, 1
		if s.r.IntN(2) == 0 {
			opts, sign = append(opts, mapreduce.Descending()), -1
		}
		got := run(t, s.target, func(p *mapreduce.Plan) mapreduce.Dataset[kv[string, int64]] {
			d := mapreduce.Map(s.read(p, s.items), func(x item) kv[string, int64] { return kv[string, int64]{Key: x.Brand, Value: x.ID} })
			return mapreduce.Sort(d, opts...)
		})
		var want []kv[string, int64]
		for _, x := range s.items {
			want = append(want, kv[string, int64]{Key: x.Brand, Value: x.ID})
		}
		slices.SortFunc(want, func(a, b kv[string, int64]) int { return sign * compareRows(a, b) })
		same(t, got, want)
	},
	"Top": func(t *testing.T, s *scene) { // of equal scores the first read come first
		n := s.r.IntN(20)
		got := run(t, s.target, func(p *mapreduce.Plan) mapreduce.Dataset[item] {
			return mapreduce.Top(s.read(p, s.items), n, func(x item) float64 { return x.Price })
		})
		want := slices.DeleteFunc(slices.Clone(s.items), func(x item) bool { return x.Price != x.Price })
		slices.SortStableFunc(want, func(a, b item) int { return cmp.Compare(b.Price, a.Price) })
		same(t, got, want[:min(n, len(want))])
	},
	"Sample": func(t *testing.T, s *scene) {
		n := s.r.IntN(40)
		got := run(t, s.target, func(p *mapreduce.Plan) mapreduce.Dataset[int64] {
			return mapreduce.Sample(mapreduce.Map(s.read(p, s.items), func(x item) int64 { return x.ID }), n, 7)
		})
		slices.Sort(got)
		if len(slices.Compact(got)) != min(n, len(s.items)) {
			t.Fatalf("%d different records of %d, want %d", len(got), len(s.items), n)
		}
		if len(got) > 0 && (got[0] < 0 || got[len(got)-1] >= int64(len(s.items))) {
			t.Fatal("a record that was not there")
		}
	},
	"PartitionBy": func(t *testing.T, s *scene) { // partitions come in order
		got := run(t, s.target, func(p *mapreduce.Plan) mapreduce.Dataset[int8] {
			return mapreduce.GroupBy(s.read(p, s.items), func(x item) int8 { return x.Shop }, func(k int8, _ iter.Seq[item]) int8 { return k },
				mapreduce.Parallel(5), mapreduce.PartitionBy(func(k int8, n int) int { return n - 1 - int(k+2) }))
		})
		want := []int8{}
		for _, k := range []int8{2, 1, 0, -1, -2} {
			if slices.ContainsFunc(s.items, func(x item) bool { return x.Shop == k }) {
				want = append(want, k)
			}
		}
		same(t, got, want)
	},
}

func TestOperators(t *testing.T) { checkModels(t, operators) }

func checkModels(t *testing.T, operators map[string]func(t *testing.T, s *scene)) {
	for name, check := range operators {
		t.Run(name, func(t *testing.T) {
			for seed := range 2 * *more {
				t.Run(fmt.Sprintf("seed=%d", seed), func(t *testing.T) {
					t.Parallel()
					check(t, newScene(rand.New(rand.NewPCG(seed, 0))))
				})
			}
		})
	}
}

// TestFlatMapOfNothing checks that a nil sequence means no records, and that an endless sequence
// ends with the job.
func TestFlatMapOfNothing(t *testing.T) {
	d := mapreduce.Define("flat", func(p *mapreduce.Plan, _ none) mapreduce.Dataset[int] {
		return mapreduce.FlatMap(mapreduce.Read(p, memio.Of(1, 2, 3, 4)), func(n int) iter.Seq[int] {
			if n%2 == 1 {
				return nil
			}
			return slices.Values([]int{n, 10 * n})
		})
	})
	got, err := d.Collect(t.Context(), mapreduce.Local{}, none{})
	if want := []int{2, 20, 4, 40}; err != nil || !slices.Equal(got, want) {
		t.Errorf("%v, %v; want %v", got, err, want)
	}
	endless := mapreduce.Define("endless", func(p *mapreduce.Plan, _ none) mapreduce.Dataset[int] {
		all := mapreduce.FlatMap(mapreduce.Read(p, memio.Of(1)), func(int) iter.Seq[int] {
			return func(yield func(int) bool) {
				for n := 0; yield(n); n++ {
				}
			}
		})
		return mapreduce.TryMap(all, func(_ context.Context, n int) (int, error) {
			if n == 1000 {
				return 0, mapreduce.Fatal(errors.New("enough"))
			}
			return n, nil
		})
	})
	_, err = endless.Collect(t.Context(), mapreduce.Local{}, none{})
	checkError(t, err, "enough")
}

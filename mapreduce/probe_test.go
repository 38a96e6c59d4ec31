package mapreduce_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/layshaft/layshaft/mapreduce"
	"github.com/layshaft/layshaft/mapreduce/agg"
	"github.com/layshaft/layshaft/mapreduce/memio"
)

type person struct {
	Key, Country string
	N            int64
}

type sale struct {
	Key    string
	Amount int64
}

// A join before an aggregate gives the sums of a model, whether its right tasks look up a table of
// the left side or find it too large.
func TestProbesAgainstModel(t *testing.T) {
	shuffled := map[int64]int64{} // bytes of the join of many lefts, by memory
	for _, x := range []struct {
		lefts, rights, keys int64
		memory              int64
	}{
		{0, 100, 10, 16 << 20},
		{100, 0, 10, 16 << 20},
		{1, 3000, 1, 16 << 20},
		{500, 3000, 7, 16 << 20},
		{900, 3000, 5000, 16 << 20},
		{60_000, 3000, 5000, 16 << 20},
		{60_000, 3000, 5000, 256 << 20},
	} {
		name := fmt.Sprintf("%d of %d keys, %d rights, %d MiB", x.lefts, x.keys, x.rights, x.memory>>20)
		t.Run(name, func(t *testing.T) {
			key := func(n int64) string { return strings.Repeat("k", int(n%20)) + fmt.Sprint(n)[:min(n, 1)] }
			personOf := func(i int64) person {
				r := rand.New(rand.NewPCG(uint64(i), 1))
				return person{key(r.Int64N(x.keys)) + fmt.Sprint(i%3), fmt.Sprint("country ", r.IntN(9)), i}
			}
			saleOf := func(i int64) sale {
				r := rand.New(rand.NewPCG(uint64(i), 2))
				return sale{key(r.Int64N(x.keys)*r.Int64N(2)) + fmt.Sprint(i%4), r.Int64N(1000)}
			}
			type sums struct{ Pairs, Sum int64 }
			model := map[string]sums{}
			byKey := map[string][]person{}
			for i := range x.lefts {
				p := personOf(i)
				byKey[p.Key] = append(byKey[p.Key], p)
			}
			for i := range x.rights {
				s := saleOf(i)
				for _, p := range byKey[s.Key] {
					m := model[p.Country]
					model[p.Country] = sums{m.Pairs + 1, m.Sum + s.Amount*p.N}
				}
			}
			type pair struct {
				Country string
				Product int64
			}
			d := mapreduce.Define("probe", func(p *mapreduce.Plan, _ none) mapreduce.Dataset[kv[string, sums]] {
				people := mapreduce.Read(p, memio.Generate(x.lefts, personOf).Cut(3))
				sales := mapreduce.Read(p, memio.Generate(x.rights, saleOf).Cut(4))
				pairs := mapreduce.Join(people, sales, func(p person) string { return p.Key }, func(s sale) string { return s.Key },
					func(p person, s sale) pair { return pair{p.Country, s.Amount * p.N} }, mapreduce.Parallel(3))
				return mapreduce.AggregateBy(pairs, func(p pair) string { return p.Country }, agg.Compose2(agg.Count[pair](),
					agg.Sum(func(p pair) int64 { return p.Product }), func(n, sum int64) sums { return sums{n, sum} }), mapreduce.Parallel(2))
			})
			target := mapreduce.Local{Slots: 2, Memory: x.memory}
			got := map[string]sums{}
			for row, err := range d.Run(context.Background(), target, none{}) {
				if err != nil {
					t.Fatal(err)
				}
				got[row.Key] = row.Value
			}
			if !maps.Equal(got, model) {
				t.Errorf("got %v, want %v", got, model)
			}
			if x.lefts > 1000 {
				j, err := d.Start(context.Background(), target, none{})
				if err == nil {
					err = j.Wait()
				}
				if err != nil {
					t.Fatal(err)
				}
				shuffled[x.memory] = j.Totals().Shuffled
			}
		})
	}
	if few, many := shuffled[16<<20], shuffled[256<<20]; few < many+10*3000 {
		t.Errorf("%d bytes shuffled with 16 MiB, %d with 256 MiB; with few, the right side must be shuffled too", few, many)
	}
}

// Right tasks look up only where nothing can tell the order of the pairs, and where no side may
// depend on the other.
func TestWhichJoinsProbe(t *testing.T) {
	number := func(n int64) int64 { return n }
	pair := func(l, r int64) int64 { return l + r }
	sum := agg.Sum(number)
	type numbers = mapreduce.Dataset[int64]
	for _, x := range []struct {
		name   string
		build  func(left, right numbers) mapreduce.Dataset[kv[int64, int64]]
		probes bool
	}{
		{"aggregate", func(l, r numbers) mapreduce.Dataset[kv[int64, int64]] {
			return mapreduce.AggregateBy(mapreduce.Join(l, r, number, number, pair), number, sum)
		}, true},
		{"map, filter, two aggregates", func(l, r numbers) mapreduce.Dataset[kv[int64, int64]] {
			j := mapreduce.Join(l, r, number, number, pair).Filter(func(n int64) bool { return n > 1 })
			a := mapreduce.AggregateBy(j, number, sum)
			return mapreduce.Union(a, mapreduce.AggregateBy(mapreduce.Map(j, func(n int64) int64 { return -n }), number, sum))
		}, true},
		{"left join", func(l, r numbers) mapreduce.Dataset[kv[int64, int64]] {
			return mapreduce.AggregateBy(mapreduce.LeftJoin(l, r, number, number, func(l int64, _ *int64) int64 { return l }), number, sum)
		}, false},
		{"rows too", func(l, r numbers) mapreduce.Dataset[kv[int64, int64]] {
			j := mapreduce.Join(l, r, number, number, pair)
			return mapreduce.Union(mapreduce.KeyBy(j, number), mapreduce.AggregateBy(j, number, sum))
		}, false},
		{"order", func(l, r numbers) mapreduce.Dataset[kv[int64, int64]] {
			last := agg.Agg[int64, int64, int64]{Add: func(a *int64, n int64) { *a = n }, Merge: func(a, b *int64) { *a = *b }, Result: func(a *int64) int64 { return *a }}
			return mapreduce.AggregateBy(mapreduce.Join(l, r, number, number, pair), number, last)
		}, false},
		{"needs", func(l, r numbers) mapreduce.Dataset[kv[int64, int64]] {
			return mapreduce.AggregateBy(mapreduce.Join(l, r, number, number, pair, mapreduce.Retry(2)), number, sum)
		}, false},
		{"with itself", func(l, _ numbers) mapreduce.Dataset[kv[int64, int64]] {
			return mapreduce.AggregateBy(mapreduce.Join(l, l, number, number, pair), number, sum)
		}, false},
		{"both ways", func(l, r numbers) mapreduce.Dataset[kv[int64, int64]] {
			a := mapreduce.AggregateBy(mapreduce.Join(l, r, number, number, pair), number, sum)
			return mapreduce.Union(a, mapreduce.AggregateBy(mapreduce.Join(r, l, number, number, pair), number, sum))
		}, true},
		{"left has right as its small side", func(l, r numbers) mapreduce.Dataset[kv[int64, int64]] {
			l = mapreduce.BroadcastJoin(l, r, number, number, func(l int64, _ *int64) int64 { return l })
			return mapreduce.AggregateBy(mapreduce.Join(l, r, number, number, pair), number, sum)
		}, false},
		{"left depends on right", func(_, r numbers) mapreduce.Dataset[kv[int64, int64]] {
			distinct := mapreduce.Map(mapreduce.AggregateBy(r, number, sum), func(p kv[int64, int64]) int64 { return p.Key })
			return mapreduce.AggregateBy(mapreduce.Join(distinct, r, number, number, pair), number, sum)
		}, false},
	} {
		t.Run(x.name, func(t *testing.T) {
			build := func(p *mapreduce.Plan) mapreduce.Dataset[kv[int64, int64]] {
				left := mapreduce.Read(p, memio.Generate(20, number))
				return x.build(left, mapreduce.Read(p, memio.Generate(30, func(i int64) int64 { return i / 2 })))
			}
			d := mapreduce.Define("which", func(p *mapreduce.Plan, _ none) mapreduce.Dataset[kv[int64, int64]] { return build(p) })
			if n, err := d.Probes([]byte("{}")); err != nil || (n > 0) != x.probes {
				t.Errorf("%d stages probe (%v), want some: %v", n, err, x.probes)
			}
			same(t, sortedRows(run(t, mapreduce.Local{Slots: 1, Memory: 8 << 20}, build)), sortedRows(run(t, mapreduce.Local{Slots: 2}, build)))
		})
	}
}

func sortedRows(rows []kv[int64, int64]) []string {
	all := text(rows)
	slices.Sort(all)
	return all
}

// A right task that runs again, after its output was lost with a worker, must send each record the
// same way, or pairs would be lost or count twice. Workers have different numbers of slots.
func TestProbesDecideTheSame(t *testing.T) {
	number := func(n int64) int64 { return n }
	d := mapreduce.Define("slots", func(p *mapreduce.Plan, _ none) mapreduce.Dataset[kv[int64, int64]] {
		left := mapreduce.Read(p, memio.Generate(100_000, number).Cut(2))
		right := mapreduce.Read(p, memio.Generate(1000, number).Cut(2))
		pairs := mapreduce.Join(left, right, number, number, func(l, r int64) int64 { return l + r }, mapreduce.Parallel(2))
		return mapreduce.AggregateBy(pairs, func(int64) int64 { return 0 }, agg.Sum(number), mapreduce.Parallel(2))
	})
	var shuffled []int64
	for _, slots := range []int{1, 16} {
		j, err := d.Start(context.Background(), mapreduce.Local{Slots: slots, Memory: int64(slots) * 16 << 20}, none{})
		if err == nil {
			err = j.Wait()
		}
		if err != nil {
			t.Fatal(err)
		}
		shuffled = append(shuffled, j.Totals().Shuffled)
	}
	if shuffled[0] != shuffled[1] {
		t.Errorf("%d bytes shuffled with 1 slot, %d with 16 of the same size", shuffled[0], shuffled[1])
	}
}

// Three left sides that are small together take too much memory to look up in all of them.
func TestManyProbes(t *testing.T) {
	number := func(n int64) int64 { return n }
	rows := run(t, mapreduce.Local{Slots: 1, Memory: 16 << 20}, func(p *mapreduce.Plan) mapreduce.Dataset[kv[int64, int64]] {
		right := mapreduce.Read(p, memio.Generate(1000, number))
		var all []mapreduce.Dataset[kv[int64, int64]]
		for i := range int64(3) {
			left := mapreduce.Read(p, memio.Generate(40_000, number))
			pairs := mapreduce.Join(left, right, number, number, func(_, _ int64) int64 { return i })
			all = append(all, mapreduce.AggregateBy(pairs, number, agg.Count[int64]()))
		}
		return mapreduce.Union(all[0], all[1:]...)
	})
	for i, row := range rows {
		if row.Value != 1000 {
			t.Errorf("row %d counts %d pairs, want 1000", i, row.Value)
		}
	}
	if len(rows) != 3 {
		t.Errorf("%d rows, want 3", len(rows))
	}
}

// A join that looks up right records in groups must not blame a later record than the bad one.
func TestPlaceOfProbe(t *testing.T) {
	number := func(n int64) int64 { return n }
	for name, bad := range map[string]func() error{
		"error": func() error { return errors.New("it is bad") },
		"skip":  func() error { return mapreduce.Skip(errors.New("it is bad")) },
		"panic": func() error { panic("it is bad") },
	} {
		t.Run(name, func(t *testing.T) {
			d := mapreduce.Define("place", func(p *mapreduce.Plan, _ none) mapreduce.Dataset[kv[int64, int64]] {
				left, right := mapreduce.Read(p, memio.Generate(9, number)), mapreduce.Read(p, memio.Generate(70, number))
				pairs := mapreduce.TryJoin(left, right, number, number, func(_ context.Context, _, r int64) (int64, error) {
					if r == 5 {
						return 0, bad()
					}
					return r, nil
				})
				return mapreduce.AggregateBy(pairs, number, agg.Count[int64](), mapreduce.Retry(1))
			})
			for _, err := range d.Run(context.Background(), mapreduce.Local{Slots: 1}, none{}) {
				if !strings.Contains(fmt.Sprint(err), "int64):6: ") {
					t.Errorf("the error does not name record 6: %v", err)
				}
			}
		})
	}
}

// With MaxBad a join shuffles, so its right tasks need not wait for the left side and hold it.
func TestNoProbesWithBadRecords(t *testing.T) {
	number := func(n int64) int64 { return n }
	d := mapreduce.Define("bad", func(p *mapreduce.Plan, _ none) mapreduce.Dataset[kv[int64, int64]] {
		left, right := mapreduce.Read(p, memio.Generate(9, number)), mapreduce.Read(p, memio.Generate(9, number))
		pairs := mapreduce.Join(left, right, number, number, func(l, r int64) int64 { return l + r })
		return mapreduce.AggregateBy(pairs, number, agg.Count[int64]())
	}, mapreduce.MaxBad(1))
	if n, err := d.Probes([]byte("{}")); n != 0 || err != nil {
		t.Errorf("%d stages probe, %v", n, err)
	}
}

// A right side whose parts come from one source passes the pairs of all parts on.
func TestPartsOfRightSide(t *testing.T) {
	number := func(n int64) int64 { return n }
	rows := run(t, mapreduce.Local{Slots: 2}, func(p *mapreduce.Plan) mapreduce.Dataset[kv[int64, int64]] {
		left, all := mapreduce.Read(p, memio.Generate(100, number)), mapreduce.Read(p, memio.Generate(100, number))
		odd := all.Filter(func(n int64) bool { return n%2 == 1 })
		right := mapreduce.Union(all.Filter(func(n int64) bool { return n%2 == 0 }), odd, odd)
		pairs := mapreduce.Join(left, right, number, number, func(_, r int64) int64 { return r })
		return mapreduce.AggregateBy(pairs, func(n int64) int64 { return n % 2 }, agg.Count[int64]())
	})
	if got, want := fmt.Sprint(sortedRows(rows)), fmt.Sprint(sortedRows([]kv[int64, int64]{{Key: 0, Value: 50}, {Key: 1, Value: 100}})); got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

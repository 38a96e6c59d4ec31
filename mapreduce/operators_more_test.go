package mapreduce_test

import (
	"cmp"
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/layshaft/layshaft/mapreduce"
	"github.com/layshaft/layshaft/mapreduce/memio"
)

// moreOperators holds one check for each operator that builds on the operators of operators_test.go.
var moreOperators = map[string]func(t *testing.T, s *scene){
	"FullJoin": func(t *testing.T, s *scene) {
		opt, parts := s.parallel()
		show := func(l, r *item) kv[string, string] {
			switch {
			case l == nil:
				return kv[string, string]{Key: r.Brand, Value: fmt.Sprint("-", r.ID)}
			case r == nil:
				return kv[string, string]{Key: l.Brand, Value: fmt.Sprint(l.ID, "-")}
			}
			return kv[string, string]{Key: r.Brand, Value: fmt.Sprint(l.ID, r.ID)}
		}
		lefts, rights := s.others[:len(s.others)/4], s.items[:len(s.items)/20]
		got := run(t, s.target, func(p *mapreduce.Plan) mapreduce.Dataset[kv[string, string]] {
			return mapreduce.FullJoin(s.read(p, lefts), s.read(p, rights), item.brand, item.brand, show, opt)
		})
		var want []kv[string, string]
		left, right := groups(lefts, item.brand), groups(rights, item.brand)
		for _, r := range rights {
			for _, l := range left[r.Brand] {
				want = append(want, show(&l, &r))
			}
			if left[r.Brand] == nil {
				want = append(want, show(nil, &r))
			}
		}
		for _, l := range lefts {
			if right[l.Brand] == nil {
				want = append(want, show(&l, nil))
			}
		}
		sameByKey(t, got, want, parts, func(r kv[string, string]) string { return r.Key }, strings.Compare)
	},
	"SemiJoin and AntiJoin": func(t *testing.T, s *scene) {
		opt, parts := s.parallel()
		key := func(x item) brandShop { return brandShop{x.Brand, x.Shop} }
		rights := groups(s.others, key)
		for _, with := range []bool{true, false} {
			got := run(t, s.target, func(p *mapreduce.Plan) mapreduce.Dataset[item] {
				if with {
					return mapreduce.SemiJoin(s.read(p, s.items), s.read(p, s.others), key, key, opt)
				}
				return mapreduce.AntiJoin(s.read(p, s.items), s.read(p, s.others), key, key, opt)
			})
			var want []item
			for _, x := range s.items {
				if (rights[key(x)] != nil) == with {
					want = append(want, x)
				}
			}
			sameByKey(t, got, want, parts, key, compareBrandShop)
		}
	},
	"TopBy": func(t *testing.T, s *scene) { // of equal scores the first read come first
		n := s.r.IntN(5)
		opt, parts := s.parallel()
		got := run(t, s.target, func(p *mapreduce.Plan) mapreduce.Dataset[item] {
			return mapreduce.TopBy(s.read(p, s.items), item.brand, n, func(x item) float64 { return x.Price }, opt)
		})
		var want []item
		for _, l := range groups(s.items, item.brand) {
			l = slices.DeleteFunc(l, func(x item) bool { return x.Price != x.Price })
			slices.SortStableFunc(l, func(a, b item) int { return cmp.Compare(b.Price, a.Price) })
			want = append(want, l[:min(n, len(l))]...)
		}
		sameByKey(t, got, want, parts, item.brand, strings.Compare)
	},
	"DistinctBy": func(t *testing.T, s *scene) {
		opt, parts := s.parallel()
		got := run(t, s.target, func(p *mapreduce.Plan) mapreduce.Dataset[item] {
			return mapreduce.DistinctBy(s.read(p, s.items), item.brand, opt)
		})
		var want []item
		for _, l := range groups(s.items, item.brand) {
			want = append(want, l[0])
		}
		sameByKey(t, got, want, parts, item.brand, strings.Compare)
	},
	"SampleBy": func(t *testing.T, s *scene) {
		n := s.r.IntN(20)
		got := run(t, s.target, func(p *mapreduce.Plan) mapreduce.Dataset[item] {
			return mapreduce.SampleBy(s.read(p, s.items), item.brand, n, 7)
		})
		drawn := groups(got, item.brand)
		for k, all := range groups(s.items, item.brand) {
			if d := drawn[k]; len(d) != min(n, len(all)) {
				t.Fatalf("%d of %d records of %q, want %d", len(d), len(all), k, n)
			}
		}
		seen := map[int64]bool{}
		for _, x := range got {
			if x.ID >= int64(len(s.items)) || s.items[x.ID].Brand != x.Brand || seen[x.ID] {
				t.Fatalf("record %d came twice, or was not there", x.ID)
			}
			seen[x.ID] = true
		}
	},
	"WithIndex": func(t *testing.T, s *scene) {
		opt, _ := s.parallel()
		got := run(t, s.target, func(p *mapreduce.Plan) mapreduce.Dataset[kv[int64, item]] {
			d := mapreduce.SortBy(s.read(p, s.items), func(x item) string { return x.Brand }, opt)
			return mapreduce.WithIndex(d.Filter(func(x item) bool { return x.Shop != 0 }))
		})
		sorted := slices.Clone(s.items)
		slices.SortStableFunc(sorted, func(a, b item) int { return strings.Compare(a.Brand, b.Brand) })
		var want []kv[int64, item]
		for _, x := range sorted {
			if x.Shop != 0 {
				want = append(want, kv[int64, item]{Key: int64(len(want)), Value: x})
			}
		}
		same(t, got, want)
	},
	"WithIndex of a union": func(t *testing.T, s *scene) { // of the same Read, and of another
		got := run(t, s.target, func(p *mapreduce.Plan) mapreduce.Dataset[kv[int64, item]] {
			d := s.read(p, s.items)
			return mapreduce.WithIndex(mapreduce.Union(d, s.read(p, s.others), d.Filter(func(x item) bool { return x.Shop > 0 })))
		})
		want := slices.Concat(s.items, s.others, slices.DeleteFunc(slices.Clone(s.items), func(x item) bool { return x.Shop <= 0 }))
		var items []item
		for i, row := range got {
			if row.Key != int64(i) {
				t.Fatalf("row %d has number %d", i, row.Key)
			}
			items = append(items, row.Value)
		}
		sameSet(t, items, want)
	},
	"Zip": func(t *testing.T, s *scene) {
		opt, _ := s.parallel()
		n := min(len(s.items), len(s.others))
		got := run(t, s.target, func(p *mapreduce.Plan) mapreduce.Dataset[string] {
			return mapreduce.Zip(s.read(p, s.items[:n]), mapreduce.Read(p, memio.Slice(s.others[:n]).Cut(3)), func(l, r item) string {
				return fmt.Sprint(l.ID, l.Brand, " ", r.ID, r.Brand)
			}, opt)
		})
		var want []string
		for i := range n {
			want = append(want, fmt.Sprint(s.items[i].ID, s.items[i].Brand, " ", s.others[i].ID, s.others[i].Brand))
		}
		sameSet(t, got, want)
	},
	"Repartition": func(t *testing.T, s *scene) {
		n := 1 + s.r.IntN(5)
		got := run(t, s.target, func(p *mapreduce.Plan) mapreduce.Dataset[item] {
			return mapreduce.Repartition(s.read(p, s.items), n)
		})
		same(t, got, s.items)
	},
	"Branch": func(t *testing.T, s *scene) { // f runs once for each record
		n := 1 + s.r.IntN(4)
		choose := func(x item) int { return int(x.Shop+2)%(n+1) - 1 }
		d := mapreduce.Define("branches", func(p *mapreduce.Plan, _ none) mapreduce.Dataset[none] {
			calls := mapreduce.NewCounter(p, "calls")
			for i, b := range mapreduce.Branch(s.read(p, s.items), n, func(x item) int { calls.Add(1); return choose(x) }) {
				mapreduce.Output(p, fmt.Sprint("branch ", i), b)
			}
			return mapreduce.Nothing(p)
		})
		j, err := d.Start(t.Context(), s.target, none{})
		if err != nil {
			t.Fatal(err)
		}
		defer j.Close()
		for i := range n {
			var got []item
			for x, err := range mapreduce.Rows[item](j, fmt.Sprint("branch ", i)) {
				if err != nil {
					t.Fatal(err)
				}
				got = append(got, x)
			}
			var want []item
			for _, x := range s.items {
				if choose(x) == i {
					want = append(want, x)
				}
			}
			same(t, got, want)
		}
		if err := j.Wait(); err != nil {
			t.Fatal(err)
		}
		if calls := j.Counters()["calls"]; calls != int64(len(s.items)) {
			t.Errorf("%d calls for %d records", calls, len(s.items))
		}
	},
	"Cross": func(t *testing.T, s *scene) { // in the order of the left side, then of the small side
		small := s.others[:len(s.others)/6]
		got := run(t, s.target, func(p *mapreduce.Plan) mapreduce.Dataset[string] {
			return mapreduce.Cross(s.read(p, s.items), s.read(p, small), max(1, len(small)), func(l, r item) string {
				return fmt.Sprint(l.ID, " ", r.ID, r.Brand, r.Tags)
			})
		})
		var want []string
		for _, l := range s.items {
			for _, r := range small {
				want = append(want, fmt.Sprint(l.ID, " ", r.ID, r.Brand, r.Tags))
			}
		}
		same(t, got, want)
	},
}

func TestMoreOperators(t *testing.T) { checkModels(t, moreOperators) }

// TestRepartitionIsEven writes many records in 3 partitions, and counts them in each task.
func TestRepartitionIsEven(t *testing.T) {
	const n = 100_000
	sizes := run(t, mapreduce.Local{Slots: 2}, func(p *mapreduce.Plan) mapreduce.Dataset[int] {
		d := mapreduce.Repartition(mapreduce.Read(p, memio.Generate(n, func(i int64) string { return fmt.Sprint("record ", i) }).Cut(7)), 3)
		return mapreduce.MapTask(d, func(_ context.Context, _ mapreduce.Task, emit func(int)) (func(string) error, func() error) {
			size := 0
			return func(string) error { size++; return nil }, func() error { emit(size); return nil }
		})
	})
	slices.Sort(sizes)
	if len(sizes) != 3 || sizes[0] < n/3*8/10 || sizes[2] > n/3*12/10 || sizes[0]+sizes[1]+sizes[2] != n {
		t.Errorf("sizes %v, want about %d each", sizes, n/3)
	}
}

// TestGuards checks the errors of operators whose data does not fit them.
func TestGuards(t *testing.T) {
	numbers := func(p *mapreduce.Plan, n int64) mapreduce.Dataset[int64] {
		return mapreduce.Read(p, memio.Generate(n, func(i int64) int64 { return i }).Cut(2))
	}
	add := func(a, b int64) int64 { return a + b }
	for _, c := range []struct {
		name  string
		build func(p *mapreduce.Plan) mapreduce.Dataset[int64]
		want  []string
	}{
		{"longer left", func(p *mapreduce.Plan) mapreduce.Dataset[int64] {
			return mapreduce.Zip(numbers(p, 7), numbers(p, 6), add)
		},
			[]string{"zip at operators_more_test.go", "only the left side has a record with number 6", "same length"}},
		{"longer right", func(p *mapreduce.Plan) mapreduce.Dataset[int64] {
			return mapreduce.Zip(numbers(p, 0), numbers(p, 1), add)
		},
			[]string{"only the right side has a record with number 0"}},
		{"cross", func(p *mapreduce.Plan) mapreduce.Dataset[int64] {
			return mapreduce.Cross(numbers(p, 2), numbers(p, 5), 4, add)
		}, []string{"cross at operators_more_test.go", "more than 4 records"}},
		{"branch", func(p *mapreduce.Plan) mapreduce.Dataset[int64] {
			return mapreduce.Branch(numbers(p, 3), 2, func(i int64) int { return int(i) })[0]
		}, []string{"branch at operators_more_test.go", "its function returned 2", "from 0 to 1"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := mapreduce.Define("guards", func(p *mapreduce.Plan, _ none) mapreduce.Dataset[int64] { return c.build(p) }).
				Collect(t.Context(), randomTarget(rand.New(rand.NewPCG(1, 1))), none{})
			checkError(t, err, c.want...)
		})
	}
}

package mapreduce_test

import (
	"bytes"
	"cmp"
	"context"
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

// TestParallelForAllOfAPlan gives the number of partitions to Define; an operator may override it.
func TestParallelForAllOfAPlan(t *testing.T) {
	var out bytes.Buffer
	d := mapreduce.Define("all", func(p *mapreduce.Plan, _ none) mapreduce.Dataset[kv[int64, int64]] {
		counts := mapreduce.CountBy(mapreduce.Read(p, memio.Of[int64](1, 2)), func(i int64) int64 { return i })
		return mapreduce.Sort(counts, mapreduce.Parallel(3))
	}, mapreduce.Parallel(7))
	if _, err := d.Collect(t.Context(), mapreduce.Local{Reporting: mapreduce.Reporting{Explain: true, Out: &out}}, none{}); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(out.String(), "3 stages, 11 tasks") {
		t.Errorf("explained as\n%s", &out)
	}
}

// pair is the record of the random plans.
type pair = kv[string, int64]

func compareRows(a, b pair) int {
	return cmp.Or(strings.Compare(a.Key, b.Key), cmp.Compare(a.Value, b.Value))
}

// step is one operator of a random plan, in the engine and in the model.
type step struct {
	name   string
	engine func(p *mapreduce.Plan, d mapreduce.Dataset[pair]) mapreduce.Dataset[pair]
	model  func(rows []pair) []pair
	sorted bool // the rows come in the order of compareRows
}

// fold returns one row for each key.
func fold(rows []pair, f func(k string, vs []int64) int64) []pair {
	by := map[string][]int64{}
	for _, r := range rows {
		by[r.Key] = append(by[r.Key], r.Value)
	}
	var all []pair
	for k, vs := range by {
		all = append(all, pair{Key: k, Value: f(k, vs)})
	}
	return all
}

func total(vs []int64) (n int64) {
	for _, v := range vs {
		n += v
	}
	return n
}

func keyOf(r pair) string  { return r.Key }
func valueOf(r pair) int64 { return r.Value }

func mapRows(rows []pair, f func(pair, func(pair))) (all []pair) {
	for _, r := range rows {
		f(r, func(x pair) { all = append(all, x) })
	}
	return all
}

// score ranks rows so that only equal rows have equal scores.
func score(r pair) float64 {
	h := uint64(r.Value)
	for _, c := range []byte(r.Key) {
		h = h*1099511628211 + uint64(c) + 1
	}
	return float64(h * 0x9e3779b97f4a7c15 >> 12)
}

// chain draws a chain of two to six steps from the grammar.
func chain(r *rand.Rand, parallel func() mapreduce.ParallelOption) (steps []step) {
	table := make([]pair, r.IntN(20)) // the other side of joins
	for i := range table {
		table[i] = pair{Key: fmt.Sprint("k", r.IntN(12)), Value: int64(r.IntN(5))}
	}
	unique := fold(table, func(_ string, vs []int64) int64 { return vs[0] })
	other := func(p *mapreduce.Plan, rows []pair) mapreduce.Dataset[pair] {
		return mapreduce.Read(p, memio.Slice(rows).Cut(3))
	}
	slices.SortFunc(unique, compareRows)
	value := map[string]int64{}
	for _, u := range unique {
		value[u.Key] = u.Value
	}
	type dataset = mapreduce.Dataset[pair]
	narrow := func(name string, f func(pair, func(pair))) step {
		return step{name: name, engine: func(_ *mapreduce.Plan, d dataset) dataset { return mapreduce.FlatMapEmit(d, f) }, model: func(rows []pair) []pair { return mapRows(rows, f) }}
	}
	grammar := []func() step{
		func() step {
			return narrow("rekey", func(r pair, emit func(pair)) { emit(pair{Key: fmt.Sprint("k", r.Value%12), Value: r.Value + 1}) })
		},
		func() step {
			return narrow("fan", func(r pair, emit func(pair)) {
				if r.Value%3 != 0 {
					emit(r)
				}
				if r.Value%4 == 0 {
					emit(pair{Key: r.Key + "\x00", Value: -r.Value})
				}
			})
		},
		func() step {
			opt := parallel()
			return step{name: "ReduceByKey", engine: func(_ *mapreduce.Plan, d dataset) dataset {
				return mapreduce.ReduceByKey(d, func(a, b int64) int64 { return a + b }, opt)
			}, model: func(rows []pair) []pair { return fold(rows, func(_ string, vs []int64) int64 { return total(vs) }) }}
		},
		func() step {
			opt := parallel()
			return step{name: "AggregateBy max", engine: func(_ *mapreduce.Plan, d dataset) dataset {
				return mapreduce.AggregateBy(d, keyOf, agg.MapResult(agg.Max(valueOf), func(m agg.Maybe[int64]) int64 { return m.Value }), opt)
			}, model: func(rows []pair) []pair {
				return fold(rows, func(_ string, vs []int64) int64 { return slices.Max(vs) })
			}}
		},
		func() step {
			opt := parallel()
			return step{name: "CountBy", engine: func(_ *mapreduce.Plan, d dataset) dataset { return mapreduce.CountBy(d, keyOf, opt) },
				model: func(rows []pair) []pair {
					return fold(rows, func(_ string, vs []int64) int64 { return int64(len(vs)) })
				}}
		},
		func() step {
			opt := parallel()
			return step{name: "Distinct", engine: func(_ *mapreduce.Plan, d dataset) dataset { return mapreduce.Distinct(d, opt) },
				model: func(rows []pair) []pair {
					rows = slices.Clone(rows)
					slices.SortFunc(rows, compareRows)
					return slices.Compact(rows)
				}}
		},
		func() step { // a number that depends on the order of the values
			opt := parallel()
			digest := func(vs iter.Seq[int64]) (n int64) {
				for v := range vs {
					n = n*31%1000003 + v
				}
				return n
			}
			return step{name: "GroupBy sorted", engine: func(_ *mapreduce.Plan, d dataset) dataset {
				return mapreduce.GroupBy(d, keyOf, func(k string, rows iter.Seq[pair]) pair {
					return pair{Key: k, Value: digest(func(yield func(int64) bool) {
						for r := range rows {
							if !yield(r.Value) {
								return
							}
						}
					})}
				}, opt, mapreduce.SortValues(valueOf))
			}, model: func(rows []pair) []pair {
				return fold(rows, func(_ string, vs []int64) int64 { slices.Sort(vs); return digest(slices.Values(vs)) })
			}}
		},
		func() step {
			opt := parallel()
			return step{name: "Join", engine: func(p *mapreduce.Plan, d dataset) dataset {
				return mapreduce.Join(other(p, unique), d, keyOf, keyOf, func(l, r pair) pair { return pair{Key: l.Key, Value: l.Value + r.Value} }, opt)
			}, model: func(rows []pair) []pair {
				return mapRows(rows, func(r pair, emit func(pair)) {
					if v, ok := value[r.Key]; ok {
						emit(pair{Key: r.Key, Value: v + r.Value})
					}
				})
			}}
		},
		func() step {
			opt := parallel()
			return step{name: "LeftJoin", engine: func(p *mapreduce.Plan, d dataset) dataset {
				return mapreduce.LeftJoin(d, other(p, unique), keyOf, keyOf, func(l pair, r *pair) pair {
					if r != nil {
						l.Value -= r.Value
					}
					return l
				}, opt)
			}, model: func(rows []pair) []pair {
				return mapRows(rows, func(r pair, emit func(pair)) { emit(pair{Key: r.Key, Value: r.Value - value[r.Key]}) })
			}}
		},
		func() step {
			return step{name: "BroadcastJoin", engine: func(p *mapreduce.Plan, d dataset) dataset {
				return mapreduce.BroadcastJoin(d, other(p, unique), keyOf, keyOf, func(l pair, r *pair) pair {
					if r == nil {
						return pair{Key: "none", Value: l.Value}
					}
					return pair{Key: l.Key, Value: l.Value * (1 + r.Value)}
				})
			}, model: func(rows []pair) []pair {
				return mapRows(rows, func(r pair, emit func(pair)) {
					if v, ok := value[r.Key]; ok {
						emit(pair{Key: r.Key, Value: r.Value * (1 + v)})
					} else {
						emit(pair{Key: "none", Value: r.Value})
					}
				})
			}}
		},
		func() step {
			opt := parallel()
			return step{name: "FullJoin", engine: func(p *mapreduce.Plan, d dataset) dataset {
				return mapreduce.FullJoin(other(p, unique), d, keyOf, keyOf, func(l, r *pair) pair {
					switch {
					case l == nil:
						return pair{Key: r.Key, Value: 3 * r.Value}
					case r == nil:
						return pair{Key: l.Key, Value: -l.Value}
					}
					return pair{Key: r.Key, Value: r.Value + l.Value}
				}, opt)
			}, model: func(rows []pair) []pair {
				seen := map[string]bool{}
				all := mapRows(rows, func(r pair, emit func(pair)) {
					seen[r.Key] = true
					if v, ok := value[r.Key]; ok {
						emit(pair{Key: r.Key, Value: r.Value + v})
					} else {
						emit(pair{Key: r.Key, Value: 3 * r.Value})
					}
				})
				for _, u := range unique {
					if !seen[u.Key] {
						all = append(all, pair{Key: u.Key, Value: -u.Value})
					}
				}
				return all
			}}
		},
		func() step { // where d comes from a source, its tasks may look its rows up
			opt := parallel()
			sum := agg.Sum(valueOf)
			pairOf := func(l, r pair) pair { return pair{Key: l.Key, Value: l.Value + r.Value} }
			isOdd := func(r pair) bool { return r.Value%2 != 0 }
			negative := func(r pair) pair { return pair{Key: r.Key, Value: -r.Value} }
			return step{name: "joins of parts, sums", engine: func(p *mapreduce.Plan, d dataset) dataset {
				a := mapreduce.Join(other(p, table), mapreduce.Union(d, d.Filter(isOdd)), keyOf, keyOf, pairOf, opt)
				b := mapreduce.Join(other(p, unique), d, keyOf, keyOf, pairOf, opt)
				c := mapreduce.Join(d, other(p, table), keyOf, keyOf, pairOf, opt)
				return mapreduce.Union(mapreduce.AggregateBy(a, keyOf, sum), mapreduce.AggregateBy(mapreduce.Map(b, negative), keyOf, sum, opt), mapreduce.AggregateBy(c, keyOf, sum))
			}, model: func(rows []pair) []pair {
				joined := func(lefts, rights []pair) (all []pair) {
					for _, l := range lefts {
						for _, r := range rights {
							if l.Key == r.Key {
								all = append(all, pairOf(l, r))
							}
						}
					}
					return all
				}
				odd := mapRows(rows, func(r pair, emit func(pair)) {
					if isOdd(r) {
						emit(r)
					}
				})
				plus := func(_ string, vs []int64) int64 { return total(vs) }
				all := fold(joined(table, slices.Concat(rows, odd)), plus)
				for _, r := range fold(joined(unique, rows), plus) {
					all = append(all, negative(r))
				}
				return append(all, fold(joined(rows, table), plus)...)
			}}
		},
		func() step {
			opt := parallel()
			return step{name: "SemiJoin", engine: func(p *mapreduce.Plan, d dataset) dataset {
				return mapreduce.SemiJoin(d, other(p, table), keyOf, keyOf, opt)
			}, model: func(rows []pair) []pair {
				return mapRows(rows, func(r pair, emit func(pair)) {
					if _, ok := value[r.Key]; ok {
						emit(r)
					}
				})
			}}
		},
		func() step {
			n, opt := r.IntN(4), parallel()
			return step{name: "TopBy", engine: func(_ *mapreduce.Plan, d dataset) dataset { return mapreduce.TopBy(d, keyOf, n, score, opt) },
				model: func(rows []pair) (all []pair) {
					rows = slices.Clone(rows)
					slices.SortFunc(rows, func(a, b pair) int { return cmp.Compare(score(b), score(a)) })
					taken := map[string]int{}
					for _, r := range rows {
						if taken[r.Key]++; taken[r.Key] <= n {
							all = append(all, r)
						}
					}
					return all
				}}
		},
		func() step {
			n := 1 + r.IntN(5)
			return step{name: "Repartition", engine: func(_ *mapreduce.Plan, d dataset) dataset { return mapreduce.Repartition(d, n) }, model: slices.Clone[[]pair]}
		},
		func() step { // the numbers depend on the order of rows, so only their sum is compared
			return step{name: "WithIndex", engine: func(_ *mapreduce.Plan, d dataset) dataset {
				return mapreduce.Map(mapreduce.Aggregate(mapreduce.WithIndex(d), agg.Compose2(
					agg.Sum(func(x kv[int64, pair]) int64 { return x.Key }), agg.Sum(func(x kv[int64, pair]) int64 { return x.Value.Value }),
					func(a, b int64) int64 { return 7*a + b })), func(n int64) pair { return pair{Key: "numbers", Value: n} })
			}, model: func(rows []pair) []pair {
				sum := int64(0)
				for i, r := range rows {
					sum += 7*int64(i) + r.Value
				}
				return []pair{{Key: "numbers", Value: sum}}
			}}
		},
		func() step {
			return step{name: "Branch", engine: func(_ *mapreduce.Plan, d dataset) dataset {
				b := mapreduce.Branch(d, 3, func(r pair) int { return int((r.Value%4+4)%4) - 1 })
				return mapreduce.Union(b[2], mapreduce.Map(b[0], func(r pair) pair { r.Value *= 2; return r }), b[2])
			}, model: func(rows []pair) []pair {
				return mapRows(rows, func(r pair, emit func(pair)) {
					switch (r.Value%4 + 4) % 4 {
					case 1:
						emit(pair{Key: r.Key, Value: 2 * r.Value})
					case 3:
						emit(r)
						emit(r)
					}
				})
			}}
		},
		func() step {
			opt := parallel()
			return step{name: "CoGroup", engine: func(p *mapreduce.Plan, d dataset) dataset {
				return mapreduce.CoGroup(d, other(p, table), keyOf, keyOf, func(_ context.Context, k string, ls, rs iter.Seq[pair], emit func(pair)) error {
					n := int64(0)
					for r := range rs {
						n += r.Value
					}
					for l := range ls {
						n += 10 * l.Value
					}
					emit(pair{Key: k, Value: n})
					return nil
				}, opt)
			}, model: func(rows []pair) []pair {
				rows = mapRows(rows, func(r pair, emit func(pair)) { emit(pair{Key: r.Key, Value: 10 * r.Value}) })
				return fold(append(rows, table...), func(_ string, vs []int64) int64 { return total(vs) })
			}}
		},
		func() step {
			return step{name: "Union", engine: func(p *mapreduce.Plan, d dataset) dataset {
				return mapreduce.Union(d, other(p, table), mapreduce.Map(d, func(r pair) pair { r.Value++; return r }))
			}, model: func(rows []pair) []pair {
				more := mapRows(rows, func(r pair, emit func(pair)) { emit(pair{Key: r.Key, Value: r.Value + 1}) })
				return slices.Concat(rows, table, more)
			}}
		},
		func() step {
			opt := parallel()
			return step{name: "Sort", sorted: true, engine: func(_ *mapreduce.Plan, d dataset) dataset { return mapreduce.Sort(d, opt) }, model: slices.Clone[[]pair]}
		},
		func() step {
			opt := parallel()
			return step{name: "SortBy value", engine: func(_ *mapreduce.Plan, d dataset) dataset {
				return mapreduce.SortBy(d, valueOf, opt, mapreduce.Descending())
			}, model: slices.Clone[[]pair]}
		},
		func() step {
			n := r.IntN(50)
			return step{name: "Top", engine: func(_ *mapreduce.Plan, d dataset) dataset { return mapreduce.Top(d, n, score) },
				model: func(rows []pair) []pair {
					rows = slices.Clone(rows)
					slices.SortFunc(rows, func(a, b pair) int { return cmp.Compare(score(b), score(a)) })
					return rows[:min(n, len(rows))]
				}}
		},
		func() step {
			return step{name: "Aggregate", engine: func(_ *mapreduce.Plan, d dataset) dataset {
				return mapreduce.Map(mapreduce.Aggregate(d, agg.Sum(valueOf)), func(n int64) pair { return pair{Key: "all", Value: n} })
			}, model: func(rows []pair) []pair {
				sum := int64(0)
				for _, r := range rows {
					sum += r.Value
				}
				return []pair{{Key: "all", Value: sum}}
			}}
		},
	}
	for range 2 + r.IntN(5) {
		steps = append(steps, grammar[r.IntN(len(grammar))]())
	}
	return steps
}

func chainName(steps []step) string {
	var names []string
	for _, s := range steps {
		names = append(names, s.name)
	}
	return strings.Join(names, " > ")
}

func randomRows(r *rand.Rand, n int) []pair {
	rows := make([]pair, n)
	for i := range rows {
		rows[i] = pair{Key: fmt.Sprint("k", r.IntN(20)), Value: int64(r.IntN(300) - 100)}
	}
	return rows
}

// TestRandomPlans compares chains of operators with the same chain in the model.
func TestRandomPlans(t *testing.T) {
	for seed := range 25 * *more {
		t.Run(fmt.Sprintf("seed=%d", seed), func(t *testing.T) {
			t.Parallel()
			r := rand.New(rand.NewPCG(seed, 0))
			input, cut := randomRows(r, r.IntN(500)), 1+r.IntN(8)
			steps := chain(r, func() mapreduce.ParallelOption { return mapreduce.Parallel(r.IntN(6)) }) // 0 is the default
			t.Log(chainName(steps))
			got := run(t, randomTarget(r), func(p *mapreduce.Plan) mapreduce.Dataset[pair] {
				d := mapreduce.Read(p, memio.Slice(input).Cut(cut))
				for _, s := range steps {
					d = s.engine(p, d)
				}
				return d
			})
			want := input
			for _, s := range steps {
				want = s.model(want)
			}
			sameSet(t, got, want)
			if steps[len(steps)-1].sorted && !slices.IsSortedFunc(got, compareRows) {
				t.Error("the rows are not sorted")
			}
		})
	}
}

// TestSameRowsInTheSameOrder runs a plan on different numbers of workers and slots, with different
// memory. Only the numbers of splits and partitions may change the order of rows.
func TestSameRowsInTheSameOrder(t *testing.T) {
	for seed := range 4 * *more {
		t.Run(fmt.Sprintf("seed=%d", seed), func(t *testing.T) {
			t.Parallel()
			r := rand.New(rand.NewPCG(seed, 1))
			input, cut := randomRows(r, 300+r.IntN(500)), 1+r.IntN(8)
			steps := chain(r, func() mapreduce.ParallelOption { return mapreduce.Parallel(1 + r.IntN(5)) })
			t.Log(chainName(steps))
			var first []pair
			for i, target := range []mapreduce.Local{{Slots: 1}, {Slots: 4, Workers: 3, Memory: 32 << 20}, {Slots: 2, Memory: 16 << 20}, {Slots: 3, Workers: 3, Memory: 1 << 30}} {
				rows := run(t, target, func(p *mapreduce.Plan) mapreduce.Dataset[pair] {
					d := mapreduce.Read(p, memio.Slice(input).Cut(cut))
					for _, s := range steps {
						d = s.engine(p, d)
					}
					return d
				})
				if i == 0 {
					first = rows
				}
				same(t, rows, first)
			}
		})
	}
}

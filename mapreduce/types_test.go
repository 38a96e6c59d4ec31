package mapreduce_test

import (
	"context"
	"go/ast"
	"go/parser"
	"go/token"
	"iter"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/layshaft/layshaft/mapreduce"
	"github.com/layshaft/layshaft/mapreduce/agg"
	"github.com/layshaft/layshaft/mapreduce/memio"
	"github.com/layshaft/layshaft/mapreduce/window"
)

// A sealed record cannot be encoded, and a list cannot be a key.
type (
	sealed struct{ Done chan int }
	list   []int
)

// TestEveryTypeIsChecked gives each operator a record that cannot be encoded, and a key that cannot
// be one. The plan must be refused before anything runs, with the operator's place and the type.
func TestEveryTypeIsChecked(t *testing.T) {
	type plan = *mapreduce.Plan
	ints := func(p plan) mapreduce.Dataset[int] { return mapreduce.Read(p, memio.Of(1, 2, 3)) }
	// Operators that call a function per record may take sealed records, since nothing stores them.
	seals := func(p plan) mapreduce.Dataset[sealed] {
		return mapreduce.Map(ints(p), func(int) sealed { return sealed{} })
	}
	lists := func(p plan) mapreduce.Dataset[mapreduce.KV[list, int]] {
		return mapreduce.KeyBy(ints(p), func(int) list { return nil })
	}
	self := func(n int) int { return n }
	one := func(sealed) int { return 1 }
	toList := func(int) list { return nil }
	at := func(int) time.Time { return time.Time{} }
	count := agg.Count[int]()
	record := map[string]func(p plan){
		"AntiJoin": func(p plan) { mapreduce.AntiJoin(seals(p), ints(p), one, self) },
		"BroadcastJoin": func(p plan) {
			mapreduce.BroadcastJoin(ints(p), seals(p), self, one, func(int, *sealed) int { return 0 })
		},
		"CoGroup": func(p plan) {
			mapreduce.CoGroup(ints(p), seals(p), self, one, func(context.Context, int, iter.Seq[int], iter.Seq[sealed], func(int)) error { return nil })
		},
		"Cross":      func(p plan) { mapreduce.Cross(ints(p), seals(p), 9, func(int, sealed) int { return 0 }) },
		"Distinct":   func(p plan) { mapreduce.Distinct(seals(p)) },
		"DistinctBy": func(p plan) { mapreduce.DistinctBy(seals(p), one) },
		"FlatMapSide": func(p plan) {
			mapreduce.FlatMapSide(ints(p), seals(p), func(iter.Seq[sealed]) (int, int64, error) { return 0, 0, nil }, func(context.Context, int, int, func(int)) error { return nil })
		},
		"FullJoin": func(p plan) {
			mapreduce.FullJoin(ints(p), seals(p), self, one, func(*int, *sealed) int { return 0 })
		},
		"GroupBy": func(p plan) { mapreduce.GroupBy(seals(p), one, func(int, iter.Seq[sealed]) int { return 0 }) },
		"Join":    func(p plan) { mapreduce.Join(ints(p), seals(p), self, one, func(int, sealed) int { return 0 }) },
		"Lag": func(p plan) {
			window.Lag(seals(p), one, one, 1, func(*sealed, sealed) int { return 0 })
		},
		"LeftJoin": func(p plan) {
			mapreduce.LeftJoin(ints(p), seals(p), self, one, func(int, *sealed) int { return 0 })
		},
		"Persist": func(p plan) { mapreduce.Persist(seals(p)) },
		"ReduceByKey": func(p plan) {
			mapreduce.ReduceByKey(mapreduce.KeyBy(seals(p), one), func(a, _ sealed) sealed { return a })
		},
		"Repartition": func(p plan) { mapreduce.Repartition(seals(p), 2) },
		"Running": func(p plan) {
			window.Running(seals(p), one, one, agg.Count[sealed](), func(sealed, int64) int { return 0 })
		},
		"Sample":   func(p plan) { mapreduce.Sample(seals(p), 3, 1) },
		"SampleBy": func(p plan) { mapreduce.SampleBy(seals(p), one, 3, 1) },
		"SemiJoin": func(p plan) { mapreduce.SemiJoin(seals(p), ints(p), one, self) },
		"Sessions": func(p plan) {
			window.Sessions(seals(p), one, func(sealed) time.Time { return time.Time{} }, time.Minute, agg.Count[sealed]())
		},
		"Sort":   func(p plan) { mapreduce.Sort(seals(p)) },
		"SortBy": func(p plan) { mapreduce.SortBy(seals(p), one) },
		"Top":    func(p plan) { mapreduce.Top(seals(p), 3, one) },
		"TopBy":  func(p plan) { mapreduce.TopBy(seals(p), one, 3, one) },
		"TryBroadcastJoin": func(p plan) {
			mapreduce.TryBroadcastJoin(ints(p), seals(p), self, one, func(context.Context, int, *sealed) (int, error) { return 0, nil })
		},
		"TryGroupBy": func(p plan) {
			mapreduce.TryGroupBy(seals(p), one, func(context.Context, int, iter.Seq[sealed], func(int)) error { return nil })
		},
		"TryJoin": func(p plan) {
			mapreduce.TryJoin(ints(p), seals(p), self, one, func(context.Context, int, sealed) (int, error) { return 0, nil })
		},
		"TryLeftJoin": func(p plan) {
			mapreduce.TryLeftJoin(ints(p), seals(p), self, one, func(context.Context, int, *sealed) (int, error) { return 0, nil })
		},
		"WithIndex": func(p plan) { mapreduce.WithIndex(seals(p)) },
		"Zip":       func(p plan) { mapreduce.Zip(ints(p), seals(p), func(int, sealed) int { return 0 }) },
		"First":     func(p plan) { window.First(seals(p), one, one) },
		"Last":      func(p plan) { window.Last(seals(p), one, one) },
		"Aggregate": func(p plan) { mapreduce.Aggregate(seals(p), agg.First[sealed]()) },
		"AggregateBy": func(p plan) {
			mapreduce.AggregateBy(seals(p), one, agg.CollectList[sealed](3))
		},
		"Output": func(p plan) { mapreduce.Output(p, "sealed", seals(p)) },
	}
	key := map[string]func(p plan){
		"AggregateBy": func(p plan) { mapreduce.AggregateBy(ints(p), toList, count) },
		"AntiJoin":    func(p plan) { mapreduce.AntiJoin(ints(p), ints(p), toList, toList) },
		"BroadcastJoin": func(p plan) {
			mapreduce.BroadcastJoin(ints(p), ints(p), toList, toList, func(int, *int) int { return 0 })
		},
		"CoGroup": func(p plan) {
			mapreduce.CoGroup(ints(p), ints(p), toList, toList, func(context.Context, list, iter.Seq[int], iter.Seq[int], func(int)) error { return nil })
		},
		"CountBy":     func(p plan) { mapreduce.CountBy(ints(p), toList) },
		"Distinct":    func(p plan) { mapreduce.Distinct(lists(p)) },
		"DistinctBy":  func(p plan) { mapreduce.DistinctBy(ints(p), toList) },
		"First":       func(p plan) { window.First(ints(p), toList, self) },
		"FullJoin":    func(p plan) { mapreduce.FullJoin(ints(p), ints(p), toList, toList, func(*int, *int) int { return 0 }) },
		"GroupBy":     func(p plan) { mapreduce.GroupBy(ints(p), toList, func(list, iter.Seq[int]) int { return 0 }) },
		"Join":        func(p plan) { mapreduce.Join(ints(p), ints(p), toList, toList, func(int, int) int { return 0 }) },
		"Lag":         func(p plan) { window.Lag(ints(p), toList, self, 1, func(*int, int) int { return 0 }) },
		"Last":        func(p plan) { window.Last(ints(p), self, toList) },
		"LeftJoin":    func(p plan) { mapreduce.LeftJoin(ints(p), ints(p), toList, toList, func(int, *int) int { return 0 }) },
		"ReduceByKey": func(p plan) { mapreduce.ReduceByKey(lists(p), func(a, _ int) int { return a }) },
		"Running": func(p plan) {
			window.Running(ints(p), toList, self, count, func(int, int64) int { return 0 })
		},
		"SampleBy": func(p plan) { mapreduce.SampleBy(ints(p), toList, 3, 1) },
		"SemiJoin": func(p plan) { mapreduce.SemiJoin(ints(p), ints(p), toList, toList) },
		"Sessions": func(p plan) { window.Sessions(ints(p), toList, at, time.Minute, count) },
		"Sort":     func(p plan) { mapreduce.Sort(lists(p)) },
		"SortBy":   func(p plan) { mapreduce.SortBy(ints(p), toList) },
		"TopBy":    func(p plan) { mapreduce.TopBy(ints(p), toList, 3, self) },
		"TryBroadcastJoin": func(p plan) {
			mapreduce.TryBroadcastJoin(ints(p), ints(p), toList, toList, func(context.Context, int, *int) (int, error) { return 0, nil })
		},
		"TryGroupBy": func(p plan) {
			mapreduce.TryGroupBy(ints(p), toList, func(context.Context, list, iter.Seq[int], func(int)) error { return nil })
		},
		"TryJoin": func(p plan) {
			mapreduce.TryJoin(ints(p), ints(p), toList, toList, func(context.Context, int, int) (int, error) { return 0, nil })
		},
		"TryLeftJoin": func(p plan) {
			mapreduce.TryLeftJoin(ints(p), ints(p), toList, toList, func(context.Context, int, *int) (int, error) { return 0, nil })
		},
	}
	check := func(kind, mention string, plans map[string]func(p plan)) {
		for op, build := range plans {
			t.Run(kind+"/"+op, func(t *testing.T) {
				err := refusal(func(p plan) mapreduce.Dataset[int] { build(p); return ints(p) })
				checkError(t, err, "plan broken: types_test.go:", mention)
			})
		}
	}
	check("record", "Done is chan int", record)
	check("key", "mapreduce_test.list", key)

	// These operators hand records from function to function, or change the plan only.
	perRecord := []string{"Branch", "Filter", "FlatMap", "FlatMapEmit", "KeyBy", "Map", "MapTask", "MergeTask", "Read", "TryFilter", "TryFlatMap", "TryKeyBy", "TryMap", "Union", "Values", "WriteTo"}
	for _, op := range operatorNames(t, ".", "window") {
		if record[op] == nil && key[op] == nil && !slices.Contains(perRecord, op) {
			t.Errorf("no types are tried with %s: add it to this test", op)
		}
	}
}

// operatorNames returns the exported functions of the packages in dirs that take a Dataset, and the
// exported methods of Dataset.
func operatorNames(t *testing.T, dirs ...string) []string {
	var names []string
	for _, dir := range dirs {
		paths, err := filepath.Glob(filepath.Join(dir, "*.go"))
		if err != nil {
			t.Fatal(err)
		}
		for _, path := range paths {
			if strings.HasSuffix(path, "_test.go") {
				continue
			}
			f, err := parser.ParseFile(token.NewFileSet(), path, nil, 0)
			if err != nil {
				t.Fatal(err)
			}
			for _, d := range f.Decls {
				fn, ok := d.(*ast.FuncDecl)
				if !ok || !fn.Name.IsExported() {
					continue
				}
				params := fn.Type.Params.List
				if fn.Recv != nil {
					params = fn.Recv.List
				}
				if takesDataset(params) {
					names = append(names, fn.Name.Name)
				}
			}
		}
	}
	return names
}

func takesDataset(params []*ast.Field) bool {
	return slices.ContainsFunc(params, func(p *ast.Field) bool {
		generic, ok := p.Type.(*ast.IndexExpr)
		if !ok {
			return false
		}
		name := generic.X
		if qualified, ok := name.(*ast.SelectorExpr); ok {
			name = qualified.Sel
		}
		id, ok := name.(*ast.Ident)
		return ok && id.Name == "Dataset"
	})
}

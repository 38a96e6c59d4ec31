package mapreduce_test

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/layshaft/layshaft/mapreduce"
	"github.com/layshaft/layshaft/mapreduce/agg"
	"github.com/layshaft/layshaft/mapreduce/jsonio"
	"github.com/layshaft/layshaft/mapreduce/memio"
	"github.com/layshaft/layshaft/mapreduce/textio"
)

type none = mapreduce.None

// refusal runs a plan that cannot work, without a place for files, and returns the error.
func refusal[T any](build func(p *mapreduce.Plan) mapreduce.Dataset[T]) error {
	return refusalOf(mapreduce.Define("broken", func(p *mapreduce.Plan, _ none) mapreduce.Dataset[T] { return build(p) }), none{})
}

func refusalOf[P, T any](d *mapreduce.Definition[P, T], params P) error {
	j, err := d.Start(context.Background(), mapreduce.Local{}, params)
	if err == nil {
		_ = j.Close()
	}
	return err
}

type (
	waiting struct {
		Name string
		Deep []struct{ Done map[string]chan int }
	}
	ask struct {
		Question string
		Answer   func() string
	}
)

// TestRefusedPlans checks that impossible plans are refused before anything runs. The error must
// name the operator, its place, the problem, and a way to solve it.
func TestRefusedPlans(t *testing.T) {
	numbers := func(p *mapreduce.Plan) mapreduce.Dataset[int] { return mapreduce.Read(p, memio.Of(1, 2, 3)) }
	self := func(n int) int { return n }
	var stolen mapreduce.Dataset[int]
	for _, c := range []struct {
		name string
		err  error
		want []string // parts of the error
	}{
		{"channel in rows", refusal(func(p *mapreduce.Plan) mapreduce.Dataset[waiting] {
			return mapreduce.Map(numbers(p), func(int) waiting { return waiting{} })
		}), []string{"plan broken: refused_test.go:", ": Map: ", "mapreduce_test.waiting.Deep[].Done[] is chan int", "leave it out of the record"}},
		{"nothing needed", refusal(func(p *mapreduce.Plan) mapreduce.Dataset[int] {
			return mapreduce.Map(numbers(p), self, mapreduce.Needs("pg", 0))
		}), []string{"refused_test.go:", ": Map: ", `Needs("pg", 0): use 1 or more`}},
		{"a budget without a name", refusal(func(p *mapreduce.Plan) mapreduce.Dataset[int] {
			return mapreduce.Map(numbers(p), self, mapreduce.Needs("", 1))
		}), []string{`Needs("", 1)`}},
		{"channel in a group", refusal(func(p *mapreduce.Plan) mapreduce.Dataset[int] {
			w := mapreduce.Map(numbers(p), func(int) waiting { return waiting{} })
			return mapreduce.GroupBy(w, func(w waiting) string { return w.Name }, func(string, iter.Seq[waiting]) int { return 0 })
		}), []string{"plan broken: refused_test.go:", ": GroupBy: ", "mapreduce_test.waiting.Deep[].Done[] is chan int"}},
		{"channel in a join", refusal(func(p *mapreduce.Plan) mapreduce.Dataset[int] {
			w := mapreduce.Map(numbers(p), func(int) waiting { return waiting{} })
			return mapreduce.Join(numbers(p), w, self, func(waiting) int { return 0 }, func(int, waiting) int { return 0 })
		}), []string{": Join: ", "mapreduce_test.waiting.Deep[].Done[] is chan int"}},
		{"channel in a small side", refusal(func(p *mapreduce.Plan) mapreduce.Dataset[int] {
			w := mapreduce.Map(numbers(p), func(int) waiting { return waiting{} })
			return mapreduce.BroadcastJoin(numbers(p), w, self, func(waiting) int { return 0 }, func(int, *waiting) int { return 0 })
		}), []string{": BroadcastJoin: ", "mapreduce_test.waiting.Deep[].Done[] is chan int"}},
		{"channel in an output", refusal(func(p *mapreduce.Plan) mapreduce.Dataset[int] {
			mapreduce.Output(p, "waiting", mapreduce.Map(numbers(p), func(int) waiting { return waiting{} }))
			return numbers(p)
		}), []string{"mapreduce_test.waiting.Deep[].Done[] is chan int"}},
		{"function in an accumulator", refusal(func(p *mapreduce.Plan) mapreduce.Dataset[int] {
			return mapreduce.Aggregate(numbers(p), agg.Agg[int, ask, int]{Add: func(*ask, int) {}, Merge: func(_, _ *ask) {}, Result: func(*ask) int { return 0 }})
		}), []string{": Aggregate: ", "mapreduce_test.ask.Answer is func() string"}},
		{"interface in a record", refusal(func(p *mapreduce.Plan) mapreduce.Dataset[error] {
			return mapreduce.Map(numbers(p), func(int) error { return nil })
		}), []string{": Map: ", "type error cannot be encoded", "use a concrete type"}},
		{"map as a key", refusal(func(p *mapreduce.Plan) mapreduce.Dataset[mapreduce.KV[map[string]int, int64]] {
			return mapreduce.CountBy(numbers(p), func(int) map[string]int { return nil })
		}), []string{": CountBy: ", "map[string]int", "a key is made of booleans, numbers, strings, time.Time, and arrays and structs of those"}},
		{"slice in a sort key", refusal(func(p *mapreduce.Plan) mapreduce.Dataset[int] {
			return mapreduce.SortBy(numbers(p), func(int) struct{ Path []string } { return struct{ Path []string }{} })
		}), []string{": SortBy: ", ".Path is []string"}},
		{"slice in distinct records", refusal(func(p *mapreduce.Plan) mapreduce.Dataset[[]int] {
			return mapreduce.Distinct(mapreduce.Map(numbers(p), func(int) []int { return nil }))
		}), []string{": Distinct: ", "[]int"}},
		{"aggregate without functions", refusal(func(p *mapreduce.Plan) mapreduce.Dataset[int] {
			return mapreduce.Aggregate(numbers(p), agg.Agg[int, int, int]{Add: func(*int, int) {}})
		}), []string{": Aggregate: an Agg needs the functions Add, Merge and Result"}},
		{"distinct pointers", refusal(func(p *mapreduce.Plan) mapreduce.Dataset[int64] {
			return mapreduce.Aggregate(numbers(p), agg.CountDistinct(func(int) *int { return nil }))
		}), []string{"refused_test.go:", ": Aggregate: key *int is of type *int; keys may contain only strings, numbers and bools"}},
		{"distinct times", refusal(func(p *mapreduce.Plan) mapreduce.Dataset[mapreduce.KV[int, int64]] {
			distinct := agg.CountDistinctApprox(func(int) time.Time { return time.Time{} })
			return mapreduce.AggregateBy(numbers(p), self, agg.Compose2(agg.Count[int](), distinct, func(_, n int64) int64 { return n }))
		}), []string{": AggregateBy: key time.Time.", "is of type *time.Location"}},
		{"distinct interfaces in maps", refusal(func(p *mapreduce.Plan) mapreduce.Dataset[int] {
			type sets struct {
				By map[string][]*agg.Set[[2]*int]
			}
			return mapreduce.Aggregate(numbers(p), agg.Agg[int, sets, int]{Add: func(*sets, int) {}, Merge: func(_, _ *sets) {}, Result: func(*sets) int { return 0 }})
		}), []string{": Aggregate: key [2]*int[] is of type *int"}},
		{"aggregate with an error", refusal(func(p *mapreduce.Plan) mapreduce.Dataset[int] {
			a := agg.Agg[int, int, int]{Err: errors.New("a share of 120 %")}
			return mapreduce.Aggregate(numbers(p), agg.Over(agg.MapResult(agg.Where(a, func(int) bool { return true }), self), self))
		}), []string{": Aggregate: a share of 120 %"}},
		{"PartitionBy of another key", refusal(func(p *mapreduce.Plan) mapreduce.Dataset[mapreduce.KV[int, int64]] {
			return mapreduce.AggregateBy(numbers(p), self, agg.Count[int](), mapreduce.PartitionBy(func(string, int) int { return 0 }))
		}), []string{": AggregateBy: PartitionBy was given a func(string, int) int; its keys are int, so it needs a func(int, int) int"}},
		{"SortValues of other values", refusal(func(p *mapreduce.Plan) mapreduce.Dataset[int] {
			return mapreduce.GroupBy(numbers(p), self, func(int, iter.Seq[int]) int { return 0 }, mapreduce.SortValues(func(s string) string { return s }))
		}), []string{": GroupBy: SortValues sorts other values; the values of this group are int"}},
		{"SortValues by a slice", refusal(func(p *mapreduce.Plan) mapreduce.Dataset[int] {
			return mapreduce.GroupBy(numbers(p), self, func(int, iter.Seq[int]) int { return 0 }, mapreduce.SortValues(func(int) []byte { return nil }))
		}), []string{": GroupBy: SortValues: ", "[]uint8"}},
		{"two outputs with one name", refusal(func(p *mapreduce.Plan) mapreduce.Dataset[int] {
			mapreduce.Output(p, "rest", numbers(p))
			mapreduce.Output(p, "rest", numbers(p))
			return numbers(p)
		}), []string{`two outputs are named "rest"; give each its own name`}},
		{"output without a name", refusal(func(p *mapreduce.Plan) mapreduce.Dataset[int] {
			mapreduce.Output(p, "", numbers(p))
			return numbers(p)
		}), []string{"an output needs a name; the empty name belongs to the plan's own rows"}},
		{"too many partitions", refusal(func(p *mapreduce.Plan) mapreduce.Dataset[int] {
			return mapreduce.Sort(numbers(p), mapreduce.Parallel(1<<16+1))
		}), []string{": Sort: Parallel(65537): use 1 to 65536 partitions, or 0 for the default"}},
		{"fewer than no partitions", refusal(func(p *mapreduce.Plan) mapreduce.Dataset[int] {
			return mapreduce.Sort(numbers(p), mapreduce.Parallel(-1))
		}), []string{"Parallel(-1): use 1 to 65536 partitions"}},
		{"one place twice", refusal(func(p *mapreduce.Plan) mapreduce.Dataset[none] {
			text := mapreduce.Map(numbers(p), func(int) string { return "" })
			text.WriteTo(textio.Write("out"))
			text.WriteTo(textio.Write("out"))
			return mapreduce.Nothing(p)
		}), []string{`two datasets are written to textio.Write("out"); give each its own place, or join them by Union`}},
		{"no sink", refusal(func(p *mapreduce.Plan) mapreduce.Dataset[int] {
			numbers(p).WriteTo(nil)
			return numbers(p)
		}), []string{"WriteTo: the sink is nil"}},
		{"no source", refusal(func(p *mapreduce.Plan) mapreduce.Dataset[int] {
			return mapreduce.Read[int](p, nil)
		}), []string{": Read: the source is nil"}},
		{"dataset of another plan", refusal(func(p *mapreduce.Plan) mapreduce.Dataset[int] {
			if stolen == (mapreduce.Dataset[int]{}) {
				stolen = numbers(p)
				return stolen
			}
			return mapreduce.Union(numbers(p), stolen)
		}), []string{": Union: its input belongs to another plan"}},
		{"rows of another plan", refusal(func(p *mapreduce.Plan) mapreduce.Dataset[int] { return stolen }),
			[]string{"plan broken: Define's function must return a dataset of its own plan, or mapreduce.Nothing(p)"}},
		{"no dataset", refusal(func(p *mapreduce.Plan) mapreduce.Dataset[int] { return mapreduce.Dataset[int]{} }),
			[]string{"must return a dataset of its own plan"}},
		{"bad counter", refusal(func(p *mapreduce.Plan) mapreduce.Dataset[int] {
			mapreduce.NewCounter(p, ".mine")
			return numbers(p)
		}), []string{": NewCounter: counter name \".mine\" is empty or begins with a dot"}},
		{"small side made of the large one", refusal(func(p *mapreduce.Plan) mapreduce.Dataset[int] {
			n := numbers(p)
			return mapreduce.BroadcastJoin(n, n.Filter(func(int) bool { return true }), self, self, func(int, *int) int { return 0 })
		}), []string{": Read: its records are joined with a small side from the same Read", "call Read a second time"}},
		{"every trouble at once", refusal(func(p *mapreduce.Plan) mapreduce.Dataset[int] {
			mapreduce.NewCounter(p, "")
			numbers(p).WriteTo(nil)
			return numbers(p)
		}), []string{"counter name", "the sink is nil"}},
		{"one place, spelled in two ways", refusal(func(p *mapreduce.Plan) mapreduce.Dataset[none] {
			text := mapreduce.Map(numbers(p), func(int) string { return "" })
			text.WriteTo(textio.Write("out"))
			text.WriteTo(jsonio.Write[string]("./x/../out"))
			return mapreduce.Nothing(p)
		}), []string{`jsonio.Write("./x/../out") writes to the same place as textio.Write("out"), /`, "give each its own"}},
		{"one place inside the other", refusal(func(p *mapreduce.Plan) mapreduce.Dataset[none] {
			text := mapreduce.Map(numbers(p), func(int) string { return "" })
			text.WriteTo(textio.WriteFile("out/all.txt"))
			text.WriteTo(textio.Write("out"))
			return mapreduce.Nothing(p)
		}), []string{`textio.WriteFile("out/all.txt") writes inside the place of textio.Write("out"); give each its own`}},
		{"no place", refusal(func(p *mapreduce.Plan) mapreduce.Dataset[none] {
			mapreduce.Map(numbers(p), func(int) string { return "" }).WriteTo(textio.Write(""))
			return mapreduce.Nothing(p)
		}), []string{"the path of the output directory is empty"}},
		{"no path", refusal(func(p *mapreduce.Plan) mapreduce.Dataset[string] {
			return mapreduce.Read(p, textio.Lines(""))
		}), []string{`textio.Lines(""): a path is empty`}},
		{"map without a function", refusal(func(p *mapreduce.Plan) mapreduce.Dataset[int] {
			return mapreduce.Map[int, int](numbers(p), nil)
		}), []string{"refused_test.go:", ": Map: its function is nil; it needs a func(int) int"}},
		{"join without keys", refusal(func(p *mapreduce.Plan) mapreduce.Dataset[int] {
			return mapreduce.Join[int, int, int, int](numbers(p), numbers(p), nil, nil, nil)
		}), []string{": Join: its left key is nil", ": Join: its right key is nil", ": Join: its function is nil"}},
		{"sum of nothing", refusal(func(p *mapreduce.Plan) mapreduce.Dataset[string] {
			a := agg.Where(agg.Sum[int, int](nil), func(int) bool { return true })
			return mapreduce.Aggregate(numbers(p), agg.Compose2(agg.Count[int](), a, func(int64, int) string { return "" }))
		}), []string{": Aggregate: an Agg needs the functions Add, Merge and Result; an aggregate of package agg lacks them if it was made with a nil function"}},
		{"PartitionBy without a function", refusal(func(p *mapreduce.Plan) mapreduce.Dataset[mapreduce.KV[int, int64]] {
			return mapreduce.CountBy(numbers(p), self, mapreduce.PartitionBy[int](nil))
		}), []string{": CountBy: the function given to PartitionBy is nil"}},
		{"SortValues without a function", refusal(func(p *mapreduce.Plan) mapreduce.Dataset[int] {
			return mapreduce.GroupBy(numbers(p), self, func(int, iter.Seq[int]) int { return 0 }, mapreduce.SortValues[int, int](nil))
		}), []string{": GroupBy: SortValues: its function is nil"}},
		{"no option", refusal(func(p *mapreduce.Plan) mapreduce.Dataset[int] {
			return mapreduce.Map(numbers(p), self, mapreduce.Named("x"), nil)
		}), []string{": Map: option 2 of 2 is nil"}},
		{"zero dataset", refusal(func(p *mapreduce.Plan) mapreduce.Dataset[int] {
			var d mapreduce.Dataset[int]
			return mapreduce.Map(d, self)
		}), []string{"plan broken: refused_test.go:", "a zero Dataset is used"}},
		{"no plan", refusal(func(p *mapreduce.Plan) mapreduce.Dataset[int] { return numbers(nil) }), []string{": Read: its plan is nil"}},
		{"fewer than no rows", refusal(func(p *mapreduce.Plan) mapreduce.Dataset[int] {
			return mapreduce.Sample(mapreduce.Top(numbers(p), -3, self), -4, 1)
		}), []string{": Top: it cannot keep -3 records", ": Sample: it cannot keep -4 records"}},
		{"impossible numbers", refusal(func(p *mapreduce.Plan) mapreduce.Dataset[int] {
			d := mapreduce.SampleBy(mapreduce.TopBy(numbers(p), self, -5, self), self, -6, 1)
			mapreduce.Branch(d, -7, self)
			mapreduce.Cross(d, numbers(p), 0, func(a, _ int) int { return a })
			return mapreduce.Repartition(d, 0)
		}), []string{": TopBy: it cannot keep -5 records", ": SampleBy: it cannot keep -6", ": Branch: it cannot make -7 branches", ": Cross: it cannot allow 0 small", ": Repartition: it cannot make 0 partitions"}},
		{"operators without functions", refusal(func(p *mapreduce.Plan) mapreduce.Dataset[int] {
			mapreduce.FullJoin[int, int, int, int](numbers(p), numbers(p), nil, nil, nil)
			mapreduce.SemiJoin[int, int, int](numbers(p), numbers(p), nil, nil)
			mapreduce.Zip[int, int, int](numbers(p), numbers(p), nil)
			mapreduce.Cross[int, int, int](numbers(p), numbers(p), 1, nil)
			return mapreduce.DistinctBy[int, int](numbers(p), nil)
		}), []string{": FullJoin: its left key is nil", ": FullJoin: its function is nil", ": SemiJoin: its right key is nil", ": Zip: its function is nil", ": Cross: its function is nil", ": DistinctBy: its key is nil"}},
		{"channel in a semi join", refusal(func(p *mapreduce.Plan) mapreduce.Dataset[waiting] {
			w := mapreduce.Map(numbers(p), func(int) waiting { return waiting{} })
			return mapreduce.AntiJoin(w, numbers(p), func(waiting) int { return 0 }, self)
		}), []string{": AntiJoin: ", "mapreduce_test.waiting.Deep[].Done[] is chan int"}},
		{"options out of range", refusal(func(p *mapreduce.Plan) mapreduce.Dataset[int] {
			return mapreduce.Map(numbers(p), self, mapreduce.Retry(-1), mapreduce.Timeout(-time.Second), mapreduce.MaxBad(-1), mapreduce.MaxBadShare(50))
		}), []string{": Map: Retry(-1)", "Timeout(-1s)", "MaxBad(-1)", "MaxBadShare(50): use a share from 0 to 1"}},
		{"options of Define out of range", refusalOf(mapreduce.Define("broken", func(p *mapreduce.Plan, _ none) mapreduce.Dataset[int] { return numbers(p) },
			mapreduce.Parallel(1<<20), mapreduce.Retry(-1)), none{}), []string{"plan broken: refused_test.go:", ": Define: Parallel(1048576): use 1 to 65536", ": Define: Retry(-1)"}},
		{"nothing defined", refusalOf(mapreduce.Define[none, int]("broken", nil), none{}), []string{": Define: its function is nil"}},
		{"source that is not there", refusal(func(p *mapreduce.Plan) mapreduce.Dataset[string] {
			return mapreduce.Read(p, textio.Lines("testdata/nowhere/*.txt"))
		}), []string{"textio.Lines", "testdata/nowhere"}},
	} {
		t.Run(c.name, func(t *testing.T) { checkError(t, c.err, c.want...) })
	}
}

func checkError(t *testing.T, err error, want ...string) {
	t.Helper()
	if err == nil {
		t.Fatalf("no error, want one with %q", want)
	}
	for _, w := range want {
		if !strings.Contains(err.Error(), w) {
			t.Errorf("error lacks %q:\n%v", w, err)
		}
	}
}

func TestRefusedNames(t *testing.T) {
	build := func(p *mapreduce.Plan, _ none) mapreduce.Dataset[int] { return mapreduce.Read(p, memio.Of(1)) }
	for _, name := range []string{"", "-x", ".x", "a b", "a/b", "ä", strings.Repeat("x", 64)} {
		checkError(t, refusalOf(mapreduce.Define(name, build), none{}), fmt.Sprintf("plan name %q: use up to 63 letters", name))
	}
	for _, name := range []string{"a", "A1.b_c-d", strings.Repeat("x", 63)} {
		if err := refusalOf(mapreduce.Define(name, build), none{}); err != nil {
			t.Errorf("name %q was refused: %v", name, err)
		}
	}
}

func TestRefusedParameters(t *testing.T) {
	read := func(p *mapreduce.Plan) mapreduce.Dataset[int] { return mapreduce.Read(p, memio.Of(1)) }
	checkError(t, refusalOf(mapreduce.Define("p", func(p *mapreduce.Plan, _ float64) mapreduce.Dataset[int] { return read(p) }), math.NaN()),
		"plan p: parameters of type float64 cannot be written as JSON", "NaN")
	checkError(t, refusalOf(mapreduce.Define("p", func(p *mapreduce.Plan, _ chan int) mapreduce.Dataset[int] { return read(p) }), make(chan int)),
		"plan p: parameters of type chan int cannot be written as JSON")
	type reader struct{ Err error }
	checkError(t, refusalOf(mapreduce.Define("p", func(p *mapreduce.Plan, _ reader) mapreduce.Dataset[int] { return read(p) }), reader{errors.New("x")}),
		"plan p: parameters of type mapreduce_test.reader do not come back from JSON")
}

func TestPlanThatDiffersTheSecondTime(t *testing.T) {
	for name, step := range map[string]func(d mapreduce.Dataset[int], call int) mapreduce.Dataset[int]{
		"another operator": func(d mapreduce.Dataset[int], call int) mapreduce.Dataset[int] {
			if call > 1 {
				return mapreduce.Distinct(d)
			}
			return mapreduce.Sort(d)
		},
		"one more": func(d mapreduce.Dataset[int], call int) mapreduce.Dataset[int] {
			if call > 1 {
				d = mapreduce.Sort(d)
			}
			return d
		},
		"one less": func(d mapreduce.Dataset[int], call int) mapreduce.Dataset[int] {
			if call == 1 {
				d = mapreduce.Sort(d)
			}
			return d
		},
		"another number of partitions": func(d mapreduce.Dataset[int], call int) mapreduce.Dataset[int] {
			return mapreduce.Sort(d, mapreduce.Parallel(call))
		},
	} {
		t.Run(name, func(t *testing.T) {
			call := 0
			checkError(t, refusal(func(p *mapreduce.Plan) mapreduce.Dataset[int] {
				call++
				return step(mapreduce.Read(p, memio.Of(1)), call)
			}), "plan broken: ", "built another plan the second time", "it must depend on its parameters alone")
		})
	}
	call := 0
	checkError(t, refusal(func(p *mapreduce.Plan) mapreduce.Dataset[int64] {
		call++
		return mapreduce.Read(p, memio.Generate(int64(call), func(i int64) int64 { return i }))
	}), "Read: ", "memio.Generate(1 of int64)", "memio.Generate(2 of int64)")
}

func TestRefusedTargets(t *testing.T) {
	numbers := mapreduce.Define("numbers", func(p *mapreduce.Plan, _ none) mapreduce.Dataset[int] { return mapreduce.Read(p, memio.Of(1)) })
	for _, c := range []struct {
		target mapreduce.Target
		want   string
	}{
		{mapreduce.Cluster{}, `cluster "" is not HOST:PORT, such as 127.0.0.1:7070`},
		{mapreduce.Local{Workers: -1}, "workers -1: use 1 to 1024"},
		{mapreduce.Local{Workers: 3, Slots: 2}, "slots 2: use at least one for each of 3 workers"},
		{mapreduce.Local{Slots: 2, Memory: 9 << 20}, "memory 9.0 MiB: the minimum for 2 slots is 16.0 MiB"},
		{mapreduce.Local{Budgets: map[string]int{"pg": -1}}, "budgets map[pg:-1]: none may be negative"},
		{mapreduce.Local{Reporting: mapreduce.Reporting{Progress: "loud"}}, `progress "loud": use auto, brief, plain, lines or none`},
	} {
		_, err := numbers.Start(context.Background(), c.target, none{})
		checkError(t, err, "plan numbers: "+c.want)
	}
}

func TestRefusedRows(t *testing.T) {
	d := mapreduce.Define("two", func(p *mapreduce.Plan, _ none) mapreduce.Dataset[int] {
		n := mapreduce.Read(p, memio.Of(1))
		mapreduce.Output(p, "text", mapreduce.Map(n, func(int) string { return "a" }))
		return n
	})
	j, err := d.Start(context.Background(), mapreduce.Local{}, none{})
	if err != nil {
		t.Fatal(err)
	}
	defer j.Close()
	checkError(t, firstError(mapreduce.Rows[string](j, "")), `output "" holds int, not string`)
	checkError(t, firstError(mapreduce.Rows[int](j, "text")), `output "text" holds string, not int`)
	checkError(t, firstError(mapreduce.Rows[string](j, "texts")), `plan two has no output "texts"; it has "text", ""`)
	checkError(t, firstError(mapreduce.Rows[chan int](j, "")), "chan int")
	if err := firstError(mapreduce.Rows[string](j, "text")); err != nil {
		t.Error(err)
	}
}

func firstError[T any](rows iter.Seq2[T, error]) error {
	for _, err := range rows {
		if err != nil {
			return err
		}
	}
	return nil
}

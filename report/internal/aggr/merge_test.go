package aggr

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/layshaft/layshaft/report/internal/vec"
)

// testCall is a call for tests; consts are its constant arguments, which follow the columns.
type testCall struct {
	name     string
	args     []vec.Type
	consts   []*vec.Vec
	distinct bool
	order    []vec.Order
	keys     []vec.Type // of the order
}

func (c testCall) String() string {
	s := fmt.Sprint(c.name, c.args)
	if c.distinct {
		s += " distinct"
	}
	if len(c.order) > 0 {
		s += fmt.Sprint(" order by", c.keys, c.order)
	}
	return s
}

func (c testCall) bind(t testing.TB) *Func {
	args := c.args
	consts := make([]*vec.Vec, len(args))
	for _, v := range c.consts {
		args = append(args[:len(args):len(args)], v.Type)
		consts = append(consts, v)
	}
	f, err := Bind(c.name, args, consts, c.distinct, c.order, 0)
	if err != nil {
		t.Fatalf("%v: %v", c, err)
	}
	return f
}

// randomArgs returns n rows of the columns that f takes; first is the ordinal of row 0.
func (c testCall) randomArgs(r *rand.Rand, f *Func, n, first int) []*vec.Vec {
	var cols []*vec.Vec
	for i, t := range f.Args {
		if at := i - len(c.args); at >= 0 {
			cols = append(cols, c.consts[at].Repeat(0, n))
			continue
		}
		cols = append(cols, randomVec(r, t, n))
	}
	if len(f.Order) > 0 {
		for _, t := range c.keys {
			cols = append(cols, randomVec(r, t, n))
		}
	}
	if f.Ordinal {
		v := vec.New(vec.Of(vec.Int), n)
		for i := range v.Ints {
			v.Ints[i] = int64(first + i)
		}
		cols = append(cols, v)
	}
	return cols
}

// encode returns the results of all groups, or the error.
func encode(s State, groups int) string {
	v, err := s.Result(0, groups)
	if err != nil {
		return err.Error()
	}
	var b []byte
	for i := range v.Len {
		b = vec.AppendRow(b, []*vec.Vec{v}, i)
	}
	return fmt.Sprintf("%d rows of %v: %q", v.Len, v.Type, b)
}

// testCalls are calls of all functions.
var testCalls = func() (calls []testCall) {
	for _, t := range allTypes {
		for _, name := range []string{"count", "min", "max"} {
			calls = append(calls, testCall{name: name, args: []vec.Type{t}})
		}
		if t.IsNumber() {
			for _, name := range []string{"sum", "avg"} {
				calls = append(calls, testCall{name: name, args: []vec.Type{t}})
			}
		}
	}
	calls = append(calls, testCall{name: "count"})
	for _, t := range allTypes {
		for _, name := range []string{"first", "last", "any_value", "array_agg", "mode", "entropy", "histogram", "approx_count_distinct"} {
			calls = append(calls, testCall{name: name, args: []vec.Type{t}})
		}
		for _, name := range []string{"count", "array_agg", "mode"} {
			calls = append(calls, testCall{name: name, args: []vec.Type{t}, distinct: true})
		}
		for _, name := range []string{"arg_min", "arg_max"} {
			calls = append(calls, testCall{name: name, args: []vec.Type{vec.Of(vec.Text), t}}, testCall{name: name, args: []vec.Type{t, vec.Of(vec.Float)}})
		}
		for _, o := range []vec.Order{{}, {Desc: true}, {NullsFirst: true}} {
			for _, name := range []string{"array_agg", "first", "last", "arg_max"} {
				args := []vec.Type{t}
				if name == "arg_max" {
					args = []vec.Type{t, vec.Of(vec.Bool)}
				}
				calls = append(calls, testCall{name: name, args: args, order: []vec.Order{o, {}}, keys: []vec.Type{t, vec.Of(vec.Text)}, distinct: o.Desc})
			}
		}
		k := vec.New(vec.Of(vec.Int), 1)
		k.Ints[0] = 3
		k.Const = true
		calls = append(calls, testCall{name: "max", args: []vec.Type{t}, consts: []*vec.Vec{k}}, testCall{name: "min", args: []vec.Type{t}, consts: []*vec.Vec{k}, distinct: true},
			testCall{name: "arg_max", args: []vec.Type{vec.Of(vec.Text), t}, consts: []*vec.Vec{k}})
		calls = append(calls, testCall{name: "top_k", args: []vec.Type{t}, consts: []*vec.Vec{k}}, testCall{name: "approx_top_k", args: []vec.Type{t}, consts: []*vec.Vec{k}},
			testCall{name: "quantile_disc", args: []vec.Type{t}, consts: []*vec.Vec{fraction(0.4)}})
		if isNumeric(t) && t.Kind != vec.Null {
			calls = append(calls, testCall{name: "median", args: []vec.Type{t}}, testCall{name: "p90", args: []vec.Type{t}},
				testCall{name: "quantile_cont", args: []vec.Type{t}, consts: []*vec.Vec{fraction(0.3)}, order: []vec.Order{{Desc: true}}})
		}
		if !t.IsNumber() {
			continue
		}
		for _, name := range []string{"stddev", "var_pop", "skewness", "kurtosis", "kurtosis_pop", "sem", "product", "geomean"} {
			calls = append(calls, testCall{name: name, args: []vec.Type{t}})
		}
		for _, name := range []string{"sum", "avg", "stddev", "median", "product"} {
			calls = append(calls, testCall{name: name, args: []vec.Type{t}, distinct: true})
		}
	}
	calls = append(calls, testCall{name: "sum", args: []vec.Type{vec.Of(vec.Interval)}}, testCall{name: "sum", args: []vec.Type{vec.Of(vec.Interval)}, distinct: true})
	float := vec.Of(vec.Float)
	for _, name := range []string{"covar_samp", "covar_pop", "corr", "regr_slope", "regr_intercept", "regr_r2", "regr_avgx", "regr_avgy", "regr_sxx", "regr_syy", "regr_sxy", "regr_count"} {
		calls = append(calls, testCall{name: name, args: []vec.Type{float, float}})
	}
	for _, name := range []string{"bool_and", "bool_or", "count_if"} {
		calls = append(calls, testCall{name: name, args: []vec.Type{vec.Of(vec.Bool)}})
	}
	for _, name := range []string{"bit_and", "bit_or", "bit_xor"} {
		calls = append(calls, testCall{name: name, args: []vec.Type{vec.Of(vec.Int)}}, testCall{name: name, args: []vec.Type{vec.Of(vec.Int)}, distinct: true})
	}
	separator := vec.New(vec.Of(vec.Text), 1)
	separator.Strings[0], separator.Const = "; ", true
	text := testCall{name: "string_agg", args: []vec.Type{vec.Of(vec.Text)}, consts: []*vec.Vec{separator}}
	calls = append(calls, text)
	text.distinct = true
	calls = append(calls, text)
	text.order, text.keys = []vec.Order{{Desc: true, NullsFirst: true}}, []vec.Type{vec.Of(vec.Int)}
	calls = append(calls, text)
	bounds := vec.NewBuilder(vec.ListOf(float), 1)
	bounds.Append(&vec.Vec{Type: vec.ListOf(float), Len: 1, Offsets: []int32{0, 2}, Elem: &vec.Vec{Type: float, Len: 2, Floats: []float64{10, -1}}}, 0)
	return append(calls, testCall{name: "histogram", args: []vec.Type{vec.Of(vec.Int)}, consts: []*vec.Vec{bounds.Done()}})
}()

func fraction(p float64) *vec.Vec {
	return &vec.Vec{Type: vec.Of(vec.Float), Len: 1, Const: true, Floats: []float64{p}}
}

// TestMerge divides rows among states at random, and merges them in random order: the results must
// have the same bytes.
func TestMerge(t *testing.T) {
	for _, c := range testCalls {
		t.Run(c.String(), func(t *testing.T) {
			for seed := range uint64(6) {
				testMerge(t, c, seed)
			}
		})
	}
}

func testMerge(t *testing.T, c testCall, seed uint64) {
	r := rand.New(rand.NewPCG(seed, 0))
	f := c.bind(t)
	const groups = 4
	whole := f.New()
	whole.Resize(1)
	whole.Resize(groups)
	parts := make([]State, 1+r.IntN(5))
	for i := range parts {
		parts[i] = f.New()
		parts[i].Resize(groups)
	}
	must := func(err error) {
		if err != nil {
			t.Fatalf("seed %d: %v", seed, err)
		}
	}
	row := 0
	for range 1 + r.IntN(8) {
		n := r.IntN(40)
		cols := c.randomArgs(r, f, n, row)
		row += n
		if r.IntN(3) == 0 {
			g := uint32(r.IntN(groups - 1))
			must(whole.AddAll(g, cols, n))
			must(parts[r.IntN(len(parts))].AddAll(g, cols, n))
			continue
		}
		numbers := make([]uint32, n)
		for i := range numbers {
			numbers[i] = uint32(r.IntN(groups - 1)) // the last group stays empty
		}
		must(whole.Add(numbers, cols))
		// one row in each part
		rows := make([][]int32, len(parts))
		for i := range n {
			p := r.IntN(len(parts))
			rows[p] = append(rows[p], int32(i))
		}
		for p, own := range rows {
			some := make([]*vec.Vec, len(cols))
			for i, v := range cols {
				some[i] = v.Gather(own)
			}
			own2 := make([]uint32, len(own))
			for i, at := range own {
				own2[i] = numbers[at]
			}
			must(parts[p].Add(own2, some))
		}
	}
	want := encode(whole, groups)
	for len(parts) > 1 {
		i := r.IntN(len(parts))
		j := r.IntN(len(parts) - 1)
		if j >= i {
			j++
		}
		to := parts[i]
		if r.IntN(2) == 0 { // pass both through bytes
			to = f.New()
			to.Resize(groups)
			mergeAll(t, to, parts[i], groups)
		}
		mergeAll(t, to, parts[j], groups)
		parts[i] = to
		parts = append(parts[:j], parts[j+1:]...)
	}
	if got := encode(parts[0], groups); got != want {
		t.Fatalf("seed %d: merged %s\nwant %s", seed, got, want)
	}
	if whole.Bytes() < 0 || parts[0].Bytes() < 0 {
		t.Fatalf("seed %d: Bytes = %d, %d", seed, whole.Bytes(), parts[0].Bytes())
	}
	if got := encode(whole, groups); got != want {
		t.Fatalf("seed %d: the second Result is %s\nwant %s", seed, got, want)
	}
}

func mergeAll(t *testing.T, to, from State, groups int) {
	for g := range groups {
		state := from.AppendState([]byte("x"), g)
		if again := from.AppendState([]byte("x"), g); !bytes.Equal(again, state) {
			t.Fatalf("state %q is %q the second time", state, again)
		}
		rest, err := to.MergeState(g, append(state[1:], "rest"...))
		if err != nil || string(rest) != "rest" {
			t.Fatalf("MergeState of %q: rest %q, %v", state[1:], rest, err)
		}
	}
}

// FuzzMergeState feeds bytes to all states: an error is fine, a panic is not.
func FuzzMergeState(f *testing.F) {
	r := rand.New(rand.NewPCG(1, 0))
	for i, c := range testCalls {
		fn := c.bind(f)
		s := fn.New()
		s.Resize(1)
		f.Add(uint16(i), s.AppendState(nil, 0))
		for _, n := range []int{1, 5, 200} {
			if err := s.AddAll(0, c.randomArgs(r, fn, n, 0), n); err != nil {
				f.Fatal(err)
			}
			f.Add(uint16(i), s.AppendState(nil, 0))
		}
	}
	f.Fuzz(func(t *testing.T, call uint16, data []byte) {
		c := testCalls[int(call)%len(testCalls)]
		s := c.bind(t).New()
		s.Resize(2)
		rest, err := s.MergeState(0, data)
		if err == nil && len(rest) > 0 {
			_, err = s.MergeState(0, rest)
		}
		if err != nil {
			return
		}
		if v, err := s.Result(0, 2); err == nil && v.Len != 2 {
			t.Fatalf("%v: %d results", c, v.Len)
		}
		other := c.bind(t).New()
		other.Resize(1)
		if _, err := other.MergeState(0, s.AppendState(nil, 0)); err != nil {
			t.Fatalf("the state of merged bytes %q: %v", data, err)
		}
	})
}

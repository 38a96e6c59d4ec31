package aggr

import (
	"math"
	"strconv"
	"strings"
	"testing"

	"github.com/layshaft/layshaft/report/internal/vec"
)

// show returns row i as text.
func show(v *vec.Vec, i int) string {
	if v.Null(i) {
		return "NULL"
	}
	switch v.Type.Kind {
	case vec.Bool:
		return strconv.FormatBool(v.Bools[i])
	case vec.Float:
		return strconv.FormatFloat(v.Floats[i], 'g', 14, 64)
	case vec.Text:
		return v.String(i)
	case vec.Decimal:
		return string(vec.AppendDecimal(nil, v.Int128(i), v.Type.Scale))
	case vec.List, vec.Map:
		var parts []string
		for e := v.Offsets[i]; e < v.Offsets[i+1]; e++ {
			parts = append(parts, show(v.Elem, int(e)))
		}
		return "[" + strings.Join(parts, " ") + "]"
	case vec.Struct:
		var parts []string
		for _, f := range v.Fields {
			parts = append(parts, show(f, i))
		}
		return strings.Join(parts, ":")
	}
	return strconv.FormatInt(v.Ints[i], 10)
}

// columns are the rows of the table of TestValues.
func columns() map[string]*vec.Vec {
	x := &vec.Vec{Type: vec.Of(vec.Float), Len: 6, Floats: []float64{2.5, -1, 7.25, 0, 0.1, 2.5}, Nulls: []bool{3: true, 5: false}}
	y := &vec.Vec{Type: vec.Of(vec.Float), Len: 6, Floats: []float64{3, 4.5, 1.25, 2, 0, 8}, Nulls: []bool{4: true, 5: false}}
	s := &vec.Vec{Type: vec.Of(vec.Text), Len: 6, Dict: []string{"c", "b", "a"}, Codes: []uint32{1, 2, 1, 0, 0, 2}, Nulls: x.Nulls}
	return map[string]*vec.Vec{
		"i": {Type: vec.Of(vec.Int), Len: 6, Ints: []int64{1, 2, 3, 4, 5, 6}},
		"x": x, "y": y, "s": s,
		"b": {Type: vec.Of(vec.Bool), Len: 6, Bools: []bool{true, false, true, false, true, false}, Nulls: x.Nulls},
		"d": {Type: vec.DecimalOf(12, 2), Len: 6, Ints: []int64{1234, -1, 9999, 0, 500, 1234}, Nulls: x.Nulls},
		"t": {Type: vec.Of(vec.Date), Len: 6, Ints: []int64{1, 2, 3, 4, 5, 6}},
	}
}

func floats(list ...float64) *vec.Vec {
	elem := &vec.Vec{Type: vec.Of(vec.Float), Len: len(list), Floats: list}
	return &vec.Vec{Type: vec.ListOf(elem.Type), Len: 1, Const: true, Offsets: []int32{0, int32(len(list))}, Elem: elem}
}

func intOf(n int64) *vec.Vec {
	return &vec.Vec{Type: vec.Of(vec.Int), Len: 1, Const: true, Ints: []int64{n}}
}

func textOf(s string) *vec.Vec {
	return &vec.Vec{Type: vec.Of(vec.Text), Len: 1, Const: true, Strings: []string{s}}
}

// TestValues holds results that DuckDB gives for the same table, but for the differences that the
// package comment lists.
func TestValues(t *testing.T) {
	asc, desc, descLast := vec.Order{}, vec.Order{Desc: true, NullsFirst: true}, vec.Order{Desc: true}
	tests := []struct {
		name     string
		cols     string
		consts   *vec.Vec
		distinct bool
		by       string
		order    vec.Order
		want     string
	}{
		{name: "count", want: "6"},
		{name: "count", cols: "x", want: "5"},
		{name: "count", cols: "s", distinct: true, want: "3"},
		{name: "sum", cols: "i", want: "21"},
		{name: "sum", cols: "x", want: "11.35"},
		{name: "sum", cols: "d", want: "129.66"},
		{name: "sum", cols: "x", distinct: true, want: "8.85"},
		{name: "avg", cols: "i", want: "3.5"},
		{name: "avg", cols: "x", want: "2.27"},
		{name: "avg", cols: "d", want: "25.932"},
		{name: "min", cols: "s", want: "a"},
		{name: "max", cols: "s", want: "c"},
		{name: "min", cols: "x", want: "-1"},
		{name: "max", cols: "d", want: "99.99"},
		{name: "max", cols: "b", want: "true"},
		{name: "bool_and", cols: "b", want: "false"},
		{name: "bool_or", cols: "b", want: "true"},
		{name: "bit_and", cols: "i", want: "0"},
		{name: "bit_or", cols: "i", want: "7"},
		{name: "bit_xor", cols: "i", want: "7"},
		{name: "count_if", cols: "b", want: "3"},
		{name: "var_samp", cols: "x", want: "10.077"},
		{name: "var_pop", cols: "x", want: "8.0616"},
		{name: "stddev", cols: "x", want: "3.1744290825281"},
		{name: "stddev_pop", cols: "x", want: "2.839295687314"},
		{name: "sem", cols: "x", want: "1.2697716330112"},
		{name: "skewness", cols: "x", want: "1.0204928673968"},
		{name: "kurtosis", cols: "x", want: "1.2516915006017"},
		{name: "kurtosis_pop", cols: "x", want: "-0.68707712484958"},
		{name: "covar_samp", cols: "y,x", want: "-5.015625"},
		{name: "covar_pop", cols: "y,x", want: "-3.76171875"},
		{name: "corr", cols: "y,x", want: "-0.51633073024669"},
		{name: "regr_slope", cols: "y,x", want: "-0.43713118474807"},
		{name: "regr_intercept", cols: "y,x", want: "5.4169314571039"},
		{name: "regr_r2", cols: "y,x", want: "0.26659742299708"},
		{name: "regr_avgx", cols: "y,x", want: "2.8125"},
		{name: "regr_avgy", cols: "y,x", want: "4.1875"},
		{name: "regr_sxx", cols: "y,x", want: "34.421875"},
		{name: "regr_syy", cols: "y,x", want: "24.671875"},
		{name: "regr_sxy", cols: "y,x", want: "-15.046875"},
		{name: "regr_count", cols: "y,x", want: "4"},
		{name: "median", cols: "x", want: "2.5"},
		{name: "median", cols: "i", want: "3.5"},
		{name: "median", cols: "s", want: "b"},
		{name: "median", cols: "t", want: strconv.Itoa(3.5 * 86_400_000_000)},
		{name: "quantile_cont", cols: "x", consts: fraction(0.3), want: "0.58"},
		{name: "quantile_cont", cols: "x", consts: fraction(0.3), order: desc, by: "-", want: "2.5"},
		{name: "quantile_disc", cols: "x", consts: fraction(0.3), want: "0.1"},
		{name: "quantile_cont", cols: "x", consts: floats(0.25, 0.75), want: "[0.1 2.5]"},
		{name: "quantile_disc", cols: "s", consts: fraction(0.5), want: "b"},
		{name: "quantile_disc", cols: "d", consts: fraction(0.5), want: "12.34"},
		{name: "approx_quantile", cols: "x", consts: fraction(0.5), want: "2.5"},
		{name: "p90", cols: "i", want: "6"},
		{name: "mode", cols: "s", want: "a"},
		{name: "entropy", cols: "s", want: "1.5219280948874"},
		{name: "product", cols: "x", want: "-4.53125"},
		{name: "geomean", cols: "i", want: "2.9937951655239"},
		{name: "histogram", cols: "s", want: "[a:2 b:2 c:1]"},
		{name: "histogram", cols: "i", consts: floats(2, 4), want: "[2:2 4:2 +Inf:2]"},
		{name: "approx_count_distinct", cols: "s", want: "3"},
		{name: "approx_count_distinct", cols: "d", want: "4"},
		{name: "arg_min", cols: "s,x", want: "a"},
		{name: "arg_max", cols: "s,x", want: "b"},
		{name: "arg_max", cols: "s,i", want: "a"},
		{name: "arg_min", cols: "i,s", want: "2"},
		{name: "arg_max", cols: "s,x", consts: intOf(2), want: "[b b]"},
		{name: "arg_min", cols: "i,x", consts: intOf(9), want: "[2 5 1 6 3]"},
		{name: "max", cols: "x", consts: intOf(2), want: "[7.25 2.5]"},
		{name: "max", cols: "x", distinct: true, consts: intOf(3), want: "[7.25 2.5 0.1]"},
		{name: "min", cols: "s", consts: intOf(3), want: "[a a b]"},
		{name: "first", cols: "s", by: "i", order: desc, want: "a"},
		{name: "first", cols: "s", want: "b"},
		{name: "last", cols: "s", want: "a"},
		{name: "any_value", cols: "s", want: "b"},
		{name: "string_agg", cols: "s", consts: textOf("-"), want: "b-a-b-c-a"},
		{name: "string_agg", cols: "s", consts: textOf(","), distinct: true, by: "s", order: desc, want: "c,b,a"},
		{name: "array_agg", cols: "s", by: "x", order: descLast, want: "[b b a c a NULL]"},
		{name: "array_agg", cols: "s", distinct: true, by: "s", order: asc, want: "[a b c NULL]"},
		{name: "array_agg", cols: "x", want: "[2.5 -1 7.25 NULL 0.1 2.5]"},
		{name: "approx_top_k", cols: "s", consts: intOf(2), want: "[a b]"},
		{name: "top_k", cols: "s", consts: intOf(2), want: "[a:2 b:2]"},
	}
	all := columns()
	for _, c := range tests {
		t.Run(c.name+" "+c.cols, func(t *testing.T) {
			var args []vec.Type
			var consts, cols []*vec.Vec
			for name := range strings.SplitSeq(c.cols, ",") {
				if name != "" {
					args, consts, cols = append(args, all[name].Type), append(consts, nil), append(cols, all[name])
				}
			}
			if c.consts != nil {
				args, consts, cols = append(args, c.consts.Type), append(consts, c.consts), append(cols, nil)
			}
			var order []vec.Order
			if c.by != "" {
				order = []vec.Order{c.order}
			}
			f, err := Bind(c.name, args, consts, c.distinct, order, 0)
			if err != nil {
				t.Fatal(err)
			}
			for i, typ := range f.Args {
				if v := cols[i]; v != nil && typ.Kind == vec.Float && v.Type.Kind == vec.Int {
					w := vec.New(typ, 6)
					for k := range w.Floats {
						w.Floats[k] = float64(v.Ints[k])
					}
					cols[i] = w
				}
			}
			if c.by != "" && c.by != "-" {
				cols = append(cols, all[c.by])
			}
			if f.Ordinal {
				cols = append(cols, all["i"])
			}
			s := f.New()
			s.Resize(3)
			if err := s.Add(make([]uint32, 6), cols); err != nil {
				t.Fatal(err)
			}
			for i, v := range cols {
				if v != nil {
					cols[i] = v.Gather([]int32{3}) // NULL in all columns but i, y and t
				}
			}
			if err := s.AddAll(1, cols, 1); err != nil {
				t.Fatal(err)
			}
			got, err := s.Result(0, 3)
			if err != nil {
				t.Fatal(err)
			}
			if show(got, 0) != c.want {
				t.Errorf("%s, want %s", show(got, 0), c.want)
			}
			if !got.Type.Equal(f.Result) || got.Len != 3 {
				t.Errorf("result has %d rows of %v, want 3 of %v", got.Len, got.Type, f.Result)
			}
			empty := "NULL"
			switch f.Name {
			case "count", "count_if", "regr_count", "approx_count_distinct", "entropy":
				empty = "0"
			}
			if show(got, 2) != empty {
				t.Errorf("result of no rows is %s, want %s", show(got, 2), empty)
			}
		})
	}
}

// A number that is not finite shows in the result instead of being dropped.
func TestSpecialFloats(t *testing.T) {
	for _, c := range []struct {
		name string
		x    []float64
		want float64
	}{
		{"sum", []float64{1, math.Inf(1)}, math.Inf(1)},
		{"sum", []float64{math.Inf(-1), math.Inf(1)}, math.NaN()},
		{"sum", []float64{math.MaxFloat64, math.MaxFloat64, -math.MaxFloat64}, math.MaxFloat64},
		{"sum", []float64{math.MaxFloat64, math.MaxFloat64}, math.Inf(1)},
		{"avg", []float64{math.MaxFloat64, math.MaxFloat64}, math.MaxFloat64},
		{"avg", []float64{math.NaN(), 1}, math.NaN()},
		{"sum", []float64{1e308, 1, -1e308, 1e-320}, 1},
		{"max", []float64{math.NaN(), math.Inf(1)}, math.NaN()},
		{"min", []float64{math.NaN(), math.Inf(1)}, math.Inf(1)},
		{"median", []float64{1, math.NaN(), math.Inf(1)}, math.Inf(1)},
		{"median", []float64{1, math.Inf(-1)}, math.Inf(-1)},
		{"median", []float64{math.Inf(-1), math.Inf(-1)}, math.Inf(-1)},
		{"stddev", []float64{1, math.Inf(1)}, math.NaN()},
		{"stddev_pop", []float64{1e200, 1e200, 1e200}, 0},
		{"var_pop", []float64{1e-200, 3e-200}, 0},
		{"var_pop", []float64{1e15 + 0.25, 1e15 + 0.75}, 0.0625},
		{"p50", []float64{math.NaN(), math.NaN(), 1}, math.NaN()},
		{"p50", []float64{math.NaN(), 2, 1}, 2},
		{"product", []float64{1e300, 1e300, 1e-300}, 1e300},
		{"product", []float64{math.Inf(1), -2}, math.Inf(-1)},
		{"geomean", []float64{1e300, 1e300}, 1e300},
	} {
		f, err := Bind(c.name, []vec.Type{vec.Of(vec.Float)}, nil, false, nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		s := f.New()
		s.Resize(1)
		if err := s.AddAll(0, []*vec.Vec{{Type: f.Args[0], Len: len(c.x), Floats: c.x}}, len(c.x)); err != nil {
			t.Fatal(err)
		}
		got, err := s.Result(0, 1)
		if err != nil || got.Null(0) {
			t.Fatalf("%s(%v): %v, %v", c.name, c.x, got, err)
		}
		if x := got.Floats[0]; x != c.want && !(x != x && c.want != c.want) && math.Abs(x-c.want) > 1e-12*math.Abs(c.want) {
			t.Errorf("%s(%v) = %v, want %v", c.name, c.x, x, c.want)
		}
	}
}

func TestBindErrors(t *testing.T) {
	text, float := vec.Of(vec.Text), vec.Of(vec.Float)
	for _, c := range []struct {
		name   string
		args   []vec.Type
		consts []*vec.Vec
		want   string
	}{
		{"summ", []vec.Type{float}, nil, "there is no aggregate function summ; did you mean sum?"},
		{"zzzzzzzz", nil, nil, "there is no aggregate function zzzzzzzz"},
		{"sum", nil, nil, "sum has 0 arguments, want 1; write sum(x)"},
		{"count", []vec.Type{float, float}, nil, "count has 2 arguments, want 0 or 1; write count(* or x)"},
		{"sum", []vec.Type{text}, nil, "sum: argument 1 is text, want a number or an interval; cast the argument"},
		{"corr", []vec.Type{float, text}, nil, "corr: argument 2 is text, want a number; cast the argument"},
		{"quantile_cont", []vec.Type{float, float}, nil, "quantile_cont: the fraction must be a constant"},
		{"percentile_cont", []vec.Type{float, float}, []*vec.Vec{nil, fraction(1.5)}, "percentile_cont: the fraction 1.5 is not between 0 and 1"},
		{"quantile_cont", []vec.Type{text, float}, []*vec.Vec{nil, fraction(0.5)}, "quantile_cont: argument 1 is text, want a number, a date or a time; use quantile_disc"},
		{"string_agg", []vec.Type{text, text}, nil, "string_agg: the separator must be a constant"},
		{"top_k", []vec.Type{text, float}, []*vec.Vec{nil, intOf(0)}, "top_k: argument 2 must be a constant integer from 1 to 1000000"},
		{"histogram", []vec.Type{float, float}, []*vec.Vec{nil, fraction(1)}, "histogram: the bounds must be a constant list of numbers; write histogram(x, [10, 20, 30])"},
	} {
		_, err := Bind(c.name, c.args, c.consts, false, nil, 17)
		if err == nil || !strings.HasPrefix(err.Error(), c.want) {
			t.Errorf("%s%v: %v, want %s", c.name, c.args, err, c.want)
			continue
		}
		if e := err.(*Error); e.Offset != 17 {
			t.Errorf("%s: offset %d", c.name, e.Offset)
		}
	}
	for _, name := range Names() {
		if !IsAggregate(name) {
			t.Errorf("%s is no aggregate", name)
		}
	}
	if IsAggregate("lower") {
		t.Error("lower is an aggregate")
	}
}

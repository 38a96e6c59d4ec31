package expr

import (
	"fmt"
	"math"
	"math/big"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/layshaft/layshaft/report/internal/vec"
)

// randomColumn returns a column in one of the forms in which vectors come: plain, constant, with
// NULLs, texts with a dictionary, wide decimals.
func randomColumn(r *rand.Rand, t vec.Type, n int) *vec.Vec {
	b := vec.NewBuilder(t, n)
	form := r.IntN(6)
	wide := r.IntN(3) == 0
	for range n {
		if form >= 3 && r.IntN(4) == 0 {
			b.AppendNull()
			continue
		}
		appendRandom(r, b, wide)
	}
	v := b.Done()
	switch {
	case form == 0:
		return v.Repeat(0, n)
	case t.Kind == vec.Text && form%2 == 0:
		// a dictionary with texts that do not occur
		w := &vec.Vec{Type: t, Len: n, Nulls: v.Nulls, Codes: make([]uint32, n)}
		for range 20 {
			w.Dict = append(w.Dict, words3[r.IntN(len(words3))])
		}
		for i := range w.Codes {
			w.Codes[i] = uint32(r.IntN(len(w.Dict)))
		}
		return w
	case t.Kind == vec.Decimal && v.Wide == nil && wide:
		v.Widen()
	}
	return v
}

var words3 = []string{"", "a", "b", "ab", "abc", "ÄÖ", "x y", "10", "-3", "2.5", "2024-01-31", "true", "a%b", "\\", "\xff"}

func appendRandom(r *rand.Rand, b *vec.Builder, wide bool) {
	small := func() int64 { return int64(r.IntN(7)) - 3 }
	switch b.Type.Kind {
	case vec.Bool:
		b.AppendBool(r.IntN(2) == 0)
	case vec.Int:
		switch r.IntN(8) {
		case 0:
			b.AppendInt(math.MaxInt64 - int64(r.IntN(3)))
		case 1:
			b.AppendInt(math.MinInt64 + int64(r.IntN(3)))
		default:
			b.AppendInt(small())
		}
	case vec.Decimal:
		x := vec.Int128Of(r.Int64N(20000) - 10000)
		if wide && r.IntN(3) == 0 {
			x = vec.Mul64(r.Int64()-1<<62, r.Int64N(1<<60))
		}
		if _, rest := x.QuoRem(vec.Pow10(b.Type.Precision)); rest != x {
			x = rest
		}
		b.AppendInt128(x)
	case vec.Float:
		b.AppendFloat([]float64{0, math.Copysign(0, -1), 1, -1.5, math.NaN(), math.Inf(1), math.Inf(-1), 1e300, 2.5, 1e-9}[r.IntN(10)])
	case vec.Text:
		b.AppendString(words3[r.IntN(len(words3))])
	case vec.Date:
		b.AppendInt(r.Int64N(40000) - 10000)
	case vec.Timestamp:
		b.AppendInt(r.Int64N(4e15) - 2e15)
	case vec.JSON:
		b.AppendString([]string{"null", "1", `{"a": 5}`, `{"a": "x", "b": null}`, `[1, {"a": 2}]`, `{"b": {"a": [true]}}`}[r.IntN(6)])
	case vec.Map:
		b.AppendList(func(entries *vec.Builder) error {
			for _, key := range []string{"a", "b", "ab"}[:r.IntN(4)] {
				entries.AppendStruct(func(i int, field *vec.Builder) error {
					if i == 0 {
						field.AppendString(key)
					} else {
						appendRandom(r, field, false)
					}
					return nil
				})
			}
			return nil
		})
	case vec.Interval:
		b.AppendSpan(vec.Span{Months: int32(small()), Days: int32(small()), Micros: small() * hour})
	case vec.List:
		b.AppendList(func(elems *vec.Builder) error {
			for range r.IntN(4) {
				if r.IntN(5) == 0 {
					elems.AppendNull()
				} else {
					appendRandom(r, elems, false)
				}
			}
			return nil
		})
	}
}

// columnTypes are the columns of TestRows by name.
var columnTypes = []struct {
	name string
	t    vec.Type
}{
	{"i", vec.Of(vec.Int)}, {"j", vec.Of(vec.Int)}, {"d", vec.DecimalOf(10, 2)}, {"e", vec.DecimalOf(38, 4)}, {"f", vec.Of(vec.Float)},
	{"s", vec.Of(vec.Text)}, {"t", vec.Of(vec.Text)}, {"b", vec.Of(vec.Bool)}, {"c", vec.Of(vec.Bool)}, {"day", vec.Of(vec.Date)},
	{"ts", vec.Of(vec.Timestamp)}, {"span", vec.Of(vec.Interval)}, {"l", vec.ListOf(vec.Of(vec.Int))},
	{"m", vec.MapOf(vec.Of(vec.Text), vec.Of(vec.Int))}, {"js", vec.Of(vec.JSON)},
}

// rowExpressions are evaluated over random columns by TestRows.
var rowExpressions = []string{
	"i + j", "i - j", "i * j", "i / j", "i % j", "-i", "i + 1", "2 - i", "i * 3", "7 / i", "abs(i)", "i // 2",
	"d + e", "d - e", "d * d", "d * i", "d / d", "e / d", "d % d", "d // 2", "d + 1", "-e", "d * 1.5", "round(d, 1)", "trunc(e, 2)",
	"ceil(d)", "floor(e)", "round(d, i)", "f + f", "f * 2", "f / f", "d + f", "i = j", "i < 2", "2 >= i", "d = 1.5", "d > e", "d <> i",
	"e < 1000000000000000000000", "d = i", "f = f", "f > 1", "f <= 'NaN'::double", "s = t", "s < 'b'", "'ab' = s", "s <> t", "b = c", "b < c",
	"day > '2000-01-01'", "day = ts", "span < '1 day'", "l = l", "i IS DISTINCT FROM j", "s IS NOT DISTINCT FROM t", "l IS DISTINCT FROM l",
	"b AND c", "b OR c", "NOT b", "b AND c AND i > 0", "b OR i / j > 0", "j <> 0 AND i / j > 0", "b AND NULL", "c OR NULL",
	"b IS TRUE", "b IS NOT FALSE", "s IS NULL", "i IS NOT NULL", "b IS UNKNOWN",
	"i IN (1, 2, 3)", "i NOT IN (1, NULL)", "s IN ('a', 'b')", "s NOT IN ('a', NULL)", "d IN (1, 1.5)", "e IN (1, 123456789012345678901234)",
	"f IN (0, 2.5)", "day IN ('2000-01-01')", "i IN (j, 1)", "b IN (true)", "i BETWEEN j AND 3", "span IN ('1 day', '24:00')",
	"CASE WHEN b THEN i WHEN c THEN j END", "CASE WHEN b THEN 'x' WHEN c THEN 'y' ELSE 'z' END", "CASE WHEN j <> 0 THEN i / j ELSE 0 END",
	"CASE i WHEN 1 THEN s WHEN 2 THEN t ELSE 'none' END", "CASE WHEN b THEN d ELSE e END", "CASE WHEN b THEN l END",
	"coalesce(i, j)", "coalesce(s, t, 'x')", "coalesce(d, e, 0)", "coalesce(l, [1])", "nullif(i, j)", "nullif(s, t)", "coalesce(b, i / j > 0)",
	"greatest(i, j, 0)", "least(d, e)", "greatest(s, t)", "greatest(f, 1)", "least(day, ts)",
	"s::text", "i::text", "d::text", "e::double", "f::text", "d::bigint", "TRY_CAST(f AS bigint)", "TRY_CAST(s AS bigint)", "TRY_CAST(s AS decimal(5,1))",
	"TRY_CAST(s AS date)", "TRY_CAST(s AS boolean)", "TRY_CAST(s AS double)", "TRY_CAST(f AS decimal(10,3))", "i::decimal(38,2)", "b::int",
	"d::decimal(5,1)", "TRY_CAST(d AS decimal(3,1))", "l::text", "span::text", "ts::date", "day::timestamp", "i::boolean", "l::double[]",
	"lower(s)", "upper(s)", "length(s)", "trim(s)", "substr(s, 2)", "substr(s, i, 2)", "left(s, j)", "right(s, 1)", "replace(s, 'a', t)", "lpad(s, 4, 'xy')",
	"reverse(s)", "s || t", "s || '-' || i", "concat(s, i, b)", "concat_ws(',', s, t)", "split_part(s, ' ', 1)", "strpos(s, t)", "starts_with(s, 'a')",
	"md5(s)", "hash(s, i)", "initcap(s)", "ascii(s)", "s LIKE 'a%'", "s LIKE '%b%'", "s NOT LIKE '_'", "s LIKE t ESCAPE ''", "s ILIKE 'A%'", "s ~ 'a+'",
	"s !~ '^a'", "regexp_replace(s, 'a', t)", "regexp_extract(s, '[a-z]+')", "string_split(s, '')", "s SIMILAR TO 'a%'",
	"date_trunc('month', ts)", "extract(year FROM day)", "extract(second FROM ts)", "day + 1", "day - day", "ts - ts", "ts + span", "day - span", "span * 2",
	"span + span", "-span", "age(ts, day)", "date_diff('day', ts, day)", "strftime(ts, '%Y-%m-%d')", "dayname(day)", "to_char(d, '999.99')",
	"l[1]", "l[i]", "l[1:2]", "len(l)", "list_contains(l, i)", "list_sort(l)", "l || i", "l || l", "array_to_string(l, ',')", "i = ANY (l)", "i > ALL (l)",
	"list_distinct(l)", "[i, j]", "{'a': i, 'b': s}", "({'a': i, 'b': s}).b", "to_json(l)", "to_json({'a': d})", "list_max(l)", "list_sum(l)", "list_avg(l)", "range(i)", "m['a']", "m[s]", "m.b", "map_keys(m)", "map_values(m)", "cardinality(m)",
	"m = m", "m::json", "js -> 'a'", "js ->> 'a'", "js ->> s", "js[1]", "js.b.a", "js = '1'", "json_keys(js)", "json_type(js)", "TRY_CAST(js ->> 'a' AS bigint)",
	"TRY_CAST(js AS map(text, bigint))", "js::text", "coalesce(js, 'null')", "coalesce(m, TRY_CAST(js AS map(text, bigint)))", "json_object(coalesce(s, ''), i)",
}

// TestRows compares a whole batch with the same rows one by one. It covers constant and dictionary
// vectors, NULLs, wide decimals, dictionaries that are cached, and errors: a batch fails if one of
// its rows does, with the number of the first such row.
func TestRows(t *testing.T) {
	s := schema{}
	for i, c := range columnTypes {
		s[c.name] = Column(i, c.t, c.name, 0)
	}
	for _, text := range rowExpressions {
		e, err := s.parse(t, text)
		if err != nil {
			t.Errorf("%s: %v", text, err)
			continue
		}
		for seed := range uint64(6) {
			r := rand.New(rand.NewPCG(seed, 1))
			n := 1 + r.IntN(40)
			b := &vec.Batch{N: n}
			for _, c := range columnTypes {
				b.Cols = append(b.Cols, randomColumn(r, c.t, n))
			}
			got, gotErr := e.Eval(b)
			for i := range n {
				row := &vec.Batch{N: 1}
				for _, c := range b.Cols {
					one := vec.NewBuilder(c.Type, 1)
					one.Append(c, i)
					row.Cols = append(row.Cols, one.Done())
				}
				want, wantErr := e.Eval(row)
				if wantErr != nil {
					x, ok := gotErr.(*Error)
					if !ok || x.Row != i || x.Message != wantErr.Error() {
						t.Errorf("%s seed=%d row=%d: error %v (%+v), want %v", text, seed, i, gotErr, x, wantErr)
					}
					break
				}
				if gotErr != nil && gotErr.(*Error).Row <= i {
					t.Errorf("%s seed=%d row=%d: error %v, want %s", text, seed, i, gotErr, show(want, 0))
					break
				}
				if gotErr == nil && (show(got, i) != show(want, 0) || !got.Type.Equal(e.Type) || got.Len != n) {
					t.Errorf("%s seed=%d row=%d: %s of %s, want %s of %s", text, seed, i, show(got, i), got.Type, show(want, 0), e.Type)
					break
				}
			}
			if gotErr != nil && gotErr.(*Error).Row >= n {
				t.Errorf("%s: error in row %d of %d", text, gotErr.(*Error).Row, n)
			}
		}
	}
}

func show(v *vec.Vec, i int) string {
	if v.Null(i) {
		return "NULL"
	}
	return fmt.Sprintf("%q", AppendText(nil, v, i))
}

// TestExact compares decimal arithmetic and comparisons with big rationals.
func TestExact(t *testing.T) {
	types := []vec.Type{vec.Of(vec.Int), vec.DecimalOf(4, 2), vec.DecimalOf(18, 2), vec.DecimalOf(18, 18), vec.DecimalOf(38, 0), vec.DecimalOf(38, 10), vec.DecimalOf(20, 5)}
	for seed := range uint64(250) {
		r := rand.New(rand.NewPCG(seed, 2))
		at, bt := types[r.IntN(len(types))], types[r.IntN(len(types))]
		n := 8
		a, b := randomColumn(r, at, n), randomColumn(r, bt, n)
		batch := &vec.Batch{N: n, Cols: []*vec.Vec{a, b}}
		for _, op := range strings.Fields("+ - * / % = < <= > >= <>") {
			e, err := Call(op, []*Expr{Column(0, at, "a", 0), Column(1, bt, "b", 0)}, 0)
			if err != nil {
				continue // a scale above 38
			}
			got, gotErr := e.Eval(batch)
			for i := range n {
				if a.Null(i) || b.Null(i) {
					if gotErr == nil && !got.Null(i) {
						t.Errorf("seed=%d: %s is not NULL", seed, show(got, i))
					}
					continue
				}
				want := exact(op, e.Type, ratOf(a, i), ratOf(b, i))
				if want == "" {
					if gotErr == nil || gotErr.(*Error).Row != i {
						t.Errorf("seed=%d row=%d: %s %s %s of %s: error %v", seed, i, show(a, i), op, show(b, i), e.Type, gotErr)
					}
					break
				}
				if gotErr == nil && show(got, i) != `"`+want+`"` || gotErr != nil && gotErr.(*Error).Row <= i {
					t.Errorf("seed=%d row=%d: %s %s %s is %s of %s (%v)", seed, i, show(a, i), op, show(b, i), want, e.Type, gotErr)
					break
				}
			}
		}
	}
}

func ratOf(v *vec.Vec, i int) *big.Rat {
	return new(big.Rat).SetFrac(v.Int128(i).Big(), bigPow10(v.Type.Scale))
}

// exact computes with rationals, and returns nothing if the result does not fit.
func exact(op string, t vec.Type, a, b *big.Rat) string {
	r := new(big.Rat)
	switch op {
	case "+":
		r.Add(a, b)
	case "-":
		r.Sub(a, b)
	case "*":
		r.Mul(a, b)
	case "/", "%":
		if b.Sign() == 0 {
			return ""
		}
		r.Quo(a, b)
		whole := new(big.Int).Quo(r.Num(), r.Denom())
		if op == "%" {
			r.Sub(a, r.Mul(b, new(big.Rat).SetInt(whole)))
		} else if t.Scale == 0 {
			r.SetInt(whole)
		}
	default:
		return fmt.Sprint(relations[op].holds(a.Cmp(b)))
	}
	text := r.FloatString(t.Scale)
	if strings.Trim(text, "-0.") == "" {
		text = strings.TrimPrefix(text, "-")
	}
	digits := strings.TrimLeft(strings.NewReplacer("-", "", ".", "").Replace(text), "0")
	x, ok := new(big.Int).SetString("0"+digits, 10)
	if t.Kind == vec.Int {
		if text[0] == '-' {
			x.Neg(x)
		}
		if ok && x.IsInt64() {
			return text
		}
		return ""
	}
	if len(digits) > vec.MaxPrecision {
		return ""
	}
	return text
}

// TestDictionaries checks that results for a dictionary are not used for other constants: a column
// may be constant in a batch, and a rewritten expression may have other constants.
func TestDictionaries(t *testing.T) {
	text := vec.Of(vec.Text)
	v := &vec.Vec{Type: text, Len: 3, Codes: []uint32{0, 1, 0}, Dict: []string{"a", "b"}}
	s := schema{"s": Column(0, text, "s", 0), "t": Column(1, text, "t", 0)}
	check := func(e *Expr, cols []*vec.Vec, want string) {
		t.Helper()
		got, err := e.Eval(&vec.Batch{N: 3, Cols: cols})
		if err != nil || fmt.Sprint(got.Bools) != want {
			t.Errorf("%v, %v, want %s", got, err, want)
		}
	}
	e, err := s.parse(t, "s = t")
	if err != nil {
		t.Fatal(err)
	}
	check(e, []*vec.Vec{v, textVec("a").Repeat(0, 3)}, "[true false true]")
	check(e, []*vec.Vec{v, textVec("b").Repeat(0, 3)}, "[false true false]")
	for _, x := range []string{"a", "b"} {
		with := e.Rewrite(func(p *Expr) *Expr {
			if p.Op == OpColumn && p.Col == 1 {
				return Const(textVec(x), 0)
			}
			return p
		})
		check(with, []*vec.Vec{v}, fmt.Sprint([]bool{x == "a", x == "b", x == "a"}))
	}
	// a dictionary that grows at its end
	e, _ = s.parse(t, "s = 'c'")
	dict := append(make([]string, 0, 8), "a", "b")
	for i := range 4 {
		w := &vec.Vec{Type: text, Len: 3, Codes: []uint32{0, 1, uint32(len(dict) - 1)}, Dict: dict}
		check(e, []*vec.Vec{w}, fmt.Sprint([]bool{false, false, i == 1}))
		dict = append(dict, string(rune('c'+i)))
	}
}

// TestLongChains checks that binding and evaluating long statements takes time in proportion.
func TestLongChains(t *testing.T) {
	e := Column(0, vec.Of(vec.Int), "i", 0)
	failing, _ := Call("/", []*Expr{Int(1, 0), Int(0, 0)}, 0)
	column := e
	var terms []*Expr
	for range 10_000 {
		e, _ = Call("+", []*Expr{e, Int(1, 0)}, 0)
		failing, _ = Call("+", []*Expr{failing, Int(1, 0)}, 0)
		is, _ := Call("=", []*Expr{column, Int(5, 0)}, 0)
		terms = append(terms, is)
	}
	any, err := Call("or", terms, 0)
	if err != nil {
		t.Fatal(err)
	}
	b := &vec.Batch{N: 1, Cols: []*vec.Vec{{Type: vec.Of(vec.Int), Len: 1, Ints: []int64{7}}}}
	if v, err := e.Eval(b); err != nil || v.Ints[0] != 10_007 {
		t.Error(v, err)
	}
	if v, err := any.Eval(b); err != nil || v.Bools[0] {
		t.Error(v, err)
	}
	if _, err := Fold(failing); err == nil {
		t.Error("1/0 has a value")
	}
	if len(e.Key()) < 10_000 {
		t.Error("the key is too short")
	}
}

// TestShared evaluates one expression on several goroutines with dictionaries of their own.
func TestShared(t *testing.T) {
	e, err := schema{"s": Column(0, vec.Of(vec.Text), "s", 0)}.parse(t, "upper(s) LIKE 'A%'")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan error)
	for g := range 4 {
		go func() {
			var failed error
			for i := range 200 {
				v := &vec.Vec{Type: vec.Of(vec.Text), Len: 2, Codes: []uint32{0, 1}, Dict: []string{"ab", fmt.Sprint(g, i)}}
				got, err := e.Eval(&vec.Batch{N: 2, Cols: []*vec.Vec{v}})
				if err != nil || !got.Bools[0] || got.Bools[1] {
					failed = fmt.Errorf("%v, %v", got, err)
				}
			}
			done <- failed
		}()
	}
	for range 4 {
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
}

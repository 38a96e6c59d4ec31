package expr

import (
	"strconv"
	"strings"

	"github.com/layshaft/layshaft/report/internal/vec"
)

func itoa(n int) string { return strconv.Itoa(n) }

// specials returns the operators, and the functions that resolve their types by themselves.
func specials() map[string]special {
	m := map[string]special{
		"and": bindLogic, "or": bindLogic, "not": bindNot,
		"coalesce": bindCoalesce, "ifnull": bindCoalesce, "nvl": bindCoalesce, "nullif": bindNullif,
		"between": bindBetween, "not between": bindBetween, "between symmetric": bindBetween, "not between symmetric": bindBetween,
	}
	for _, kind := range []string{"like", "ilike", "similar to"} {
		m[kind], m["not "+kind] = bindLike, bindLike
	}
	for _, op := range []string{"~", "~*", "!~", "!~*"} {
		m[op] = bindMatch
	}
	m["||"], m["concat"] = bindConcat, bindConcatLists
	m["if"] = func(name string, args []*Expr, offset int) (*Expr, error) {
		if err := arity(name, args, 3, 3, offset); err != nil {
			return nil, err
		}
		return Case(args[:1], args[1:2], args[2], offset)
	}
	m["iif"] = m["if"]
	m["typeof"] = func(name string, args []*Expr, offset int) (*Expr, error) {
		if err := arity(name, args, 1, 1, offset); err != nil {
			return nil, err
		}
		return Const(textVec(args[0].Type.String()), offset), nil
	}
	m["pg_typeof"] = m["typeof"]
	m["extract"], m["date_part"], m["datepart"] = bindExtract, bindExtract, bindExtract
	for _, field := range []string{"year", "month", "day", "quarter", "week", "weekofyear", "hour", "minute", "second", "millisecond",
		"microsecond", "dayofweek", "isodow", "dayofyear", "dayofmonth", "weekday", "yearweek", "decade", "century", "millennium", "era",
		"isoyear", "julian", "epoch", "epoch_ms", "epoch_us", "epoch_ns"} {
		m[field] = bindField
	}
	m["greatest"], m["least"] = bindExtreme, bindExtreme
	for _, name := range []string{"list_contains", "array_contains", "list_has", "array_has", "list_position", "array_position",
		"list_indexof", "array_indexof", "contains"} {
		m[name] = bindFind
	}
	for _, name := range []string{"[]", "list_extract", "list_element", "array_extract", "struct_extract", "map_value", "element_at",
		"map_extract_value"} {
		m[name] = bindIndex
	}
	m["struct_pack"] = bindStruct
	for _, op := range []string{"=", "<>", "<", "<=", ">", ">="} {
		m[op+" any"], m[op+" all"] = bindAny, bindAny
	}
	m["[:]"], m["list_slice"], m["array_slice"] = bindSlice, bindSlice, bindSlice
	m["list_sum"], m["array_sum"], m["list_avg"], m["array_avg"] = bindListSum, bindListSum, bindListSum, bindListSum
	m["list_value"], m["array"], m["list_pack"] = bindList, bindList, bindList
	for _, name := range []string{"list_concat", "list_cat", "array_concat", "array_cat", "list_append", "array_append",
		"list_prepend", "array_prepend"} {
		m[name] = bindListJoin
	}
	for _, name := range []string{"list_has_all", "array_has_all", "list_has_any", "array_has_any", "@>", "&&"} {
		m[name] = bindOverlap
	}
	for _, op := range []string{"+", "-", "*", "/", "//", "%"} {
		m[op] = bindArith
	}
	m["mod"] = func(_ string, args []*Expr, offset int) (*Expr, error) { return bindArith("%", args, offset) }
	m["div"] = func(_ string, args []*Expr, offset int) (*Expr, error) { return bindArith("//", args, offset) }
	for _, op := range []string{"=", "<>", "!=", "==", "<", "<=", ">", ">=", "is distinct from", "is not distinct from"} {
		m[op] = bindCompare
	}
	for _, op := range []string{"null", "true", "false", "unknown"} {
		m["is "+op], m["is not "+op] = bindIs, bindIs
	}
	return m
}

// boolean casts the argument of a logical operator.
func boolean(e *Expr, op string) (*Expr, error) {
	if e.Type.Kind == vec.Bool || e.untyped || e.Type.Kind == vec.Null {
		return Coerce(e, vec.Of(vec.Bool))
	}
	return nil, errorAt(e.Offset, "%s needs a boolean, not a %s; compare the value, as in x <> 0", strings.ToUpper(op), e.Type)
}

func arity(name string, args []*Expr, least, most, offset int) error {
	if len(args) >= least && len(args) <= most {
		return nil
	}
	want := itoa(least)
	if most > 1<<30 {
		want = "at least " + want
	} else if most > least {
		want += " to " + itoa(most)
	}
	return errorAt(offset, "%s has %s; it takes %s", name, arguments(len(args)), want)
}

const unlimited = 1 << 31

func bindLogic(name string, args []*Expr, offset int) (*Expr, error) {
	if err := arity(name, args, 1, unlimited, offset); err != nil {
		return nil, err
	}
	cast := make([]*Expr, len(args))
	for i, a := range args {
		var err error
		if cast[i], err = boolean(a, name); err != nil {
			return nil, err
		}
	}
	if len(cast) == 1 {
		return cast[0], nil
	}
	return newCall(name, cast, vec.Of(vec.Bool), nil, lazy, 1, offset), nil
}

func bindNot(name string, args []*Expr, offset int) (*Expr, error) {
	if err := arity(name, args, 1, 1, offset); err != nil {
		return nil, err
	}
	a, err := boolean(args[0], name)
	if err != nil {
		return nil, err
	}
	return newCall(name, []*Expr{a}, vec.Of(vec.Bool), notKernel, strict, 1, offset), nil
}

func notKernel(args []*vec.Vec, n int) (*vec.Vec, error) {
	out := make([]bool, n)
	a, mask := args[0].Bools, maskOf(args[0])
	for i := range out {
		out[i] = !a[i&mask]
	}
	return vecOf(vec.Of(vec.Bool), out, nullsOf(args, n)), nil
}

func bindIs(name string, args []*Expr, offset int) (*Expr, error) {
	if err := arity(name, args, 1, 1, offset); err != nil {
		return nil, err
	}
	a := args[0]
	what, not := strings.CutPrefix(name, "is not ")
	what = strings.TrimPrefix(what, "is ")
	if what != "null" {
		var err error
		if a, err = boolean(a, name); err != nil {
			return nil, err
		}
	}
	k := func(args []*vec.Vec, n int) (*vec.Vec, error) {
		v := args[0]
		out := make([]bool, n)
		mask := maskOf(v)
		switch {
		case what == "null" || what == "unknown":
			if v.Nulls == nil {
				for i := range out {
					out[i] = not
				}
				break
			}
			for i := range out {
				out[i] = v.Nulls[i&mask] != not
			}
		default:
			want := what == "true"
			for i := range out {
				is := v.Bools[i&mask] == want && (v.Nulls == nil || !v.Nulls[i&mask])
				out[i] = is != not
			}
		}
		return vecOf(vec.Of(vec.Bool), out, nil), nil
	}
	return newCall(name, []*Expr{a}, vec.Of(vec.Bool), k, nullable, 1, offset), nil
}

func bindCoalesce(name string, args []*Expr, offset int) (*Expr, error) {
	if err := arity(name, args, 1, unlimited, offset); err != nil {
		return nil, err
	}
	cast, err := Unify(args, name)
	if err != nil {
		return nil, err
	}
	return newCall("coalesce", cast, cast[0].Type, nil, lazy, 4, offset), nil
}

func bindNullif(name string, args []*Expr, offset int) (*Expr, error) {
	if err := arity(name, args, 2, 2, offset); err != nil {
		return nil, err
	}
	same, err := Call("=", args, offset)
	if err != nil {
		return nil, err
	}
	a := args[0]
	if a.untyped {
		if a, err = Coerce(a, vec.Of(vec.Text)); err != nil {
			return nil, err
		}
	}
	return Case([]*Expr{same}, []*Expr{Null(offset)}, a, offset)
}

func bindBetween(name string, args []*Expr, offset int) (*Expr, error) {
	if err := arity(name, args, 3, 3, offset); err != nil {
		return nil, err
	}
	within := func(low, high *Expr) (*Expr, error) {
		a, err := Call(">=", []*Expr{args[0], low}, offset)
		if err != nil {
			return nil, err
		}
		b, err := Call("<=", []*Expr{args[0], high}, offset)
		if err != nil {
			return nil, err
		}
		return Call("and", []*Expr{a, b}, offset)
	}
	e, err := within(args[1], args[2])
	if err != nil {
		return nil, err
	}
	if strings.HasSuffix(name, "symmetric") {
		swapped, err := within(args[2], args[1])
		if err != nil {
			return nil, err
		}
		if e, err = Call("or", []*Expr{e, swapped}, offset); err != nil {
			return nil, err
		}
	}
	if strings.HasPrefix(name, "not ") {
		return Call("not", []*Expr{e}, offset)
	}
	return e, nil
}

// Case returns CASE WHEN whens[0] THEN thens[0] … ELSE otherwise END. otherwise may be nil.
func Case(whens, thens []*Expr, otherwise *Expr, offset int) (*Expr, error) {
	if otherwise == nil {
		otherwise = Null(offset)
	}
	values, err := Unify(append(append([]*Expr(nil), thens...), otherwise), "CASE")
	if err != nil {
		return nil, err
	}
	args := make([]*Expr, 0, 2*len(whens)+1)
	for i, w := range whens {
		cond, err := boolean(w, "WHEN")
		if err != nil {
			return nil, err
		}
		args = append(args, cond, values[i])
	}
	args = append(args, values[len(whens)])
	e := &Expr{Type: values[0].Type, Op: OpCase, Args: args, Offset: offset, cost: 8}
	return e.finished(), nil
}

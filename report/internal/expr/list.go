package expr

import (
	"bytes"
	"slices"
	"strings"

	"github.com/layshaft/layshaft/report/internal/vec"
)

// listOf returns a list of the given elements of v for each row. rows[i] are their positions; nil
// is an empty list. nulls are the rows that are NULL.
func listOf(t vec.Type, elem *vec.Vec, rows [][]int32, nulls []bool) *vec.Vec {
	out := &vec.Vec{Type: t, Len: len(rows), Nulls: nulls, Offsets: make([]int32, len(rows)+1)}
	var all []int32
	for i, r := range rows {
		if nulls == nil || !nulls[i] {
			all = append(all, r...)
		}
		out.Offsets[i+1] = int32(len(all))
	}
	out.Elem = elem.Gather(all)
	return out
}

// span returns the range of elements of row i.
func span(v *vec.Vec, i int) (from, to int32) {
	i &= maskOf(v)
	return v.Offsets[i], v.Offsets[i+1]
}

// ofElements returns the binding of a function that picks elements of a list, which keeps its type.
func ofElements(pick func(v *vec.Vec, from, to int32) []int32) binding {
	return func(args []*Expr) (vec.Type, kernel, error) {
		t := args[0].Type
		return t, func(args []*vec.Vec, n int) (*vec.Vec, error) {
			v := args[0]
			rows := make([][]int32, n)
			for i := range rows {
				if !v.Null(i) {
					from, to := span(v, i)
					rows[i] = pick(v, from, to)
				}
			}
			return listOf(t, v.Elem, rows, nullsOf(args, n)), nil
		}, nil
	}
}

func sequence(from, to int32) []int32 {
	rows := make([]int32, 0, to-from)
	for e := from; e < to; e++ {
		rows = append(rows, e)
	}
	return rows
}

// sorted returns the elements in their order, with NULL at the end.
func sorted(desc bool) func(v *vec.Vec, from, to int32) []int32 {
	return func(v *vec.Vec, from, to int32) []int32 {
		keys := make([][]byte, to-from)
		for e := from; e < to; e++ {
			keys[e-from] = v.Elem.AppendKey(nil, int(e), vec.Order{Desc: desc})
		}
		rows := sequence(from, to)
		slices.SortStableFunc(rows, func(a, b int32) int { return bytes.Compare(keys[a-from], keys[b-from]) })
		return rows
	}
}

func reversed(_ *vec.Vec, from, to int32) []int32 {
	rows := sequence(from, to)
	slices.Reverse(rows)
	return rows
}

// distinct returns the first of equal elements. NULL is left out.
func distinct(v *vec.Vec, from, to int32) []int32 {
	seen := map[string]bool{}
	var rows []int32
	for e := from; e < to; e++ {
		if v.Elem.Null(int(e)) {
			continue
		}
		key := string(inKey(nil, v.Elem, int(e)))
		if !seen[key] {
			seen[key] = true
			rows = append(rows, e)
		}
	}
	return rows
}

// lengths returns the binding of the number of elements.
var lengths = always(vec.Of(vec.Int), func(args []*vec.Vec, n int) (*vec.Vec, error) {
	out := make([]int64, n)
	for i := range out {
		from, to := span(args[0], i)
		out[i] = int64(to - from)
	}
	return vecOf(vec.Of(vec.Int), out, nullsOf(args, n)), nil
})

// bindFind resolves functions that look for a value in a list: list_contains, list_position.
func bindFind(name string, args []*Expr, offset int) (*Expr, error) {
	if name == "contains" && (len(args) == 0 || args[0].Type.Kind != vec.List) {
		return nil, nil // the function of texts
	}
	if err := arity(name, args, 2, 2, offset); err != nil {
		return nil, err
	}
	list, x, err := listAndElement(name, args[0], args[1], offset)
	if err != nil {
		return nil, err
	}
	where := strings.HasSuffix(name, "position") || strings.HasSuffix(name, "indexof")
	t := vec.Of(vec.Bool)
	if where {
		t = vec.Of(vec.Int)
	}
	k := func(args []*vec.Vec, n int) (*vec.Vec, error) {
		v, x := args[0], args[1]
		at := make([]int64, n)
		var key, other []byte
		for i := range at {
			if v.Null(i) || x.Null(i) {
				continue
			}
			key = inKey(key[:0], x, i)
			from, to := span(v, i)
			for e := from; e < to && at[i] == 0; e++ {
				if !v.Elem.Null(int(e)) {
					if other = inKey(other[:0], v.Elem, int(e)); bytes.Equal(key, other) {
						at[i] = int64(e-from) + 1
					}
				}
			}
		}
		nulls := nullsOf(args, n)
		if !where {
			out := make([]bool, n)
			for i, p := range at {
				out[i] = p > 0
			}
			return vecOf(t, out, nulls), nil
		}
		missing := append(make([]bool, 0, n), nulls...)[:n]
		for i, p := range at {
			missing[i] = missing[i] || p == 0
		}
		return vecOf(t, at, missing), nil
	}
	return newCall(name, []*Expr{list, x}, t, k, strict, 30, offset), nil
}

// listAndElement casts a list and a value to the same type of elements.
func listAndElement(name string, list, x *Expr, offset int) (*Expr, *Expr, error) {
	if list.Type.Kind != vec.List {
		return nil, nil, errorAt(offset, "%s needs a list, not %s", name, list.Type)
	}
	t := *list.Type.Elem
	if !x.untyped {
		u, ok := Common(t, x.Type)
		if !ok {
			return nil, nil, errorAt(offset, "%s: the list has elements of type %s, and the value has type %s", name, t, x.Type)
		}
		t = u
	} else if t.Kind == vec.Null {
		t = vec.Of(vec.Text)
	}
	list, err := Coerce(list, vec.ListOf(t))
	if err != nil {
		return nil, nil, err
	}
	x, err = Coerce(x, t)
	return list, x, err
}

// bindIndex resolves x[i]: an element of a list from 1, or from -1 at its end; the value of a key
// of a map; a member or element of JSON, from 0; a field of a struct; a character of a text.
func bindIndex(name string, args []*Expr, offset int) (*Expr, error) {
	if err := arity(name, args, 2, 2, offset); err != nil {
		return nil, err
	}
	x, at := args[0], args[1]
	switch x.Type.Kind {
	case vec.Map:
		return mapValue(x, at, offset)
	case vec.JSON:
		return Call("->", args, offset)
	case vec.Struct:
		if at.Op == OpConst && at.Type.Kind == vec.Text {
			return structField(x, at.Value.String(0), offset)
		}
		if at.Op == OpConst && at.Type.Kind == vec.Int && at.Value.Ints[0] >= 1 && at.Value.Ints[0] <= int64(len(x.Type.Fields)) {
			return structField(x, x.Type.Fields[at.Value.Ints[0]-1].Name, offset)
		}
		return nil, errorAt(offset, "a struct needs the name of a field, as in x.name or x['name']")
	case vec.Text:
		return bindSlice("list_slice", []*Expr{x, at, at}, offset)
	case vec.Null:
		return x, nil
	case vec.List:
	default:
		return nil, errorAt(offset, "a %s has no elements; only lists, maps, structs, JSON and texts have", x.Type)
	}
	at, err := Coerce(at, vec.Of(vec.Int))
	if err != nil {
		return nil, err
	}
	k := func(args []*vec.Vec, n int) (*vec.Vec, error) {
		v, at := args[0], args[1]
		rows := make([]int32, n)
		for i := range rows {
			rows[i] = -1
			if v.Null(i) || at.Null(i) {
				continue
			}
			from, to := span(v, i)
			p := at.Ints[i&maskOf(at)]
			if p < 0 {
				p += int64(to-from) + 1
			}
			if p >= 1 && p <= int64(to-from) {
				rows[i] = from + int32(p) - 1
			}
		}
		return v.Elem.Gather(rows), nil
	}
	return newCall(name, []*Expr{x, at}, *x.Type.Elem, k, strict, 5, offset), nil
}

// bindSlice resolves x[from:to] of a list or a text. Both ends are included; NULL is an open end.
func bindSlice(name string, args []*Expr, offset int) (*Expr, error) {
	if err := arity(name, args, 3, 3, offset); err != nil {
		return nil, err
	}
	from, err := Coerce(args[1], vec.Of(vec.Int))
	if err != nil {
		return nil, err
	}
	to, err := Coerce(args[2], vec.Of(vec.Int))
	if err != nil {
		return nil, err
	}
	x := args[0]
	if x.Type.Kind != vec.List && x.Type.Kind != vec.Text {
		return nil, errorAt(offset, "a %s cannot be sliced; only lists and texts can", x.Type)
	}
	// bounds returns the first and the end of n elements
	bounds := func(args []*vec.Vec, i int, n int64) (int64, int64) {
		p, q := int64(1), n
		if !args[1].Null(i) {
			if p = args[1].Ints[i&maskOf(args[1])]; p < 0 {
				p += n + 1
			}
		}
		if !args[2].Null(i) {
			if q = args[2].Ints[i&maskOf(args[2])]; q < 0 {
				q += n + 1
			}
		}
		p, q = max(p, 1), min(q, n)
		return p - 1, max(q, p-1)
	}
	t := x.Type
	k := func(args []*vec.Vec, n int) (*vec.Vec, error) {
		v := args[0]
		if v.Const && v.Null(0) {
			return vec.NullOf(t, n), nil
		}
		if t.Kind == vec.Text {
			return each(t, args[:1], n, func(i int) (string, error) {
				s := v.String(i)
				p, q := bounds(args, i, charCount(s))
				return s[charAt(s, p):charAt(s, q)], nil
			})
		}
		rows := make([][]int32, n)
		for i := range rows {
			from, to := span(v, i)
			p, q := bounds(args, i, int64(to-from))
			rows[i] = sequence(from+int32(min(p, int64(to-from))), from+int32(min(q, int64(to-from))))
		}
		return listOf(t, v.Elem, rows, nullsOf(args[:1], n)), nil
	}
	return newCall(name, []*Expr{x, from, to}, t, k, nullable, 30, offset), nil
}

// bindList resolves [a, b]: a list of the arguments.
func bindList(name string, args []*Expr, offset int) (*Expr, error) {
	cast, err := Unify(args, "the list")
	if err != nil {
		return nil, err
	}
	elem := vec.Of(vec.Null)
	if len(cast) > 0 {
		elem = cast[0].Type
	}
	t := vec.ListOf(elem)
	k := func(args []*vec.Vec, n int) (*vec.Vec, error) {
		out := vec.NewBuilder(t, n)
		for i := range n {
			out.AppendList(func(elems *vec.Builder) error {
				for _, v := range args {
					elems.Append(v, i)
				}
				return nil
			})
		}
		return out.Done(), nil
	}
	return newCall(name, cast, t, k, nullable, 20, offset), nil
}

// bindStruct resolves struct_pack: a struct of pairs of a name and a value.
func bindStruct(name string, args []*Expr, offset int) (*Expr, error) {
	t := vec.Type{Kind: vec.Struct}
	cast := make([]*Expr, len(args))
	for i, a := range args {
		if i%2 == 0 && (a.Op != OpConst || a.Type.Kind != vec.Text) || len(args)%2 != 0 {
			return nil, errorAt(offset, "%s takes pairs of a name and a value", name)
		}
		var err error
		if cast[i] = a; a.untyped {
			if cast[i], err = Coerce(a, vec.Of(vec.Text)); err != nil {
				return nil, err
			}
		}
		if i%2 == 1 {
			field := args[i-1].Value.String(0)
			if slices.ContainsFunc(t.Fields, func(f vec.Field) bool { return f.Name == field }) {
				return nil, errorAt(args[i-1].Offset, "the struct has two fields named %s", field)
			}
			t.Fields = append(t.Fields, vec.Field{Name: field, Type: a.Type})
		}
	}
	k := func(args []*vec.Vec, n int) (*vec.Vec, error) {
		v := &vec.Vec{Type: t, Len: n}
		for i := 1; i < len(args); i += 2 {
			w := *args[i]
			w.Len = n
			v.Fields = append(v.Fields, w.Flat())
		}
		return v, nil
	}
	return newCall(name, cast, t, k, nullable, 5, offset), nil
}

// bindListConcat resolves || of two lists, or of a list and an element.
func bindListConcat(a, b *Expr, offset int) (*Expr, error) {
	if a.Type.Kind != vec.List && a.Type.Kind != vec.Null {
		return Call("list_prepend", []*Expr{a, b}, offset)
	}
	if b.Type.Kind != vec.List && b.Type.Kind != vec.Null {
		return Call("list_append", []*Expr{a, b}, offset)
	}
	return Call("list_concat", []*Expr{a, b}, offset)
}

// bindListJoin resolves list_concat, list_append and list_prepend. NULL counts as an empty list.
func bindListJoin(name string, args []*Expr, offset int) (*Expr, error) {
	if err := arity(name, args, 2, 2, offset); err != nil {
		return nil, err
	}
	a, b := args[0], args[1]
	var err error
	one := 0 // the argument that is an element, from 1
	switch name {
	case "list_append", "array_append":
		one = 2
		a, b, err = listAndElement(name, a, b, offset)
	case "list_prepend", "array_prepend":
		one = 1
		b, a, err = listAndElement(name, b, a, offset)
	default:
		var both []*Expr
		if both, err = Unify(args, name); err == nil {
			a, b = both[0], both[1]
			if a.Type.Kind != vec.List {
				err = errorAt(offset, "%s needs lists, not %s", name, a.Type)
			}
		}
	}
	if err != nil {
		return nil, err
	}
	t := a.Type
	if one == 1 {
		t = b.Type
	}
	k := func(args []*vec.Vec, n int) (*vec.Vec, error) {
		out := vec.NewBuilder(t, n)
		for i := range n {
			out.AppendList(func(elems *vec.Builder) error {
				for p, v := range args {
					if p+1 == one {
						elems.Append(v, i)
						continue
					}
					if !v.Null(i) {
						from, to := span(v, i)
						for e := from; e < to; e++ {
							elems.Append(v.Elem, int(e))
						}
					}
				}
				return nil
			})
		}
		return out.Done(), nil
	}
	return newCall(name, []*Expr{a, b}, t, k, nullable, 40, offset), nil
}

// bindAny resolves "= any" and its kin: x op ANY (list), or x op ALL (list), for a comparison.
func bindAny(name string, args []*Expr, offset int) (*Expr, error) {
	if err := arity(name, args, 2, 2, offset); err != nil {
		return nil, err
	}
	op, which, _ := strings.Cut(name, " ")
	all := which == "all"
	x, list := args[0], args[1]
	r := relations[op]
	list, x, err := listAndElement("ANY", list, x, offset)
	if err != nil {
		return nil, err
	}
	compare := compareKernel(r, x.Type, x.Type)
	k := func(args []*vec.Vec, n int) (*vec.Vec, error) {
		x, v := args[0], args[1]
		var of []int32
		var elems []int32
		empty := make([]bool, n)
		for i := range n {
			if !v.Null(i) {
				from, to := span(v, i)
				empty[i] = from == to
				for e := from; e < to; e++ {
					of, elems = append(of, int32(i)), append(elems, e)
				}
			}
		}
		hits, err := compare([]*vec.Vec{x.Gather(of), v.Elem.Gather(elems)}, len(of))
		if err != nil {
			return nil, err
		}
		out, nulls, unknown := make([]bool, n), make([]bool, n), make([]bool, n)
		for i := range out {
			out[i] = all
		}
		for at, i := range of {
			switch {
			case hits.Null(at):
				unknown[i] = true
			case hits.Bools[at&maskOf(hits)] != all:
				out[i] = !all
			}
		}
		for i := range out {
			nulls[i] = v.Null(i) || !empty[i] && (x.Null(i) || unknown[i] && out[i] == all)
		}
		return vecOf(vec.Of(vec.Bool), out, nulls), nil
	}
	return newCall(name, []*Expr{x, list}, vec.Of(vec.Bool), k, nullable, 30, offset), nil
}

// textToArray cuts a text at a separator, as PostgreSQL does: an empty separator cuts nothing, and
// an empty text has no parts.
func textToArray(args []*vec.Vec, n int) (*vec.Vec, error) {
	return splitEach(args, n, func(x, sep string) []string {
		switch {
		case x == "":
			return nil
		case sep == "":
			return []string{x}
		}
		return strings.Split(x, sep)
	})
}

// splitText cuts a text at a separator, as DuckDB does: an empty separator cuts between all
// characters, and an empty text is one part.
func splitText(args []*vec.Vec, n int) (*vec.Vec, error) {
	return splitEach(args, n, strings.Split)
}

// splitEach calls split for each row.
func splitEach(args []*vec.Vec, n int, split func(x, sep string) []string) (*vec.Vec, error) {
	s, m := strs(args[0]), maskOf(args[0])
	return eachList(args, n, func(i int) ([]string, []bool, error) { return split(s[i&m], args[1].String(i)), nil, nil })
}

// joinTexts is array_to_string: NULL elements are left out, or written as the third argument.
func joinTexts(args []*vec.Vec, n int) (*vec.Vec, error) {
	v := args[0]
	return appendEach(vec.Of(vec.Text), args, n, func(dst []byte, i int) ([]byte, error) {
		from, to := span(v, i)
		first := true
		for e := from; e < to; e++ {
			null := v.Elem.Null(int(e))
			if null && len(args) < 3 {
				continue
			}
			if !first {
				dst = append(dst, args[1].String(i)...)
			}
			first = false
			if null {
				dst = append(dst, args[2].String(i)...)
			} else {
				dst = AppendText(dst, v.Elem, int(e))
			}
		}
		return dst, nil
	})
}

// extreme returns the binding of the least or greatest element.
func extreme(desc bool) binding {
	return func(args []*Expr) (vec.Type, kernel, error) {
		t := *args[0].Type.Elem
		return t, func(args []*vec.Vec, n int) (*vec.Vec, error) {
			v := args[0]
			rows := make([]int32, n)
			for i := range rows {
				rows[i] = -1
				if v.Null(i) {
					continue
				}
				from, to := span(v, i)
				if order := sorted(desc)(v, from, to); len(order) > 0 {
					rows[i] = order[0]
				}
			}
			return v.Elem.Gather(rows), nil
		}, nil
	}
}

// overlaps returns the binding that reports whether a list has all or any elements of another.
func bindOverlap(name string, args []*Expr, offset int) (*Expr, error) {
	if err := arity(name, args, 2, 2, offset); err != nil {
		return nil, err
	}
	cast, err := Unify(args, name)
	if err != nil {
		return nil, err
	}
	if cast[0].Type.Kind != vec.List {
		return nil, errorAt(offset, "%s needs lists, not %s", name, cast[0].Type)
	}
	all := strings.HasSuffix(name, "all") || name == "@>"
	k := func(args []*vec.Vec, n int) (*vec.Vec, error) {
		return each(vec.Of(vec.Bool), args, n, func(i int) (bool, error) {
			has := map[string]bool{}
			from, to := span(args[0], i)
			for e := from; e < to; e++ {
				has[string(inKey(nil, args[0].Elem, int(e)))] = true
			}
			from, to = span(args[1], i)
			for e := from; e < to; e++ {
				if !args[1].Elem.Null(int(e)) && has[string(inKey(nil, args[1].Elem, int(e)))] != all {
					return !all, nil
				}
			}
			return all, nil
		})
	}
	return newCall(name, cast, vec.Of(vec.Bool), k, strict, 60, offset), nil
}

func listFunctions() []function {
	text := vec.Of(vec.Text)
	entries := func(at int) binding {
		return func(args []*Expr) (vec.Type, kernel, error) {
			t := vec.ListOf(args[0].Type.Elem.Fields[at].Type)
			return t, func(args []*vec.Vec, n int) (*vec.Vec, error) {
				w := *args[0].Flat()
				w.Type, w.Elem = t, w.Elem.Fields[at]
				return &w, nil
			}, nil
		}
	}
	return []function{
		def("len length list_length array_length cardinality array_size", "list", lengths), def("cardinality len", "map", lengths),
		def("array_length", "list int", func(args []*Expr) (vec.Type, kernel, error) {
			t, k, _ := lengths(nil)
			return t, func(args []*vec.Vec, n int) (*vec.Vec, error) {
				v, err := k(args, n)
				if err != nil {
					return nil, err
				}
				return each(t, args, n, func(i int) (int64, error) {
					if v.Ints[i] == 0 || args[1].Ints[i&maskOf(args[1])] != 1 {
						return 0, errNull // PostgreSQL has no length of an empty array
					}
					return v.Ints[i], nil
				})
			}, nil
		}),
		def("list_sort array_sort", "list", ofElements(sorted(false))), def("list_reverse_sort array_reverse_sort", "list", ofElements(sorted(true))),
		def("list_reverse array_reverse", "list", ofElements(reversed)), def("list_distinct array_distinct", "list", ofElements(distinct)),
		def("list_min array_min", "list", extreme(false)), def("list_max array_max", "list", extreme(true)),
		def("list_unique array_unique", "list", always(vec.Of(vec.Int), func(args []*vec.Vec, n int) (*vec.Vec, error) {
			return each(vec.Of(vec.Int), args, n, func(i int) (int64, error) {
				from, to := span(args[0], i)
				return int64(len(distinct(args[0], from, to))), nil
			})
		})),
		def("array_to_string list_to_string", "list text [text]", always(text, joinTexts)),
		def("string_to_array", "text text", always(vec.ListOf(text), textToArray)),
		def("string_split str_split split", "text text", always(vec.ListOf(text), splitText)),
		def("range", "int [int] [int]", rangeBinding(false)), def("generate_series", "int int [int]", rangeBinding(true)),
		def("map_keys", "map", entries(0)), def("map_values", "map", entries(1)),
	}
}

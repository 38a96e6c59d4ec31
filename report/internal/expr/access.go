package expr

import (
	"strings"

	"github.com/layshaft/layshaft/internal/spelling"
	"github.com/layshaft/layshaft/report/internal/vec"
)

// Field returns a field of a struct, the value of a key of a map, or a member of JSON. A key or a
// member that is missing is NULL.
func Field(e *Expr, name string, offset int) (*Expr, error) {
	switch e.Type.Kind {
	case vec.Struct:
		return structField(e, name, offset)
	case vec.Map:
		return mapValue(e, Text(name, offset), offset)
	case vec.JSON:
		return Call("->", []*Expr{e, Text(name, offset)}, offset)
	case vec.Null:
		return e, nil
	}
	return nil, errorAt(offset, "a %s has no field %s; only structs, maps and JSON have fields", e.Type, name)
}

// structField finds a field by its name, without regard to case if that is unambiguous.
func structField(e *Expr, name string, offset int) (*Expr, error) {
	at, folded := -1, 0
	var names []string
	for i, f := range e.Type.Fields {
		names = append(names, f.Name)
		if f.Name == name {
			at, folded = i, 1
			break
		}
		if strings.EqualFold(f.Name, name) {
			at = i
			folded++
		}
	}
	if folded != 1 {
		what := errorAt(offset, "the struct has no field %s; it has %s", name, strings.Join(names, ", "))
		if near := spelling.Nearest(name, names); near != "" && folded == 0 {
			what = errorAt(offset, "the struct has no field %s; did you mean %s? It has %s", name, near, strings.Join(names, ", "))
		}
		return nil, what
	}
	k := func(args []*vec.Vec, n int) (*vec.Vec, error) {
		v := args[0]
		w := *v.Fields[at]
		if v.Const && !w.Const {
			w = *constant(&w)
		}
		w.Len = n
		if v.Nulls != nil {
			w = *w.Flat()
			w.Nulls = nullsOf([]*vec.Vec{v, &w}, n)
		}
		return &w, nil
	}
	return newCall("struct_extract", []*Expr{e, Text(name, offset)}, e.Type.Fields[at].Type, func(args []*vec.Vec, n int) (*vec.Vec, error) {
		return k(args[:1], n)
	}, strict, 1, offset), nil
}

// mapValue returns the value of a key of a map. The last entry counts if a key occurs twice.
func mapValue(e, key *Expr, offset int) (*Expr, error) {
	entry := e.Type.Elem.Fields
	key, err := Coerce(key, entry[0].Type)
	if err != nil {
		return nil, err
	}
	same := compareKernel(equal, entry[0].Type, entry[0].Type)
	k := func(args []*vec.Vec, n int) (*vec.Vec, error) {
		v := args[0]
		m := maskOf(v)
		keys, vals := v.Elem.Fields[0], v.Elem.Fields[1]
		rows := make([]int32, n)
		// the wanted key of each entry
		wanted := args[1]
		if !wanted.Const {
			of := make([]int32, keys.Len)
			for i := range n {
				for at := v.Offsets[i&m]; at < v.Offsets[i&m+1]; at++ {
					of[at] = int32(i)
				}
			}
			wanted = wanted.Gather(of)
		} else {
			w := *wanted
			w.Len = keys.Len
			wanted = &w
		}
		hit, err := same([]*vec.Vec{keys, wanted}, keys.Len)
		if err != nil {
			return nil, err
		}
		for i := range rows {
			rows[i] = -1
			if v.Null(i) || args[1].Null(i) {
				continue
			}
			for at := v.Offsets[i&m+1] - 1; at >= v.Offsets[i&m]; at-- {
				if hit.Bools[at] && !keys.Null(int(at)) {
					rows[i] = at
					break
				}
			}
		}
		return vals.Gather(rows), nil
	}
	return newCall("map_value", []*Expr{e, key}, entry[1].Type, k, strict, 20, offset), nil
}

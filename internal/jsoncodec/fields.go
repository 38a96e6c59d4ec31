package jsoncodec

import (
	"cmp"
	"reflect"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"
)

// field is one JSON member of a struct type, selected by the rules of encoding/json.
type field struct {
	reflect.StructField
	name                        string
	tagged                      bool
	index                       []int // path through embedded structs
	omitEmpty, omitZero, quoted bool
}

// structFields returns the members of struct type t in the order that encoding/json writes.
func structFields(t reflect.Type) []field {
	type level struct {
		typ   reflect.Type
		index []int
	}
	var fields []field
	visited := map[reflect.Type]bool{}
	var count map[reflect.Type]int // how often each type is embedded at the current level
	for next := []level{{typ: t}}; len(next) > 0; {
		current, nextCount := next, map[reflect.Type]int{}
		next = nil
		for _, l := range current {
			if visited[l.typ] {
				continue
			}
			visited[l.typ] = true
			for i := range l.typ.NumField() {
				f := field{StructField: l.typ.Field(i), index: append(slices.Clip(l.index), i)}
				ft := f.Type
				if ft.Name() == "" && ft.Kind() == reflect.Pointer {
					ft = ft.Elem()
				}
				if !f.IsExported() && !(f.Anonymous && ft.Kind() == reflect.Struct) || !f.parseTag(ft) {
					continue
				}
				if !f.tagged && f.Anonymous && ft.Kind() == reflect.Struct {
					if nextCount[ft]++; nextCount[ft] == 1 {
						next = append(next, level{ft, f.index})
					}
					continue
				}
				fields = append(fields, f)
				if count[l.typ] > 1 {
					fields = append(fields, f) // two fields of one name at one level hide each other
				}
			}
		}
		count = nextCount
	}

	slices.SortFunc(fields, func(a, b field) int {
		return cmp.Or(strings.Compare(a.name, b.name), cmp.Compare(len(a.index), len(b.index)),
			cmp.Compare(btoi(b.tagged), btoi(a.tagged)), slices.Compare(a.index, b.index))
	})
	out := fields[:0]
	for len(fields) > 0 {
		n := 1
		for n < len(fields) && fields[n].name == fields[0].name {
			n++
		}
		if n == 1 || len(fields[0].index) != len(fields[1].index) || fields[0].tagged != fields[1].tagged {
			out = append(out, fields[0]) // else ambiguous: none of them
		}
		fields = fields[n:]
	}
	slices.SortFunc(out, func(a, b field) int { return slices.Compare(a.index, b.index) })
	return out
}

// parseTag reads the json tag of f and reports whether f is a member. ft is the type of f without a
// pointer.
func (f *field) parseTag(ft reflect.Type) bool {
	tag := f.Tag.Get("json")
	if tag == "-" {
		return false
	}
	name, opts, _ := strings.Cut(tag, ",")
	if f.name = name; !validName(name) {
		f.name = ""
	}
	if f.tagged = f.name != ""; !f.tagged {
		f.name = f.Name
	}
	for o := range strings.SplitSeq(opts, ",") {
		switch k := ft.Kind(); o {
		case "omitempty":
			f.omitEmpty = true
		case "omitzero":
			f.omitZero = true
		case "string":
			f.quoted = k >= reflect.Bool && k <= reflect.Float64 || k == reflect.String
		}
	}
	return true
}

func validName(s string) bool {
	for _, c := range s {
		if !strings.ContainsRune("!#$%&()*+-./:;<=>?@[]^_{|}~ ", c) && !unicode.IsLetter(c) && !unicode.IsDigit(c) {
			return false
		}
	}
	return s != ""
}

func btoi(b bool) int {
	if b {
		return 1
	}
	return 0
}

// fold returns a form of name that is the same for all its spellings in upper and lower case.
func fold(name string) string {
	out := make([]byte, 0, 32)
	for _, r := range name {
		for { // find the smallest rune of the runes that fold to each other
			before := r
			if r = unicode.SimpleFold(r); r <= before {
				break
			}
		}
		out = utf8.AppendRune(out, r)
	}
	return string(out)
}

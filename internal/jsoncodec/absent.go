package jsoncodec

import (
	"reflect"
	"slices"

	"github.com/layshaft/layshaft/internal/spelling"
)

// Absent is a field that no line had.
type Absent struct {
	Path string       // such as price.amount
	Type reflect.Type // of the field
	// Near is the most similar key among the keys that were met and that no field has. It is empty
	// if there were none.
	Near string
}

// Absent returns the fields that no line decoded so far had. It leaves out pointers and fields with
// omitempty or omitzero, which are meant to be missing at times, fields inside objects that no line
// had, and structs of more than 63 fields.
func (d *Decoder) Absent() []Absent {
	if d.root.op != opStruct {
		return nil
	}
	return d.root.obj.absent("", nil, map[*object]bool{})
}

func (o *object) absent(path string, all []Absent, visited map[*object]bool) []Absent {
	if o.ever == 0 && len(o.names) == len(o.keys) || o.wide || visited[o] {
		return all // no line had the object
	}
	visited[o] = true
	var others []string
	for name, k := range o.names {
		if k.op == opSkip {
			others = append(others, name)
		}
	}
	for _, k := range o.keys {
		v := k.val
		if v.op == opVia {
			v = v.elem
		}
		if o.ever&k.bit != 0 {
			for inner := v; inner != nil; inner = inner.elem {
				if inner.op == opStruct {
					all = inner.obj.absent(path+k.name+".", all, visited)
					break
				}
			}
			continue
		}
		if k.omitEmpty || k.omitZero || v.op == opPointer {
			continue
		}
		a := Absent{Path: path + k.name, Type: v.typ}
		if len(others) > 0 {
			slices.Sort(others)
			a.Near = path + spelling.Sort(k.name, others)[0]
		}
		all = append(all, a)
	}
	return all
}

package mapreduce

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"reflect"
	"unicode/utf8"

	"github.com/layshaft/layshaft/internal/record"
)

// encodeParams returns the parameters that params points to as JSON. The plan receives the decoded
// parameters, here and in other processes. So encodeParams returns an error with the first field
// whose value JSON does not carry.
func encodeParams(plan string, params any) ([]byte, error) {
	in := reflect.ValueOf(params).Elem()
	root := in.Type()
	raw, err := json.Marshal(in.Interface())
	if err != nil {
		return nil, fmt.Errorf("plan %s: parameters of type %v cannot be written as JSON: %w", plan, root, err)
	}
	back := reflect.New(root)
	if err := decodeParams(plan, raw, back.Interface()); err != nil {
		return nil, err
	}
	if root.Kind() == reflect.Pointer {
		root = root.Elem()
	}
	if path, why := lostInJSON(in, back.Elem()); why != "" {
		return nil, fmt.Errorf("plan %s: parameters do not survive JSON, which carries them to other processes: %s%s %s", plan, cmp.Or(root.Name(), "params"), path, why)
	}
	return raw, nil
}

// decodeParams stores the parameters in raw where params points to.
func decodeParams(plan string, raw []byte, params any) error {
	if err := json.Unmarshal(raw, params); err != nil {
		return fmt.Errorf("plan %s: parameters of type %v do not come back from JSON: %w", plan, reflect.TypeOf(params).Elem(), err)
	}
	return nil
}

// lostInJSON compares a value with its copy from JSON. It returns the path of the first part that
// differs, and why; an empty reason means that they are equal. Empty slices and maps equal nil.
func lostInJSON(a, b reflect.Value) (path, why string) {
	const changed = "changes its value; store it in a form that JSON keeps"
	if t := a.Type(); a.CanInterface() && (encodesItself(t, "MarshalJSON") || encodesItself(t, "MarshalText")) {
		x, errA := json.Marshal(a.Interface())
		y, errB := json.Marshal(b.Interface())
		if errA != nil || errB != nil || !bytes.Equal(x, y) {
			return "", changed
		}
		return "", ""
	}
	switch a.Kind() {
	case reflect.Struct:
		for i := range a.NumField() {
			f := a.Type().Field(i)
			path, why := lostInJSON(a.Field(i), b.Field(i))
			switch {
			case why == "":
				continue
			case !f.IsExported() && !f.Anonymous:
				why = "is not exported, so its value gets lost; export it"
			case f.Tag.Get("json") == "-":
				why = `is tagged json:"-", so its value gets lost; remove the tag`
			case path == "" && b.Field(i).IsZero():
				why = "gets lost; give embedded fields with methods a name, and each field a JSON name of its own"
			}
			return "." + f.Name + path, why
		}
	case reflect.Pointer, reflect.Interface:
		switch {
		case a.IsNil() && b.IsNil():
		case a.IsNil() || b.IsNil():
			return "", changed
		case a.Elem().Type() != b.Elem().Type():
			return "", fmt.Sprintf("is %v and comes back as %v; give the field that type instead of %v", a.Elem().Type(), b.Elem().Type(), a.Type())
		default:
			return lostInJSON(a.Elem(), b.Elem())
		}
	case reflect.Slice, reflect.Array:
		if a.Len() != b.Len() {
			return "", changed
		}
		for i := range a.Len() {
			if path, why := lostInJSON(a.Index(i), b.Index(i)); why != "" {
				return fmt.Sprintf("[%d]%s", i, path), why
			}
		}
	case reflect.Map:
		if a.Len() != b.Len() {
			return "", changed
		}
		for i := a.MapRange(); i.Next(); {
			v := b.MapIndex(i.Key())
			if !v.IsValid() {
				return fmt.Sprintf("[%q]", fmt.Sprint(i.Key())), "is a key that comes back as another one; use keys that JSON keeps"
			}
			if path, why := lostInJSON(i.Value(), v); why != "" {
				return fmt.Sprintf("[%q]%s", fmt.Sprint(i.Key()), path), why
			}
		}
	case reflect.String:
		if a.String() != b.String() && !utf8.ValidString(a.String()) {
			return "", fmt.Sprintf("is %q, which is not UTF-8, so JSON changes it; make it a []byte", a.String())
		} else if a.String() != b.String() {
			return "", changed
		}
	case reflect.Func, reflect.Chan, reflect.UnsafePointer:
		if !a.IsNil() {
			return "", changed
		}
	default:
		if !a.Equal(b) {
			return "", changed
		}
	}
	return "", ""
}

// encodesItself reports whether a type has a method of its own that writes it as JSON.
func encodesItself(t reflect.Type, method string) bool {
	return t.Kind() != reflect.Interface && t.Kind() != reflect.Pointer && record.OwnMethod(t, method)
}

package avroio

import (
	"fmt"
	"reflect"
	"strings"
	"unicode/utf8"
)

// textCheck returns an error for the first text in a value that is not UTF-8. Avro demands UTF-8,
// and other readers refuse files with other bytes.
type textCheck func(v reflect.Value) error

// checkOf returns the check for values of a type at path. It is nil for a type without text.
func checkOf(t reflect.Type, path string, seen map[reflect.Type]bool) textCheck {
	if seen[t] { // a type within itself is checked by its value
		return func(v reflect.Value) error { return checkValue(v, path) }
	}
	seen[t] = true
	defer delete(seen, t)
	switch t.Kind() {
	case reflect.String:
		return func(v reflect.Value) error {
			if s := v.String(); !utf8.ValidString(s) {
				return errNotUTF8(path, s)
			}
			return nil
		}
	case reflect.Interface:
		return func(v reflect.Value) error { return checkValue(v, path) }
	case reflect.Pointer:
		if inner := checkOf(t.Elem(), path, seen); inner != nil {
			return func(v reflect.Value) error {
				if v.IsNil() {
					return nil
				}
				return inner(v.Elem())
			}
		}
	case reflect.Slice, reflect.Array:
		if inner := checkOf(t.Elem(), path, seen); inner != nil {
			return func(v reflect.Value) error {
				for i := range v.Len() {
					if err := inner(v.Index(i)); err != nil {
						return err
					}
				}
				return nil
			}
		}
	case reflect.Map:
		return func(v reflect.Value) error { return checkValue(v, path) }
	case reflect.Struct:
		return checkOfStruct(t, path, seen)
	}
	return nil
}

func checkOfStruct(t reflect.Type, path string, seen map[reflect.Type]bool) textCheck {
	type field struct {
		index int
		check textCheck
	}
	var fields []field
	for i := range t.NumField() {
		f := t.Field(i)
		name, _, _ := strings.Cut(f.Tag.Get("avro"), ",")
		if !f.IsExported() && !f.Anonymous || name == "-" {
			continue
		}
		if name == "" {
			name = f.Name
		}
		if c := checkOf(f.Type, strings.TrimPrefix(path+"."+name, "."), seen); c != nil {
			fields = append(fields, field{i, c})
		}
	}
	if fields == nil {
		return nil
	}
	return func(v reflect.Value) error {
		for _, f := range fields {
			if err := f.check(v.Field(f.index)); err != nil {
				return err
			}
		}
		return nil
	}
}

// checkValue is the check for a value of a type that is not known before.
func checkValue(v reflect.Value, path string) error {
	switch v.Kind() {
	case reflect.Interface:
		if v.IsNil() {
			return nil
		}
		return checkValue(v.Elem(), path)
	case reflect.Map:
		for i := v.MapRange(); i.Next(); {
			if err := checkValue(i.Key(), path); err != nil {
				return err
			}
			if err := checkValue(i.Value(), path); err != nil {
				return err
			}
		}
		return nil
	case reflect.Invalid:
		return nil
	}
	if c := checkOf(v.Type(), path, map[reflect.Type]bool{}); c != nil {
		return c(v)
	}
	return nil
}

func errNotUTF8(path, text string) error {
	return fmt.Errorf("field %q: %q is not UTF-8; write bytes with a []byte and the type bytes, or replace them (strings.ToValidUTF8)", path, text)
}

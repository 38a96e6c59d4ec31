package tasks

import (
	"bytes"
	"encoding/json"
	"fmt"
	"reflect"
	"sync"
	"unicode/utf8"

	"github.com/layshaft/layshaft/internal/record"
)

// maxPayload is the size limit of a payload in bytes.
const maxPayload = 64 << 20

// checkSize returns an error beginning with what if the payload is over the limit, or nil.
func checkSize(what string, payload []byte) error {
	if len(payload) <= maxPayload {
		return nil
	}
	return fmt.Errorf("%s of %d bytes is over the limit of %d", what, len(payload), maxPayload)
}

// checkInput returns an error if the input is over the limit, or nil.
func checkInput(function string, input []byte) error {
	if err := checkSize("an input", input); err != nil {
		return fmt.Errorf("task %s: %w: %w", function, ErrInvalid, err)
	}
	return nil
}

// encode returns the payload of v: the bytes of a []byte, string or json.RawMessage, nothing for
// nil and struct{}{}, otherwise JSON. A value that JSON would change silently is an error.
func encode(v any) ([]byte, error) {
	switch v := v.(type) {
	case nil, struct{}:
		return nil, nil
	case []byte:
		return v, nil
	case string:
		return []byte(v), nil
	case json.RawMessage:
		return v, nil
	}
	if why := lostFields(reflect.TypeOf(v)); why != "" {
		return nil, fmt.Errorf("value of type %T would arrive changed: %s", v, why)
	}
	b, err := json.Marshal(v)
	if err != nil {
		return nil, fmt.Errorf("value of type %T has no JSON form: %w", v, err)
	}
	if bytes.Contains(b, replaced) {
		if path, text := notUTF8(reflect.ValueOf(v)); text != "" {
			return nil, fmt.Errorf("value of type %T would arrive changed: %s is %s, which is not UTF-8; make it a []byte", v, path, excerpt([]byte(text)))
		}
	}
	return b, nil
}

// checkedTypes has the result of record.LostInJSON by type.
var checkedTypes sync.Map

func lostFields(t reflect.Type) string {
	if why, ok := checkedTypes.Load(t); ok {
		return why.(string)
	}
	why := record.LostInJSON(t)
	checkedTypes.Store(t, why)
	return why
}

// replaced is what encoding/json writes for a byte of a string that is not UTF-8.
var replaced = []byte(`\ufffd`)

// notUTF8 returns the first string in v that is not UTF-8, with its path.
func notUTF8(v reflect.Value) (path, text string) {
	switch v.Kind() {
	case reflect.String:
		if s := v.String(); !utf8.ValidString(s) {
			return "", s
		}
	case reflect.Pointer, reflect.Interface:
		return notUTF8(v.Elem())
	case reflect.Struct:
		for i := range v.NumField() {
			if path, text = notUTF8(v.Field(i)); text != "" {
				return "." + v.Type().Field(i).Name + path, text
			}
		}
	case reflect.Slice, reflect.Array:
		for i := range v.Len() {
			if path, text = notUTF8(v.Index(i)); text != "" {
				return fmt.Sprintf("[%d]%s", i, path), text
			}
		}
	case reflect.Map:
		for i := v.MapRange(); i.Next(); {
			if _, text = notUTF8(i.Key()); text != "" {
				return "a key", text
			}
			if path, text = notUTF8(i.Value()); text != "" {
				return fmt.Sprintf("[%q]%s", fmt.Sprint(i.Key()), path), text
			}
		}
	}
	return "", ""
}

// decode is the reverse of encode. An empty payload is the zero value of every type. The result may
// share memory with b.
func decode[T any](b []byte) (v T, err error) {
	switch p := any(&v).(type) {
	case *[]byte:
		*p = b
	case *string:
		*p = string(b)
	case *json.RawMessage:
		*p = b
	case *any:
		if len(b) > 0 && json.Unmarshal(b, p) != nil {
			*p = b
		}
	default:
		if len(b) == 0 {
			return v, nil
		}
		if err := json.Unmarshal(b, &v); err != nil {
			return v, fmt.Errorf("payload %s is not a %T: %w", excerpt(b), v, err)
		}
	}
	return v, nil
}

// excerpt returns the beginning of a payload for an error.
func excerpt(b []byte) string {
	const most = 40
	if len(b) > most {
		return fmt.Sprintf("%q… (%d bytes)", b[:most], len(b))
	}
	return fmt.Sprintf("%q", b)
}

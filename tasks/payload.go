package tasks

import (
	"encoding/json"
	"fmt"
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
// nil and struct{}{}, otherwise JSON.
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
	b, err := json.Marshal(v)
	if err != nil {
		return nil, fmt.Errorf("value of type %T has no JSON form: %w", v, err)
	}
	return b, nil
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

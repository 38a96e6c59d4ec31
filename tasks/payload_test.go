package tasks

import (
	"encoding/json"
	"math"
	"reflect"
	"strings"
	"testing"
	"time"
)

type point struct{ X, Y int }

func roundTrip[T any](t *testing.T, v T, want string) {
	t.Helper()
	b, err := encode(v)
	if err != nil || string(b) != want {
		t.Errorf("encode(%#v) = %q, %v, want %q", v, b, err, want)
	}
	back, err := decode[T](b)
	if err != nil || !reflect.DeepEqual(back, v) {
		t.Errorf("decode[%T](%q) = %#v, %v, want %#v", v, b, back, err, v)
	}
}

func TestPayloads(t *testing.T) {
	roundTrip(t, "plain \xff text", "plain \xff text")
	roundTrip(t, []byte{0, 1, 255}, "\x00\x01\xff")
	roundTrip(t, json.RawMessage(`{"a":1}`), `{"a":1}`)
	roundTrip(t, 42, "42")
	roundTrip(t, [2]int{6, 7}, "[6,7]")
	roundTrip(t, point{1, 2}, `{"X":1,"Y":2}`)
	roundTrip(t, []string{"a", "b"}, `["a","b"]`)
	roundTrip(t, (*point)(nil), "null")
	roundTrip(t, struct{}{}, "")
	roundTrip[any](t, nil, "")

	if p, err := decode[point](nil); err != nil || p != (point{}) {
		t.Errorf("an empty payload is %v, %v, want the zero value", p, err)
	}
	for payload, want := range map[string]any{`{"X":1}`: map[string]any{"X": 1.0}, "no JSON": []byte("no JSON")} {
		if v, err := decode[any]([]byte(payload)); err != nil || !reflect.DeepEqual(v, want) {
			t.Errorf("decode[any](%q) = %#v, %v, want %#v", payload, v, err, want)
		}
	}
	if _, err := decode[int]([]byte("many")); err == nil || !strings.Contains(err.Error(), `"many" is not a int`) {
		t.Errorf("decode[int](many) = %v, want an error that shows it", err)
	}
	if _, err := encode(math.NaN()); err == nil {
		t.Error("NaN has a JSON form")
	}
}

// visit has the methods of time.Time, which do not see its other field.
type visit struct {
	time.Time
	User string
}

// A value that JSON would change silently is refused, with the field.
func TestPayloadsThatJSONChanges(t *testing.T) {
	for want, v := range map[string]any{
		"comes from the embedded Time and would lose User": visit{User: "x"},
		"method MarshalJSON of tasks.visit":                map[string][]*visit{"a": nil},
		`.Path is "a\xff", which is not UTF-8`:             struct{ Path string }{"a\xff"},
		`[1] is "\xff"`:                                    []string{"a", "\xff"},
		`a key is "\xff"`:                                  map[string]int{"\xff": 1},
	} {
		if b, err := encode(v); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%#v: %q, %v, want %q", v, b, err, want)
		}
	}
	roundTrip(t, struct{ Escape, Char string }{`\ufffd`, "\ufffd"}, "{\"Escape\":\"\\\\ufffd\",\"Char\":\"\ufffd\"}")
	roundTrip(t, struct{ At time.Time }{time.Unix(0, 0).UTC()}, `{"At":"1970-01-01T00:00:00Z"}`)
}

func TestDecodeGathered(t *testing.T) {
	results, done := [][]byte{[]byte("1"), nil, []byte("3")}, []bool{true, false, true}
	g, err := decodeGathered[Gathered[int]](results, done)
	if err != nil || len(g) != 3 || g[0].Value != 1 || g[1].Err != ErrMissing || g[2].Index != 2 {
		t.Errorf("Gathered = %v, %v", g, err)
	}
	if n, err := decodeGathered[[]int](results, done); err != nil || !reflect.DeepEqual(n, []int{1, 0, 3}) {
		t.Errorf("[]int = %v, %v", n, err)
	}
	if s, err := decodeGathered[[]string](results, done); err != nil || !reflect.DeepEqual(s, []string{"1", "", "3"}) {
		t.Errorf("[]string = %q, %v", s, err)
	}
	if _, err := decodeGathered[[]point](results, done); err == nil {
		t.Error("numbers became points")
	}
	if _, err := decodeGathered[Gathered[point]](results, done); err == nil || !strings.Contains(err.Error(), "result 0") {
		t.Errorf("Gathered[point]: %v, want an error that names the result", err)
	}
}

// Input from another language decodes to a value or an error, and a value is encoded to the same
// value.
func FuzzDecode(f *testing.F) {
	for _, s := range []string{"", "null", "42", `{"X":1,"Y":-2}`, `[1,"two",null]`, "\x00\xff", `{"X":`, `"text"`} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		p, err := decode[point](b)
		if err != nil {
			return
		}
		out, err := encode(p)
		if err != nil {
			t.Fatal(err)
		}
		if again, err := decode[point](out); err != nil || again != p {
			t.Errorf("%q became %v, then %v, %v", b, p, again, err)
		}
		if _, err := decode[any](b); err != nil {
			t.Errorf("%q is no value of any: %v", b, err)
		}
		_, _ = decodeGathered[Gathered[point]]([][]byte{b, nil}, []bool{true, false})
		_, _ = decodeGathered[[]point]([][]byte{b, nil}, []bool{true, false})
	})
}

// An ID has one spelling, and a Gearman handle names the same task.
func TestParseID(t *testing.T) {
	for text, want := range map[string]ID{"1a": 26, "H:host:26": 26, "H:a:b:26": 26, "0": 0, "": 0, "H:host:": 0, "H:host:1a": 0, "xyz": 0, "H:26": 26} {
		if id, err := ParseID(text); id != want || (err == nil) != (want != 0) {
			t.Errorf("%q: %v, %v, want %v", text, id, err, want)
		}
	}
}

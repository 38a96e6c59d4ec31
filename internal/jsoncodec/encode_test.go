package jsoncodec

import (
	"bytes"
	"encoding/json"
	"errors"
	"math"
	"math/big"
	"math/rand/v2"
	"reflect"
	"strings"
	"testing"
	"time"
	"unicode/utf8"
	"unsafe"
)

func encode[T any](t testing.TB, x T) (string, error) {
	e, err := NewEncoder(reflect.TypeFor[T]())
	if err != nil {
		t.Fatal(err)
	}
	b, err := e.Append([]byte("before"), unsafe.Pointer(&x))
	return strings.TrimPrefix(string(b), "before"), err
}

// like is what encoding/json writes for x.
func like[T any](x T) (string, error) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	err := e.Encode(&x)
	return strings.TrimSuffix(b.String(), "\n"), err
}

func sameText[T any](t *testing.T, x T) {
	t.Helper()
	want, wantErr := like(x)
	got, err := encode(t, x)
	if (err != nil) != (wantErr != nil) {
		t.Fatalf("%T %+v: error %v, want %v", x, x, err, wantErr)
	}
	if err == nil && got != want {
		t.Fatalf("%T %+v:\n got %s\nwant %s", x, x, got, want)
	}
}

type valueMethod struct{}

func (v valueMethod) MarshalJSON() ([]byte, error) { return []byte(" { \"n\" : 1 } "), nil }

type ptrMethod struct{ N int }

func (p *ptrMethod) MarshalJSON() ([]byte, error) { return json.Marshal(-p.N) }

type zeroed struct{ N int }

func (z zeroed) IsZero() bool { return z.N == 5 }

type oddities struct {
	A int                        `json:"a,string"`
	B string                     `json:"b,string"`
	C *float64                   `json:"c,string"`
	D *int8                      `json:"d,omitempty,string"`
	E bool                       `json:",string"`
	F valueMethod                `json:"f"`
	G ptrMethod                  `json:"g"`
	H *ptrMethod                 `json:"h"`
	I map[string]ptrMethod       `json:"i"`
	J []ptrMethod                `json:"j"`
	K json.RawMessage            `json:"k"`
	L error                      `json:"l"`
	M json.Marshaler             `json:"m"`
	N zeroed                     `json:"n,omitzero"`
	O *zeroed                    `json:"o,omitzero"`
	P [0]int                     `json:"p,omitempty"`
	Q map[int]string             `json:"q,omitempty"`
	R [2]ptrMethod               `json:"r"`
	S time.Duration              `json:"s"`
	T json.Number                `json:"t,string"`
	U interface{ IsZero() bool } `json:"u,omitzero"`
	V struct{ W []*string }
	W float32 `json:"w,omitempty"`
	X any     `json:"x,omitzero"`
}

func TestEncodeLikeEncodingJSON(t *testing.T) {
	f, i8, n, str := 1.5, int8(-4), 7, "p"
	sameText(t, everything{})
	sameText(t, everything{EmbeddedPtr: &EmbeddedPtr{P1: 3}, Ptr: &n, In: inner{X: 1, Tags: []string{}, M: map[string]string{"b": "<&>", "a": "\u2028"}},
		Sl: []int{}, SlIn: []inner{{}, {Name: "x"}}, M: map[string]int{"z": 1, "a": 2}, MI: map[int8]inner{-1: {}, 10: {}}, MC: map[colour]string{2: "x"},
		Any: map[string]any{"x": []any{1, "a<b", nil, 2.5}, "b": true}, Bytes: []byte{}, N: "12e3", T: time.Unix(1e9, 5).UTC(), Big: big.NewInt(1 << 60),
		I8: -128, U64: math.MaxUint64, I64: math.MinInt64, F32: 3.4e38, F64: 5e-324, U: math.MaxUint, U32: math.MaxUint32, OmitS: struct{ Z, Y int }{0, 1}, Skip: make(chan int)})
	sameText(t, everything{N: "1.2.3"})
	sameText(t, everything{Any: func() {}})
	for _, x := range []float64{0, math.Copysign(0, -1), 1e-6, 9.99e-7, 1e20, 1e21, 1e-9, 123.456, math.MaxFloat64, math.NaN(), math.Inf(1), math.Inf(-1)} {
		sameText(t, everything{F64: x})
		sameText(t, everything{F32: float32(x)})
		sameText(t, any(x))
	}
	sameText(t, oddities{})
	sameText(t, oddities{A: -5, B: `q"\`, C: &f, D: &i8, E: true, G: ptrMethod{1}, H: &ptrMethod{2}, I: map[string]ptrMethod{"a": {3}}, J: []ptrMethod{{4}},
		K: json.RawMessage(` { "a" : [ 1 , 2 ] } `), L: errors.New("x"), M: valueMethod{}, N: zeroed{5}, O: &zeroed{5}, Q: map[int]string{10: "x", 9: "y"}, T: "5",
		U: zeroed{5}, V: struct{ W []*string }{[]*string{&str, nil}}, X: 0})
	sameText(t, oddities{K: json.RawMessage(`{`)})
	sameText(t, oddities{K: json.RawMessage{}})
	sameText(t, oddities{N: zeroed{1}, O: &zeroed{1}, U: &zeroed{5}, X: []int(nil)})
	sameText(t, oddities{U: (*zeroed)(nil), L: (*json.SyntaxError)(nil)})
	sameText(t, map[string]any{"k": json.Number("5")})
	sameText(t, []string{"a", "b\x00\x1f\x7f\xff\xc3(\n\r\t\b\f\"\\/<>&\u00e9\u2029😀"})
	sameText(t, &n)
	sameText(t, (*int)(nil))
	sameText(t, [2]bool{true, false})
	sameText(t, valueMethod{})
	sameText(t, json.RawMessage(nil))
}

func TestEncodeStringsOfEachLength(t *testing.T) {
	for n := range 20 {
		for _, c := range []string{`"`, `\`, "\n", "ü", "\xff", "\u2028", "x"} {
			for at := range n + 1 {
				sameText(t, strings.Repeat("a", at)+c+strings.Repeat("b", n-at))
			}
		}
	}
}

func TestEncodeErrors(t *testing.T) {
	type list struct {
		Next *list `json:"next"`
	}
	ring := &list{}
	ring.Next = ring
	for _, c := range []struct {
		err  error
		want string
	}{
		{second(encode(t, everything{SlIn: []inner{{}, {}}, Nested: [][]float64{{1}, {2, math.NaN()}}})), "field nested[1][1]: NaN has no form in JSON"},
		{second(encode(t, everything{N: "x"})), `field n: "x" is not a number`},
		{second(encode(t, map[string][]float64{"k": {math.Inf(-1)}})), "field k[0]: -Inf has no form in JSON"},
		{second(encode(t, map[string]everything{"k": {F64: math.Inf(1)}})), "field k.f64: +Inf has no form in JSON"},
		{second(encode(t, oddities{K: json.RawMessage("{")})), "field k: unexpected end of JSON input"},
	} {
		if c.err == nil || c.err.Error() != c.want {
			t.Errorf("error %v, want %s", c.err, c.want)
		}
	}
	if _, err := encode(t, ring); err == nil || !strings.HasSuffix(err.Error(), "more than 10000 levels of nesting; does the value contain itself?") {
		t.Errorf("error of a ring: %.200v", err)
	}
}

func second[A any](_ A, err error) error { return err }

func TestDecimals(t *testing.T) {
	type decimals struct {
		P  int64  `json:"p" decimal:"2"`
		U  uint16 `json:"u,omitempty" decimal:"1"`
		I  int8   `json:"i,omitempty" decimal:"3"`
		Z  int64  `json:"z,omitempty" decimal:"0"`
		Q  int64  `json:"q,omitempty,string" decimal:"2"`
		R  *int32 `json:"r,omitempty" decimal:"4"`
		W  int64  `json:"w,omitempty" decimal:"18"`
		U6 uint64 `json:"u6,omitempty" decimal:"18"`
	}
	r := int32(-15000)
	for _, c := range []struct {
		line string
		want decimals
		text string // written again; empty: as read
	}{
		{`{"p":12.34}`, decimals{P: 1234}, ""},
		{`{"p":12.3}`, decimals{P: 1230}, `{"p":12.30}`},
		{`{"p":12}`, decimals{P: 1200}, `{"p":12.00}`},
		{`{"p":-0.05}`, decimals{P: -5}, ""},
		{`{"p":0.5e1}`, decimals{P: 500}, `{"p":5.00}`},
		{`{"p":12345e-2}`, decimals{P: 12345}, `{"p":123.45}`},
		{`{"p":12.3400}`, decimals{P: 1234}, `{"p":12.34}`},
		{`{"p":1e2}`, decimals{P: 10000}, `{"p":100.00}`},
		{`{"p":0e999}`, decimals{}, `{"p":0.00}`},
		{`{"p":0.00000000000000000000000}`, decimals{}, `{"p":0.00}`},
		{`{"p":92233720368547758.07}`, decimals{P: math.MaxInt64}, ""},
		{`{"p":-92233720368547758.08}`, decimals{P: math.MinInt64}, ""},
		{`{"p":123456.7}`, decimals{P: 12345670}, `{"p":123456.70}`},
		{`{"p":1234567.8}`, decimals{P: 123456780}, `{"p":1234567.80}`},
		{`{"p":0.00,"u":6553.5,"i":-0.128,"z":7,"q":"1.5","r":-1.5,"w":1.5,"u6":18.446744073709551615}`,
			decimals{U: math.MaxUint16, I: -128, Z: 7, Q: 150, R: &r, W: 15e17, U6: math.MaxUint64},
			`{"p":0.00,"u":6553.5,"i":-0.128,"z":7,"q":"1.50","r":-1.5000,"w":1.500000000000000000,"u6":18.446744073709551615}`},
	} {
		got, err := decode[decimals](t, c.line)
		if err != nil || !reflect.DeepEqual(got, c.want) {
			t.Errorf("%s: %+v, %v; want %+v", c.line, got, err, c.want)
		}
		if c.text == "" {
			c.text = c.line
		}
		if text, err := encode(t, got); err != nil || text != c.text {
			t.Errorf("%+v: written as %s, %v; want %s", got, text, err, c.text)
		}
	}
	const fits = " with at most 2 decimals that fits int64, found "
	for line, want := range map[string]string{
		`{"p":12.345}`:                     "offset 5: field p: expected a number" + fits + "12.345",
		`{"p":1e-3}`:                       "offset 5: field p: expected a number" + fits + "1e-3",
		`{"p":92233720368547758.08}`:       "offset 5: field p: expected a number" + fits + "92233720368547758.08",
		`{"p":1e999999999999999999999999}`: "offset 5: field p: expected a number" + fits + "1e999999999999999999999999",
		`{"p":1e-99999999999999999999999}`: "offset 5: field p: expected a number" + fits + "1e-99999999999999999999999",
		`{"p":1e30}`:                       "offset 5: field p: expected a number" + fits + "1e30",
		`{"p":1.}`:                         "offset 5: field p: expected a number" + fits + "1.",
		`{"p":"1"}`:                        "offset 5: field p: expected a number" + fits + `string "1"`,
		`{"u":-1}`:                         "offset 5: field u: expected a number with at most 1 decimals that fits uint16, found -1",
		`{"u":6553.6}`:                     "offset 5: field u: expected a number with at most 1 decimals that fits uint16, found 6553.6",
		`{"i":0.128}`:                      "offset 5: field i: expected a number with at most 3 decimals that fits int8, found 0.128",
		`{"q":1.5}`:                        "offset 5: field q: expected a number with at most 2 decimals that fits int64 in a string, found 1.5",
	} {
		if _, err := decode[decimals](t, line); err == nil || err.Error() != want {
			t.Errorf("%s: error %v\nwant %s", line, err, want)
		}
	}
}

// TestDecimalsProperty writes random amounts in many spellings and reads them back.
func TestDecimalsProperty(t *testing.T) {
	type amount struct {
		P int64 `json:"p" decimal:"3"`
	}
	r := rand.New(rand.NewPCG(1, 0))
	for range 5000 {
		want := amount{r.Int64() >> r.IntN(64)}
		if r.IntN(2) == 0 {
			want.P = -want.P
		}
		text, err := encode(t, want)
		if err != nil {
			t.Fatal(err)
		}
		if i := strings.IndexByte(text, '.'); r.IntN(2) == 0 && strings.Trim(text[i+1:], "0}") == "" {
			text = text[:i] + "}" // no decimals
		}
		if got, err := decode[amount](t, text); err != nil || got != want {
			t.Fatalf("%s: %v, %v; want %v", text, got, err, want)
		}
	}
}

func FuzzEncode(f *testing.F) {
	for _, s := range seeds {
		f.Add([]byte(s))
	}
	f.Add([]byte(`{"k":{"a":[1]},"c":1.5,"d":"4"}`))
	f.Fuzz(func(t *testing.T, line []byte) {
		var x everything
		if json.Unmarshal(line, &x) == nil {
			sameText(t, x)
			text, err := encode(t, x)
			if err != nil {
				t.Fatal(err)
			}
			if back, err := decode[everything](t, text); err != nil {
				t.Fatalf("%s cannot be read back: %v", text, err)
			} else if again, _ := encode(t, back); again != text {
				t.Fatalf("%s became %s", text, again)
			}
		}
		if utf8.Valid(line) {
			sameText(t, string(line))
		}
		var y any
		if json.Unmarshal(line, &y) == nil {
			sameText(t, y)
		}
	})
}

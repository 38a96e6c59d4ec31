package jsoncodec

import (
	"bytes"
	"encoding/json"
	"math/big"
	"net/netip"
	"reflect"
	"strings"
	"testing"
	"time"
	"unicode/utf8"
	"unsafe"
)

type inner struct {
	X    int               `json:"x"`
	Name string            `json:"name"`
	Tags []string          `json:"tags,omitempty"`
	Next *inner            `json:"next,omitempty"`
	M    map[string]string `json:"m"`
}

type embedded struct {
	E1 string `json:"e1"`
	X  int    `json:"shadow"`
}

type EmbeddedPtr struct {
	P1 int8   `json:"p1"`
	P2 string `json:"p2,omitempty"`
}

type colour uint8

func (c colour) MarshalText() ([]byte, error) { return []byte(strings.Repeat("c", int(c))), nil }
func (c *colour) UnmarshalText(b []byte) error {
	*c = colour(len(b))
	return nil
}

// everything has a field of every kind.
type everything struct {
	embedded
	*EmbeddedPtr
	S      string                 `json:"s"`
	Long   string                 `json:"a_key_longer_than_sixteen_bytes"`
	B      bool                   `json:"b"`
	I      int                    `json:"i"`
	I8     int8                   `json:"i8"`
	I16    int16                  `json:"i16"`
	I32    int32                  `json:"i32"`
	I64    int64                  `json:"i64,omitempty"`
	U      uint                   `json:"u"`
	U8     uint8                  `json:"u8"`
	U16    uint16                 `json:"u16"`
	U32    uint32                 `json:"u32"`
	U64    uint64                 `json:"u64,omitzero"`
	F32    float32                `json:"f32"`
	F64    float64                `json:"f64,omitempty"`
	In     inner                  `json:"in"`
	Ptr    *int                   `json:"ptr"`
	PtrIn  **inner                `json:"ptrin"`
	Sl     []int                  `json:"sl"`
	SlIn   []inner                `json:"slin"`
	Arr    [3]string              `json:"arr"`
	M      map[string]int         `json:"map"`
	MI     map[int8]inner         `json:"mi"`
	MC     map[colour]string      `json:"mc"`
	MM     map[string]string      `json:"mm"`
	Any    any                    `json:"any"`
	Bytes  []byte                 `json:"bytes"`
	N      json.Number            `json:"n"`
	T      time.Time              `json:"t,omitzero"`
	TP     *time.Time             `json:"tp"`
	Big    *big.Int               `json:"big"`
	Addr   netip.Addr             `json:"addr"`
	C      colour                 `json:"c,omitempty"`
	Deep   map[string][]*[2]inner `json:"deep,omitempty"`
	Nested [][]float64            `json:"nested"`
	NoTag  string                 // name NoTag
	Skip   chan int               `json:"-"`
	//lint:ignore SA5008 the comma makes it a name, to encoding/json
	Dash    string                     `json:"-,"`
	Umlaut  string                     `json:"größe"`
	Anys    []any                      `json:"anys,omitempty"`
	AnyMap  map[string]any             `json:"anymap,omitempty"`
	OmitS   struct{ Z, Y int }         `json:"omits,omitzero"`
	Structs map[string]struct{ Q int } `json:"structs"`
}

// pad returns line as Decode needs it.
func pad(line []byte) []byte {
	b := make([]byte, len(line)+1+Padding)
	copy(b, line)
	b[len(line)] = '\n'
	return b[:len(line)]
}

func newDecoder[T any](t testing.TB) *Decoder {
	d, err := NewDecoder(reflect.TypeFor[T]())
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// decode reads a line into a new T, or into what an earlier line left there.
func decode[T any](t testing.TB, line string, earlier ...string) (T, error) {
	d, rec := newDecoder[T](t), new(T)
	for _, l := range earlier {
		_ = d.Decode(pad([]byte(l)), unsafe.Pointer(rec))
	}
	err := d.Decode(pad([]byte(line)), unsafe.Pointer(rec))
	return *rec, err
}

// repeats reports whether an object in the JSON b has two keys that differ in case at most.
func repeats(b []byte) bool {
	dec := json.NewDecoder(bytes.NewReader(b))
	type level struct {
		keys  map[string]bool // nil in an array
		value bool            // the next token is a value
	}
	stack := []level{{}}
	for {
		tok, err := dec.Token()
		if err != nil {
			return false
		}
		top := &stack[len(stack)-1]
		if s, ok := tok.(string); ok && top.keys != nil && !top.value {
			if s = fold(s); top.keys[s] {
				return true
			}
			top.keys[s] = true
			top.value = true
			continue
		}
		top.value = false
		switch tok {
		case json.Delim('{'):
			stack = append(stack, level{keys: map[string]bool{}})
		case json.Delim('['):
			stack = append(stack, level{})
		case json.Delim('}'), json.Delim(']'):
			stack = stack[:len(stack)-1]
		}
	}
}

// refuses returns the error for a line. It is nil if the line is read with or without Loose.
func refuses[T any](t testing.TB, line string) error {
	d := newDecoder[T](t)
	d.Loose = true
	if d.Decode(pad([]byte(line)), unsafe.Pointer(new(T))) == nil {
		return nil
	}
	_, err := decode[T](t, line)
	return err
}

// same compares what this package and encoding/json make of a line. Both must agree on whether it is
// well-formed.
func same[T any](t *testing.T, line []byte, earlier ...string) {
	t.Helper()
	var want T
	wantErr := json.Unmarshal(line, &want)
	got, err := decode[T](t, string(line), earlier...)
	if err != nil != (wantErr != nil) {
		t.Fatalf("%T: line %.200q after %.200q:\nerror %v\nwant  %v", got, line, earlier, err, wantErr)
	}
	if wantErr == nil && !reflect.DeepEqual(got, want) {
		t.Fatalf("%T: line %.200q after %.200q:\n got %+v\nwant %+v", got, line, earlier, got, want)
	}
}

var seeds = []string{
	`{}`, `null`, ` { } `, `{"s":"x"}`, `{"s":"a\"b\\c\/\b\f\n\r\tüäö\u00e9\ud83d\ude00\ud800x"}`, "{\"s\":\"a\tb\"}", `{"s":"\x"}`, `{"s":"\u12g4"}`,
	`{"s":null,"b":null,"i":null,"ptr":null,"sl":null,"map":null,"in":null,"any":null,"t":null,"arr":null,"c":null,"f64":null}`,
	`{"s":"ends in the middle`, `{"s":"x"`, `{"s":"x",`, `{"s":`, `{"s"`, `{"`, `{`, ``, `}`, `[`, `]`, `{"s":"x"}}`, `{"s":"x"} x`, `{"s":"x"]`,
	`{"i":0}`, `{"i":-0}`, `{"i":007}`, `{"i":1.0}`, `{"i":1e3}`, `{"i":+1}`, `{"i":-}`, `{"i":123456789}`, `{"i":9223372036854775807,"i64":-9223372036854775808}`,
	`{"i":9223372036854775808}`, `{"i":-9223372036854775809}`, `{"i":123456789012345678901234567890}`, `{"i8":127}`, `{"i8":128}`, `{"i8":-128}`, `{"i8":-129}`,
	`{"u":-1}`, `{"u":-0}`, `{"u8":256}`, `{"u8":255,"u16":65535,"u32":4294967295,"u64":18446744073709551615}`, `{"u64":18446744073709551616}`, `{"u32":4294967296}`,
	`{"f64":1.5,"f32":1.1}`, `{"f64":0.1234567890123456789e-10}`, `{"f64":1e400}`, `{"f32":1e39}`, `{"f32":16777217.0}`, `{"f64":1.}`, `{"f64":.5}`, `{"f64":-0.0}`, `{"f64":-1.25}`,
	`{"f64":12.3456}`, `{"f64":1234567}`, `{"f64":123456.7}`, `{"f64":1E+2}`, `{"f64":1e}`, `{"f64":0x10}`, `{"f64":NaN}`, `{"f64":"1"}`, `{"b":tru}`, `{"b":true}`, `{"b":"true"}`, `{"b":1}`,
	`{"in":{"x":1,"name":"n","tags":["a","b\n","c"],"next":{"x":2,"next":null},"m":{"a":"b","c":null}}}`, `{"in":{"x":1}`, `{"in":[]}`, `{"in":{"tags":["a"}}`, `{"in":{"tags":["a",]}}`,
	`{"ptr":5,"ptrin":{"x":4},"sl":[1,2,3,4,5,6,7],"slin":[{"x":1},{},null,{"name":"z"}],"arr":["a"],"nested":[[1,2],[],null,[3.5]]}`, `{"arr":["a","b","c","d",{"e":[1]}]}`, `{"sl":[1,2,]}`, `{"sl":[,]}`, `{"sl":[1 2]}`,
	`{"map":{"a":1,"b":null},"mi":{"1":{"x":1},"-2":{}},"mc":{"ccc":"x"},"mm":{},"structs":{"a":{"Q":1},"b":{}}}`, `{"mi":{"a":{}}}`, `{"mi":{"300":{}}}`, `{"map":{"a":"x"}}`, `{"mm":{"a":1}}`, `{"map":{"a":1,}}`,
	`{"any":{"a":[1,2.5,"x",true,false,null,{}],"b":{}}}`, `{"any":[]}`, `{"any":1e999}`, `{"any":tru}`, `{"any":[1,{"a":x}]}`, `{"anys":[1,"x"],"anymap":{"k":[{}]}}`,
	`{"bytes":"aGVsbG8="}`, `{"bytes":"?"}`, `{"bytes":[1,2,3]}`, `{"bytes":[256]}`, `{"bytes":""}`, `{"n":12.5}`, `{"n":"12"}`, `{"n":"x"}`, `{"n":""}`, `{"n":true}`,
	`{"t":"2024-07-04T01:55:31Z","tp":"2024-07-04T01:55:31.5+02:00"}`, `{"t":"yesterday"}`, `{"t":5}`, `{"big":123456789012345678901234567890}`, `{"big":"x"}`, `{"addr":"10.0.0.1"}`, `{"addr":"x"}`, `{"addr":5}`, `{"c":"cc"}`,
	`{"e1":"x","shadow":3,"p1":5,"p2":"y"}`, `{"p1":null}`, `{"p1":500}`, `{"deep":{"k":[[{"x":1},{"x":2}],null]}}`,
	`{"S":"upper","I":4,"NOTAG":"x"}`, `{"gröſſe":"ſ folds to s","GRÖSSE":"no"}`, `{"GRÖßE":"x"}`, `{"-":"dash","Skip":1}`, `{"\u0073":"escaped key"}`, `{"s\n":"x","s":1}`,
	`{"a_key_longer_than_sixteen_bytes":"x","a_key_longer_than_sixteen_bytez":"y"}`, `{ "s" : "x" , "i" : 5 , "sl" : [ 1 , 2 ] , "in" : { "x" : 1 } }`, "{\"s\":\"x\"}\r", "\t{\"s\":\"x\"\t}",
	`{"unknown":{"a":[1,{"b":"}]"}],"c":"\\"},"s":"x"}`, `{"unknown":[1,2}`, `{"unknown":01}`, `{"unknown":-1.5e-7,"x":nul}`, `{"unknown":"\q"}`, `{"unknown":{"a" 1}}`, `{"unknown":{1:2}}`, `{"u1":1.5,"u2":true,"u3":null,"s":"y"}`,
	"\ufeff{}", `{"s":"x"}{"s":"y"}`, `{"s":"x",}`, `{,"s":"x"}`, `{"s":"x" "i":5}`, `{"s":"x";"i":5}`, `{s:1}`, `{'s':1}`, "{\"s\":\"\x00\"}", "{\"s\":\"\u2028\u2029\x7f\"}", `[1,2,3]`, `"text"`, `12`, `true`, `{"i":12a}`, `{"i":12"s":1}`, `{"i":1234567890123}`, `{"i":[1]}`, `{"i":{}}`, `{"sl":{}}`, `{"map":[]}`, `{"s":{}}`,
}

func TestDecodeLikeEncodingJSON(t *testing.T) {
	filled := `{"s":"old","i":1,"i8":1,"u":1,"u64":7,"f32":1,"f64":1,"b":true,"in":{"x":1,"name":"old","tags":["t"],"next":{}},"ptr":1,"ptrin":{},"sl":[1],"slin":[{"x":1}],
		"arr":["o","l","d"],"map":{"old":1},"mm":{"old":"x"},"any":1,"bytes":"aGVsbG8=","n":1,"t":"2024-07-04T01:55:31Z","big":5,"addr":"::1","c":"ccc","p1":5,"e1":"old","shadow":8,"NoTag":"old","omits":{"Z":1,"Y":2}}`
	filled = strings.ReplaceAll(strings.ReplaceAll(filled, "\n", ""), "\t", "")
	for _, line := range seeds {
		same[everything](t, []byte(line))
		same[everything](t, []byte(line), filled)
		same[everything](t, []byte(line), line, filled, line)
		same[any](t, []byte(line))
		same[map[string]any](t, []byte(line))
		same[*inner](t, []byte(line))
		same[[]int](t, []byte(line))
		same[wantedS](t, []byte(line))
		same[wantedS](t, []byte(line), line, filled)
	}
	for _, depth := range []int{100, maxDepth, maxDepth + 1} {
		same[any](t, []byte(strings.Repeat("[", depth)+strings.Repeat("]", depth)))
		same[everything](t, []byte(`{"x":`+strings.Repeat(`[`, depth-1)+strings.Repeat(`]`, depth-1)+`}`))
	}
}

// wantedS asks for so little that most lines are read in part.
type wantedS struct {
	S string `json:"s"`
	I int    `json:"i"`
}

func FuzzDecode(f *testing.F) {
	for _, s := range seeds {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, line []byte) {
		if bytes.IndexByte(line, '\n') >= 0 || !utf8.Valid(line) || repeats(line) {
			// Nothing to compare, but neither a reason to crash.
			line = bytes.ReplaceAll(line, []byte("\n"), nil)
			_, _ = decode[everything](t, string(line))
			_, _ = decode[wantedS](t, string(line))
			return
		}
		same[everything](t, line)
		same[everything](t, line, string(line), seeds[6], string(line))
		same[wantedS](t, line)
		same[any](t, line)
		same[inner](t, line)
	})
}

package jsoncodec

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"reflect"
	"strconv"
	"strings"
	"testing"
	"time"
	"unicode/utf8"
)

// A maker makes random struct types, and lines that mostly fit them.
type maker struct{ *rand.Rand }

var leaves = []reflect.Type{
	reflect.TypeFor[string](), reflect.TypeFor[string](), reflect.TypeFor[int64](), reflect.TypeFor[int](), reflect.TypeFor[float64](), reflect.TypeFor[bool](),
	reflect.TypeFor[int8](), reflect.TypeFor[uint16](), reflect.TypeFor[float32](), reflect.TypeFor[any](), reflect.TypeFor[json.Number](), reflect.TypeFor[[]byte](),
	reflect.TypeFor[time.Time](), reflect.TypeFor[colour](), reflect.TypeFor[inner](), reflect.TypeFor[map[string]string](), reflect.TypeFor[uint64](),
}

func (m maker) typ(depth int) reflect.Type {
	if depth > 0 {
		switch m.IntN(9) {
		case 0:
			return m.structType(depth - 1)
		case 1:
			return reflect.SliceOf(m.typ(depth - 1))
		case 2:
			return reflect.PointerTo(m.typ(depth - 1))
		case 3:
			return reflect.MapOf(reflect.TypeFor[string](), m.typ(depth-1))
		case 4:
			return reflect.ArrayOf(m.IntN(4), m.typ(depth-1))
		}
	}
	return leaves[m.IntN(len(leaves))]
}

func (m maker) structType(depth int) reflect.Type {
	n := m.IntN(8)
	if m.IntN(20) == 0 {
		n = 60 + m.IntN(10)
	}
	fs := make([]reflect.StructField, n)
	for i := range fs {
		name := strings.Repeat("k", m.IntN(25)) + strconv.Itoa(i)
		opts := []string{"", "", ",omitempty", ",omitzero"}[m.IntN(4)]
		fs[i] = reflect.StructField{Name: "F" + strconv.Itoa(i), Type: m.typ(depth), Tag: reflect.StructTag(fmt.Sprintf(`json:"%s%s"`, name, opts))}
	}
	return reflect.StructOf(fs)
}

// space is mostly nothing.
func (m maker) space() string {
	return []string{"", "", "", "", "", "", " ", "  ", "\t", " \r"}[m.IntN(10)]
}

func (m maker) text() string {
	var b strings.Builder
	b.WriteByte('"')
	for range m.IntN(12) {
		b.WriteString([]string{"a", "bc", "def", `\"`, `\\`, `\n`, `\u00e9`, "ü", "{", "}", "[", "]", ",", ":", "😀", `\ud83d\ude00`, `\ud800`, "ghijklmnop"}[m.IntN(18)])
	}
	return b.String() + `"`
}

func (m maker) number() string {
	switch m.IntN(5) {
	case 0:
		return strconv.Itoa(m.IntN(300) - 100)
	case 1:
		return strconv.FormatInt(m.Int64()>>m.IntN(64), 10)
	case 2:
		return strconv.FormatFloat(m.NormFloat64()*100, 'f', m.IntN(6), 64)
	case 3:
		return strconv.FormatFloat(m.ExpFloat64(), 'e', -1, 64)
	}
	return strconv.FormatUint(m.Uint64(), 10)
}

// line returns JSON for a value of type t or, rarely, of another type.
func (m maker) line(t reflect.Type, depth int) string {
	if m.IntN(15) == 0 {
		return "null"
	}
	if depth > 6 || m.IntN(60) == 0 {
		return []string{m.text(), m.number(), "true", "{}", "[]", `[1,{"a":"}"}]`, "false", `{"x":[{}]}`}[m.IntN(8)]
	}
	list := func(n int, open, close string, item func(i int) string) string {
		items := make([]string, n)
		for i := range items {
			items[i] = m.space() + item(i) + m.space()
		}
		return open + strings.Join(items, ",") + close
	}
	switch t {
	case reflect.TypeFor[time.Time]():
		return `"2024-07-04T01:55:31Z"`
	case reflect.TypeFor[colour]():
		return m.text()
	case reflect.TypeFor[[]byte]():
		return `"aGVsbG8="`
	case numberType:
		return m.number()
	}
	switch t.Kind() {
	case reflect.String:
		return m.text()
	case reflect.Bool:
		return strconv.FormatBool(m.IntN(2) == 0)
	case reflect.Pointer:
		return m.line(t.Elem(), depth)
	case reflect.Slice, reflect.Array:
		return list(m.IntN(6), "[", "]", func(int) string { return m.line(t.Elem(), depth+1) })
	case reflect.Map:
		return list(m.IntN(5), "{", "}", func(i int) string { return fmt.Sprintf(`"%d\n":%s`, i, m.line(t.Elem(), depth+1)) })
	case reflect.Interface:
		return m.line(leaves[m.IntN(len(leaves))], depth+1)
	case reflect.Struct:
		var members []string
		for _, f := range structFields(t) {
			if m.IntN(12) > 0 {
				members = append(members, m.name(f.name)+m.space()+":"+m.space()+m.line(f.Type, depth+1))
			}
			if m.IntN(6) == 0 {
				members = append(members, fmt.Sprintf(`"other%d":`, len(members))+m.line(leaves[m.IntN(len(leaves))], depth+1))
			}
		}
		if m.IntN(5) == 0 {
			m.Shuffle(len(members), func(i, j int) { members[i], members[j] = members[j], members[i] })
		}
		return list(len(members), "{", "}", func(i int) string { return members[i] })
	}
	return m.number()
}

// name spells a key, rarely in other case or with escapes.
func (m maker) name(s string) string {
	switch m.IntN(25) {
	case 0:
		s = strings.ToUpper(s)
	case 1:
		return fmt.Sprintf(`"\u%04x%s"`, s[0], s[1:])
	}
	return `"` + s + `"`
}

// damage changes a line so that it is probably malformed.
func (m maker) damage(s string) string {
	i := m.IntN(len(s) + 1)
	switch m.IntN(4) {
	case 0:
		return s[:i]
	case 1:
		return s[:i] + s[min(i+1, len(s)):]
	case 2:
		return s[:i] + string(`{}[]",:\ 0-e.n`[m.IntN(14)]) + s[i:]
	}
	return s[:i] + string(`{}[]",:\ 0-e.n`[m.IntN(14)]) + s[min(i+1, len(s)):]
}

// TestRandomTypes reads lines into one reused record of a random type, and writes it, as
// encoding/json does.
func TestRandomTypes(t *testing.T) {
	for seed := range uint64(40) {
		m := maker{rand.New(rand.NewPCG(seed, 0))}
		typ := m.structType(3)
		if seed%10 == 0 {
			typ = m.typ(3)
		}
		d, err := NewDecoder(typ)
		if err != nil {
			t.Fatal(err)
		}
		e, err := NewEncoder(typ)
		if err != nil {
			t.Fatal(err)
		}
		rec := reflect.New(typ)
		for range 25 {
			line := m.line(typ, 0)
			if m.IntN(4) == 0 {
				line = m.damage(line)
			}
			if d.isLine || repeats([]byte(line)) || !utf8.ValidString(line) {
				continue
			}
			want := reflect.New(typ)
			wantErr := json.Unmarshal([]byte(line), want.Interface())
			err := d.Decode(pad([]byte(line)), rec.UnsafePointer())
			if wantErr != nil {
				// Only what stands behind the last wanted field may be wrong.
				if full := fullDecoder(t, typ); err == nil && full != nil && full.Decode(pad([]byte(line)), reflect.New(full.root.typ).UnsafePointer()) == nil {
					t.Fatalf("seed %d: %s\nline %s\nis read, but: %v", seed, typ, line, wantErr)
				}
				continue
			}
			if err != nil {
				t.Fatalf("seed %d: %s\nline %s\n%v", seed, typ, line, err)
			}
			if !reflect.DeepEqual(rec.Interface(), want.Interface()) {
				t.Fatalf("seed %d: %s\nline %s\n got %+v\nwant %+v", seed, typ, line, rec, want)
			}
			text, err := e.Append(nil, rec.UnsafePointer())
			wantText, wantErr := like(want.Interface())
			if (err != nil) != (wantErr != nil) || err == nil && string(text) != wantText {
				t.Fatalf("seed %d: %s\n got %s, %v\nwant %s, %v", seed, typ, text, err, wantText, wantErr)
			}
		}
	}
}

// fullDecoder returns a decoder for struct type t with one more field, which no line has, so that
// all of a line is read.
func fullDecoder(t *testing.T, typ reflect.Type) *Decoder {
	if typ.Kind() == reflect.Struct && typ.Name() == "" {
		fs := []reflect.StructField{{Name: "Never", Type: reflect.TypeFor[int](), Tag: `json:"never there"`}}
		for i := range typ.NumField() {
			fs = append(fs, typ.Field(i))
		}
		typ = reflect.StructOf(fs)
	}
	d, err := NewDecoder(typ)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

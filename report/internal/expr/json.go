package expr

import (
	"strconv"
	"strings"
	"unicode/utf16"
	"unicode/utf8"

	"github.com/layshaft/layshaft/report/internal/vec"
)

// maxDepth limits how deep JSON may be nested.
const maxDepth = 1000

func jsonSpace(s string, i int) int {
	for i < len(s) && (s[i] == ' ' || s[i] == '\n' || s[i] == '\t' || s[i] == '\r') {
		i++
	}
	return i
}

// jsonEnd returns the end of the value that begins at s[i], or -1 if it is not valid.
func jsonEnd(s string, i, depth int) int {
	if i >= len(s) || depth > maxDepth {
		return -1
	}
	switch c := s[i]; {
	case c == '"':
		return jsonStringEnd(s, i)
	case c == '{' || c == '[':
		end := -1
		ok := jsonEach(s[i:], depth, func(_, _ string, at int) bool { return true }, &end)
		if !ok {
			return -1
		}
		return i + end
	case c == '-' || c >= '0' && c <= '9':
		return jsonNumberEnd(s, i)
	}
	for _, word := range []string{"null", "true", "false"} {
		if strings.HasPrefix(s[i:], word) {
			return i + len(word)
		}
	}
	return -1
}

// jsonEach calls f for each member of the object, or element of the array, that s begins with,
// until f returns false. key is in its quotes, and empty in arrays. end receives the end if all
// were seen. It reports whether s is valid as far as it was read.
func jsonEach(s string, depth int, f func(key, value string, i int) bool, end *int) bool {
	object := s[0] == '{'
	last := byte(']')
	if object {
		last = '}'
	}
	i := jsonSpace(s, 1)
	if i < len(s) && s[i] == last {
		*end = i + 1
		return true
	}
	for n := 0; ; n++ {
		var key string
		if object {
			if i >= len(s) || s[i] != '"' {
				return false
			}
			e := jsonStringEnd(s, i)
			if e < 0 {
				return false
			}
			key = s[i:e]
			if i = jsonSpace(s, e); i >= len(s) || s[i] != ':' {
				return false
			}
			i = jsonSpace(s, i+1)
		}
		e := jsonEnd(s, i, depth+1)
		if e < 0 {
			return false
		}
		if !f(key, s[i:e], n) {
			return true
		}
		i = jsonSpace(s, e)
		if i >= len(s) {
			return false
		}
		if s[i] == last {
			*end = i + 1
			return true
		}
		if s[i] != ',' {
			return false
		}
		i = jsonSpace(s, i+1)
	}
}

func jsonStringEnd(s string, i int) int {
	for i++; i < len(s); i++ {
		switch c := s[i]; {
		case c == '"':
			return i + 1
		case c < 0x20:
			return -1
		case c == '\\':
			i++
			if i >= len(s) || !strings.ContainsRune(`"\/bfnrtu`, rune(s[i])) {
				return -1
			}
			if s[i] == 'u' {
				if i+4 >= len(s) {
					return -1
				}
				if _, err := strconv.ParseUint(s[i+1:i+5], 16, 16); err != nil {
					return -1
				}
				i += 4
			}
		}
	}
	return -1
}

func jsonNumberEnd(s string, i int) int {
	digits := func() bool {
		start := i
		for i < len(s) && s[i]-'0' <= 9 {
			i++
		}
		return i > start
	}
	if s[i] == '-' {
		i++
	}
	if i < len(s) && s[i] == '0' {
		i++
	} else if !digits() {
		return -1
	}
	if i < len(s) && s[i] == '.' {
		if i++; !digits() {
			return -1
		}
	}
	if i < len(s) && s[i]|0x20 == 'e' {
		if i++; i < len(s) && (s[i] == '+' || s[i] == '-') {
			i++
		}
		if !digits() {
			return -1
		}
	}
	return i
}

// jsonTrim returns s without spaces around it.
func jsonTrim(s string) string { return strings.Trim(s, " \n\t\r") }

func validJSON(s string) bool {
	i := jsonEnd(s, jsonSpace(s, 0), 0)
	return i >= 0 && jsonSpace(s, i) == len(s)
}

// unquoteJSON returns the text of a JSON string in its quotes.
func unquoteJSON(s string) string {
	s = s[1 : len(s)-1]
	if !strings.Contains(s, `\`) {
		return s
	}
	out := make([]byte, 0, len(s))
	for i := 0; i < len(s); i++ {
		if s[i] != '\\' {
			out = append(out, s[i])
			continue
		}
		i++
		switch s[i] {
		case 'b':
			out = append(out, '\b')
		case 'f':
			out = append(out, '\f')
		case 'n':
			out = append(out, '\n')
		case 'r':
			out = append(out, '\r')
		case 't':
			out = append(out, '\t')
		case 'u':
			x, _ := strconv.ParseUint(s[i+1:i+5], 16, 16)
			i += 4
			r := rune(x)
			if utf16.IsSurrogate(r) && i+6 < len(s) && s[i+1] == '\\' && s[i+2] == 'u' {
				y, _ := strconv.ParseUint(s[i+3:i+7], 16, 16)
				if both := utf16.DecodeRune(r, rune(y)); both != utf8.RuneError {
					r = both
					i += 6
				}
			}
			out = utf8.AppendRune(out, r)
		default:
			out = append(out, s[i])
		}
	}
	return string(out)
}

// jsonMember returns the value of a key of an object. The last one counts if a key occurs twice.
func jsonMember(s, key string) (value string, ok bool) {
	s = jsonTrim(s)
	if s == "" || s[0] != '{' {
		return "", false
	}
	var end int
	jsonEach(s, 0, func(k, v string, _ int) bool {
		if k[1:len(k)-1] == key || strings.Contains(k, `\`) && unquoteJSON(k) == key {
			value, ok = v, true
		}
		return true
	}, &end)
	return value, ok
}

// jsonElement returns an element of an array by its number from 0, or from -1 at the end.
func jsonElement(s string, n int64) (value string, ok bool) {
	s = jsonTrim(s)
	if s == "" || s[0] != '[' {
		return "", false
	}
	if n < 0 {
		if n += jsonLength(s); n < 0 {
			return "", false
		}
	}
	var end int
	jsonEach(s, 0, func(_, v string, i int) bool {
		if int64(i) == n {
			value, ok = v, true
		}
		return !ok
	}, &end)
	return value, ok
}

// jsonLength returns the number of elements of an array, and 0 for other values.
func jsonLength(s string) (n int64) {
	s = jsonTrim(s)
	if s == "" || s[0] != '[' {
		return 0
	}
	var end int
	jsonEach(s, 0, func(_, _ string, _ int) bool { n++; return true }, &end)
	return n
}

// jsonText returns a value as text: a string without its quotes. ok is false for null.
func jsonText(s string) (text string, ok bool) {
	s = jsonTrim(s)
	if s == "null" || s == "" {
		return "", false
	}
	if s[0] == '"' && jsonStringEnd(s, 0) == len(s) {
		return unquoteJSON(s), true
	}
	return s, true
}

// fromJSON returns the kernel of a cast of JSON: strings without their quotes, and null as NULL.
func (c *casting) fromJSON() kernel {
	if c.to.Kind == vec.List || c.to.Kind == vec.Struct || c.to.Kind == vec.Map {
		return c.decodeJSON
	}
	text := casting{from: vec.Of(vec.Text), to: c.to, try: c.try}
	k := text.fromText()
	if k == nil {
		return nil
	}
	return func(args []*vec.Vec, n int) (*vec.Vec, error) {
		s, m := strs(args[0]), maskOf(args[0])
		v, err := each(vec.Of(vec.Text), args, n, func(i int) (string, error) {
			if t, ok := jsonText(s[i&m]); ok {
				return t, nil
			}
			return "", errNull
		})
		if err != nil {
			return nil, err
		}
		return k([]*vec.Vec{v}, n)
	}
}

// decodeJSON reads lists, structs and maps from JSON.
func (c *casting) decodeJSON(args []*vec.Vec, n int) (*vec.Vec, error) {
	s, m := strs(args[0]), maskOf(args[0])
	out := vec.NewBuilder(c.to, n)
	for i := range n {
		if args[0].Null(i) {
			out.AppendNull()
			continue
		}
		text := s[i&m]
		if !validJSON(text) {
			if !c.try {
				return nil, rowError(i, "%s is no %s; write it as JSON, as in %s", quote(text), c.to, jsonExample(c.to))
			}
			out.AppendNull()
			continue
		}
		// a value that does not fit leaves its row half done, so rows are tried apart
		row := vec.NewBuilder(c.to, 1)
		if err := appendDecoded(row, jsonTrim(text)); err != nil {
			if !c.try {
				return nil, rowError(i, "%s", err)
			}
			out.AppendNull()
			continue
		}
		out.Append(row.Done(), 0)
	}
	return out.Done(), nil
}

func jsonExample(t vec.Type) string {
	if t.Kind == vec.List {
		return `["a", "b"]`
	}
	return `{"a": 1}`
}

// appendDecoded appends a JSON value to a vector of any type.
func appendDecoded(b *vec.Builder, s string) error {
	if s == "null" && b.Type.Kind != vec.JSON {
		b.AppendNull()
		return nil
	}
	var end int
	switch b.Type.Kind {
	case vec.Null:
		b.AppendNull()
		return nil
	case vec.JSON:
		b.AppendString(s)
		return nil
	case vec.List:
		if s[0] != '[' {
			return rowError(0, "%s is no list", quote(s))
		}
		return b.AppendList(func(elems *vec.Builder) (err error) {
			jsonEach(s, 0, func(_, v string, _ int) bool { err = appendDecoded(elems, v); return err == nil }, &end)
			return err
		})
	case vec.Map:
		if s[0] != '{' {
			return rowError(0, "%s is no map", quote(s))
		}
		return b.AppendList(func(elems *vec.Builder) (err error) {
			jsonEach(s, 0, func(k, v string, _ int) bool {
				err = elems.AppendStruct(func(i int, field *vec.Builder) error {
					if i == 0 {
						return appendDecoded(field, k)
					}
					return appendDecoded(field, v)
				})
				return err == nil
			}, &end)
			return err
		})
	case vec.Struct:
		if s[0] != '{' {
			return rowError(0, "%s is no struct", quote(s))
		}
		return b.AppendStruct(func(i int, field *vec.Builder) error {
			v, ok := jsonMember(s, b.Type.Fields[i].Name)
			if !ok {
				v = "null"
			}
			return appendDecoded(field, v)
		})
	case vec.Text:
		text, _ := jsonText(s)
		b.AppendString(text)
		return nil
	}
	text, _ := jsonText(s)
	c := casting{from: vec.Of(vec.Text), to: b.Type}
	v, err := c.fromText()([]*vec.Vec{textVec(text)}, 1)
	if err != nil {
		return err
	}
	b.Append(v, 0)
	return nil
}

// lists returns the kernel of a cast of the elements of lists or maps.
func (c *casting) lists() kernel {
	k := func(args []*vec.Vec, _ int) (*vec.Vec, error) { return args[0], nil }
	if !c.from.Elem.Equal(*c.to.Elem) {
		if k = caster(*c.from.Elem, *c.to.Elem, c.try); k == nil {
			return nil
		}
	}
	return func(args []*vec.Vec, n int) (*vec.Vec, error) {
		v := args[0].Flat()
		elem, err := k([]*vec.Vec{v.Elem}, v.Elem.Len)
		if err != nil {
			return nil, rowOfElement(err, v)
		}
		w := *v
		w.Type, w.Elem = c.to, elem.Flat()
		return &w, nil
	}
}

// rowOfElement changes the row of an error from an element to its list.
func rowOfElement(err error, v *vec.Vec) error {
	if x, ok := err.(*Error); ok {
		row := 0
		for row+1 < v.Len && int(v.Offsets[row+1]) <= x.Row {
			row++
		}
		x.Row = row
	}
	return err
}

// structs returns the kernel of a cast of the fields of structs, by their order.
func (c *casting) structs() kernel {
	if len(c.from.Fields) != len(c.to.Fields) {
		return nil
	}
	fields := make([]kernel, len(c.to.Fields))
	for i, f := range c.to.Fields {
		if !c.from.Fields[i].Type.Equal(f.Type) {
			if fields[i] = caster(c.from.Fields[i].Type, f.Type, c.try); fields[i] == nil {
				return nil
			}
		}
	}
	return func(args []*vec.Vec, n int) (*vec.Vec, error) {
		v := args[0].Flat()
		w := *v
		w.Type, w.Fields = c.to, make([]*vec.Vec, len(fields))
		for i, k := range fields {
			w.Fields[i] = v.Fields[i]
			if k == nil {
				continue
			}
			f, err := k([]*vec.Vec{v.Fields[i]}, v.Len)
			if err != nil {
				return nil, err
			}
			w.Fields[i] = f.Flat()
		}
		return &w, nil
	}
}

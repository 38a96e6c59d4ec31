package scan

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"unsafe"

	"github.com/layshaft/layshaft/report/internal/vec"
)

// resolveJSON infers the columns of JSON.
func resolveJSON(_ context.Context, t *Table, samples []sample, rows int) error {
	var root shape
	for _, s := range samples {
		t.Whole = t.Whole || isWhole(s.head)
	}
	for name, value := range t.Options {
		switch {
		case name == "columns":
		case name == "format" && value == "auto":
		case name == "format" && (value == "newline_delimited" || value == "nd" || value == "array" || value == "unstructured"):
			t.Whole = value == "array" || value == "unstructured"
		default:
			return fmt.Errorf("option %s=%s is not known for json; the options are columns, types, sample_size, and format=auto, newline_delimited, array or unstructured", name, value)
		}
	}
	if t.Whole {
		each := max(rows/max(len(samples), 1), 16)
		for _, s := range samples {
			n := 0
			eachDocument(s.head, s.whole, func(text []byte) bool {
				root.addLine(text)
				n++
				return n < each
			})
		}
	} else {
		lines(samples, rows, root.addLine)
	}
	values := root.lists + root.bools + root.ints + root.decimals + root.floats + root.huge + root.texts + root.dates + root.stamps + root.zoned + root.times + root.nulls
	if root.objects+values == 0 && t.Options["columns"] == "" {
		for _, s := range samples {
			if len(bytes.Trim(s.head, " \t\r\n[]")) > 0 {
				return fmt.Errorf("%s: its first %d bytes have no record of JSON; name the right format, such as read_csv('…')", s.file.Path, len(s.head))
			}
		}
	}
	if values == 0 {
		t.Columns, t.Unique = root.columns(true), root.unique()
		return nil
	}
	t.Value = true
	t.Columns = []vec.Field{{Name: "json", Type: root.typeOf(true)}}
	return nil
}

// addLine adds a record to a shape, unless it is malformed.
func (s *shape) addLine(line []byte) {
	w := walker{line}
	if end := w.value(nil, w.space(0), 0); end < 0 || w.space(end) != len(line) {
		return
	}
	w.value(s, w.space(0), 0)
}

// walker walks over a JSON text.
type walker struct{ b []byte }

func (w walker) space(i int) int {
	for i < len(w.b) && (w.b[i] == ' ' || w.b[i] == '\t' || w.b[i] == '\r' || w.b[i] == '\n') {
		i++
	}
	return i
}

// text returns the characters from i to end, without a copy.
func (w walker) text(i, end int) string { return unsafe.String(unsafe.SliceData(w.b[i:end]), end-i) }

// str returns the end of the string at i, or -1.
func (w walker) str(i int) int {
	if i >= len(w.b) || w.b[i] != '"' {
		return -1
	}
	for i++; i < len(w.b); i++ {
		n := bytes.IndexByte(w.b[i:], '"')
		if n < 0 {
			return -1
		}
		slashes := 0
		for i += n; w.b[i-1-slashes] == '\\'; slashes++ {
		}
		if slashes%2 == 0 {
			return i + 1
		}
	}
	return -1
}

// value adds the value at i to s, which may be nil, and returns its end, or -1 if it is malformed.
func (w walker) value(s *shape, i, depth int) int {
	if i >= len(w.b) || depth > 500 {
		return -1
	}
	switch w.b[i] {
	case '"':
		end := w.str(i)
		if s != nil && end > 0 {
			s.addString(w.text(i+1, end-1))
		}
		return end
	case '{':
		return w.object(s, i, depth)
	case '[':
		return w.list(s, i, depth)
	}
	end := i
	for end < len(w.b) && w.b[end] > ' ' && w.b[end] != ',' && w.b[end] != '}' && w.b[end] != ']' {
		end++
	}
	switch text := w.text(i, end); {
	case text == "null":
		if s != nil {
			s.nulls++
		}
	case text == "true" || text == "false":
		if s != nil {
			s.bools++
		}
	case text == "" || text[0] != '-' && text[0]-'0' > 9:
		return -1
	case s != nil:
		s.add(text)
	}
	return end
}

func (w walker) object(s *shape, i, depth int) int {
	if s != nil {
		s.objects++
		s.next = 0
	}
	if i = w.space(i + 1); i < len(w.b) && w.b[i] == '}' {
		return i + 1
	}
	for {
		end := w.str(i)
		if end < 0 {
			return -1
		}
		var field *shape
		if s != nil {
			s.keys++
			name := w.text(i+1, end-1)
			if bytes.IndexByte(w.b[i:end], '\\') >= 0 {
				name = unescape(w.text(i, end))
			}
			field = s.field(name)
		}
		if i = w.space(end); i >= len(w.b) || w.b[i] != ':' {
			return -1
		}
		if i = w.value(field, w.space(i+1), depth+1); i < 0 {
			return -1
		}
		if i = w.space(i); i >= len(w.b) {
			return -1
		}
		switch w.b[i] {
		case ',':
			i = w.space(i + 1)
		case '}':
			return i + 1
		default:
			return -1
		}
	}
}

func (w walker) list(s *shape, i, depth int) int {
	var elem *shape
	if s != nil {
		s.lists++
		if s.elem == nil {
			s.elem = &shape{}
		}
		elem = s.elem
	}
	if i = w.space(i + 1); i < len(w.b) && w.b[i] == ']' {
		return i + 1
	}
	for {
		if i = w.value(elem, i, depth+1); i < 0 {
			return -1
		}
		if i = w.space(i); i >= len(w.b) {
			return -1
		}
		switch w.b[i] {
		case ',':
			i = w.space(i + 1)
		case ']':
			return i + 1
		default:
			return -1
		}
	}
}

// unescape returns the text of a string in quotes.
func unescape(quoted string) string {
	var s string
	if json.Unmarshal([]byte(quoted), &s) != nil {
		return quoted[1 : len(quoted)-1]
	}
	return s
}

// Package plain makes text of unknown origin safe for screens.
//
// Names of functions, unique keys, worker names and error texts may hold any bytes, because clients
// of other systems choose them. A terminal obeys escape sequences in them, a newline forges a line
// of a table, and bytes outside UTF-8 are refused by many readers. All tables, messages, pages and
// text answers pass such values through this package.
package plain

import (
	"bytes"
	"encoding"
	"encoding/json"
	"fmt"
	"io"
	"reflect"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf16"
	"unicode/utf8"
)

// Text returns s with every unprintable byte written as \xHH: "caf\xe9" has eight visible
// characters. Printable characters stay, so Text of an escaped text changes nothing.
func Text(s string) string { return escape(s, isPlain) }

// Word is Text for one field of a line whose fields are separated by spaces: it also escapes
// spaces.
func Word(s string) string { return escape(s, func(r rune) bool { return r != ' ' && isPlain(r) }) }

// Lines is Text for a text of several lines, such as a stack: newlines and tabs stay.
func Lines(s string) string {
	return escape(s, func(r rune) bool { return r == '\n' || r == '\t' || isPlain(r) })
}

// isPlain reports whether a screen shows r as it is. Directional marks are not graphic characters.
func isPlain(r rune) bool { return unicode.IsGraphic(r) }

func escape(s string, keep func(rune) bool) string {
	var b []byte
	done := 0 // s[:done] is in b
	for i := 0; i < len(s); {
		r, n := utf8.DecodeRuneInString(s[i:])
		if r == utf8.RuneError && n == 1 || !keep(r) {
			b = append(b, s[done:i]...)
			for _, c := range []byte(s[i : i+n]) {
				b = append(b, '\\', 'x', "0123456789abcdef"[c>>4], "0123456789abcdef"[c&15])
			}
			done = i + n
		}
		i += n
	}
	if done == 0 {
		return s
	}
	return string(append(b, s[done:]...))
}

// Bytes returns the name that a person means who has read s on a screen: it reverses Text and Word.
// A text that they would not have written, such as App\xylophone or \x41, stays as it is.
func Bytes(s string) string {
	if !strings.Contains(s, `\x`) {
		return s
	}
	var b []byte
	for i := 0; i < len(s); i++ {
		if len(s)-i >= 4 && s[i:i+2] == `\x` {
			if c, err := strconv.ParseUint(s[i+2:i+4], 16, 8); err == nil {
				b = append(b, byte(c))
				i += 3
				continue
			}
		}
		b = append(b, s[i])
	}
	if name := string(b); Text(name) == s || Word(name) == s {
		return name
	}
	return s
}

// JSON returns a copy of v for an encoder of JSON, which would replace bytes outside UTF-8: texts
// with such bytes are escaped as in Text.
func JSON(v any) any {
	return escaped(v, func(s string) string {
		if utf8.ValidString(s) {
			return s
		}
		return Text(s)
	})
}

// WriteJSON writes v as indented JSON that is safe for screens: see JSON and EncodedJSON.
func WriteJSON(w io.Writer, v any) error {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetIndent("", "  ")
	if err := enc.Encode(JSON(v)); err != nil {
		return err
	}
	_, err := w.Write(EncodedJSON(b.Bytes()))
	return err
}

// LinesOfJSON returns a writer for whole lines of JSON, which passes them through EncodedJSON.
func LinesOfJSON(w io.Writer) io.Writer { return linesOfJSON{w} }

type linesOfJSON struct{ to io.Writer }

func (l linesOfJSON) Write(b []byte) (int, error) {
	if _, err := l.to.Write(EncodedJSON(b)); err != nil {
		return 0, err
	}
	return len(b), nil
}

// EncodedJSON returns encoded JSON in which a screen shows all characters as they are: others, such
// as the control characters of one byte that U+0080 to U+009F stand for, are \u escapes. The value
// stays the same.
func EncodedJSON(b []byte) []byte {
	var out []byte
	done := 0 // b[:done] is in out
	for i := 0; i < len(b); {
		r, n := utf8.DecodeRune(b[i:])
		if r >= 0x7f && !isPlain(r) {
			out = append(out, b[done:i]...)
			if high, low := utf16.EncodeRune(r); high != utf8.RuneError {
				out = fmt.Appendf(out, `\u%04x\u%04x`, high, low)
			} else {
				out = fmt.Appendf(out, `\u%04x`, r)
			}
			done = i + n
		}
		i += n
	}
	if done == 0 {
		return b
	}
	return append(out, b[done:]...)
}

// Page returns a copy of v for a template of a page: all texts in it are escaped as in Lines.
func Page(v any) any { return escaped(v, Lines) }

func escaped(v any, escape func(string) string) any {
	if v == nil {
		return nil
	}
	return copied(reflect.ValueOf(v), escape).Interface()
}

func copied(v reflect.Value, escape func(string) string) reflect.Value {
	c := reflect.New(v.Type()).Elem()
	c.Set(v)
	escapeIn(c, escape)
	return c
}

var (
	jsonMarshaler = reflect.TypeFor[json.Marshaler]()
	textMarshaler = reflect.TypeFor[encoding.TextMarshaler]()
)

// escapeIn escapes the texts in v, and replaces what v refers to by escaped copies.
func escapeIn(v reflect.Value, escape func(string) string) {
	if v.Type().Implements(jsonMarshaler) || v.Type().Implements(textMarshaler) {
		return
	}
	switch v.Kind() {
	case reflect.String:
		v.SetString(escape(v.String()))
	case reflect.Pointer:
		if !v.IsNil() {
			p := reflect.New(v.Type().Elem())
			p.Elem().Set(copied(v.Elem(), escape))
			v.Set(p)
		}
	case reflect.Interface:
		if !v.IsNil() {
			v.Set(copied(v.Elem(), escape))
		}
	case reflect.Struct:
		for i := range v.NumField() {
			if f := v.Type().Field(i); f.IsExported() || f.Anonymous && f.Type.Kind() == reflect.Struct {
				escapeIn(v.Field(i), escape)
			}
		}
	case reflect.Array:
		for i := range v.Len() {
			escapeIn(v.Index(i), escape)
		}
	case reflect.Slice:
		if v.IsNil() || v.Type().Elem().Kind() == reflect.Uint8 {
			break
		}
		c := reflect.MakeSlice(v.Type(), v.Len(), v.Len())
		reflect.Copy(c, v)
		for i := range c.Len() {
			escapeIn(c.Index(i), escape)
		}
		v.Set(c)
	case reflect.Map:
		if v.IsNil() {
			break
		}
		c := reflect.MakeMapWithSize(v.Type(), v.Len())
		for k, x := range v.Seq2() {
			c.SetMapIndex(copied(k, escape), copied(x, escape))
		}
		v.Set(c)
	}
}

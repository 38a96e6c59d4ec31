// Package stanzaio reads and writes paragraphs of keys and values, as in the control files of
// Debian.
//
//	type Package struct {
//		Name    string `stanza:"Package"`
//		Version string
//		Size    int64  `stanza:"Installed-Size"`
//	}
//
//	packages := mapreduce.Read(p, stanzaio.Rows[Package]("dists/**/Packages.xz"))
//
// A blank line ends a paragraph. A line that begins with a blank continues the value before; a lone
// dot there is an empty line. Lines that begin with # are comments. Keys are compared without
// regard to case, and keys without a field are left out.
//
// Patterns are paths, globs (** matches any depth) and directories. Files with a suffix .gz, .zst,
// .bz2 or .xz are decompressed. Plain files are cut into splits between paragraphs.
package stanzaio

import (
	"context"
	"encoding"
	"errors"
	"fmt"
	"reflect"
	"strconv"
	"strings"

	"github.com/layshaft/layshaft/internal/files"
	"github.com/layshaft/layshaft/internal/stanza"
	"github.com/layshaft/layshaft/mapreduce/connector"
	"github.com/layshaft/layshaft/mapreduce/source"
)

// Stanza is a paragraph as its keys and values, in order.
type Stanza []Field

// Field is a key of a Stanza with its value. The lines of a value are separated by line feeds.
type Field struct{ Key, Value string }

// Get returns the value of the first field with a key, without regard to case; "" if there is none.
func (s Stanza) Get(key string) string {
	for _, f := range s {
		if strings.EqualFold(f.Key, key) {
			return f.Value
		}
	}
	return ""
}

// Stanzas returns a source of whole paragraphs.
func Stanzas(patterns ...string) source.Source[Stanza] {
	return source.As(source.Paragraphs(patterns...), func(text string, s *Stanza) error {
		*s = nil // users may keep the paragraph before
		return each(text, func(key, value string) error {
			*s = append(*s, Field{strings.Clone(key), strings.Clone(value)})
			return nil
		})
	}).Named(name("Stanzas", patterns), nil)
}

// each calls field for the fields of a paragraph.
func each(text string, field func(key, value string) error) (err error) {
	_, parseErr := stanza.Each([]byte(text), true, func(key, value string) {
		switch {
		case err != nil:
		case key == "":
			err = fmt.Errorf("the paragraph has a line without a key: %.80q", value)
		default:
			err = field(key, value)
		}
	}, func(int, int) error { return nil })
	return errors.Join(err, parseErr)
}

// Rows returns a source of paragraphs as structs. A field takes the value under its name, or under
// the name in its tag: `stanza:"Installed-Size"`; "-" leaves it out. Fields are strings, numbers,
// bools (yes, no, true, false), or have the method UnmarshalText, as time.Time has. A missing key
// leaves the zero value.
func Rows[T any](patterns ...string) source.Source[T] {
	fields, err := fieldsOf(reflect.TypeFor[T]())
	decode := func(text string, v *T) error {
		*v = *new(T)
		into := reflect.ValueOf(v).Elem()
		return each(text, func(key, value string) error {
			i, ok := fields[strings.ToLower(key)]
			if !ok {
				return nil
			}
			if err := set(into.Field(i), value); err != nil {
				return fmt.Errorf("%s: %w", key, err)
			}
			return nil
		})
	}
	return source.As(source.Paragraphs(patterns...), decode).Named(name("Rows", patterns), err)
}

func name(function string, patterns []string) string {
	quoted := make([]string, len(patterns))
	for i, p := range patterns {
		quoted[i] = strconv.Quote(p)
	}
	return "stanzaio." + function + "(" + strings.Join(quoted, ", ") + ")"
}

// fieldsOf returns the number of the field for each key, in lower case.
func fieldsOf(t reflect.Type) (map[string]int, error) {
	if t.Kind() != reflect.Struct {
		return nil, fmt.Errorf("rows are structs, not %v", t)
	}
	fields := map[string]int{}
	for i := range t.NumField() {
		f := t.Field(i)
		key := keyOf(f)
		if key == "" {
			continue
		}
		if err := set(reflect.New(f.Type).Elem(), ""); errors.Is(err, errType) {
			return nil, fmt.Errorf("field %s: %w", f.Name, err)
		}
		if _, twice := fields[strings.ToLower(key)]; twice {
			return nil, fmt.Errorf("two fields take the key %s", key)
		}
		fields[strings.ToLower(key)] = i
	}
	return fields, nil
}

// keyOf returns the key of a field; "" if it has none.
func keyOf(f reflect.StructField) string {
	switch tag, ok := f.Tag.Lookup("stanza"); {
	case !f.IsExported() || tag == "-":
		return ""
	case ok && tag != "":
		return tag
	}
	return f.Name
}

var errType = errors.New("a field is a string, a number, a bool, or has the method UnmarshalText")

// set stores a value in a field.
func set(f reflect.Value, value string) (err error) {
	if u, ok := f.Addr().Interface().(encoding.TextUnmarshaler); ok {
		return u.UnmarshalText([]byte(value))
	}
	switch f.Kind() {
	case reflect.String:
		f.SetString(strings.Clone(value))
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		var n int64
		if n, err = strconv.ParseInt(value, 10, f.Type().Bits()); err == nil {
			f.SetInt(n)
		}
	case reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		var n uint64
		if n, err = strconv.ParseUint(value, 10, f.Type().Bits()); err == nil {
			f.SetUint(n)
		}
	case reflect.Float32, reflect.Float64:
		var x float64
		if x, err = strconv.ParseFloat(value, f.Type().Bits()); err == nil {
			f.SetFloat(x)
		}
	case reflect.Bool:
		switch strings.ToLower(value) {
		case "yes", "true", "1":
			f.SetBool(true)
		case "no", "false", "0":
			f.SetBool(false)
		default:
			return fmt.Errorf("%q is not yes or no", value)
		}
	default:
		return fmt.Errorf("type %v: %w", f.Type(), errType)
	}
	return err
}

// Sink writes paragraphs. It is a connector.Sink[T], made by Write and WriteFile.
type Sink[T any] struct {
	files.Sink
	err error
}

// Write returns a sink for dir/part-00000.txt, dir/part-00001.txt and so on, one file per task. T
// is Stanza, or a struct as for Rows; fields with zero values are left out. The job writes
// dir/manifest.json last, to mark the output as complete.
func Write[T any](dir string) Sink[T] {
	return newSink[T](files.NewSink(fmt.Sprintf("stanzaio.Write(%q)", dir), &files.Dir{Path: dir, Ext: "txt"}))
}

// WriteFile returns a sink for a single file, in task order. A suffix .gz or .zst in the path
// compresses it.
func WriteFile[T any](path string) Sink[T] {
	return newSink[T](files.NewSink(fmt.Sprintf("stanzaio.WriteFile(%q)", path), &files.One{Path: path, Compress: files.BySuffix(path)}))
}

func newSink[T any](s files.Sink) Sink[T] {
	var err error
	if t := reflect.TypeFor[T](); t != reflect.TypeFor[Stanza]() {
		_, err = fieldsOf(t)
	}
	return Sink[T]{s, err}
}

// Gzip compresses the files with gzip.
func (s Sink[T]) Gzip() Sink[T] {
	return Sink[T]{files.CompressSink(s.Sink, "Gzip", files.Gzip), s.err}
}

// Zstd compresses the files with zstd.
func (s Sink[T]) Zstd() Sink[T] {
	return Sink[T]{files.CompressSink(s.Sink, "Zstd", files.Zstd), s.err}
}

// FileSize begins another file when the file of a task has about so many bytes on disk. The files
// of tasks that write less than half of it are joined when the job is done.
func (s Sink[T]) FileSize(bytes int64) Sink[T] {
	s.Sink = files.SizeSink(s.Sink, bytes)
	return s
}

// Folder writes the records into folders that are named after a value, in the manner of Hive and
// Spark: Folder("year", f) makes dir/year=2026/part-00000-00000.txt. Each further call makes a
// level within. An empty value means that it is missing. Package source has Folders to read the
// values back. A task has few files open at once, so records that are grouped or sorted by the
// value make fewer files, and FileSize joins the others.
func (s Sink[T]) Folder(name string, value func(T) string) Sink[T] {
	s.Sink = files.FolderSink(s.Sink, name, value)
	return s
}

// Check refuses types that Rows refuses, and a place that cannot be written.
func (s Sink[T]) Check(ctx context.Context) error {
	if s.err != nil {
		return fmt.Errorf("%s: %w", s, s.err)
	}
	return s.Sink.Check(ctx)
}

// Open starts the file of one attempt.
func (s Sink[T]) Open(ctx context.Context, t connector.SinkTask) (connector.Writer[T], error) {
	return files.OpenSink(ctx, s.Sink, files.Task(t), nil, appendStanza[T])
}

// errEmpty is about a paragraph that a reader would not see.
var errEmpty = errors.New("a paragraph without a field cannot be written; give it a field whose value is not zero")

func appendStanza[T any](dst []byte, v *T) (_ []byte, err error) {
	start := len(dst)
	if s, ok := any(v).(*Stanza); ok {
		for _, f := range *s {
			if dst, err = appendField(dst, f.Key, f.Value); err != nil {
				return dst, err
			}
		}
		if len(dst) == start {
			return dst, connector.Skip(errEmpty)
		}
		return append(dst, '\n'), nil
	}
	from := reflect.ValueOf(v).Elem()
	for i := range from.NumField() {
		f, key := from.Field(i), keyOf(from.Type().Field(i))
		if key == "" || f.IsZero() {
			continue
		}
		text := fmt.Sprint(f.Interface())
		if m, ok := f.Addr().Interface().(encoding.TextMarshaler); ok {
			b, err := m.MarshalText()
			if err != nil {
				return dst, err
			}
			text = string(b)
		} else if f.Kind() == reflect.Bool {
			text = "yes"
		}
		if dst, err = appendField(dst, key, text); err != nil {
			return dst, err
		}
	}
	if len(dst) == start {
		return dst, connector.Skip(errEmpty)
	}
	return append(dst, '\n'), nil
}

// appendField appends a key and its value, whose further lines are indented.
func appendField(dst []byte, key, value string) ([]byte, error) {
	if stanza.KeyOf([]byte(key+":")) != len(key) || key == "" {
		return dst, connector.Skip(fmt.Errorf("%q cannot be a key: use printable ASCII without blanks and punctuation", key))
	}
	first, rest, more := strings.Cut(value, "\n")
	dst = append(append(append(dst, key...), ':', ' '), first...)
	for more {
		first, rest, more = strings.Cut(rest, "\n")
		switch strings.TrimRight(first, " \t\r") {
		case ".":
			return dst, connector.Skip(fmt.Errorf("%s: a line with a lone dot cannot be written; it stands for an empty line", key))
		case "":
			first = "."
		}
		dst = append(append(dst, '\n', ' '), first...)
	}
	return append(dst, '\n'), nil
}

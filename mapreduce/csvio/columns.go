package csvio

import (
	"encoding"
	"fmt"
	"path"
	"reflect"
	"strconv"
	"strings"
	"time"

	"github.com/layshaft/layshaft/internal/record"
	"github.com/layshaft/layshaft/mapreduce/connector"
)

// A column is one cell of a record: a field of the struct, or a field of an inner struct.
type column struct {
	// field is the full name of the field for error messages, such as Product.Price.
	field string
	// name is the column name in headers.
	name string
	// alias is the field's name without tags, which a header may spell in any case. It is empty
	// when the field has a csv tag.
	alias     string
	offset    uintptr
	typ       reflect.Type
	optional  bool   // the file may lack the column
	omitempty bool   // an empty cell is the zero value
	layout    string // layout of a time.Time
	// decimals is the number of decimals of an integer with the decimal tag, else -1.
	decimals int
}

var (
	timeType        = reflect.TypeFor[time.Time]()
	stringsType     = reflect.TypeFor[[]string]()
	unmarshalerType = reflect.TypeFor[encoding.TextUnmarshaler]()
	marshalerType   = reflect.TypeFor[encoding.TextMarshaler]()
)

// roof is the import path of package mapreduce, which declares KV.
var roof = path.Dir(reflect.TypeFor[connector.Split]().PkgPath())

// columnsOf returns the columns of a struct in the order of its fields.
func columnsOf(t reflect.Type) ([]column, error) {
	if t.Kind() != reflect.Struct || isLeaf(t) {
		return nil, fmt.Errorf("%v is neither a struct nor []string; use a struct whose fields are the columns", t)
	}
	w := columnWalk{seen: map[string]string{}}
	if err := w.walk(t, t.Name(), "", "", 0); err != nil {
		return nil, err
	}
	if len(w.columns) == 0 {
		return nil, fmt.Errorf("%v has no exported field; a column is an exported field", t)
	}
	return w.columns, nil
}

// isLeaf reports whether a type fills one cell, even when it is a struct.
func isLeaf(t reflect.Type) bool {
	return t == timeType || t.Implements(marshalerType) && !losesFields(t, "MarshalText") || reflect.PointerTo(t).Implements(unmarshalerType) && !losesFields(t, "UnmarshalText")
}

// losesFields reports whether a method of a struct comes from an embedded field and does not see a
// column.
func losesFields(t reflect.Type, method string) bool {
	_, _, ok := record.LosesFields(t, method, func(f reflect.StructField) bool { return f.IsExported() && f.Tag.Get("csv") != "-" })
	return ok
}

type columnWalk struct {
	columns []column
	seen    map[string]string // field by column name
}

func (w *columnWalk) walk(t reflect.Type, path, prefix, aliasPrefix string, offset uintptr) error {
	pair := t.PkgPath() == roof && strings.HasPrefix(t.Name(), "KV[")
	for i := range t.NumField() {
		f := t.Field(i)
		name, options, _ := strings.Cut(f.Tag.Get("csv"), ",")
		if name == "-" && options == "" || !f.IsExported() && !f.Anonymous {
			continue
		}
		c := column{field: path + "." + f.Name, typ: f.Type, offset: offset + f.Offset, decimals: -1, layout: f.Tag.Get("layout")}
		inline := pair || f.Anonymous && name == ""
		for option := range strings.SplitSeq(options, ",") {
			switch option {
			case "":
			case "optional":
				c.optional = true
			case "omitempty":
				c.omitempty = true
			case "inline":
				inline = true
			default:
				return fmt.Errorf("field %s: unknown csv option %q; use optional, omitempty or inline", c.field, option)
			}
		}
		if name == "" {
			c.alias, name = aliasPrefix+f.Name, f.Name
			if n, _, _ := strings.Cut(f.Tag.Get("json"), ","); n != "" && n != "-" {
				name = n
			} else if pair {
				name = strings.ToLower(name)
			}
		}
		c.name = prefix + name
		if f.Type.Kind() == reflect.Struct && !isLeaf(f.Type) {
			p, a := c.name+".", aliasPrefix+f.Name+"."
			if inline {
				p, a = prefix, aliasPrefix
			}
			have := len(w.columns)
			if err := w.walk(f.Type, c.field, p, a, c.offset); err != nil {
				return err
			}
			if len(w.columns) == have && f.Type.NumField() > 0 {
				return fmt.Errorf("field %s %v has no exported field and no MarshalText method; leave it out with csv:\"-\"", c.field, f.Type)
			}
			continue
		}
		if !f.IsExported() {
			if isLeaf(f.Type) || deref(f.Type).Kind() == reflect.Struct {
				return fmt.Errorf("field %s %v is embedded and not exported, so it would be lost; give the field an exported name, or leave it out with csv:\"-\"", c.field, f.Type)
			}
			continue
		}
		if err := checkLayout(c.layout); err != nil {
			return fmt.Errorf("field %s: %w", c.field, err)
		}
		if d, ok := f.Tag.Lookup("decimal"); ok {
			n, err := strconv.Atoi(d)
			if k := deref(f.Type).Kind(); err != nil || n < 0 || n > 18 || k < reflect.Int || k > reflect.Uint64 {
				return fmt.Errorf("field %s %v: decimal:%q needs an integer field and a number of decimals from 0 to 18", c.field, f.Type, d)
			}
			c.decimals = n
		}
		if other, ok := w.seen[c.name]; ok {
			return fmt.Errorf("fields %s and %s are both column %q; rename one with a csv tag", other, c.field, c.name)
		}
		w.seen[c.name] = c.field
		w.columns = append(w.columns, c)
	}
	return nil
}

// checkLayout refuses a layout with the abbreviation of a time zone and no offset. An abbreviation
// such as PST or IST has no offset of its own, and package time takes it from the machine's zone.
func checkLayout(layout string) error {
	if !strings.Contains(layout, "MST") || strings.Contains(layout, "-07") || strings.Contains(layout, "Z07") {
		return nil
	}
	return fmt.Errorf("layout %q: the offset of an abbreviation such as PST depends on the machine; use -0700 in place of MST, or spell the zone, such as %q, if all times are in UTC",
		layout, strings.ReplaceAll(layout, "MST", "UTC"))
}

func deref(t reflect.Type) reflect.Type {
	if t.Kind() == reflect.Pointer {
		return t.Elem()
	}
	return t
}

// find returns the position of the column in a header, or -1 when the header lacks it. It compares
// the exact name first and then the field's name in any case. More than one match is an error.
func (c *column) find(header []string) (int, error) {
	at := -1
	for _, fits := range []func(string) bool{
		func(h string) bool { return h == c.name },
		func(h string) bool { return c.alias != "" && strings.EqualFold(h, c.alias) },
	} {
		for i, h := range header {
			if !fits(h) {
				continue
			}
			if at >= 0 {
				return 0, fmt.Errorf("columns %d and %d both fit field %s; rename one, or give the field a csv tag with the exact name", at+1, i+1, c.field)
			}
			at = i
		}
		if at >= 0 {
			return at, nil
		}
	}
	return -1, nil
}

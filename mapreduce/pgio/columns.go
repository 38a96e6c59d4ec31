package pgio

import (
	"encoding"
	"encoding/json"
	"fmt"
	"reflect"
	"strconv"
	"strings"
	"time"

	"github.com/layshaft/layshaft/internal/record"
)

// A column is a field of a record: a field of the struct, or of an embedded one.
type column struct {
	// field is the full name for messages, such as Product.Price.
	field string
	// name is the column's name. alias is the field's name without a tag, whose column may be
	// spelled in any case and with underscores; empty with a db tag.
	name, alias string
	offset      uintptr
	typ         reflect.Type
	omitempty   bool // NULL is zero, and zero is NULL
	json        bool // the value is JSON whatever the field's type is
	// decimals is the number of decimals of an integer with the decimal tag, else -1.
	decimals int
}

var (
	timeType        = reflect.TypeFor[time.Time]()
	durationType    = reflect.TypeFor[time.Duration]()
	rawType         = reflect.TypeFor[json.RawMessage]()
	unmarshalerType = reflect.TypeFor[encoding.TextUnmarshaler]()
	marshalerType   = reflect.TypeFor[encoding.TextMarshaler]()
)

// columnsOf returns the columns of a struct in the order of its fields.
func columnsOf(t reflect.Type) ([]column, error) {
	if t.Kind() != reflect.Struct || t == timeType {
		return nil, fmt.Errorf("%v is not a struct; use a struct whose fields are the columns", t)
	}
	seen := map[string]string{}
	columns, err := walk(t, t.Name(), 0, seen)
	if err == nil && len(columns) == 0 {
		err = fmt.Errorf("%v has no exported field; a column is an exported field", t)
	}
	return columns, err
}

func walk(t reflect.Type, path string, offset uintptr, seen map[string]string) (all []column, err error) {
	for i := range t.NumField() {
		f := t.Field(i)
		name, options, _ := strings.Cut(f.Tag.Get("db"), ",")
		if name == "-" && options == "" || !f.IsExported() && !f.Anonymous {
			continue
		}
		c := column{field: path + "." + f.Name, name: name, typ: f.Type, offset: offset + f.Offset, decimals: -1}
		if f.Anonymous && name == "" && f.Type.Kind() == reflect.Struct && f.Type != timeType && !reflect.PointerTo(f.Type).Implements(unmarshalerType) {
			inner, err := walk(f.Type, c.field, c.offset, seen)
			if err != nil {
				return nil, err
			}
			all = append(all, inner...)
			continue
		}
		if !f.IsExported() {
			continue
		}
		if why := record.LostInJSON(f.Type); why != "" {
			return nil, fmt.Errorf("field %s: %s", c.field, why)
		}
		for option := range strings.SplitSeq(options, ",") {
			switch option {
			case "":
			case "omitempty":
				c.omitempty = true
			case "json":
				c.json = true
			default:
				return nil, fmt.Errorf("field %s: unknown db option %q; use omitempty or json", c.field, option)
			}
		}
		if name == "" {
			c.alias, c.name = f.Name, snake(f.Name)
		}
		if d, ok := f.Tag.Lookup("decimal"); ok {
			k := f.Type.Kind()
			if k == reflect.Pointer {
				k = f.Type.Elem().Kind()
			}
			n, err := strconv.Atoi(d)
			if err != nil || n < 0 || n > 18 || k < reflect.Int || k > reflect.Uint64 {
				return nil, fmt.Errorf("field %s %v: decimal:%q needs an integer field and a number of decimals from 0 to 18", c.field, f.Type, d)
			}
			c.decimals = n
		}
		if other, ok := seen[c.name]; ok {
			return nil, fmt.Errorf("fields %s and %s are both column %q; rename one with a db tag", other, c.field, c.name)
		}
		seen[c.name] = c.field
		all = append(all, c)
	}
	return all, nil
}

// snake returns the usual column name of a field: UpdatedAt is updated_at, BrandID brand_id.
func snake(s string) string {
	var b strings.Builder
	isUpper := func(i int) bool { return i < len(s) && 'A' <= s[i] && s[i] <= 'Z' }
	for i := range len(s) {
		if isUpper(i) && i > 0 && s[i-1] != '_' && (!isUpper(i-1) || i+1 < len(s) && !isUpper(i+1)) {
			b.WriteByte('_')
		}
		b.WriteByte(s[i])
	}
	return strings.ToLower(b.String())
}

// find returns the name in a table that belongs to the column; empty if none does.
func (c *column) find(names []string) (string, error) {
	plain := func(s string) string { return strings.ToLower(strings.ReplaceAll(s, "_", "")) }
	for _, n := range names {
		if n == c.name {
			return n, nil
		}
	}
	found := ""
	for _, n := range names {
		if c.alias == "" || plain(n) != plain(c.alias) {
			continue
		}
		if found != "" {
			return "", fmt.Errorf("columns %s and %s both fit field %s; give the field a db tag with the exact name", found, n, c.field)
		}
		found = n
	}
	return found, nil
}

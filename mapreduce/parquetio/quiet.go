package parquetio

import (
	"bytes"
	"io"
	"log"
	"reflect"
	"regexp"
	"strconv"
	"sync"

	"github.com/parquet-go/parquet-go"
)

// quiet is held while the standard logger has a filter.
var quiet sync.Mutex

// librarySchema returns the schema that the library makes of a struct. The library warns on the
// standard logger about each int64 field with a decimal of fewer than ten digits, which is a valid
// column. Only for such structs, a filter drops this line.
func librarySchema(t reflect.Type) *parquet.Schema {
	if hasNarrowDecimal(t, map[reflect.Type]bool{}) {
		quiet.Lock()
		defer quiet.Unlock()
		before := log.Writer()
		log.SetOutput(withoutWarning{before})
		defer log.SetOutput(before)
	}
	return parquet.SchemaOf(reflect.New(t).Interface())
}

// withoutWarning passes on all lines of a logger but the warning.
type withoutWarning struct{ io.Writer }

func (w withoutWarning) Write(line []byte) (int, error) {
	if bytes.Contains(line, []byte("WARNING: DECIMAL annotated with Int64")) {
		return len(line), nil
	}
	return w.Writer.Write(line)
}

// decimalTag finds the precision of a decimal in a tag.
var decimalTag = regexp.MustCompile(`decimal\(\d+:(\d+)\)`)

// hasNarrowDecimal reports whether a struct has a field with the warning. seen has the types that
// were looked at.
func hasNarrowDecimal(t reflect.Type, seen map[reflect.Type]bool) bool {
	for t.Kind() == reflect.Pointer || t.Kind() == reflect.Slice || t.Kind() == reflect.Map {
		t = t.Elem()
	}
	if t.Kind() != reflect.Struct || seen[t] {
		return false
	}
	seen[t] = true
	for i := range t.NumField() {
		f := t.Field(i)
		if m := decimalTag.FindStringSubmatch(f.Tag.Get("parquet")); m != nil {
			if precision, err := strconv.Atoi(m[1]); err == nil && precision < 10 {
				return true
			}
		}
		if hasNarrowDecimal(f.Type, seen) {
			return true
		}
	}
	return false
}

package csvio

import (
	"reflect"
	"testing"
	"time"
)

// TestEmbeddedMethods checks that a struct with the text methods of an embedded field keeps its
// other fields, as columns.
func TestEmbeddedMethods(t *testing.T) {
	type visit struct {
		time.Time
		Name string
	}
	for _, typ := range []reflect.Type{reflect.TypeFor[visit](), reflect.TypeFor[struct{ V visit }]()} {
		columns, err := columnsOf(typ)
		if err != nil || len(columns) != 2 {
			t.Errorf("%v has columns %+v; %v", typ, columns, err)
		}
	}
}

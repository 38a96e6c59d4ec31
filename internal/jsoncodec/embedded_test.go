package jsoncodec

import (
	"reflect"
	"strings"
	"testing"
	"time"
)

// TestEmbeddedMethods checks that a method of an embedded field is refused if it loses fields.
func TestEmbeddedMethods(t *testing.T) {
	type visit struct {
		time.Time
		Name string
	}
	type fine struct {
		time.Time
		Name string `json:"-"`
		_    int
	}
	for _, dir := range []direction{reading, writing} {
		for _, typ := range []reflect.Type{reflect.TypeFor[visit](), reflect.TypeFor[struct{ V []visit }]()} {
			if _, err := compile(typ, dir); err == nil || !strings.Contains(err.Error(), "comes from the embedded Time and would lose Name") {
				t.Errorf("%v: %v", typ, err)
			}
		}
		if _, err := compile(reflect.TypeFor[fine](), dir); err != nil {
			t.Error(err)
		}
	}
}

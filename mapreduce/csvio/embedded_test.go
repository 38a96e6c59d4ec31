package csvio

import (
	"reflect"
	"strings"
	"sync/atomic"
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

// code has the text methods of its own, and stamp has the text methods of its field.
type code struct{ n int }

func (c code) MarshalText() ([]byte, error) { return []byte{byte(c.n)}, nil }

type stamp struct{ time.Time }

type number[T any] struct{ V T }

func (n *number[T]) UnmarshalText([]byte) error { return nil }

// TestLostFields checks that no field is left out without a word: embedded types that are not
// exported, pointers to them, generic ones, and structs without columns.
func TestLostFields(t *testing.T) {
	for _, c := range []struct {
		typ  reflect.Type
		want string // in the error
	}{
		{reflect.TypeFor[struct {
			code
			Name string
		}](), "code"},
		{reflect.TypeFor[struct {
			*code
			Name string
		}](), "code"},
		{reflect.TypeFor[struct {
			stamp
			Name string
		}](), "stamp"},
		{reflect.TypeFor[struct {
			number[int]
			Name string
		}](), "number"},
		{reflect.TypeFor[struct {
			N    atomic.Int64
			Name string
		}](), "N"},
		{reflect.TypeFor[struct {
			In   struct{ a int }
			Name string
		}](), "In"},
	} {
		_, err := columnsOf(c.typ)
		if err == nil || !strings.Contains(err.Error(), c.want) || !strings.Contains(err.Error(), `csv:"-"`) {
			t.Errorf("%v: %v, want an error that names %s and the tag", c.typ, err, c.want)
		}
	}
	type without struct {
		stamp `csv:"-"`
		Name  string
	}
	if columns, err := columnsOf(reflect.TypeFor[without]()); err != nil || len(columns) != 1 {
		t.Errorf("columns %+v; %v", columns, err)
	}
}

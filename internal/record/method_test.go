package record

import (
	"reflect"
	"testing"
	"time"
)

type (
	// visit has the methods of time.Time alone.
	visit struct {
		time.Time
		Name string
		n    int
	}
	visitOf[T any] struct {
		Note T
		*time.Time
	}
	// stamped has methods of its own for some purposes, and AppendBinary from time.Time.
	stamped struct {
		time.Time
		Name string
	}
	stampedOf[T any] struct {
		time.Time
		Name T
	}
	onlyTime struct{ time.Time }
)

func (s stamped) MarshalBinary() ([]byte, error)      { return []byte("own " + s.Name), nil }
func (s *stamped) UnmarshalBinary(b []byte) error     { s.Name = string(b[len("own "):]); return nil }
func (s stampedOf[T]) MarshalBinary() ([]byte, error) { return nil, nil }
func (s *stampedOf[T]) UnmarshalBinary([]byte) error  { return nil }

// TestEmbeddedMethods checks that methods of embedded fields do not encode the struct around them.
func TestEmbeddedMethods(t *testing.T) {
	now := time.Now().Round(0).UTC()
	checkRoundTrip(t, visit{now, "n", 7})
	checkRoundTrip(t, visitOf[string]{"n", &now})
	checkRoundTrip(t, onlyTime{now})
	checkRoundTrip(t, struct {
		time.Time
		Name string
	}{now, "n"})
	checkRoundTrip(t, map[string]visit{"a": {now, "n", 7}})
	checkRoundTrip(t, stamped{Name: "n"})
	for _, c := range []struct {
		typ    reflect.Type
		method string
		own    bool
	}{
		{reflect.TypeFor[stamped](), "MarshalBinary", true}, {reflect.TypeFor[stamped](), "UnmarshalBinary", true}, {reflect.TypeFor[stamped](), "AppendBinary", false},
		{reflect.TypeFor[stampedOf[int]](), "MarshalBinary", true}, {reflect.TypeFor[stampedOf[int]](), "UnmarshalBinary", true}, {reflect.TypeFor[stampedOf[int]](), "AppendBinary", false},
		{reflect.TypeFor[visit](), "MarshalBinary", false}, {reflect.TypeFor[visitOf[int]](), "UnmarshalBinary", false},
		{reflect.TypeFor[time.Time](), "MarshalBinary", true}, {reflect.TypeFor[labelled](), "UnmarshalBinary", true}, {reflect.TypeFor[int](), "MarshalBinary", false},
	} {
		if own := OwnMethod(c.typ, c.method); own != c.own {
			t.Errorf("OwnMethod(%v, %s) = %v", c.typ, c.method, own)
		}
	}
}

func checkRoundTrip[T any](t *testing.T, v T) {
	t.Helper()
	c, err := For[T]()
	if err != nil {
		t.Fatal(err)
	}
	var back T
	if _, err := c.Decode(c.Append(nil, &v), &back); err != nil || !reflect.DeepEqual(v, back) {
		t.Errorf("%T: %+v comes back as %+v; %v", v, v, back, err)
	}
}

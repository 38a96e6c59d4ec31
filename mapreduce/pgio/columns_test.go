package pgio

import (
	"encoding/json"
	"math/big"
	"reflect"
	"strings"
	"testing"
	"time"
)

type Visit struct {
	time.Time
	User string
}

// A column whose text or JSON comes from an embedded field would lose the others.
func TestLostFields(t *testing.T) {
	for _, bad := range []any{struct{ V Visit }{}, struct{ V *Visit }{}, struct {
		All []Visit `db:"all,json"`
	}{}, struct{ Visit }{}, struct {
		V map[string]struct{ In Visit } `db:"v,json"`
	}{}} {
		if _, err := columnsOf(reflect.TypeOf(bad)); err == nil || !strings.Contains(err.Error(), "comes from the embedded Time and would lose User; give the embedded field a name") {
			t.Errorf("%T: %v", bad, err)
		}
	}
	if _, err := columnsOf(reflect.TypeFor[struct {
		At  time.Time
		Raw json.RawMessage
		N   *big.Int
		R   *big.Rat
		Any any `db:"any,json"`
	}]()); err != nil {
		t.Error(err)
	}
}

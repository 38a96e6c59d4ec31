package parquetio

import (
	"math/big"
	"net/netip"
	"reflect"
	"strings"
	"testing"
	"time"
)

type stamp struct{ time.Time }

// TestLostFields checks that a field which the library would leave out is refused by its name.
func TestLostFields(t *testing.T) {
	for _, c := range []struct {
		typ  reflect.Type
		want string
	}{
		{reflect.TypeFor[struct {
			time.Time
			Name string
		}](), "Time"},
		{reflect.TypeFor[struct {
			stamp
			Name string
		}](), "stamp.Time"},
		{reflect.TypeFor[struct {
			*stamp
			Name string
		}](), "stamp"},
		{reflect.TypeFor[struct {
			time.Duration
			Name string
		}](), "Duration"},
		{reflect.TypeFor[struct {
			N    big.Int
			Name string
		}](), "N"},
		{reflect.TypeFor[struct {
			Name string
			In   struct {
				List []struct {
					Addr netip.Addr
					N    int
				}
			}
		}](), "In.List.Addr"},
		{reflect.TypeFor[struct {
			Name string
			M    map[string]stamp
		}](), "M.Time"},
	} {
		if _, err := schemaOf(c.typ); err == nil || !strings.Contains(err.Error(), "."+c.want+":") || !strings.Contains(err.Error(), `parquet:"-"`) {
			t.Errorf("%v: %v, want an error that names %s and the tag", c.typ, err, c.want)
		}
	}
	type inner struct{ V int }
	type kept struct {
		inner
		T    time.Time
		List []time.Time
		None *inner
		Skip big.Int `parquet:"-"`
	}
	if s, err := schemaOf(reflect.TypeFor[kept]()); err != nil || len(s.Columns()) != 4 {
		t.Errorf("%v; %v", s, err)
	}
}

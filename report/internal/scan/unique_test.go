package scan

import (
	"fmt"
	"testing"
)

func TestUnique(t *testing.T) {
	for _, test := range []struct {
		rows, values int
		want         bool
	}{{900, 900, false}, {1200, 1200, true}, {4096, 4096, true}, {4096, 3500, false}, {4096, 6, false}} {
		var all uniqueness
		for part := range 4 {
			var u uniqueness
			for i := part; i < test.rows; i += 4 {
				u.add(fmt.Sprint("value ", i%test.values))
			}
			all.merge(&u)
		}
		if got := all.isUnique(); got != test.want {
			t.Errorf("%d values in %d rows: unique %v, want %v", test.values, test.rows, got, test.want)
		}
	}
}

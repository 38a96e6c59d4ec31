package spelling

import (
	"slices"
	"testing"
)

func TestSort(t *testing.T) {
	if got, want := Sort("Catlog", []string{"orders", "catalog", "logs", "catalogue"}), []string{"catalog", "catalogue", "logs", "orders"}; !slices.Equal(got, want) {
		t.Errorf("sorted %q, want %q", got, want)
	}
	for _, c := range []struct {
		a, b string
		want int
	}{{"", "", 0}, {"", "ab", 2}, {"price", "Price", 0}, {"prcie", "price", 2}, {"sku", "skus", 1}} {
		if got := Distance(c.a, c.b); got != c.want {
			t.Errorf("Distance(%q, %q) = %d, want %d", c.a, c.b, got, c.want)
		}
	}
}

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
	}{{"", "", 0}, {"", "ab", 2}, {"price", "Price", 0}, {"prcie", "price", 1}, {"sku", "skus", 1}, {"ca", "abc", 3}} {
		if got := Distance(c.a, c.b); got != c.want {
			t.Errorf("Distance(%q, %q) = %d, want %d", c.a, c.b, got, c.want)
		}
	}
}

func TestNearest(t *testing.T) {
	for _, c := range []struct {
		name  string
		names []string
		want  string
	}{
		{"prcie", []string{"brand", "price"}, "price"},
		{"day", []string{"abs"}, ""}, // two of three letters differ
		{"yeer", []string{"weer", "year"}, "year"},
		{"lenght", []string{"length", "lengths"}, "length"},
		{"", []string{"ab"}, ""},
		{"x", nil, ""},
		{"c", []string{"a", "b"}, ""}, // no letter is left
		{"decimal_seperator", []string{"delim", "decimal_separator"}, "decimal_separator"},
	} {
		if got := Nearest(c.name, c.names); got != c.want {
			t.Errorf("Nearest(%q, %q) = %q, want %q", c.name, c.names, got, c.want)
		}
	}
}

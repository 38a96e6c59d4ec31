package report

import (
	"slices"
	"testing"
)

func TestFunctions(t *testing.T) {
	all := Functions()
	for _, want := range []Function{{"p95", "aggregate", true}, {"median", "aggregate", false}, {"approx_top_k", "aggregate", false}, {"approx_distinct", "aggregate", true},
		{"row_number", "window", false}, {"coalesce", "scalar", false}} {
		if !slices.Contains(all, want) {
			t.Errorf("%+v is missing", want)
		}
	}
}

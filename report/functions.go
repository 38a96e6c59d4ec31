package report

import (
	"slices"

	"github.com/layshaft/layshaft/report/internal/aggr"
	"github.com/layshaft/layshaft/report/internal/expr"
)

// Function is a function of the dialect.
type Function struct {
	// Name is the name in lower case. Aliases have an entry each.
	Name string
	// Kind is scalar, aggregate or window. Aggregates are window functions too, with OVER.
	Kind string
	// Approximate reports that the result may be off; see docs/reports.md.
	Approximate bool
}

// Functions lists all functions of the dialect, by kind and name.
func Functions() (all []Function) {
	for _, name := range aggr.Names() {
		all = append(all, Function{name, "aggregate", aggr.IsApproximate(name)})
	}
	for _, name := range aggr.WindowNames() {
		all = append(all, Function{name, "window", false})
	}
	for _, name := range slices.Compact(expr.Names()) {
		all = append(all, Function{name, "scalar", false})
	}
	return all
}

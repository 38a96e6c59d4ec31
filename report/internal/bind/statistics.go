package bind

import (
	"github.com/layshaft/layshaft/report/internal/expr"
)

// useStatistics marks the scans of Parquet whose rows only min and max without groups and
// conditions need: the statistics of the files have the answer.
func useStatistics(n Node) {
	for _, in := range n.Inputs() {
		useStatistics(in)
	}
	agg, ok := n.(*Aggregate)
	if !ok || len(agg.Keys) > 0 || agg.Sets != nil || len(agg.Aggs) == 0 {
		return
	}
	for _, a := range agg.Aggs {
		if a.Func.Name != "min" && a.Func.Name != "max" || len(a.Args) != 1 || a.Args[0].Op != expr.OpColumn || a.Filter != nil {
			return
		}
	}
	for in := agg.In; ; {
		switch x := in.(type) {
		case *Project:
			for _, e := range x.Exprs {
				if e.Op != expr.OpColumn {
					return
				}
			}
			in = x.In
		case *Scan:
			x.Extremes = x.Table.Format == "parquet" && len(x.Bounds) == 0
			return
		default:
			return
		}
	}
}

package expr

import (
	"math"

	"github.com/layshaft/layshaft/report/internal/vec"
)

func mathFunctions() []function {
	return []function{
		def("sqrt", "double", try1(vec.Float, func(x float64) (float64, error) {
			if x < 0 {
				return 0, rowError(0, "sqrt(%v): the square root of a negative number", x)
			}
			return math.Sqrt(x), nil
		})),
	}
}

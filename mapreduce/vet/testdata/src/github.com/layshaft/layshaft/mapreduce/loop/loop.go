// Package loop has the signatures that the analyzer looks at.
package loop

import "github.com/layshaft/layshaft/mapreduce"

type Loop[P any] struct{}

func Define[P any](first func(p *mapreduce.Plan, in P) mapreduce.Dataset[int], until func(n int) bool) *Loop[P] {
	return nil
}

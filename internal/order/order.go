// Package order sorts slices of large structs. The sorts of package slices move elements many times
// and are compiled for each type, about 12 KB; this one moves pointers, and an element only once.
package order

import "slices"

// Sort sorts s and keeps the order of equal elements. It takes the memory of a second s meanwhile.
func Sort[T any](s []T, compare func(a, b *T) int) {
	sorted := make([]*T, len(s))
	for i := range s {
		sorted[i] = &s[i]
	}
	slices.SortStableFunc(sorted, compare)
	moved := make([]T, len(s))
	for i, x := range sorted {
		moved[i] = *x
	}
	copy(s, moved)
}

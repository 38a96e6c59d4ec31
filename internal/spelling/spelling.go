// Package spelling compares names with a misspelt one.
package spelling

import (
	"cmp"
	"slices"
	"strings"
)

// Sort returns the names in the order of their likeness to name. Equally like names keep their
// order.
func Sort(name string, names []string) []string {
	sorted := slices.Clone(names)
	slices.SortStableFunc(sorted, func(a, b string) int { return cmp.Compare(Distance(name, a), Distance(name, b)) })
	return sorted
}

// Distance is the number of edits between two names, in any case. It compares the first 64 bytes.
func Distance(a, b string) int {
	a, b = strings.ToLower(a), strings.ToLower(b)
	a, b = a[:min(len(a), 64)], b[:min(len(b), 64)]
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		last := row[0]
		row[0] = i + 1
		for j := range len(b) {
			d := last
			if a[i] != b[j] {
				d = 1 + min(last, row[j], row[j+1])
			}
			last, row[j+1] = row[j+1], d
		}
	}
	return row[len(b)]
}

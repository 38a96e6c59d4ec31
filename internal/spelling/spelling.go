// Package spelling finds the name that a misspelt one was meant to be.
package spelling

import (
	"cmp"
	"slices"
	"strings"
)

// Nearest returns the name that is most like a misspelt one, or "" if none is like it. A third of
// the letters may differ, or one letter of a short name, but not all. Of equally like names, the
// first one with the same first letter counts, and otherwise the first.
func Nearest(name string, names []string) string {
	if len(names) == 0 {
		return ""
	}
	limit := min(max(1, (len(name)+1)/3), len(name)-1)
	near := Sort(name, names)
	if Distance(name, near[0]) > limit {
		return ""
	}
	for _, n := range near {
		if Distance(name, n) > Distance(name, near[0]) {
			break
		}
		if name != "" && n != "" && strings.EqualFold(n[:1], name[:1]) {
			return n
		}
	}
	return near[0]
}

// Sort returns the names in the order of their likeness to name. Equally like names keep their
// order.
func Sort(name string, names []string) []string {
	sorted := slices.Clone(names)
	slices.SortStableFunc(sorted, func(a, b string) int { return cmp.Compare(Distance(name, a), Distance(name, b)) })
	return sorted
}

// Distance is the number of letters to insert, drop, replace or swap to make one name of the other,
// in any case. It compares the first 64 bytes.
func Distance(a, b string) int {
	a, b = strings.ToLower(a), strings.ToLower(b)
	a, b = a[:min(len(a), 64)], b[:min(len(b), 64)]
	before, last, row := make([]int, len(b)+1), make([]int, len(b)+1), make([]int, len(b)+1)
	for j := range last {
		last[j] = j
	}
	for i := 1; i <= len(a); i++ {
		row[0] = i
		for j := 1; j <= len(b); j++ {
			change := last[j-1]
			if a[i-1] != b[j-1] {
				change++
			}
			row[j] = min(change, last[j]+1, row[j-1]+1)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				row[j] = min(row[j], before[j-2]+1)
			}
		}
		before, last, row = last, row, before
	}
	return last[len(b)]
}

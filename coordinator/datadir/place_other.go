//go:build !unix

package datadir

// inodeOf returns nothing, so no copy is noticed.
func inodeOf(string) string { return "" }

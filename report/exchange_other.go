//go:build !linux

package report

// exchange gives a new directory the name of the old one.
func exchange(dir, target string) error { return exchangeByRename(dir, target) }

//go:build !linux

package spill

func pages(n int) []byte { return make([]byte, n) }

func unmapPages([]byte) {}

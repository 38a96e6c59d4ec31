//go:build !linux

package bodies

func pages(n int) (b []byte, mapped bool) { return make([]byte, n), false }

func release([]byte) {}

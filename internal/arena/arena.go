// Package arena keeps many short strings in few blocks of memory, for decoders: an allocation for
// each string would cost more than its copy. A block is free again once none of its strings is in
// use.
package arena

import (
	"strings"
	"unsafe"
)

const (
	blockSize = 64 << 10 // bytes
	// largest is the length of the longest string in a block. Longer ones have memory of their own.
	largest = blockSize / 8
)

// Arena stores strings and never overwrites them. The zero value is empty.
type Arena struct{ free []byte }

// Keep returns a permanent copy of s.
func (a *Arena) Keep(s string) string {
	if len(s) > len(a.free) {
		if len(s) > largest {
			return strings.Clone(s)
		}
		a.free = make([]byte, blockSize)
	}
	n := copy(a.free, s)
	out := unsafe.String(unsafe.SliceData(a.free), n)
	a.free = a.free[n:]
	return out
}

// KeepBytes returns a permanent copy of b as a string.
func (a *Arena) KeepBytes(b []byte) string {
	return a.Keep(unsafe.String(unsafe.SliceData(b), len(b)))
}

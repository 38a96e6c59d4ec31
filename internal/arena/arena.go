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

// OverwriteFreed is for tests. If it is set, memory that is freed for reuse is overwritten at once,
// here and in package files. So a test finds strings that are used too late.
var OverwriteFreed bool

// Overwrite overwrites b if OverwriteFreed is set.
func Overwrite(b []byte) {
	if OverwriteFreed {
		for i := range b {
			b[i] = '?'
		}
	}
}

// Arena stores strings, and overwrites them only after Reset. The zero value is empty.
type Arena struct{ block, free []byte }

// Keep returns a copy of s, which is permanent unless Reset is called.
func (a *Arena) Keep(s string) string {
	if len(s) > len(a.free) {
		if len(s) > largest {
			return strings.Clone(s)
		}
		a.block = make([]byte, blockSize)
		a.free = a.block
	}
	n := copy(a.free, s)
	out := unsafe.String(unsafe.SliceData(a.free), n)
	a.free = a.free[n:]
	return out
}

// KeepBytes is Keep for bytes.
func (a *Arena) KeepBytes(b []byte) string {
	return a.Keep(unsafe.String(unsafe.SliceData(b), len(b)))
}

// Reset makes the memory of the block that was used last free for new strings. No string of the
// arena may be in use.
func (a *Arena) Reset() {
	Overwrite(a.block)
	a.free = a.block
}

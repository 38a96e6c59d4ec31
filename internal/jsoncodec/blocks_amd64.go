package jsoncodec

import (
	"unsafe"

	"golang.org/x/sys/cpu"
)

// hasClassify reports whether this machine can run classify.
var hasClassify = cpu.X86.HasAVX2 && cpu.X86.HasBMI1 && cpu.X86.HasBMI2 && cpu.X86.HasPOPCNT && cpu.X86.HasPCLMULQDQ

// classify finds the bytes of interest in n blocks at p, with AVX2.
//
//go:noescape
func classify(p unsafe.Pointer, n int, out *[blocksAtOnce]block)

// isPlain is isWhole for the n bytes at p, if they have only objects and strings, and neither
// blanks outside of strings nor escape sequences. The last byte must be a closing brace, and the
// first one fit the depth, which is 0 or 1.
//
//go:noescape
func isPlain(p unsafe.Pointer, n, depth int) bool

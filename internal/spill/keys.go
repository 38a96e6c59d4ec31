package spill

import (
	"math"
	"unsafe"

	"github.com/layshaft/layshaft/internal/hotkeys"
)

// firstSkip returns the number of values before the first sample.
func firstSkip(s *hotkeys.Sampler) int {
	if s == nil {
		return math.MaxInt
	}
	return s.First()
}

// sampleKey samples the key of t, and returns the number of values before the next sample.
func sampleKey(s *hotkeys.Sampler, t *token) (skip int) {
	if s == nil { // after MaxInt values
		return math.MaxInt - 1
	}
	n := int(t.size) - 1
	if n > maxInlineKey {
		return s.Add(unsafe.Slice((*byte)(t.key), n), t.hash)
	}
	short := [2]uint64{t.k0, t.k1}
	return s.Add(unsafe.Slice((*byte)(unsafe.Pointer(&short)), n), t.hash)
}

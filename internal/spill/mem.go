package spill

import (
	"math/bits"
	"sync"
)

// pool keeps freed regions for the next attempt, by size class: new memory costs ten times as much
// as used memory. Regions are not zeroed.
var pool struct {
	// mu guards the fields below.
	mu        sync.Mutex
	free      [48][][]byte
	freeBytes int64 // bytes in free
	used      int64 // bytes handed out
	peak      int64 // largest sum of freeBytes and used so far
	reserved  int64 // sum of all reservations
}

// unreserved is how many bytes regions may take before freed ones are unmapped, without any
// reservation.
const unreserved = 256 << 20

// Reserve reserves n more bytes for this package, until release is called. Freed regions are kept
// for reuse only while all regions together stay within the reserved memory.
func Reserve(n int64) (release func()) {
	change := func(n int64) {
		pool.mu.Lock()
		defer pool.mu.Unlock()
		pool.reserved += n
		trimTo(0)
	}
	change(n)
	return sync.OnceFunc(func() { change(-n) })
}

// Used returns the bytes of all regions, including unused ones in the pool, and the largest such
// number so far.
func Used() (now, peak int64) {
	pool.mu.Lock()
	defer pool.mu.Unlock()
	return pool.used + pool.freeBytes, pool.peak
}

// trimTo unmaps free regions, the largest first, until n more bytes fit into the reserved memory or
// no free region is left. The caller holds pool.mu.
func trimTo(n int64) {
	limit := pool.reserved
	if limit == 0 {
		limit = unreserved
	}
	for class := len(pool.free) - 1; class >= 0 && pool.freeBytes > 0; class-- {
		for l := len(pool.free[class]); l > 0 && pool.used+pool.freeBytes+n > limit; l-- {
			unmapPages(pool.free[class][l-1])
			pool.free[class][l-1] = nil
			pool.free[class] = pool.free[class][:l-1]
			pool.freeBytes -= 1 << class
		}
	}
}

// regionSize returns the size of a region for n bytes.
func regionSize(n int) int { return 1 << sizeClass(n) }

func sizeClass(n int) int { return max(16, bits.Len(uint(n-1))) }

// region returns at least n bytes, rounded up to a power of two of at least 64 KiB. Their content
// is undefined unless fresh.
func region(n int) (b []byte, fresh bool) {
	class := sizeClass(n)
	size := int64(1) << class
	pool.mu.Lock()
	if l := pool.free[class]; len(l) > 0 {
		b = l[len(l)-1]
		l[len(l)-1] = nil
		pool.free[class] = l[:len(l)-1]
		pool.freeBytes -= size
	} else {
		trimTo(size)
	}
	pool.used += size
	pool.peak = max(pool.peak, pool.used+pool.freeBytes)
	pool.mu.Unlock()
	if b != nil {
		return b, false
	}
	if b = pages(1 << class); b == nil {
		Trim()
		if b = pages(1 << class); b == nil {
			b = make([]byte, 1<<class)
		}
	}
	return b, true
}

func freeRegion(b []byte) {
	if b == nil {
		return
	}
	b = b[:cap(b)]
	class := bits.Len(uint(len(b) - 1))
	pool.mu.Lock()
	defer pool.mu.Unlock()
	pool.free[class] = append(pool.free[class], b)
	pool.freeBytes += int64(len(b))
	pool.used -= int64(len(b))
	trimTo(0)
}

// Trim returns all unused regions to the operating system.
func Trim() {
	pool.mu.Lock()
	defer pool.mu.Unlock()
	for c, l := range pool.free {
		for _, b := range l {
			unmapPages(b)
		}
		pool.free[c] = nil
	}
	pool.freeBytes = 0
}

package spill

import (
	"math/bits"
	"sync"
)

// pool keeps freed regions for the next attempt, by size class: fresh memory costs ten times as much as memory used before.
// Regions are not zeroed.
var pool struct {
	// mu guards the fields below.
	mu   sync.Mutex
	free [48][][]byte
	held int64 // bytes in free
}

// region returns at least n bytes, rounded up to a power of two of at least 64 KiB. Their content is undefined unless fresh.
func region(n int) (b []byte, fresh bool) {
	class := max(16, bits.Len(uint(n-1)))
	pool.mu.Lock()
	if l := pool.free[class]; len(l) > 0 {
		b = l[len(l)-1]
		pool.free[class] = l[:len(l)-1]
		pool.held -= int64(len(b))
	}
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

func giveBack(b []byte) {
	if b == nil {
		return
	}
	b = b[:cap(b)]
	class := bits.Len(uint(len(b) - 1))
	pool.mu.Lock()
	pool.free[class] = append(pool.free[class], b)
	pool.held += int64(len(b))
	pool.mu.Unlock()
}

// Trim returns all unused regions to the operating system.
func Trim() {
	pool.mu.Lock()
	defer pool.mu.Unlock()
	for c, l := range pool.free {
		for _, b := range l {
			release(b)
		}
		pool.free[c] = nil
	}
	pool.held = 0
}

//go:build race

package queue

// seeds is small here: the queue has one goroutine, and the race detector is slow.
const seeds = 40

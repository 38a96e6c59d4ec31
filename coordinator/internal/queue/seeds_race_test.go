//go:build race

package queue

// seeds is small here: the core has one goroutine, and the detector is slow.
const seeds = 40

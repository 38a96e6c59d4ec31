//go:build race

package sched

// seeds is small here: the core has one goroutine, and the race detector is slow.
const seeds = 150

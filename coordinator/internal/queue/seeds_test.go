//go:build !race

package queue

const seeds = 1000
